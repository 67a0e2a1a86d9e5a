"""The throttle of a rebuild, in favour of the live view: it uses the same machines, and readers must not notice it.

There is a ceiling, the requested rate, and below it a rate that falls while the live view is behind. If the database
runs on the same machine, the rebuild's backends and this process also get the lowest priority.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType

import psycopg
import structlog

from schemas.errors import Retryable
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.kafka.ranges import Logs

__all__ = ["Judged", "LiveLag", "Pace", "Throttle"]

log = structlog.get_logger()

_LOOK = 0.25
_SLOWEST, _FASTEST = 500.0, 10_000_000.0
_FIRST, _FASTER = 2_000.0, 1.1
"""First rate of a gentle rebuild, in events a second, and its factor at each look that finds nobody behind."""
_BEHIND_SECONDS, _BEHIND_EVENTS = 0.7, 300
"""The live view is behind if it lacks the arrivals of more than so many seconds, and more than so many events."""
_GONE = 10.0
"""Seconds without a fold after which the live view counts as absent: the rebuild does not make way."""
_REMEMBERED = 2.0
"""Seconds over which admitted events are counted."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The permitted rate of a rebuild in events a second (None: no limit); `gentle`: it makes way for the live view."""

    rate: float | None = None
    gentle: bool = True


class Judged:
    """Judges from looks at a log and its reader whether the reader is at work and behind."""

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None
        self._moved_at = float("-inf")

    def behind(self, now: float, end: int, folded: int) -> bool:
        """Return whether the reader is behind at this look: time in seconds, end of the log, folded offset."""
        last, self._last = self._last, (now, end, folded)
        if last is None:
            return False
        if folded > last[2]:
            self._moved_at = now
        rate = (end - last[1]) / max(now - last[0], 1e-3)
        # A transaction may be open at both looks, and lasts longer the less the live view gets of the machine.
        return now - self._moved_at < _GONE and end - folded > max(_BEHIND_EVENTS, rate * _BEHIND_SECONDS)


class LiveLag:
    """The lag of the serving generation behind the ends of `accepted`."""

    def __init__(self, connection: Connection) -> None:
        self._logs = Logs(connection.kafka)
        self._store = connect(connection.database.get_secret_value(), autocommit=True)
        self._judged = Judged()

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

    def behind(self) -> bool:
        """Return whether the live view is at work and behind: readers would notice that."""
        schema = self._store.execute("SELECT format('%I', 'g' || generation) FROM xinliu.serving").fetchone()
        assert schema is not None
        rows = self._store.execute(
            f"SELECT partition, next_offset FROM {schema[0]}.position WHERE topic = 'accepted'"
        ).fetchall()
        end = sum(self._logs.ends(("accepted", int(str(partition))) for partition, _ in rows).values())
        return self._judged.behind(monotonic(), end, sum(int(str(offset)) for _, offset in rows))


class Throttle:
    """Limits the rate of events for all lanes of a process; as a context, it watches the live view."""

    def __init__(
        self,
        ceiling: float | None,
        behind: Callable[[], bool] | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._ceiling, self._behind = ceiling or _FASTEST, behind
        self._rate = self._ceiling
        self._clock = clock
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._recent: list[tuple[float, int]] = []

    @classmethod
    def of(cls, connection: Connection, pace: Pace, lanes: int) -> Throttle:
        """Return the throttle of one process; `pace.rate` is its own share."""
        if not pace.gentle:
            return cls(pace.rate)
        lag = LiveLag(connection)
        throttle = cls(pace.rate, lag.behind)
        throttle._rate = min(throttle._rate, _FIRST)
        throttle._close = lag.close
        return throttle

    _close: Callable[[], None] = staticmethod(lambda: None)

    @property
    def rate(self) -> float:
        """The present rate in events a second."""
        return self._rate

    def admit(self, events: int) -> None:
        """Wait until so many events may be processed."""
        with self._lock:
            now = self._clock()
            begins = max(now, self._free_at)
            self._free_at = begins + events / self._rate
            self._recent.append((now, events))
        if begins > now:
            self._wait(begins - now)

    def adjust(self) -> None:
        """Look at the live view once: halve the rate if it is behind, raise it by a tenth if it is not."""
        if self._behind is None:
            return
        behind = self._behind()
        with self._lock:
            now = self._clock()
            self._recent = [one for one in self._recent if one[0] > now - _REMEMBERED]
            if behind:
                # From the rate really reached: a ceiling far above it would have to be halved many times.
                done = sum(events for _, events in self._recent) / _REMEMBERED
                self._rate = max(_SLOWEST, min(self._rate, done or self._rate) / 2)
            else:
                self._rate = min(self._ceiling, self._rate * _FASTER)

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK):
            try:
                self.adjust()
            except (Retryable, psycopg.Error) as error:
                log.warning("rebuild.cannot_see_the_live_view", why=str(error).strip())

    def __enter__(self) -> Throttle:
        """Start the watch."""
        if self._behind is not None:
            threading.Thread(target=self._watch, name="throttle", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the watch."""
        self._stopped.set()
        self._close()
