"""How a rebuild makes way: never faster than asked for, slower while the live view is behind, and fast again after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.replay.rebuild.throttle import Judged, Throttle


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_no_more_is_let_through_than_the_rate(clock: Clock) -> None:
    throttle = Throttle(1_000, clock=clock, wait=clock.wait)
    for _ in range(20):
        throttle.admit(500)
    assert clock.now == pytest.approx(9.5), "what was let through last is worked on behind it"


def test_without_a_rate_nobody_waits(clock: Clock) -> None:
    throttle = Throttle(None, clock=clock, wait=clock.wait)
    for _ in range(100):
        throttle.admit(10_000)
    assert clock.now < 0.2


def test_it_slows_down_while_the_live_view_is_behind_and_goes_faster_after_it(clock: Clock) -> None:
    said: Iterator[bool] = iter([True] * 4 + [False] * 80)
    throttle = Throttle(40_000, lambda: next(said), clock=clock, wait=clock.wait)
    rates = []
    for _ in range(84):
        throttle.admit(5_000)
        throttle.adjust()
        rates.append(throttle.rate)
    assert 20_000 >= rates[0] >= rates[1] >= rates[2] >= rates[3]
    assert rates[3] < rates[0]
    assert min(rates) >= 500, "it never stands still"
    assert rates[-1] == 40_000, "and never goes beyond what was asked for"


def looks(judged: Judged, *taken: tuple[float, int, int]) -> list[bool]:
    """Return what it says at each look: seconds, end of the log, folded up to."""
    return [judged.behind(*one) for one in taken]


def test_a_view_in_the_middle_of_a_long_transaction_is_behind() -> None:
    # 1,000 events a second; it folds, then nothing for a second and a half.
    said = looks(
        Judged(),
        (0, 0, 0),
        (0.25, 250, 200),
        (0.5, 500, 450),
        (1.25, 1_250, 450),
        (2.0, 2_000, 450),
        (2.25, 2_250, 2_200),
    )
    assert said == [False, False, False, True, True, False]


def test_a_view_that_is_not_there_is_waited_for_no_longer() -> None:
    judged = Judged()
    looks(judged, (0, 0, 0), (1, 5_000, 1_000))
    assert judged.behind(5, 5_000, 1_000)
    assert not judged.behind(12, 5_000, 1_000)


def test_who_was_never_seen_to_fold_is_not_waited_for() -> None:
    assert looks(Judged(), (0, 9_000, 0), (1, 10_000, 0), (2, 11_000, 0)) == [False, False, False]
