"""The collector's two steps, and what it tells of them: order, retries, and that waiting is not being stuck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import ConsumerRecord

from schemas.errors import Retryable
from streams.kafka.records import Run
from streams.monitoring.endpoint import Outside
from streams.monitoring.health import Probe
from streams.monitoring.metrics import RETRIES, TRANSACTION_ROWS, TRANSACTION_SECONDS
from streams.monitoring.recorder import WorkRecorder
from streams.runtime.collector import Collector


class Event:
    """As much of a Faust event as the collector uses."""

    def __init__(self, offset: int) -> None:
        record = ConsumerRecord("accepted", 0, offset, 1_000, 1, b"k", b"v", None, 1, 1, ())
        self.value = Run("accepted", 0, offset, (record,))
        self.message = SimpleNamespace(generation_id=1)
        self.acked = False

    def ack(self) -> None:
        """Note that the work is lasting."""
        self.acked = True


class Steps:
    """A Work whose second step waits until it is let go, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.let_go = threading.Event()
        self.prepared: list[int] = []
        self.finished: list[int] = []
        self._failures = failures

    def prepare(self, runs: Sequence[Run], /) -> list[int]:
        """Return the offsets."""
        offsets = [run.expected_offset for run in runs]
        self.prepared += offsets
        return offsets

    def finish(self, prepared: list[int], /) -> None:
        """Note the offsets, once allowed to."""
        self.let_go.wait(10)
        if self._failures:
            self._failures -= 1
            raise Retryable("PostgreSQL is away", server="postgres")
        self.finished += prepared


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def samples(outside: Outside, metric: Any) -> dict[str, float]:
    """Return the count and the sum of a histogram."""
    return {s.name.rpartition("_")[2]: s.value for s in outside.instruments.spread(metric).family().samples}


def work_through(work: Steps, watch: Callable[[Outside, list[Event]], Any], *, clock: Callable[[], float]) -> Outside:
    """Run a collector over three events that come one by one, with `watch` in the middle of it."""
    outside = Outside("view", ())
    outside.probe = Probe((), clock=clock)
    outside.probe.assigned(1)

    async def all_of_it() -> None:
        failures: list[BaseException] = []

        async def fail(error: BaseException) -> None:
            failures.append(error)

        collector = Collector(work, reread=lambda _: asyncio.sleep(0), recorder=WorkRecorder(outside))
        running = asyncio.ensure_future(collector.run(fail))
        events = [Event(offset) for offset in (10, 11, 12)]
        for event in events:
            await collector.add(event)
            await until(lambda event=event: event is events[2] or event.value.expected_offset in work.prepared)
        await until(lambda: bool(outside.probe._call_since))
        await watch(outside, events)
        work.let_go.set()
        await until(lambda: all(event.acked for event in events))
        running.cancel()
        assert not failures

    asyncio.run(all_of_it())
    return outside


def test_one_batch_is_prepared_while_another_is_finished_and_both_count_once() -> None:
    work = Steps()

    async def watch(_: Outside, events: list[Event]) -> None:
        assert work.prepared == [10, 11], "the third is left to collect"
        assert work.finished == []
        assert not any(event.acked for event in events)

    outside = work_through(work, watch, clock=lambda: 0.0)
    assert work.finished == [10, 11, 12]
    rows = samples(outside, TRANSACTION_ROWS)
    assert (rows["count"], rows["sum"]) == (3, 3)
    assert samples(outside, TRANSACTION_SECONDS)["count"] == 3


def test_a_step_that_waits_for_the_other_is_not_stuck() -> None:
    now = [0.0]

    async def watch(outside: Outside, _: list[Event]) -> None:
        now[0] = 599.0
        assert outside.probe.stuck() == []
        now[0] = 601.0
        assert outside.probe.stuck() == ["one batch has been worked on for 601 s (finish)"], "not the one that waits"

    outside = work_through(Steps(), watch, clock=lambda: now[0])
    now[0] = 10_000.0
    assert outside.probe.stuck() == [], "an idle worker is healthy however long nothing comes"


def test_a_try_that_fails_counts_as_a_retry_and_not_as_a_batch() -> None:
    async def watch(_: Outside, __: list[Event]) -> None:
        return None

    outside = work_through(Steps(failures=2), watch, clock=lambda: 0.0)
    retries = {s.labels["server"]: s.value for s in outside.instruments.total(RETRIES).family().samples}
    assert retries == {"kafka": 0, "registry": 0, "postgres": 2}
    assert samples(outside, TRANSACTION_SECONDS)["count"] == 3
    assert outside.probe.unready() == []


def test_only_behind_a_small_batch_the_next_one_waits() -> None:
    async def begins(records: int, pace: float) -> float:
        work, at = Steps(), list[float]()
        work.let_go.set()
        loop = asyncio.get_running_loop()
        collector = Collector(
            work, reread=lambda _: asyncio.sleep(0), recorder=WorkRecorder(Outside("view", ())), pace=pace
        )
        running = asyncio.ensure_future(collector.run(lambda _: None))
        for offset in (0, 1):
            event = Event(offset)
            event.value = Run("accepted", 0, offset, event.value.records * records)
            await collector.add(event)
            await until(lambda offset=offset: offset in work.prepared)  # type: ignore[misc]
            at.append(loop.time())
        running.cancel()
        return at[1] - at[0]

    assert asyncio.run(begins(1, 0.5)) > 0.3, "counted from the beginning of the small one, seen a moment later"
    assert asyncio.run(begins(2_000, 600.0)) < 10, "a batch that is worth its cost waits for nothing"
