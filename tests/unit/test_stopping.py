"""When a department's intake is stopped, and that nothing of what it holds back is lost or overtaken."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.contracts.codec import encode, frame
from schemas.operations.event import Operation
from schemas.servers.connection import IntakeLimits
from streams.intake.stops import RESUMED, STOPPED, Stopping, stopped_departments
from streams.kafka.records import Run
from streams.monitoring.endpoint import Outside
from streams.monitoring.recorder import WorkRecorder
from streams.runtime.collector import Collector
from tests.fuzz.choices import Consumed
from tests.fuzz.hostile import Writers, marker
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.statements import penalty

LIMITS = IntakeLimits(consecutive=10, window=40, ratio=0.5)
TOPICS = {"records.tax": "tax", "records.finance": "finance"}


def stopping(written: list[Operation] | None = None) -> Stopping:
    """Return the judge of two departments with small limits."""
    return Stopping(LIMITS, TOPICS, ([] if written is None else written).append, by="test")


def event(kind: str, department: str = "tax", **detail: Any) -> Operation:
    """Return an event of `operations`."""
    return Operation(kind, department, datetime(2026, 1, 1, tzinfo=UTC), "somebody", "", detail)


def judged(judge: Stopping, outcomes: Sequence[bool], topic: str = "records.tax") -> str | None:
    """Judge a batch (true: refused) of one department; return why it was stopped."""
    run = records_of(topic, [b"x"] * len(outcomes))
    refused = {row: ["NOT_AVRO"] for row, bad in enumerate(outcomes) if bad}
    stops = judge.judge([run], refused, ())
    return stops[0].reason if stops else None


def test_a_row_of_refusals_stops_only_its_department_also_across_batches() -> None:
    judge = stopping()
    assert judged(judge, [True] * 6) is None
    assert judged(judge, [True] * 9, "records.finance") is None
    assert judged(judge, [True] * 4 + [False]) == "10 messages in a row were refused; the limit is 10"
    assert judge.holds("records.tax")
    assert not judge.holds("records.finance")


def test_one_good_message_ends_a_row() -> None:
    judge = stopping()
    for _ in range(3):
        assert judged(judge, [True] * 9 + [False] * 11) is None


def test_half_of_the_last_messages_refused_stops_it_and_old_ones_are_forgotten() -> None:
    judge = stopping()
    assert judged(judge, [False] * 400) is None
    assert judged(judge, [True, False] * 19) is None, "the large batch before still counts: 19 of 438"
    reason = judged(judge, [True, False])
    assert reason == "20 of the last 40 messages were refused; the limit is 50%"


def test_few_messages_are_no_share() -> None:
    judge = stopping()
    assert judged(judge, [True, False] * 19) is None


def test_markers_neither_excuse_nor_accuse() -> None:
    judge = stopping()
    run = records_of("records.tax", [b"x"] * 30)
    refused = {row: ["DAMAGED"] for row in range(0, 30, 3)}
    (stop,) = judge.judge([run], refused, [row for row in range(30) if row not in refused])
    assert stop.detail["codes"] == {"DAMAGED": 10}


class Clock:
    """A clock that is set by hand."""

    at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell it."""
        return self.at


@pytest.mark.parametrize("good", [2, 5, 19])
def test_junk_that_is_mixed_with_good_stops_it_too_however_thin(good: int) -> None:
    clock = Clock()
    judge = Stopping(LIMITS.model_copy(update={"per_hour": 100}), TOPICS, [].append, by="test", now=clock)
    batches = 0
    while (reason := judged(judge, [True] + [False] * good)) is None:
        clock.at += timedelta(seconds=1)
        batches += 1
        assert batches < 110
    assert reason == "100 refused messages are more than an hour may have; the limit is 100"


def test_what_an_hour_may_have_stops_nobody() -> None:
    clock = Clock()
    judge = Stopping(LIMITS.model_copy(update={"per_hour": 100}), TOPICS, [].append, by="test", now=clock)
    for _ in range(1_000):
        assert judged(judge, [True] + [False] * 9) is None
        clock.at += timedelta(seconds=36)


def test_rows_that_a_department_refused_itself_count_by_their_number_alone() -> None:
    judge = Stopping(LIMITS.model_copy(update={"per_hour": 100}), TOPICS, [].append, by="test", now=Clock())
    run = records_of("records.tax", [b"x"] * 60)
    assert judge.judge([run], {}, range(60), range(60)) == ()
    (stop,) = judge.judge([run], {}, range(60), range(60))
    assert "the limit is 100" in stop.reason


@pytest.mark.parametrize("split", [1, 4, 9])
def test_codes_are_told_of_all_messages_that_count_however_they_came(split: int) -> None:
    judge = stopping()
    for _ in range(4):  # as many good ones as push every code of this batch out of what counts
        codes = ["FORGOTTEN"] * 3 + [None] * 7
        assert not judge.judge(*batch(codes), ())
    assert not judge.judge(*batch([None] * 40), ())
    assert not judge.judge(*batch(["NOT_AVRO"] * split), ())
    (stop,) = judge.judge(*batch(["NOT_AVRO"] * (10 - split)), ())
    assert stop.detail["codes"] == {"NOT_AVRO": 10}
    assert stop.detail["refused"] == 10


def batch(codes: Sequence[str | None]) -> tuple[list[Run], dict[int, list[str]]]:
    """Return a batch of one department, refused where there is a code."""
    return [records_of("records.tax", [b"x"] * len(codes))], {n: [code] for n, code in enumerate(codes) if code}


def test_what_holds_follows_from_the_events_alone() -> None:
    judge = stopping()
    assert judge.follow(event(RESUMED)) is None, "it was not stopped"
    assert judge.follow(event(STOPPED)) is None
    assert judge.holds("records.tax")
    assert judge.follow(event("SOMETHING_LATER")) is None
    assert judge.follow(event(RESUMED)) == "records.tax"
    assert not judge.holds("records.tax")
    events = [event(STOPPED), event(STOPPED, "finance"), event(RESUMED), event(STOPPED, "finance")]
    assert list(stopped_departments(events)) == ["finance"]


def test_after_it_was_resumed_it_counts_anew() -> None:
    judge = stopping()
    judged(judge, [True] * 10)
    judge.follow(event(RESUMED))
    assert judged(judge, [True] * 9) is None
    assert judged(judge, [True]) is not None


@pytest.mark.parametrize("news", [True, False])
def test_an_operator_may_let_known_bad_ones_pass_once(news: bool) -> None:
    judge = stopping()
    judge.follow(event(STOPPED))
    judge.follow(event(RESUMED, tolerate=30), news=news)
    stopped = [judged(judge, [True] * 10) is not None for _ in range(5)]
    assert stopped == ([False, False, False, True, False] if news else [True, False, False, False, False])


def test_the_stage_stops_after_its_batch_and_writes_the_event_before_its_progress() -> None:
    writers, recorder, written = Writers(Consumed(b"")), Recorder(), list[Operation]()
    judge = stopping(written)
    stage = stage_of(writers.registry, recorder, stopping=judge)
    good = frame(writers.statement, encode("xinliu.Statement", penalty("好")))
    runs = [
        records_of("records.tax", [b"bad"] * 12 + [good, marker("tax", writers.marker)]),
        records_of("records.finance", [b"bad"] * 3),
    ]
    prepared = stage.prepare(runs)
    assert judge.holds("records.tax"), "what comes next is held already while this batch is being written"
    assert written == []
    stage.finish(prepared)
    assert [(one.kind, one.department) for one in written] == [(STOPPED, "tax")]
    assert len(recorder.quarantined) == 15
    assert len(recorder.accepted) == 1


@dataclass
class _Message:
    generation_id: int = 1


@dataclass
class _Event:
    """A Faust event, as the collector sees it."""

    value: Run
    message: _Message = field(default_factory=_Message)
    acked: bool = False

    def ack(self) -> None:
        """Faust's ack."""
        self.acked = True


class _Source:
    """A broker's partition as the collector meets it: fetched in runs, paused, sought."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.paused: set[tuple[str, int]] = set()
        self.sought: dict[tuple[str, int], int] = {}

    def holds(self, topic: str) -> bool:
        """Whether it is stopped."""
        return topic in self.held

    def pause(self, places: set[tuple[str, int]]) -> None:
        """Pause."""
        self.paused |= places

    async def resume(self, offsets: dict[tuple[str, int], int]) -> set[tuple[str, int]]:
        """Seek and resume."""
        self.sought |= offsets
        self.paused -= offsets.keys()
        return set(offsets)


class _Seen:
    """Work that only notes what it was given."""

    def __init__(self, after: Callable[[int], None] = lambda _: None) -> None:
        self.offsets: list[int] = []
        self._after = after

    def prepare(self, runs: Sequence[Run]) -> Any:
        """Take a batch."""
        self._after(len(self.offsets))
        return runs

    def finish(self, runs: Sequence[Run]) -> None:
        """Note it."""
        self.offsets += [record.offset for run in runs for record in run.records]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def unseen() -> WorkRecorder:
    """Return a recorder whose figures nobody reads."""
    return WorkRecorder(Outside("intake", ()))


def _event(topic: str, first: int, count: int = 2, generation: int = 1) -> _Event:
    return _Event(records_of(topic, [b"x"] * count, first), _Message(generation))


def test_runs_of_a_stopped_topic_are_put_aside_and_come_again_in_order() -> None:
    async def play() -> tuple[list[int], _Source, list[_Event]]:
        source, seen = _Source(), _Seen()
        collector = Collector(seen, reread=lambda _: None, recorder=unseen(), hold=source, pace=0.0)  # type: ignore[arg-type]
        working = asyncio.ensure_future(collector.run(lambda error: None))  # type: ignore[arg-type]
        source.held = {"records.tax"}
        aside = [_event("records.tax", 4), _event("records.tax", 6)]
        for one in aside:
            await collector.add(one)
        await collector.add(_event("records.finance", 100))
        await _until(lambda: seen.offsets == [100, 101])
        source.held = set()
        await collector.go_on("records.tax")
        await collector.add(_event("records.tax", 8))  # fetched before the seek
        for first in (4, 6, 8):
            await collector.add(_event("records.tax", first))
        await _until(lambda: len(seen.offsets) == 8)
        working.cancel()
        return seen.offsets, source, aside

    offsets, source, aside = asyncio.run(play())
    assert offsets[2:] == [4, 5, 6, 7, 8, 9], "nothing overtook, nothing was left out, nothing came twice"
    assert source.sought == {("records.tax", 0): 4}
    assert source.paused == set()
    assert not any(one.acked for one in aside), "an ack would commit past what was held"


def test_after_a_rebalance_the_partition_is_read_from_its_commit_whatever_was_held_before() -> None:
    async def play() -> list[int]:
        source, seen = _Source(), _Seen()
        collector = Collector(seen, reread=lambda _: None, recorder=unseen(), hold=source, pace=0.0)  # type: ignore[arg-type]
        working = asyncio.ensure_future(collector.run(lambda error: None))  # type: ignore[arg-type]
        source.held = {"records.tax"}
        await collector.add(_event("records.tax", 4))
        source.held = set()  # resumed elsewhere, and another worker went on with it
        await collector.add(_event("records.tax", 50, generation=2))
        await _until(lambda: len(seen.offsets) == 2)
        working.cancel()
        return seen.offsets

    assert asyncio.run(play()) == [50, 51]


@pytest.mark.parametrize("seed", range(20))
def test_a_topic_stopped_at_any_moment_is_worked_on_whole_and_in_order(seed: int) -> None:
    chance = random.Random(seed)

    async def play() -> list[int]:
        source = _Source()

        def stop_at(done: int) -> None:
            if done >= stop and not stopped:
                stopped.append(done)
                source.held = {"records.tax"}

        stop, stopped = chance.randrange(60), list[int]()
        seen = _Seen(stop_at)
        collector = Collector(
            seen, reread=lambda _: None, recorder=unseen(), hold=source, max_records=chance.randrange(1, 30), pace=0.0
        )  # type: ignore[arg-type]
        working = asyncio.ensure_future(collector.run(lambda error: None))  # type: ignore[arg-type]
        position = 0
        while position < 100:
            if ("records.tax", 0) in source.paused:
                source.held = set()
                await collector.go_on("records.tax")
                position = source.sought["records.tax", 0]
            count = min(chance.randrange(1, 9), 100 - position)
            async with asyncio.timeout(5):
                await collector.add(_event("records.tax", position, count))
            position += count
            await asyncio.sleep(0)
            if position == 100:
                await _until(lambda: bool(source.paused) or len(seen.offsets) == 100)
                position = 99 if source.paused and len(seen.offsets) < 100 else 100
        working.cancel()
        return seen.offsets

    assert asyncio.run(play()) == list(range(100))
