"""A heartbeat: a source vouches for its data again and again, for as long as it publishes each change at once.

Every beat takes the time anew. A marker that the broker does not confirm is given up after a few seconds and never sent later,
so that a broker that was away is told of now, not of then.
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
    """What writes markers: a producers.Publisher."""

    def mark(self, as_of: datetime) -> dict[int, int]:
        """Vouch for everything up to `as_of`; return where the markers stand by partition."""

    def __enter__(self) -> Marks:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One try: up to when the source vouches (UTC), and in how many partitions; or why it could not be told."""

    as_of: datetime
    markers: int
    failure: str | None = None


class Heartbeat:
    """Marks every `every` seconds until stopped, up to `behind` seconds before each beat.

    `publisher` makes what writes the markers; it is made anew after a failure, so that nothing of the failed one is sent.
    `tell` is called after every try. `now` and `wait` are the clock, for tests: `wait` returns true once stopped.
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
        """End `run` after the beat that is under way; may be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Beat until stopped. Raises what no waiting mends: UsageError where the department may not write there."""
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
            due = max(due + self._every, self._clock())  # beats that a slow broker has missed are not made up for
            if self._wait(due - self._clock()):
                return True
        return True
