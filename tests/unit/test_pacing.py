"""Who rests, for how long, and that nothing is lost or overtaken while a batch takes a share of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.errors import Retryable
from streams.intake.pacing import SHARE, Paced, Pacing, _cost
from streams.kafka.records import Run
from streams.runtime.collector import Collector
from tests.fuzz.properties import records_of
from tests.unit.test_stopping import unseen

HEAVY, LIGHT = "records.tax", "records.water"


class Line:
    """`accepted` and the view, and the clock, all set by hand."""

    at, reached, end = 100.0, 0, 0
    away = False

    def __call__(self) -> tuple[int, int]:
        """How far the view is, and how far the topic reaches."""
        if self.away:
            raise Retryable("Kafka does not answer")
        return self.reached, self.end

    def now(self) -> float:
        """The clock."""
        return self.at


def pace(line: Line, topics: Sequence[str] = (HEAVY, LIGHT)) -> Pacing:
    """Return the judge."""
    return Pacing(topics, line, now=line.now)


def sent(pacing: Pacing, line: Line, heavy: int, light: int = 1) -> None:
    """Let both send so many."""
    for topic, count in ((HEAVY, heavy), (LIGHT, light)):
        if count:
            pacing.took([records_of(topic, [b"x"] * count)])
    line.end += heavy + light


def test_the_heavy_one_rests_until_the_view_is_near_and_the_light_one_does_not() -> None:
    line = Line()
    pacing = pace(line)
    sent(pacing, line, 9_000)
    assert pacing.look() == frozenset()
    assert (pacing.holds(HEAVY), pacing.holds(LIGHT)) == (True, False)
    line.reached = 5_000
    assert pacing.look() == frozenset()
    assert pacing.holds(HEAVY)
    line.reached = 7_500
    assert pacing.look() == {HEAVY}
    assert not pacing.holds(HEAVY)


def test_nobody_rests_where_nobody_waits() -> None:
    line = Line()
    pacing = pace(line)
    sent(pacing, line, 90_000, light=0)
    pacing.look()
    assert not pacing.holds(HEAVY)
    assert pacing.share() is None
    sent(pacing, line, 0, light=1)
    assert pacing.share() == SHARE
    line.at += 61
    assert pacing.share() is None, "the other one has sent nothing for a minute"


@pytest.mark.parametrize("how", ["it never moved", "it died", "Kafka is away"])
def test_a_view_that_is_away_holds_nobody_up(how: str) -> None:
    line = Line()
    pacing = pace(line)
    sent(pacing, line, 9_000)
    pacing.look()
    assert pacing.holds(HEAVY)
    line.away = how == "Kafka is away"
    if how == "it died":
        line.reached = 10
        assert pacing.look() == frozenset()
    freed = frozenset[str]()
    for _ in range(30):
        line.at += 0.25
        sent(pacing, line, 500)
        freed |= pacing.look()
    assert freed == {HEAVY}
    assert not pacing.holds(HEAVY)


def test_an_entry_of_the_quarantine_counts_as_what_it_costs() -> None:
    assert _cost({("accepted", 0): 7, ("accepted", 1): -1001, ("quarantine", 0): 3}) == 37


def test_what_is_no_departments_never_rests() -> None:
    line = Line()
    pacing = pace(line, [LIGHT])
    sent(pacing, line, 90_000)
    pacing.look()
    assert not pacing.holds(HEAVY)


class _Event:
    def __init__(self, run: Run) -> None:
        self.value = run
        self.message = type("Message", (), {"generation_id": 1})()

    def ack(self) -> None:
        """Acked."""


@pytest.mark.parametrize("seed", range(20))
def test_a_share_changes_no_order_and_leaves_nothing_behind(seed: int) -> None:
    chance = random.Random(seed)

    class Seen:
        batches: list[list[tuple[str, int]]] = []  # noqa: RUF012

        def prepare(self, runs: Sequence[Run], /) -> Any:
            return runs

        def finish(self, prepared: Any, /) -> None:
            self.batches.append([(run.topic, record.offset) for run in prepared for record in run.records])

    async def play() -> list[list[tuple[str, int]]]:
        seen = Seen()
        seen.batches = []
        collector = Collector(
            seen, reread=lambda _: None, recorder=unseen(), max_records=60, share=lambda: 20, pace=0.0
        )  # fmt: skip
        position = {HEAVY: 0, LIGHT: 0}
        working = asyncio.ensure_future(collector.run(lambda error: None))  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            for _ in range(80):
                topic = chance.choice([HEAVY, HEAVY, HEAVY, LIGHT])
                count = chance.randrange(1, 15)
                await collector.add(_Event(records_of(topic, [b"x"] * count, position[topic])))
                position[topic] += count
            while sum(map(len, seen.batches)) < sum(position.values()):
                await asyncio.sleep(0)
        working.cancel()
        for topic, reached in position.items():
            assert [offset for batch in seen.batches for at, offset in batch if at == topic] == list(range(reached))
        return seen.batches

    for batch in asyncio.run(play()):
        assert sum(topic == HEAVY for topic, _ in batch) <= 20


def test_what_is_paced_is_worked_on() -> None:
    line = Line()
    pacing = pace(line)
    given: list[Any] = []

    class Work:
        def prepare(self, runs: Sequence[Run], /) -> Any:
            return ("prepared", runs)

        def finish(self, prepared: Any, /) -> None:
            given.append(prepared)

    paced = Paced(Work(), pacing)
    runs = [records_of(HEAVY, [b"x"] * 9_000), records_of(LIGHT, [b"x"])]
    paced.finish(paced.prepare(runs))
    assert given == [("prepared", runs)]
    line.end = 9_001
    pacing.look()
    assert pacing.holds(HEAVY)
