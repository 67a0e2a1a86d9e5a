"""Headers of the messages that intake writes to `accepted` and `quarantine`; only intake may write there.

SCHEMA, the fingerprint of the writer's schema, is on every message but Progress vectors: a registry that was put back to
an older state, or written to by somebody else, can give an id another meaning. A message without ORIGIN is a manifest
if it has MANIFEST, another province's if it has CARRIED, and otherwise a Progress vector; a department's bytes never
decide what a message is.
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
"""Where the department's message stands: topic, topic id, partition and offset."""

RECEIVED = "xinliu-received"
"""On `accepted`: broker time of the department's message, in milliseconds since 1970; only measured by."""

MANIFEST = "xinliu-manifest"
"""On `accepted`, in place of ORIGIN: where the department's manifest stands, as ORIGIN has it."""

CARRIED = "xinliu-carried"
"""On `accepted`, in place of ORIGIN: where a checkpoint, or whatever else another province says beside its statements, stands
in its exchange, as ORIGIN has it; all that the province said before it is in this partition before it."""

SIGNED = "xinliu-signed"
"""On what came by another province's exchange: the id of the key under whose signature it came."""

FINDINGS = "xinliu-findings"
"""JSON. On `accepted`: a list of remarks; on `quarantine`: an object with what is known of the refused record."""

DECISION = "xinliu-decision"
"""JSON, on `quarantine`: the message tells what came of a decision about the entry of that ORIGIN; it is no new entry."""

ACCEPTED, REFUSED, DISCARDED, IMPOSSIBLE = "ACCEPTED", "REFUSED", "DISCARDED", "IMPOSSIBLE"
"""Outcomes of a decision for an entry: forwarded; refused again, with what was found; stays out; cannot be examined."""

Headers = Sequence[tuple[str, bytes]]


def header(headers: Headers, name: str) -> bytes | None:
    """Return the value of the first header of that name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def headers_of(records: Iterable[Record], name: str, place: int) -> list[bytes | None]:
    """Return that header of each record; `place` is where intake writes it, which is looked at first."""
    return [
        headers[place][1]
        if len(headers := record.headers) > place and headers[place][0] == name
        else header(headers, name)
        for record in records
    ]


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a message in a department's topic; of another province's, in exchange.<province> of its own cluster."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    def to_bytes(self) -> bytes:
        """Return the header's value."""
        return origins(self.topic, self.topic_id, self.partition) % self.offset

    @classmethod
    def from_bytes(cls, value: bytes) -> Origin:
        """Read the header's value back. Raises ContractBroken where intake cannot have written it."""
        try:
            topic, topic_id, partition, offset = value.decode().split(" ")
            return cls(topic, topic_id, int(partition), int(offset))
        except ValueError as error:
            raise ContractBroken(f"header {ORIGIN} is {value!r}: only intake may write to this topic") from error

    @property
    def department(self) -> str:
        """The department's key: records.<department>. For another province's exchange it is the topic, and no department."""
        return self.topic.removeprefix("records.")

    @property
    def province(self) -> str | None:
        """Which other province's message it is; None for one of a department."""
        return province_of(self.topic)


def origins(topic: str, topic_id: str, partition: int) -> bytes:
    """Return what gives the header's value of each message of a log: `origins(…) % offset`."""
    return f"{topic} {topic_id} {partition} ".encode() + b"%d"


def findings_of(value: bytes | None) -> Any:
    """Return the decoded FINDINGS header, or None where there is none."""
    return None if value is None else json.loads(value)
