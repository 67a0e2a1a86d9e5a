"""A heartbeat vouches for the time at which it is told, never for one that has passed while a server was away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType

import pytest

from producers.errors import NotDelivered
from producers.heartbeat import Beat, Heartbeat
from schemas.errors import Retryable, UsageError

START = datetime(2026, 3, 1, tzinfo=UTC)


class World:
    """A broker and a clock: each beat takes `slow` seconds, `away` says between which seconds nothing answers."""

    def __init__(self, *, until: float, away: tuple[float, float] = (0, 0), slow: float = 0.0) -> None:
        self.seconds = 0.0
        self.marked: list[tuple[float, float]] = []
        """When each marker was confirmed, and up to when it vouches."""
        self.told: list[Beat] = []
        self.made = 0
        self._until, self._away, self._slow = until, away, slow

    def publisher(self) -> Publisher:
        """Return a publisher as the SDK's is, its registry on the same machine as the broker."""
        self._answer(Retryable)
        self.made += 1
        return Publisher(self)

    def mark(self, as_of: datetime) -> dict[int, int]:
        """Write markers, as slowly as the broker is."""
        self._answer(lambda why: NotDelivered(2, why))
        self.seconds += self._slow
        self.marked.append((self.seconds, (as_of - START).total_seconds()))
        return {0: 1, 1: 1}

    def wait(self, seconds: float) -> bool:
        """Let time pass; true once the process is to end."""
        assert seconds >= 0
        self.seconds += seconds
        return self.seconds >= self._until

    def beat(self, every: float, behind: float = 0.0) -> None:
        """Run a heartbeat in this world."""
        Heartbeat(
            self.publisher,
            every=every,
            behind=behind,
            tell=self.told.append,
            now=lambda: START + timedelta(seconds=self.seconds),
            clock=lambda: self.seconds,
            wait=self.wait,
        ).run()

    def _answer(self, error: Callable[[str], Exception]) -> None:
        if self._away[0] <= self.seconds < self._away[1]:
            self.seconds += 5.0  # it has waited in vain
            raise error("Kafka does not answer")


class Publisher:
    """What a Heartbeat needs of one; after a failure it must not be used again."""

    def __init__(self, world: World) -> None:
        self._world, self._failed = world, False

    def mark(self, as_of: datetime) -> dict[int, int]:
        """Vouch."""
        assert not self._failed, "what of it was not confirmed might be sent now"
        try:
            return self._world.mark(as_of)
        except NotDelivered:
            self._failed = True
            raise

    def __enter__(self) -> Publisher:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""


def test_it_beats_at_its_pace_and_with_one_publisher() -> None:
    world = World(until=300)
    world.beat(60)
    assert world.marked == [(0, 0), (60, 60), (120, 120), (180, 180), (240, 240)]
    assert world.made == 1
    assert all(beat.failure is None and beat.markers == 2 for beat in world.told)


def test_a_broker_that_was_away_is_told_of_now_and_not_of_then() -> None:
    world = World(until=1_000, away=(100, 700))
    world.beat(60)
    assert all(confirmed == vouched for confirmed, vouched in world.marked)
    assert not [vouched for _, vouched in world.marked if 100 <= vouched < 700]
    assert min(vouched for _, vouched in world.marked if vouched >= 700) <= 740, "it tries at least every 30 s"
    assert {beat.failure is None for beat in world.told} == {True, False}


def test_beats_that_a_slow_broker_has_missed_are_not_made_up_for() -> None:
    world = World(until=100, slow=25.0)
    world.beat(10)
    assert world.marked == [(25, 0), (50, 25), (75, 50), (100, 75)]


def test_it_vouches_as_far_back_as_a_change_needs() -> None:
    world = World(until=130)
    world.beat(60, behind=30)
    assert world.marked == [(0, -30), (60, 30), (120, 90)]


def test_what_no_waiting_mends_ends_it() -> None:
    def forbidden() -> Publisher:
        raise UsageError("may not write there")

    with pytest.raises(UsageError, match="may not"):
        Heartbeat(forbidden, every=60).run()


def test_once_stopped_it_does_not_beat_again() -> None:
    world = World(until=1_000)
    beating = Heartbeat(world.publisher, every=60, tell=lambda _: beating.stop())
    beating.run()
    assert len(world.marked) == 1
