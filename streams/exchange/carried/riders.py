"""What goes along with the statements of a round of the publisher: cases, pending entries, sets that were asked for."""

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
    """Whatever `sent` wants to be given back; the publisher does not look at it."""


class Rider(Protocol):
    """Something that is told to the other provinces beside statements.

    Both methods are called by the publisher's thread, on a connection whose search_path is the serving generation.
    """

    def due(self, connection: Connection) -> Sequence[OutgoingMessage]:
        """Return what has to be told now, in this order; some thousand messages at most, the rest in the next round.

        Called in the read-only REPEATABLE READ snapshot of a round that drains the outbox, and of no other: the messages come
        to stand behind all statements of that snapshot, and before the checkpoint that speaks of it. What it returns may be
        lost with its round: it must be due again until `sent` was committed.
        """

    def sent(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Write down that these are in the log, in the transaction that deletes the round's outbox rows."""
