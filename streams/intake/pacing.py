"""Pacing: the throttle of departments that send more than the view can fold.

Intake is faster than the view, and in `accepted` all departments stand in one line: everybody would wait behind a large
delivery. A heavy department rests instead: its records wait in its own topic, and the records of others go past them.
The department loses nothing: the view always has something to fold, so it folds these records no later than otherwise.
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
"""Most records of one department in a batch of intake while other departments send records too."""

_FAR, _NEAR = 5_000, 2_000
"""The lag of the view, in records, at which a heavy department begins to rest, and at which it goes on:
a quarter of a second's folding."""

_ENTRY = 10
"""The cost of a quarantine entry for the view, in statements: the view writes entries one by one."""

_HEAVY = 1_000
"""Records within the last looks from which a department is heavy."""

_EVERY = 0.2
_ACTIVE = 60.0
"""Seconds for which a department counts as active after it has sent something."""
_ALIVE = 5.0
"""Seconds without progress until the view counts as away: waiting for it gains nothing."""


class Distance:
    """Offsets that the view's group has committed and ends of the logs that it folds, each as a sum over the
    partitions.

    A quarantine entry counts as the statements that it costs."""

    def __init__(self, kafka: Cluster, logs: Logs, places: Sequence[tuple[str, int]]) -> None:
        # A client of its own, which stays connected and joins no group.
        self._cluster = kafka
        self._consumer = Consumer(
            kafka.client({"group.id": "xinliu-view", "enable.auto.commit": False, "log_level": 2})
        )
        self._logs, self._places = logs, places

    def __call__(self) -> tuple[int, int]:
        """Return both sums. Raises Retryable if Kafka does not answer."""
        try:
            found = self._consumer.committed([TopicPartition(*place) for place in self._places], timeout=5.0)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        reached = _cost({(place.topic, place.partition): place.offset for place in found})
        return reached, _cost(self._logs.ends(self._places))

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


def _cost(offsets: Mapping[tuple[str, int], int]) -> int:
    return sum(max(offset, 0) * (_ENTRY if topic == "quarantine" else 1) for (topic, _), offset in offsets.items())


class Pacing:
    """Decides which departments rest. `topics` are the topics that may rest;
    `distance` returns how far the view is and how far the logs reach."""

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
        """Return whether this topic rests."""
        return topic in self._resting

    def took(self, runs: Iterable[Run]) -> None:
        """Count the records that intake works on now."""
        with self._lock:
            now = self._now()
            for run in runs:
                self._taken[run.topic] += len(run.records)
                self._seen[run.topic] = now

    def share(self) -> int | None:
        """Return how many records of one department a batch may hold.
        None: any number, since no other department sends."""
        return SHARE if len(self._active()) > 1 else None

    def look(self) -> frozenset[str]:
        """Decide anew; return the topics that rested until now and may go on."""
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
        """Look at intervals until stopped; `go_on` resumes reading a topic."""
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
    """A Work that reports its runs to Pacing."""

    def __init__(self, work: Work, pacing: Pacing) -> None:
        self._work, self._pacing = work, pacing

    def prepare(self, runs: Sequence[Run], /) -> Any:
        """Count the runs and prepare them."""
        self._pacing.took(runs)
        return self._work.prepare(runs)

    def finish(self, prepared: Any, /) -> None:
        """Finish the prepared batch."""
        self._work.finish(prepared)
