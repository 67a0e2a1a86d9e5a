"""Heartbeat: a source vouches for its data at a fixed interval, as long as it publishes each change at once.

Every beat takes the current time. If the broker does not confirm a marker within a few seconds, the marker is dropped
and never sent later, so that a broker that comes back receives the current time and not an old one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Protocol

from schemas.errors import Retryable

__all__ = ["PATIENCE", "Beat", "Heartbeat", "Marks"]

PATIENCE = 5.0
"""Seconds that a marker waits for the broker."""

_LONGEST_PAUSE = 30.0


class Marks(Protocol):
    """The writer of markers: a producers.Publisher."""

    def mark(self, as_of: datetime) -> dict[int, int]:
        """Vouch for everything up to `as_of`. Return the offsets of the markers by partition."""

    def __enter__(self) -> Marks:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One attempt: up to when the source vouches (UTC) and in how many partitions; or the failure."""

    as_of: datetime
    markers: int
    failure: str | None = None


class Heartbeat:
    """Writes markers every `every` seconds until stopped; each vouches up to `behind` seconds before its beat.

    `publisher` opens the writer of the markers, and a new one after a failure, so that nothing of the failed one is
    sent. `tell` is called after every attempt. `now` and `wait` are the clock, for tests: `wait` returns true once
    stopped.
    """

    def __init__(
        self,
        publisher: Callable[[], Marks],
        *,
        every: float,
        behind: float = 0.0,
        tell: Callable[[Beat], None] = lambda beat: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._publisher = publisher
        self._every = every
        self._behind = timedelta(seconds=behind)
        self._tell = tell
        self._now = now
        self._clock = clock
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait

    def stop(self) -> None:
        """End `run` after the current beat; may be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Beat until stopped. Raises errors that waiting cannot mend: UsageError without the right to write there."""
        pause = min(1.0, self._every)
        while not self._stopped.is_set():
            try:
                with self._publisher() as publisher:
                    pause = min(1.0, self._every)
                    if self._beat_on(publisher):
                        return
            except Retryable as error:
                self._tell(Beat(self._now() - self._behind, 0, str(error)))
                if self._wait(pause):
                    return
                pause = min(pause * 2, _LONGEST_PAUSE, self._every)

    def _beat_on(self, publisher: Marks) -> bool:
        due = self._clock()
        while not self._stopped.is_set():
            as_of = self._now() - self._behind
            self._tell(Beat(as_of, len(publisher.mark(as_of))))
            due = max(due + self._every, self._clock())  # beats that a slow broker missed are skipped
            if self._wait(due - self._clock()):
                return True
        return True
