"""Detection of partitions that nobody reads, from a worker's subscription, its group's assignment and its own progress.

A group can leave out a partition for good. A member that comes back under its name gets its former assignment from the
broker, and no member is asked to make a new one. A topic that was deleted and made anew meanwhile belongs to nobody,
and nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

import structlog

from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import UNREAD

__all__ = ["PATIENCE", "GroupReading", "UnreadPartitions"]

PATIENCE = 30.0
"""Seconds that a partition may be unassigned before the group must rebalance. The pause before the next try doubles
each time: every rebalance stops the whole group for a moment."""

_LONGEST = 600.0

log = structlog.get_logger()

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GroupReading:
    """The partitions that a worker and its group read at one moment."""

    shared_out: Collection[Place] | None
    """The partitions of all members of the group; None during a rebalance."""
    standing: Mapping[Place, int]
    """The offset at which this worker stands in each of its partitions."""
    in_hand: Collection[Place]
    """Its partitions with fetched but unfinished messages, and those paused on purpose."""


class UnreadPartitions:
    """Finds unread partitions, reports them (readiness, metric, log), and decides when to rejoin the group.

    `ends` returns the end offsets of partitions. Raises Retryable if Kafka does not answer.
    """

    def __init__(
        self,
        subscribed: Iterable[Place],
        ends: Callable[[Collection[Place]], Mapping[Place, int]],
        instruments: Instruments,
        probe: Probe,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._subscribed = frozenset(subscribed)
        self._ends, self._probe, self._clock = ends, probe, clock
        self._unread = instruments.latest(UNREAD)
        self._since: dict[Place, float] = {}
        self._stood: dict[Place, tuple[int, float]] = {}
        self._next_try, self._pause = 0.0, PATIENCE

    def look(self, reading: GroupReading) -> bool:
        """Take a reading; return whether to rejoin the group."""
        now = self._clock()
        nobodys = self._nobodys(reading)
        found = nobodys | self._not_fetched(reading, now)
        for place in set(self._since) - found:
            log.info("worker.reads_again", partition=_named(place), after_seconds=round(now - self._since[place], 1))
        # A stalled partition is recognised late: its time counts from the stall.
        self._since = {place: self._since.get(place, self._stood.get(place, (0, now))[1]) for place in sorted(found)}
        waited = {place: now - since for place, since in self._since.items()}
        self._unread.replace({(topic, str(partition)): waited[topic, partition] for topic, partition in waited})
        self._probe.unread({_named(place): seconds for place, seconds in waited.items()})
        return self._rejoin(waited, now)

    def _nobodys(self, reading: GroupReading) -> set[Place]:
        if reading.shared_out is None:
            return self._since.keys() & self._subscribed - reading.standing.keys()
        return set(self._subscribed - set(reading.shared_out))

    def _not_fetched(self, reading: GroupReading, now: float) -> set[Place]:
        # A batch that waits for a server holds up all partitions, and is reported by itself.
        ours = {} if self._probe.waits() else {p: o for p, o in reading.standing.items() if p not in reading.in_hand}
        self._stood = {
            place: known if (known := self._stood.get(place)) and known[0] == offset else (offset, now)
            for place, offset in ours.items()
        }
        still = {place for place, (_, since) in self._stood.items() if now - since >= PATIENCE}
        ends = self._ends(still) if still else {}
        for place in still - {place for place in still if ends[place] > ours[place]}:
            self._stood[place] = (ours[place], now)  # fully read: the time counts from now
        return {place for place in still if ends[place] > ours[place]}

    def _rejoin(self, waited: Mapping[Place, float], now: float) -> bool:
        if not waited:
            self._next_try, self._pause = 0.0, PATIENCE
            return False
        if max(waited.values()) < PATIENCE or now < self._next_try:
            return False
        log.error(
            "worker.partitions_unread",
            partitions=[_named(place) for place in waited],
            for_seconds=round(max(waited.values()), 1),
            rejoins=True,
            next_try_in_seconds=self._pause,
        )
        self._next_try, self._pause = now + self._pause, min(2 * self._pause, _LONGEST)
        return True


def _named(place: Place) -> str:
    return f"{place[0]}/{place[1]}"
