"""The sweep: looks at every record of our own for whether it is shared as it should be, in portions, again and again.

What changes with a record or a registration is decided in the view's transaction. This is for what no statement brings: a day
that begins, a catalogue with another mutual domain, a generation that serves from now on, a registration that a correction
took from one entity to another while another lane worked on it. At the start, and when one of the first three changes, it goes
through at once; otherwise slowly, so that PostgreSQL hardly notices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
import structlog

from schemas.servers.connection import WorkerTimes
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.exchange.outgoing.sharing import Sharing
from streams.projection.serving import while_serving
from streams.runtime.service import go_round

__all__ = ["Sweep"]

log = structlog.get_logger()

Connection = psycopg.Connection[tuple[Any, ...]]

_Reason = tuple[date, tuple[str, ...]]

_RECORDS = 5_000
"""Records of a portion."""
_SHARE = 20.0
"""Between two portions of a slow pass it pauses so many times as long as the last one took."""
_PAUSE = 2.0
"""Seconds between two portions of a slow pass, at least."""
_LOOK = 5.0
"""Seconds between two looks at what makes a pass urgent."""
_EVERY = 300.0
"""Seconds from the end of one slow pass to the begin of the next."""
_TOLD_EVERY = 5.0
_ADVISORY_LOCK = 0x7377656570  # "sweep": one worker sweeps at a time


class Sweep:
    """Sweeps in a thread of its own; `on_commit` is called where the publisher has something to tell after it. `idle` is
    WorkerTimes.idle_in_transaction."""

    def __init__(
        self,
        database: str,
        sharing: Sharing,
        *,
        generation: int,
        on_commit: Callable[[], None],
        idle: float = WorkerTimes().idle_in_transaction,
    ) -> None:
        self._database, self._sharing, self._generation = database, sharing, generation
        self._on_commit, self._idle = on_commit, idle
        self._connection: Connection | None = None
        self._leads = False
        self._done_for: _Reason | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` after the portion that is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Sweep until stopped; waits, with a message, for a PostgreSQL that does not answer."""
        go_round(self._go_round, self._stopped, waits="sweep.waits", close=self.close)

    def _go_round(self) -> float:
        reason = self._reason()
        if reason is not None and self._pass(urgent=reason != self._done_for, reason=reason):
            self._done_for = reason
        return self._rest()

    def close(self) -> None:
        """Close the connection, and with it give up the lead; the next pass opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._leads = None, False

    def sweep(self) -> int:
        """Go through everything once, without a pause; return how many records were shared, followed or withdrawn."""
        reason, changed = self._reason(), self._through(lambda _: None)
        if reason is not None:
            self._note(reason)
        return changed

    def _rest(self) -> float:
        ends = monotonic() + _EVERY
        while not self._stopped.is_set() and monotonic() < ends and self._reason() == self._done_for:
            self._stopped.wait(_LOOK)
        return 0.0 if self._leads else _LOOK

    def _reason(self) -> _Reason | None:
        """Return what a whole pass holds for: the day, the mutual domains, that this generation serves; None where another sweeps."""
        connection = self._connected()
        if not self._leads:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()
            self._leads = bool(row and row[0])
        row = connection.execute(sql("exchange/outgoing/reason"), {"generation": self._generation}).fetchone()
        assert row is not None
        serves, domains = row
        return (self._sharing.today, tuple(domains)) if self._leads and serves else None

    def _pass(self, *, urgent: bool, reason: _Reason) -> bool:
        """Go through everything; true where it came to the end, false where it was stopped or something became urgent."""
        looked_at, over = monotonic(), False
        if urgent:
            log.info("sweep.begins", generation=self._generation)

        def between(took: float) -> None:
            nonlocal looked_at, over
            if not urgent:
                self._stopped.wait(max(_PAUSE, _SHARE * took))
            if monotonic() - looked_at > _LOOK:
                looked_at = monotonic()
                over = self._reason() != reason
            if over or self._stopped.is_set():
                raise _Ended

        try:
            changed = self._through(between)
        except _Ended:
            return False
        if urgent or changed:
            log.info("sweep.done", changed=changed)
        return self._note(reason)

    def _note(self, reason: _Reason) -> bool:
        """Write down what the pass held for: until then no checkpoint vouches for it. False where it is over by now."""
        today, domains = reason
        values = {"generation": self._generation, "today": today, "domains": list(domains)}
        with while_serving(self._connected(), self._generation) as ours:
            return ours and self._connected().execute(sql("exchange/outgoing/swept"), values).rowcount == 1

    def _through(self, between: Callable[[float], None]) -> int:
        changed, told_at, seen = 0, monotonic(), 0
        first: UUID | None = UUID(int=0)
        while first is not None:
            began = monotonic()
            connection = self._connected()
            with connection.transaction():
                keys, first = self._sharing.differing(connection, first, _RECORDS)
            if keys.height:
                with while_serving(connection, self._generation) as ours:
                    if not ours:
                        raise _Ended
                    with connection.transaction():
                        decided = self._sharing.decide_again(connection, keys)
                changed += decided.shared + decided.withdrawn
                self._on_commit()
            seen += _RECORDS
            if monotonic() - told_at > _TOLD_EVERY and changed:
                told_at = monotonic()
                log.info("sweep.goes_on", looked_at=seen, changed=changed)
            if first is not None:
                between(monotonic() - began)
        return changed

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            self._leads = False
            # Row by row through indexes, whatever the statistics say of tables that were empty a moment ago.
            for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
                self._connection.execute(f"SET {setting} = off")
            self._connection.execute(f"SET idle_in_transaction_session_timeout = '{round(self._idle * 1000)}ms'")
        return self._connection


class _Ended(Exception):
    """A pass ends before its end."""
