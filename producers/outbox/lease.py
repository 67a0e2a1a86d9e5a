"""The lease: leader election among the relays of a department's outbox, on any database, without comparing two clocks.

The owner raises a count. Another relay that has seen the same owner with the same count for the length of the lease, by
its own clock, takes over by compare-and-set. Two relays at work for a moment (one was frozen) do no harm: both publish
the same bytes, and only waiting rows are settled. So the lease saves work; it is no fencing.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from sqlalchemy import ColumnElement, Connection, Engine, MetaData, insert, select, update
from sqlalchemy.exc import IntegrityError

from producers.outbox.database import answering
from producers.outbox.tables import TABLE_NAME, Tables, utc

__all__ = ["Lease", "LeaseState"]


@dataclass(frozen=True, slots=True)
class LeaseState:
    """The relay at work, as it reports itself, and the time last vouched for."""

    owner: str | None
    """Host, process id and a mark of the process; None if no relay is at work."""
    beat_at: datetime | None
    """When it last raised the count, by its own clock."""
    as_of: datetime | None
    """数据截至 of the last markers."""


class Lease:
    """The right of one relay to work. Its methods raise Retryable if the database does not answer."""

    def __init__(
        self,
        engine: Engine,
        department: str,
        *,
        seconds: float,
        table_name: str = TABLE_NAME,
        schema: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._engine = engine
        self._relay = Tables(MetaData(), table_name, schema).relay
        self._department = department
        self.seconds = seconds
        self._clock = clock
        self._beats: int | None = None
        self._beaten = 0.0
        self._seen: tuple[str | None, int] | None = None
        self._seen_at = 0.0

    def held(self) -> bool:
        """Take the lease if it is free or its owner has gone quiet, or renew it. Return whether this relay holds it."""
        if self._beats is not None and self._clock() - self._beaten < self.seconds / 4:
            return True
        with answering(), self._engine.begin() as connection:
            found = self._look(connection)
            if found is not None and found[0] == self.owner:
                # Even if the count differs from ours: the answer to our last beat was lost, but the beat was written.
                return self._move(connection, *found)
            self._beats = None
            if found is None:
                return self._first(connection)
            owner, beats = found
            if found != self._seen:
                self._seen, self._seen_at = found, self._clock()
            quiet = self._clock() - self._seen_at >= self.seconds
            return self._move(connection, owner, beats) if owner is None or quiet else False

    def vouched(self, as_of: datetime) -> None:
        """Write the time that the last markers vouch for."""
        with answering(), self._engine.begin() as connection:
            connection.execute(update(self._relay).where(self._ours()).values(as_of=as_of))

    def release(self) -> None:
        """Release the lease, if this relay holds it, so that the next relay need not wait."""
        if self._beats is not None:
            with answering(), self._engine.begin() as connection:
                mine = self._ours() & (self._relay.c.owner == self.owner)
                connection.execute(update(self._relay).where(mine).values(owner=None))
            self._beats = None

    def state(self) -> LeaseState:
        """Return the relay at work."""
        row = self._relay.c
        with answering(), self._engine.begin() as connection:
            found = connection.execute(select(row.owner, row.beat_at, row.as_of).where(self._ours())).first()
        if found is None:
            return LeaseState(None, None, None)
        owner, beat_at, as_of = found
        return LeaseState(owner, beat_at and utc(beat_at), as_of and utc(as_of))

    def _ours(self) -> ColumnElement[bool]:
        return self._relay.c.department == self._department

    def _look(self, connection: Connection) -> tuple[str | None, int] | None:
        found = connection.execute(select(self._relay.c.owner, self._relay.c.beats).where(self._ours())).first()
        return None if found is None else (found[0], found[1])

    def _first(self, connection: Connection) -> bool:
        first = insert(self._relay).values(
            department=self._department, owner=self.owner, beats=1, beat_at=datetime.now(UTC)
        )
        try:
            with connection.begin_nested():
                connection.execute(first)
        except IntegrityError:  # another relay was first
            return False
        self._beats, self._beaten = 1, self._clock()
        return True

    def _move(self, connection: Connection, owner: str | None, beats: int) -> bool:
        row = self._relay.c
        seen = self._ours() & (row.beats == beats) & (row.owner.is_(None) if owner is None else row.owner == owner)
        change = update(self._relay).where(seen)
        change = change.values(owner=self.owner, beats=beats + 1, beat_at=datetime.now(UTC))
        if connection.execute(change).rowcount != 1:
            self._beats = None
            return False
        self._beats, self._beaten = beats + 1, self._clock()
        return True
