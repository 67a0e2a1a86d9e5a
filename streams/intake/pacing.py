"""Pacing: while one department sends more than the view can fold, it rests, and what others send goes past it.

Intake is faster than the view, and in `accepted` all departments stand in one line: what one of them sends at once,
everybody behind it would wait for. So what is heavy waits in its own topic instead, where it is in nobody's way. The
department that rests loses nothing: the view has always something to fold, so that its records are read no later than
otherwise.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import Retryable
from schemas.servers.kafka import Cluster
from streams.kafka.ranges import Logs
from streams.kafka.records import Run
from streams.runtime.collector import Work

__all__ = ["SHARE", "Distance", "Paced", "Pacing"]

log = structlog.get_logger()

SHARE = 4_000
"""Records of one department in a batch of intake, while others send something, too."""

_FAR, _NEAR = 5_000, 2_000
"""Records that the view is behind when a heavy department begins to rest, and when it goes on:
a quarter of a second's folding."""

_ENTRY = 10
"""As many statements as an entry of the quarantine costs the view, which writes these one by one."""

_HEAVY = 1_000
"""Records within the last looks that make a department heavy."""

_EVERY = 0.2
_ACTIVE = 60.0
"""Seconds for which a department that has sent something counts as one of the others."""
_ALIVE = 5.0
"""Seconds after which a view that does not move is away: nothing is gained by waiting for it."""


class Distance:
    """How far the view is, and how far what it folds reaches: sums over the partitions, as the view's group has
    committed them; an entry of the quarantine counts as the statements that it costs."""

    def __init__(self, kafka: Cluster, logs: Logs, places: Sequence[tuple[str, int]]) -> None:
        # A client of its own that stays connected, and joins nothing.
        self._cluster = kafka
        self._consumer = Consumer(
            kafka.client({"group.id": "xinliu-view", "enable.auto.commit": False, "log_level": 2})
        )
        self._logs, self._places = logs, places

    def __call__(self) -> tuple[int, int]:
        """Return both. Raises Retryable where Kafka does not answer."""
        try:
            found = self._consumer.committed([TopicPartition(*place) for place in self._places], timeout=5.0)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        reached = _cost({(place.topic, place.partition): place.offset for place in found})
        return reached, _cost(self._logs.ends(self._places))

    def close(self) -> None:
        """End the client."""
        self._consumer.close()


def _cost(offsets: Mapping[tuple[str, int], int]) -> int:
    return sum(max(offset, 0) * (_ENTRY if topic == "quarantine" else 1) for (topic, _), offset in offsets.items())


class Pacing:
    """Decides who rests. `topics` are those that may;
    `distance` says how far the view is and how far the logs reach."""

    def __init__(
        self,
        topics: Iterable[str],
        distance: Callable[[], tuple[int, int]],
        *,
        now: Callable[[], float] = monotonic,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._topics, self._distance, self._now, self._close = frozenset(topics), distance, now, close
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._recent: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._resting: frozenset[str] = frozenset()
        self._reached, self._moved = -1, now()
        self._stopped = threading.Event()

    def holds(self, topic: str) -> bool:
        """Tell whether this topic rests."""
        return topic in self._resting

    def took(self, runs: Iterable[Run]) -> None:
        """Note what intake works on now."""
        with self._lock:
            now = self._now()
            for run in runs:
                self._taken[run.topic] += len(run.records)
                self._seen[run.topic] = now

    def share(self) -> int | None:
        """Return how many records of one department a batch may hold; None: as many as there are,
        for nobody else sends."""
        return SHARE if len(self._active()) > 1 else None

    def look(self) -> frozenset[str]:
        """Decide anew; return the topics that have rested, and go on."""
        with self._lock:
            taken, self._taken = self._taken, Counter()
        recent = {topic: self._recent.get(topic, 0.0) / 2 + taken[topic] for topic in {*self._recent, *taken}}
        self._recent = {topic: records for topic, records in recent.items() if records >= 1}
        heavy = frozenset(topic for topic, records in self._recent.items() if records >= _HEAVY) & self._topics
        if not self._resting and (not heavy or len(self._active()) < 2):
            return frozenset()
        try:
            reached, end = self._distance()
        except Retryable as error:
            log.info("intake.pace_unknown", why=str(error))
            reached, end = self._reached, self._reached
        if reached != self._reached:
            self._reached, self._moved = reached, self._now()
        away = self._now() - self._moved > _ALIVE
        rested = self._resting
        if rested and (away or end - reached <= _NEAR):
            self._resting = frozenset()
            return rested
        if not away and end - reached > _FAR:
            self._resting |= heavy
        return frozenset()

    def run(self, go_on: Callable[[str], Any]) -> None:
        """Look until stopped; `go_on` lets a topic be read again."""
        while not self._stopped.wait(_EVERY):
            for topic in sorted(self.look()):
                go_on(topic)
        self._close()

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def _active(self) -> list[str]:
        with self._lock:
            since = self._now() - _ACTIVE
            self._seen = {topic: at for topic, at in self._seen.items() if at >= since}
            return list(self._seen)


class Paced:
    """A work that tells Pacing what it is given."""

    def __init__(self, work: Work, pacing: Pacing) -> None:
        self._work, self._pacing = work, pacing

    def prepare(self, runs: Sequence[Run], /) -> Any:
        """Note the runs, and prepare them."""
        self._pacing.took(runs)
        return self._work.prepare(runs)

    def finish(self, prepared: Any, /) -> None:
        """Finish."""
        self._work.finish(prepared)
