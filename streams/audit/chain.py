"""The entries of the audit: a hash chain for each topic, each entry made from an operations event and the entry before.

An entry is a function of its topic alone: a database that was restored, or built anew, comes to the same entries and
hashes. Each topic has one author. Only the broker's time orders events of different topics, and no chain depends on
that order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from schemas.contracts.avro import Headers
from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import Registry
from schemas.operations.event import Operation
from schemas.operations.log import TOPIC, operation_of
from schemas.operations.topics import author

__all__ = ["BEGINNING", "HEAD", "UNREADABLE", "AuditEntry", "AuditEvent", "beginning_of", "event_of", "unreadable"]

HEAD = "AUDIT_HEAD"
"""Kind of the event that anchors the audit. Its detail has sequence, hash and offset of an entry, and the entry's topic
if it is another than `operations`."""
UNREADABLE = "UNREADABLE"
"""Kind of the entry for a message that is no event: the audit skips no message of the topic."""
BEGINNING = "0" * 64
"""The previous hash of the first entry of the topic `operations`."""

_BEYOND = (NotDecodable, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """The audit's copy of one message of `operations`, without the chain. JSON as canonical text, `at` in UTC."""

    topic_id: str
    offset: int
    event_id: str
    kind: str
    department: str | None
    by: str
    at: str
    """2026-11-29T00:10:51.123000Z."""
    reason: str
    detail: str
    before: str | None
    after: str | None
    message: str
    """SHA-256 of the message's value, hexadecimal."""

    def differing(self, other: AuditEvent) -> list[str]:
        """Return the names of the fields that differ."""
        return [name for name in AuditEvent.__slots__ if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of xinliu.audit."""

    sequence: int
    event: AuditEvent
    previous: str
    """Hash of the entry before."""
    hash: str
    topic: str = TOPIC
    """The topic whose chain contains the entry."""

    @classmethod
    def following(cls, sequence: int, previous: str, event: AuditEvent, topic: str = TOPIC) -> AuditEntry:
        """Return the entry of an event after an entry with that hash."""
        told = [sequence, *(getattr(event, name) for name in AuditEvent.__slots__), previous]
        # Escaped, so that the bytes do not depend on an encoder of UTF-8; a list, so that no order of names matters.
        canonical = json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode("ascii")
        return cls(sequence, event, previous, hashlib.sha256(canonical).hexdigest(), topic)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> AuditEntry:
        """Return the entry in a row of schemas/sql/audit/entries.sql, whether or not its hash is right."""
        return cls(
            row["sequence"],
            AuditEvent(**{name: row[name] for name in AuditEvent.__slots__}),
            row["previous"],
            row["hash"],
            row["topic"],
        )

    def to_row(self) -> dict[str, Any]:
        """Return the parameters of schemas/sql/audit/add.sql."""
        told = {name: getattr(self.event, name) for name in AuditEvent.__slots__}
        return {"sequence": self.sequence, **told, "previous": self.previous, "hash": self.hash, "topic": self.topic}

    @property
    def whole(self) -> bool:
        """Whether the hash follows from the entry's fields."""
        return self == AuditEntry.following(self.sequence, self.previous, self.event, self.topic)


def beginning_of(topic: str) -> str:
    """Return the previous hash of the first entry of this topic's chain: no entry of one chain fits into another."""
    return BEGINNING if topic == TOPIC else hashlib.sha256(topic.encode()).hexdigest()


def event_of(
    topic_id: str,
    offset: int,
    written_at: datetime,
    value: bytes,
    registry: Registry,
    headers: Headers | None = None,
    *,
    topic: str | None = None,
) -> AuditEvent:
    """Return the audit's copy of a message; `written_at` is broker time. Raises Retryable if the registry is away.

    Pass `topic` if the broker vouches for its author: that author is `by` then, whatever the event says.
    """
    try:
        told = operation_of(value, registry, headers)
        if topic is not None:
            told = replace(told, by=author(topic, told.by))
        return _event(topic_id, offset, told, _sha256(value))
    except _BEYOND:
        return unreadable(topic_id, offset, written_at, value)


def unreadable(topic_id: str, offset: int, written_at: datetime, value: bytes) -> AuditEvent:
    """Return the audit's copy of a message that is no event."""
    return AuditEvent(
        topic_id, offset, "", UNREADABLE, None, "", _time(written_at), "", _json({"bytes": len(value)}), None, None,
        _sha256(value),
    )  # fmt: skip


def _event(topic_id: str, offset: int, told: Operation, message: str) -> AuditEvent:
    before, after = told.detail.get("before"), told.detail.get("after")
    return AuditEvent(
        topic_id,
        offset,
        _text(told.id),
        _text(told.kind),
        None if told.department is None else _text(told.department),
        _text(told.by),
        _time(told.at),
        _text(told.reason),
        _json(told.detail),
        None if before is None else _json(before),
        None if after is None else _json(after),
        message,
    )


def _text(text: str) -> str:
    return text.replace("\0", "\ufffd")  # PostgreSQL cannot store it


def _time(at: datetime) -> str:
    return (
        at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if at.year > 999
        else f"{at.year:04}-01-01T00:00:00.000000Z"
    )


def _json(value: Any) -> str:
    # NaN is no JSON: PostgreSQL would not take it, and the message counts as unreadable.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate is no text
        return json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text


def _sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
