"""The relay: publishes what a department's transactions left in its outbox, in order, at least once.

A row stays WAITING until the broker has confirmed it; a relay that dies between the two tells it once more, with the
same bytes, which changes nothing (the fold is a maximum, the digest the identity).

When it vouches (数据截至), as_of is a time taken before the database was asked what waits, and the markers are written
once everything that waited then has been told: whatever was committed by as_of was either among it or told before. What
is committed later was, for the platform, decided later; docs/decisions/035 has the argument.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog

from producers.outbox.lease import Lease
from producers.outbox.sender import Sender
from producers.outbox.store import Backlog, Store, WaitingStatement
from producers.outbox.tables import RowState
from schemas.errors import Retryable, UsageError

__all__ = ["Relay", "RelayProgress", "RelaySettings"]

log = structlog.get_logger()

_PRUNE_EVERY = 600.0
_PRUNED_AT_ONCE = 1_000
_LONGEST_PAUSE = 15.0


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How a relay goes about it; times in seconds."""

    batch: int = 1_000
    """Rows a round."""
    poll: float = 0.5
    """Pause between two looks at an outbox in which nothing waits."""
    mark_every: float = 60.0
    """How often it vouches; 0: never, somebody else does."""
    report_every: float = 10.0
    """How often it says how far behind it is, while it is."""
    keep: timedelta | None = timedelta(days=90)
    """How long sent rows are kept; None: for ever."""


@dataclass
class RelayProgress:
    """What a relay has done since it was started, and how far behind it was when it last looked; for metrics."""

    sent: int = 0
    refused: int = 0
    retries: int = 0
    leads: bool = False
    as_of: datetime | None = None
    backlog: Backlog | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Vow:
    """Something to vouch for: what was committed by `as_of` is told already, or is unsettled and has an id up to `last`."""

    as_of: datetime
    last: int | None


class Relay:
    """One relay of one department's outbox. `run` it, or `drain` it once."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        lease: Lease,
        settings: RelaySettings | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.progress = RelayProgress()
        self._store, self._sender, self._lease = store, sender, lease
        self._settings = settings or RelaySettings()
        self._now = now
        self._stopped = threading.Event()
        self._vow: _Vow | None = None
        self._due = {"mark": 0.0, "report": 0.0, "prune": 0.0}
        self._standby = False
        self._held_back = False
        self._checked = False

    @property
    def owner(self) -> str:
        """What it calls itself in the lease."""
        return self._lease.owner

    def stop(self) -> None:
        """End `run` after the round that is under way; may be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Relay until stopped. Waits, and says for what, while the database, the broker or the registry does not answer.

        Raises UsageError where one of them refuses: that is for a person to mend.
        """
        pause = 0.0
        try:
            while not self._stopped.is_set():
                try:
                    more = self.round()
                    if pause:
                        log.info("outbox.goes_on")
                    pause = 0.0
                    if not more:
                        self._stopped.wait(self._settings.poll)
                except Retryable as error:
                    pause = min(max(pause * 2, 0.5), _LONGEST_PAUSE)
                    self.progress.retries += 1
                    log.warning("outbox.waits", why=str(error), next_try_in_seconds=pause)
                    self._sender.close()
                    self._stopped.wait(pause)
        finally:
            self._end()

    def drain(self) -> None:
        """Relay until nothing waits, vouch, and return. Raises Retryable where a server does not answer.

        One that finds another at work waits as long as a lease lasts: that one may have been killed.
        """
        patience = monotonic() + self._lease.seconds * 1.5
        try:
            while not self._stopped.is_set():
                more = self.round()
                if self.progress.leads:
                    if not more and self._vow is None:
                        return
                elif monotonic() > patience:
                    raise Retryable(f"another relay is at work: {self._lease.state().owner}", server="database")
                else:
                    self._stopped.wait(self._settings.poll)
        finally:
            self._end()

    def round(self) -> bool:
        """Tell one batch; true where more may wait. Does nothing while another relay is at work."""
        if not self._checked:
            self._store.check()
            self._checked = True
        if not self._leads():
            return False
        self._promise()
        batch = self._store.waiting(self._settings.batch)
        self._report(behind=bool(batch))
        if batch:
            self._tell(batch)
        self._keep_promise(drained=len(batch) < self._settings.batch)
        self._prune()
        return len(batch) == self._settings.batch

    def _leads(self) -> bool:
        self.progress.leads = self._lease.held()
        if self.progress.leads == self._standby:
            self._standby = not self.progress.leads
            other = self._lease.state().owner
            log.info("outbox.stands_by" if self._standby else "outbox.goes_on", relay=other)
        return self.progress.leads

    def _tell(self, batch: list[WaitingStatement]) -> None:
        delivery = self._sender.send(batch)
        if delivery.confirmed:
            self._store.confirm(delivery.confirmed, self._now())
            self.progress.sent += len(delivery.confirmed)
        if delivery.refused:
            self._store.refuse(delivery.refused)
            self.progress.refused += len(delivery.refused)
            for id, reason in delivery.refused.items():
                log.error("outbox.refused", row=id, why=reason, see="xinliu outbox status")
        if delivery.unsettled is not None:
            raise delivery.unsettled

    def _promise(self) -> None:
        if self._vow is None and self._settings.mark_every and monotonic() >= self._due["mark"]:
            as_of = self._now()  # before the look, never after
            self._vow = _Vow(as_of, self._store.last_unsettled())

    def _keep_promise(self, *, drained: bool) -> None:
        vow = self._vow
        if vow is None:
            return
        left = set() if vow.last is None else self._store.unsettled(vow.last)
        if RowState.FAILED in left and self._store.supersede() and vow.last is not None:
            left = self._store.unsettled(vow.last)
        if not left:
            self._sender.mark(vow.as_of)
            self._lease.vouched(vow.as_of)
            self.progress.as_of = vow.as_of
        elif RowState.FAILED in left and drained and not self._held_back:
            log.error("outbox.vouches_for_nothing", why="rows have failed", see="xinliu outbox status")
        elif RowState.WAITING in left and RowState.FAILED not in left:
            return  # the next rounds tell them
        self._held_back = bool(left)
        self._vow = None
        self._due["mark"] = monotonic() + self._settings.mark_every

    def _report(self, *, behind: bool) -> None:
        if monotonic() < self._due["report"]:
            return
        self._due["report"] = monotonic() + self._settings.report_every
        backlog = self._look()
        if behind or backlog.failed:
            age = 0.0 if backlog.oldest is None else (self._now() - backlog.oldest).total_seconds()
            log.info(
                "outbox.behind",
                rows=backlog.waiting,
                oldest_seconds=round(max(age, 0.0), 1),
                failed=backlog.failed,
                sent_so_far=self.progress.sent,
            )

    def _look(self) -> Backlog:
        self.progress.looked_at = self._now()
        self.progress.backlog = self._store.backlog()
        return self.progress.backlog

    def _prune(self) -> None:
        if self._settings.keep is None or monotonic() < self._due["prune"]:
            return
        # A portion a round: telling does not wait until a year's rows are gone.
        pruned = self._store.prune(self._now() - self._settings.keep, _PRUNED_AT_ONCE)
        if pruned < _PRUNED_AT_ONCE:
            self._due["prune"] = monotonic() + _PRUNE_EVERY
        if pruned:
            log.info("outbox.pruned", rows=pruned, kept=str(self._settings.keep))

    def _end(self) -> None:
        self._sender.close()
        self.progress.leads = False
        try:
            self._lease.release()
            self._look()
        except (Retryable, UsageError) as error:
            log.warning("outbox.ends_without_database", why=str(error))
