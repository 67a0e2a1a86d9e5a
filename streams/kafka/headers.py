"""Headers of the messages that intake writes to `accepted` and `quarantine`; only intake may write there.

SCHEMA, the fingerprint of the writer's schema, is on every message except Progress vectors: a registry that was put
back to an older state, or written to by somebody else, can give an id another meaning. A message without ORIGIN is a
manifest if it has MANIFEST, another province's if it has CARRIED, and otherwise a Progress vector; a department's bytes
never decide the kind of a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.contracts.avro import SCHEMA
from schemas.errors import ContractBroken
from schemas.exchange.topics import province_of
from streams.kafka.records import Record

__all__ = [
    "ACCEPTED",
    "CARRIED",
    "DECISION",
    "DISCARDED",
    "FINDINGS",
    "IMPOSSIBLE",
    "MANIFEST",
    "ORIGIN",
    "RECEIVED",
    "REFUSED",
    "SCHEMA",
    "SIGNED",
    "Headers",
    "Origin",
    "findings_of",
    "header",
    "headers_of",
    "origins",
]

ORIGIN = "xinliu-origin"
"""Place of the department's message: topic, topic id, partition and offset."""

RECEIVED = "xinliu-received"
"""On `accepted`: broker time of the department's message, in milliseconds since 1970; only for measurements."""

MANIFEST = "xinliu-manifest"
"""On `accepted`, instead of ORIGIN: place of the department's manifest, in the same form."""

CARRIED = "xinliu-carried"
"""On `accepted`, instead of ORIGIN: place of another province's checkpoint, or other message that is no statement, in
its exchange, in the same form. All earlier messages of the province stand before it in this partition."""

SIGNED = "xinliu-signed"
"""On messages from another province's exchange: the id of the key that signed them."""

FINDINGS = "xinliu-findings"
"""JSON. On `accepted`: a list of remarks; on `quarantine`: an object with the known fields of the refused record."""

DECISION = "xinliu-decision"
"""JSON, on `quarantine`: the message is the outcome of a decision about the entry of that ORIGIN, not a new entry."""

ACCEPTED, REFUSED, DISCARDED, IMPOSSIBLE = "ACCEPTED", "REFUSED", "DISCARDED", "IMPOSSIBLE"
"""Outcomes of a decision for an entry: forwarded; refused again, with findings; stays out; cannot be examined."""

Headers = Sequence[tuple[str, bytes]]


def header(headers: Headers, name: str) -> bytes | None:
    """Return the value of the first header of that name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def headers_of(records: Iterable[Record], name: str, place: int) -> list[bytes | None]:
    """Return that header of each record; `place` is the index at which intake writes it, and is tried first."""
    return [
        headers[place][1]
        if len(headers := record.headers) > place and headers[place][0] == name
        else header(headers, name)
        for record in records
    ]


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a message: in a department's topic, or in exchange.<province> of another province's own cluster."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    def to_bytes(self) -> bytes:
        """Return the header's value."""
        return origins(self.topic, self.topic_id, self.partition) % self.offset

    @classmethod
    def from_bytes(cls, value: bytes) -> Origin:
        """Parse the header's value. Raises ContractBroken if intake cannot have written it."""
        try:
            topic, topic_id, partition, offset = value.decode().split(" ")
            return cls(topic, topic_id, int(partition), int(offset))
        except ValueError as error:
            raise ContractBroken(f"header {ORIGIN} is {value!r}: only intake may write to this topic") from error

    @property
    def department(self) -> str:
        """The department's key, from records.<department>; for another province's exchange, the topic."""
        return self.topic.removeprefix("records.")

    @property
    def province(self) -> str | None:
        """The other province whose message it is; None for a department's."""
        return province_of(self.topic)


def origins(topic: str, topic_id: str, partition: int) -> bytes:
    """Return the format of the header's value for all messages of a log: `origins(…) % offset`."""
    return f"{topic} {topic_id} {partition} ".encode() + b"%d"


def findings_of(value: bytes | None) -> Any:
    """Return the decoded FINDINGS header, or None if there is none."""
    return None if value is None else json.loads(value)
