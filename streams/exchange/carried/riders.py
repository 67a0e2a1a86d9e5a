"""Riders: messages beside the statements of a publisher's round (cases, pending entries, requested sets)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg

__all__ = ["OutgoingMessage", "Rider"]

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message for `exchange.<own>`. The publisher adds the 5 bytes before the body and the header SCHEMA."""

    partition: int
    key: str
    name: str
    """Full name of the record in `body`: the subject in the registry."""
    body: bytes = field(repr=False)
    """The Avro body."""
    fingerprint: str | None = None
    """Of the schema that wrote the body; None: our own contract of that name."""
    headers: tuple[tuple[str, bytes], ...] = ()
    """Beside SCHEMA; those of schemas.exchange.topics.SIGNED_HEADERS are covered by the signature."""
    told: Any = field(default=None, compare=False)
    """A value that the publisher returns to `sent`; it does not look at it."""


class Rider(Protocol):
    """A source of messages that the publisher writes beside statements.

    The publisher's thread calls both methods, on a connection whose search_path is the serving generation.
    """

    def due(self, connection: Connection) -> Sequence[OutgoingMessage]:
        """Return the messages to publish now, in this order; some thousand at most, the rest in the next round.

        Called in the read-only REPEATABLE READ snapshot of a round that drains the outbox, and of no other: the
        messages stand in the log behind all statements of that snapshot, and before the checkpoint that covers it. They
        may be lost with their round: they must be due again until `sent` was committed.
        """

    def sent(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Store that these are in the log, in the transaction that deletes the round's outbox rows."""
