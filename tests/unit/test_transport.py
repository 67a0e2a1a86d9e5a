"""The batching transport's own bookkeeping: commits in order, nothing stale, no message that Faust would skip."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from streams.kafka.records import Run
from streams.runtime.transport import BatchingConsumer

TP0 = TP("accepted", 0)


class _Monitor:
    def track_tp_end_offset(self, tp: TP, offset: int) -> None:
        """Faust's monitor wants to know; nothing here depends on it."""


class _App:
    consumer_generation_id = 7
    monitor = _Monitor()
    positions = None


def record(offset: int) -> ConsumerRecord[bytes, bytes]:
    """Return a fetched record."""
    return ConsumerRecord("accepted", 0, offset, 1_000, 1, b"k", b"v", None, 1, 1, ())


@pytest.fixture
def consumer() -> Any:
    """A consumer with its books but without a broker: what is tested is how they are kept."""
    made: Any = object.__new__(BatchingConsumer)
    made.app = _App()
    made._spans = defaultdict(__import__("collections").deque)
    made._next = {}
    made._in_hand, made._stood = set(), {}
    made._fetched_little = False
    made._read_offset = defaultdict(lambda: None)
    made._committed_offset = defaultdict(lambda: None)
    made._acked = defaultdict(list)
    made._acked_index = defaultdict(set)
    return made


def ack(consumer: Any, offset: int) -> None:
    """Do what Faust's Consumer.ack does with an acked offset."""
    consumer._acked[TP0].append(offset)
    consumer._acked_index[TP0].add(offset)


def test_a_run_is_one_message_that_faust_will_not_skip(consumer: Any) -> None:
    message = consumer._run_message(TP0, [record(3), record(4), record(9)])
    assert message.offset == 9
    assert message.generation_id == 7, "a message without it is skipped in silence"
    assert isinstance(message.value, Run)
    assert (message.value.expected_offset, message.value.next_offset) == (3, 10)


def test_holes_left_by_compaction_are_no_gap(consumer: Any) -> None:
    consumer._run_message(TP0, [record(0), record(1)])
    run = consumer._run_message(TP0, [record(50)]).value
    assert run.expected_offset == 2, "the reader stood behind the last record, whatever compaction took since"
    assert consumer._read_offset[TP0] == 50


def test_nothing_is_committed_past_a_run_in_flight(consumer: Any) -> None:
    for first in (0, 10, 20):
        consumer._run_message(TP0, [record(first), record(first + 9)])
    ack(consumer, 19)
    ack(consumer, 29)
    assert consumer._new_offset(TP0) is None, "the run 0–9 is still in flight (faust-streaming #606)"
    ack(consumer, 9)
    assert consumer._new_offset(TP0) == 30
    assert consumer._new_offset(TP0) is None


def test_runs_of_revoked_partitions_are_forgotten(consumer: Any) -> None:
    consumer._run_message(TP0, [record(0), record(9)])
    consumer._forget({TP0})
    consumer._read_offset.pop(TP0)
    consumer._run_message(TP0, [record(10), record(19)])
    ack(consumer, 19)
    assert consumer._new_offset(TP0) == 20, "a stale head would freeze this partition's commits for good"


def test_a_seek_begins_anew_at_offset_0_too(consumer: Any) -> None:
    async def seek_wait(offsets: object) -> None:
        """The broker's part of it."""

    consumer.seek_wait = seek_wait
    consumer._run_message(TP0, [record(40), record(49)])
    ack(consumer, 49)
    consumer._committed_offset[TP0] = 40
    asyncio.run(consumer.seek_to({TP0: 0}))
    assert consumer._read_offset[TP0] == 0
    assert consumer._committed_offset[TP0] is None, "Faust skips the acks of what lies before it"
    assert consumer._run_message(TP0, [record(0)]).value.expected_offset == 0
    assert list(consumer._spans[TP0]) == [0]


@pytest.mark.parametrize(("count", "left_to_grow"), [(0, False), (3, True), (2_000, False)])
def test_only_after_a_small_fetch_the_next_one_is_left_to_grow(
    consumer: Any, monkeypatch: pytest.MonkeyPatch, count: int, left_to_grow: bool
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def wait_next_records(timeout: float) -> tuple[Any, None]:
        return {TP0: [record(offset) for offset in range(count)]}, None

    async def fetch() -> int:
        return sum([len(message.value.records) async for _, message in consumer.getmany(1.0)])

    consumer.sleep, consumer._wait_next_records = sleep, wait_next_records
    consumer.highwater, consumer.flow_active = lambda _: count, True
    monkeypatch.setattr(BatchingConsumer, "should_stop", False)
    assert asyncio.run(fetch()) == count
    assert slept == [], "what was idle takes the first record at once"
    asyncio.run(fetch())
    assert bool(slept) == left_to_grow


class _Reader:
    """As much of aiokafka's consumer as says where it reads on."""

    def __init__(self, position: int | None) -> None:
        self.has_valid_position, self.position = position is not None, position
        self.tps = frozenset({TP0})
        self._consumer = self._subscription = self.subscription = self.assignment = self

    def state_value(self, _: object) -> _Reader:
        """Return the state of the one partition."""
        return self


def test_a_partition_stands_where_everything_before_is_acked(consumer: Any) -> None:
    consumer._thread = _Reader(None)
    assert consumer.standing() == {}, "nobody knows yet where it reads on"
    consumer._thread = _Reader(10)
    assert consumer.standing() == {TP0: 10}
    consumer._thread = _Reader(32)  # it has fetched 10–29, and behind them the end of a transaction
    consumer._in_hand, consumer._stood = {TP0}, {TP0: 10}
    assert consumer.standing() == {TP0: 10}, "fetched, and not even handed on"
    consumer._run_message(TP0, [record(10), record(19)])
    consumer._run_message(TP0, [record(20), record(29)])
    assert consumer.standing() == {TP0: 10}
    ack(consumer, 19)
    consumer._new_offset(TP0)
    assert consumer.standing() == {TP0: 20}
    ack(consumer, 29)
    consumer._new_offset(TP0)
    assert consumer.standing() == {TP0: 32}, "counted to the commit the lag would stay at 2 for good"


def test_what_was_lost_while_its_department_was_stopped_is_read_and_not_committed(consumer: Any) -> None:
    committed: list[dict[TP, int]] = []

    async def note(offsets: dict[TP, int]) -> bool:
        committed.append(offsets)
        return True

    async def seek_wait(offsets: object) -> None:
        """Seek nowhere."""

    async def positions(partitions: object) -> dict[TP, int]:
        return {TP0: 50, TP("accepted", 1): 7}

    consumer.seek_wait, consumer._commit, consumer.assignment = seek_wait, note, lambda: {TP0}
    consumer.app.positions, consumer.app.lost = positions, {TP0}
    asyncio.run(consumer.perform_seek())
    assert consumer._next[TP0] == 50
    assert committed == [{TP("accepted", 1): 7}]
