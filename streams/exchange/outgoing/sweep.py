"""The sweep: checks in portions, again and again, that every record of this province is shared as the rule says.

The view's transaction decides about changes of a record or a registration. The sweep is for changes without a
statement: a day that begins, a catalogue with another mutual domain, a generation that serves from now on, a
registration that a correction moved from one entity to another while another lane worked on it. At the start, and if
one of the first three changes, a pass runs at full speed; otherwise slowly, so that PostgreSQL hardly notices.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from time import monotonic
from uuid import UUID

import structlog

from schemas.servers.connection import WorkerTimes
from schemas.store.sql_files import sql
from streams.exchange.outgoing.sharing import Sharing
from streams.projection.serving import while_serving
from streams.runtime.locks import SWEEP, Lead
from streams.runtime.service import Connection, Service, plan_by_index

__all__ = ["Sweep"]

log = structlog.get_logger()

_Reason = tuple[date, tuple[str, ...]]

_RECORDS = 5_000
"""Records of a portion."""
_SHARE = 20.0
"""The pause between two portions of a slow pass is so many times as long as the last portion took."""
_PAUSE = 2.0
"""Seconds between two portions of a slow pass, at least."""
_LOOK = 5.0
"""Seconds between two checks for a reason that makes a pass urgent."""
_EVERY = 300.0
"""Seconds from the end of one slow pass to the begin of the next."""
_LOG_EVERY = 5.0


class Sweep(Service):
    """Sweeps in a thread of its own; `on_commit` is called if the publisher has rows to publish. `idle` is
    WorkerTimes.idle_in_transaction."""

    waits = "sweep.waits"

    def __init__(
        self,
        database: str,
        sharing: Sharing,
        *,
        generation: int,
        on_commit: Callable[[], None],
        idle: float = WorkerTimes().idle_in_transaction,
    ) -> None:
        super().__init__(database, generation=generation)
        self.lead = Lead(SWEEP)
        self._sharing, self._generation, self._on_commit, self._idle = sharing, generation, on_commit, idle
        self._done_for: _Reason | None = None

    def _round(self) -> float:
        reason = self._reason()
        if reason is not None and self._pass(urgent=reason != self._done_for, reason=reason):
            self._done_for = reason
        return self._rest()

    def sweep(self) -> int:
        """Make one pass without a pause; return how many records were shared, followed or withdrawn."""
        reason, changed = self._reason(), self._through(lambda _: None)
        if reason is not None:
            self._note(reason)
        return changed

    def _rest(self) -> float:
        ends = monotonic() + _EVERY
        while not self._stopped.is_set() and monotonic() < ends and self._reason() == self._done_for:
            self._stopped.wait(_LOOK)
        return 0.0 if self.lead.held else _LOOK

    def _reason(self) -> _Reason | None:
        """Return the day and the mutual domains for which a whole pass holds; None if another worker sweeps, or another
        generation serves."""
        row = self._connected().execute(sql("exchange/outgoing/reason"), {"generation": self._generation}).fetchone()
        assert row is not None
        serves, domains = row
        if serves:
            return (self._sharing.today, tuple(domains)) if self._leads() else None
        if self.lead.held:
            self.close()  # the sweep of the generation that serves must be able to lead
        return None

    def _pass(self, *, urgent: bool, reason: _Reason) -> bool:
        """Make a pass; return whether it came to the end: false if it was stopped, or something became urgent."""
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
        """Store the reason of the pass: until then no checkpoint vouches for it. Return false if it is over by now."""
        today, domains = reason
        values = {"generation": self._generation, "today": today, "domains": list(domains)}
        with while_serving(self._connected(), self._generation) as ours:
            return ours and self._connected().execute(sql("exchange/outgoing/swept"), values).rowcount == 1

    def _through(self, between: Callable[[float], None]) -> int:
        changed, logged_at, seen = 0, monotonic(), 0
        first: UUID | None = UUID(int=0)
        connection = self._connected()
        while first is not None:
            began = monotonic()
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
            if monotonic() - logged_at > _LOG_EVERY and changed:
                logged_at = monotonic()
                log.info("sweep.goes_on", looked_at=seen, changed=changed)
            if first is not None:
                between(monotonic() - began)
        return changed

    def _set_up(self, connection: Connection) -> None:
        plan_by_index(connection)  # the statistics may be of a moment ago, when tables were empty
        connection.execute(f"SET idle_in_transaction_session_timeout = '{round(self._idle * 1000)}ms'")


class _Ended(Exception):
    """A pass ends before its end."""
