"""The relay: publishes the committed rows of a department's outbox, in order, at least once.

A row stays WAITING until the broker has confirmed it. A relay that dies before it writes this publishes the row once
more, with the same bytes, which is idempotent (the fold is a maximum, the digest the identity).

When it vouches (数据截至), it takes as_of before it asks the database for waiting rows, and writes the markers once all
of these have been published: every row committed by as_of was either among them or published before. For the platform,
a row committed later was decided later; docs/decisions/035 has the argument.
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
    """Settings of a relay; times in seconds."""

    batch: int = 1_000
    """Rows in a batch."""
    poll: float = 0.5
    """Pause between two queries of an outbox without waiting rows."""
    mark_every: float = 60.0
    """Interval of markers; 0: never, another program writes them."""
    report_every: float = 10.0
    """Interval of log lines on the backlog, while there is one."""
    keep: timedelta | None = timedelta(days=90)
    """How long sent rows are kept; None: for ever."""


@dataclass
class RelayProgress:
    """Counts of a relay since its start, and the backlog when it last looked; for metrics."""

    sent: int = 0
    refused: int = 0
    retries: int = 0
    leads: bool = False
    as_of: datetime | None = None
    backlog: Backlog | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Vow:
    """A marker to write: each row committed by `as_of` is published, or is unsettled with an id up to `last`."""

    as_of: datetime
    last: int | None


class Relay:
    """One relay of one department's outbox. Call `run`, or `drain` for one pass."""

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
        """The relay's name in the lease."""
        return self._lease.owner

    def stop(self) -> None:
        """End `run` after the current batch; may be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Relay until stopped. While the database, the broker or the registry does not answer, wait and log the reason.

        Raises UsageError if one of them refuses: a person must mend that.
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
        """Relay until no row waits, vouch, and return. Raises Retryable if a server does not answer.

        If another relay is at work, it waits for the length of a lease: that relay may have been killed.
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
        """Publish one batch. Return true if more may wait. Does nothing while another relay is at work."""
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
            as_of = self._now()  # before the query, never after
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
            return  # the next rounds publish them
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
        # One portion a round: publishing does not wait until the rows of a year are deleted.
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
