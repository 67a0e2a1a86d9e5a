"""Group commit: while one batch is being worked on, the runs that arrive collect into the next.

Batched naively, a transaction a run, 5,000 events a second drowned in 7-row commits. Here the work itself sets the
pace: an idle worker takes what there is at once, a busy one takes everything that came meanwhile. The work has two
steps, so that one batch is decoded while another is written.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Protocol

import structlog

from schemas.errors import Fatal, Retryable
from streams.kafka.records import Run
from streams.monitoring.recorder import WorkRecorder
from streams.runtime.service import Backoff

__all__ = ["Collector", "Hold", "Reread", "Work", "fresh_runs"]

log = structlog.get_logger()


_SMALL, _PACE = 2_000, 0.1
"""Behind a batch of fewer records than this the next one begins so many seconds later at the earliest. A batch of ten
costs a third of one of a thousand; without it, workers that share a machine spend it on batches of ten."""


class Reread(Exception):
    """The work asks to read partitions again from these offsets; the batch had no effect."""

    def __init__(self, offsets: dict[tuple[str, int], int]) -> None:
        super().__init__(f"read again from {offsets}")
        self.offsets = offsets


class Work(Protocol):
    """One piece of blocking work on batches of runs, in two steps, each called from a thread of its own.

    While `finish` waits for a server, `prepare` of the next batch may run; batches are finished in the order in which
    they came. Both may raise Retryable: the same step is then tried again.
    """

    def prepare(self, runs: Sequence[Run], /) -> Any:
        """Do what has no effect outside: decode, validate."""

    def finish(self, prepared: Any, /) -> None:
        """Make the effect lasting before returning. May raise Reread; the batch must then have had no effect."""


class Hold(Protocol):
    """Which topics stand still for now, and how their partitions are paused and resumed; called on the event loop."""

    def holds(self, topic: str, /) -> bool:
        """Tell whether runs of this topic are put aside, neither worked on nor acked."""

    def pause(self, places: set[tuple[str, int]], /) -> None:
        """Fetch nothing more of these partitions."""

    async def resume(self, offsets: dict[tuple[str, int], int], /) -> set[tuple[str, int]]:
        """Fetch these partitions again from there; return those that are ours."""


class Collector:
    """Feeds runs, in order, to a Work, and acks them once it has finished them.

    Retryable is tried again, with back-off, for as long as `patience` seconds; anything else that `work` raises, Reread
    apart, is handed to `fail` and ends the collector: nothing is acked then.
    Runs of topics that `hold` holds are put aside until `go_on`: not worked on, not acked, their partitions paused.
    Where several collectors work side by side, each on partitions of its own, `lane` tells them apart.
    `share` tells how many records of one topic a batch may hold, beyond its first run: what is heavy lets others past.
    `tick` is called in the thread of `finish` whenever `tick_every` seconds have passed, busy or not.
    """

    def __init__(
        self,
        work: Work,
        *,
        reread: Callable[[dict[tuple[str, int], int]], Any],
        recorder: WorkRecorder,
        hold: Hold | None = None,
        tick: Callable[[], None] | None = None,
        tick_every: float = 0.25,
        max_records: int = 20_000,
        share: Callable[[], int | None] = lambda: None,
        patience: float = 900.0,
        lane: str = "",
        pace: float = _PACE,
    ) -> None:
        self._work = work
        self._pace = pace
        self._lane = lane
        self._hold = hold
        self._tick = tick
        self._tick_every = tick_every
        self._reread = reread
        self._recorder = recorder
        self._max_records = max_records
        self._share = share
        self._patience = patience
        self._pending: list[Any] = []
        self._pending_records = 0
        self._held: dict[tuple[str, int], tuple[int, int]] = {}
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._prepared: asyncio.Queue[tuple[list[Any], Any, float]] = asyncio.Queue(1)
        # Set while no batch is being prepared or waits to be finished: taking one earlier would only make it smaller.
        self._idle = asyncio.Event()
        self._idle.set()
        self._threads = {step: ThreadPoolExecutor(1, thread_name_prefix=step) for step in ("prepare", "finish")}

    async def add(self, event: Any) -> None:
        """Take a Faust event whose value is a Run; waits while two batches' worth is pending."""
        await self._room.wait()
        if self._put_aside(event):
            return
        self._pending.append(event)
        self._pending_records += len(event.value.records)
        self._news.set()
        if self._pending_records >= 2 * self._max_records:
            self._room.clear()

    def _put_aside(self, event: Any) -> bool:
        """Tell whether this event is not to be worked on now, and remember from where its partition is to be read again."""
        run, generation = event.value, event.message.generation_id
        place = (run.topic, run.partition)
        known = self._held.get(place)
        if known is not None and known[0] != generation:
            known = None  # the partition was given to us anew: it is read from its commit
        if self._hold is not None and self._hold.holds(run.topic):
            offset = run.expected_offset if known is None else min(known[1], run.expected_offset)
            self._held[place] = (generation, offset)
            self._hold.pause({place})
            return True
        if known is not None and run.expected_offset > known[1]:
            return True  # fetched before the partition was held: it comes again, in its order
        self._held.pop(place, None)
        return False

    async def go_on(self, topic: str) -> None:
        """Read the partitions of a topic that was held, from the first record that was not worked on."""
        places = {place: offset for place, (_, offset) in self._held.items() if place[0] == topic}
        if places and self._hold is not None:
            log.info("collector.goes_on", partitions=[f"{t}/{p}@{o}" for (t, p), o in places.items()])
            for place in set(places) - await self._hold.resume(places):
                del self._held[place]

    async def run(self, fail: Callable[[BaseException], Any]) -> None:
        """Work until cancelled or until the work fails for good."""
        steps = {asyncio.ensure_future(self._prepare_all()), asyncio.ensure_future(self._finish_all())}
        try:
            ended, _ = await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
            for step in ended:
                if (error := step.exception()) is not None:
                    await fail(error)
        finally:
            for step in steps:
                step.cancel()
            for thread in self._threads.values():
                thread.shutdown(wait=False, cancel_futures=True)

    async def _prepare_all(self) -> None:
        loop = asyncio.get_running_loop()
        not_before = 0.0
        while True:
            await self._idle.wait()
            await self._news.wait()
            if (early := not_before - loop.time()) > 0:
                await asyncio.sleep(early)
            events = self._take()
            if not events:
                continue  # all of it is held
            if sum(len(event.value.records) for event in events) < _SMALL:
                not_before = loop.time() + self._pace
            self._idle.clear()
            runs = [event.value for event in events]
            prepared, seconds = await self._patiently("prepare", partial(self._work.prepare, runs))
            await self._prepared.put((events, prepared, seconds))

    async def _finish_all(self) -> None:
        while True:
            try:
                events, prepared, before = await asyncio.wait_for(
                    self._prepared.get(), self._tick_every if self._tick else None
                )
            except TimeoutError:
                await self._patiently("finish", self._tick_once)
                continue
            self._idle.set()
            await self._finish(events, prepared, before)

    async def _finish(self, events: list[Any], prepared: Any, before: float) -> None:
        try:
            _, seconds = await self._patiently("finish", partial(self._work.finish, prepared))
        except Reread as again:
            # What has been prepared since comes behind this batch and must be prepared anew behind it.
            behind = [] if self._idle.is_set() else (await self._prepared.get())[0]
            places = set(again.offsets)
            back = [*events, *behind, *self._pending]
            self._set_pending([event for event in back if (event.value.topic, event.value.partition) not in places])
            self._recorder.reread()
            log.warning("collector.reread", partitions=[f"{t}/{p}@{o}" for (t, p), o in again.offsets.items()])
            await self._reread(again.offsets)
            self._idle.set()
            return
        for event in events:
            event.ack()
        self._recorder.finished(sum(len(event.value.records) for event in events), before + seconds)
        if self._tick:
            await self._patiently("finish", self._tick_once)

    def _tick_once(self) -> None:
        if self._tick:
            self._tick()

    async def _patiently(self, step: str, call: Callable[[], Any]) -> tuple[Any, float]:
        # Returns the outcome and the seconds of the try that succeeded.
        loop = asyncio.get_running_loop()
        started, backoff = loop.time(), Backoff(longest=5.0)
        while True:
            try:
                # Watched is what a thread works on; that a step waits for the other one, or for news, is no work.
                with self._recorder.trying(f"{step}{self._lane}"):
                    done = await loop.run_in_executor(self._threads[step], _timed, call)
                if backoff.waited:
                    log.info("worker.goes_on", after_seconds=round(loop.time() - started, 1))
                return done
            except Retryable as error:
                if loop.time() - started > self._patience:
                    raise Fatal(f"gave up after {self._patience:.0f} s: {error}") from error
                await asyncio.sleep(backoff.next(error))

    def _take(self) -> list[Any]:
        if self._hold is not None:
            self._set_pending([event for event in self._pending if not self._put_aside(event)])
        batch, left = list[Any](), list[Any]()
        records, share, of = 0, self._share() or self._max_records, Counter[str]()
        for event in self._pending:
            run, count = event.value, len(event.value.records)
            # What of a topic stays behind holds back all that follows of it: its runs must not change their order.
            if batch and (records + count > self._max_records or (of[run.topic] and of[run.topic] + count > share)):
                of[run.topic] = self._max_records
                left.append(event)
                continue
            batch.append(event)
            records += count
            of[run.topic] += count
        self._set_pending(left)
        return batch

    def _set_pending(self, events: list[Any]) -> None:
        self._pending = events
        self._pending_records = sum(len(event.value.records) for event in events)
        if events:
            self._news.set()
        else:
            self._news.clear()
        if self._pending_records < 2 * self._max_records:
            self._room.set()


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = monotonic()
    return call(), monotonic() - started


def fresh_runs(
    runs: Sequence[Run], standing: dict[tuple[str, int], int]
) -> tuple[tuple[Run, ...], dict[tuple[str, int], int]]:
    """Return these runs without what is worked on already, and the positions after them.

    A run may lie behind the position (fetched before a rebalance, worked on by another worker since): what is known
    already is left out. A run that begins beyond the position would leave a hole: Reread says from where to
    read again.
    """
    news, reached, again = list[Run](), dict(standing), dict[tuple[str, int], int]()
    for run in runs:
        place = (run.topic, run.partition)
        if run.expected_offset > reached[place]:
            again[place] = standing[place]
            continue
        if run.records[0].offset >= reached[place]:
            news.append(run)
        elif run.next_offset > reached[place]:
            rest = tuple(record for record in run.records if record.offset >= reached[place])
            news.append(replace(run, expected_offset=reached[place], records=rest))
        reached[place] = max(reached[place], run.next_offset)
    if again:
        raise Reread(again)
    return tuple(news), reached
