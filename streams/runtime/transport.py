"""The batching transport: a Faust agent is handed whole fetched runs of one partition instead of single messages.

Faust spends about 75 µs on each event, whatever the agent does with it; handed runs of thousands of records it spends
that once a run. A run is one Faust event (value: `Run`); its offset is that of its last record. Offsets are committed
run by run and strictly in order: a run that is not acked holds back all behind it.

Where a topic's position is kept in PostgreSQL, the app sets `positions` and the consumer seeks there, not to Kafka's
commit. faust-streaming and aiokafka are pinned exactly, because this module overrides their internals; each override
says which failure it prevents, and tests/unit/test_transport.py holds every one of them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError, NoOffsetForPartitionError
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.serializers import codecs
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.kafka.ranges import as_metadata
from streams.kafka.records import Run
from streams.runtime.crash_points import crash_point

__all__ = ["RUN_CODEC", "SCHEME", "BatchingConsumer", "BatchingTransport", "Positions"]

SCHEME = "xinliu"
"""Scheme of the broker address in Faust: xinliu://127.0.0.1:9092."""

RUN_CODEC = "xinliu-run"
"""Name of the value serializer that topics read through this transport must have."""

_PACE, _LITTLE = 0.02, 1_000
"""Seconds that the next fetch is left to grow where the last one brought fewer records than this: as soon as the first
record is there the broker answers, and at 5,000 records a second the process would do little else than fetch."""

_ANSWER_SECONDS = 10.0
"""How long the coordinator may take to say who has which partition."""

Positions = Callable[[frozenset[TP]], Awaitable[Mapping[TP, int]]]
"""Returns the next offset to read of each partition it keeps; raises Fatal where a position does not fit the log."""


class _Verbatim(codecs.Codec):
    """Hands the run through: bytes are decoded by us, in columns, since Faust acks whatever it cannot decode."""

    def _dumps(self, obj: Any) -> Any:
        return obj

    def _loads(self, s: Any) -> Any:
        return s


codecs.register(RUN_CODEC, _Verbatim())


class _CommittedReads(driver.AIOKafkaConsumerThread):
    """Reads committed messages only: what a department's transaction took back was never said."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust ties the isolation level to exactly_once, which we do not use; the consumer takes it over on start.
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        plain, topic_ids, note = consumer.commit, self.app.topic_ids, self.app.note

        async def commit(offsets: Mapping[Any, Any]) -> None:
            # An offset means nothing without the log it counts in: a topic that is made anew keeps the old one's commits.
            await plain(
                {
                    tp: OffsetAndMetadata(
                        known.offset, as_metadata(topic_ids.get(tp.topic, ""), note(tp, known.offset))
                    )
                    for tp, known in offsets.items()
                }
            )

        consumer.commit = commit
        return consumer

    async def shared_out(self) -> set[TP] | None:
        """Return the partitions of all members of the group, as its coordinator knows them; None while they are shared out."""
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator
        if coordinator.coordinator_id is None:
            return None
        # Not on the coordinator's own connection, where the answer would come behind that to a join that waits for others.
        request = DescribeGroupsRequest([coordinator.group_id])
        answer = await consumer._client.send(coordinator.coordinator_id, request)
        _, _, state, _, _, members = answer.groups[0][:6]
        if state != "Stable":
            return None
        told = [ConsumerProtocol.ASSIGNMENT.decode(member[4]) for member in members if member[4]]
        return {TP(topic, number) for one in told for topic, numbers in one.assignment for number in numbers}

    async def rejoin(self) -> None:
        """Ask to join the group anew, knowing the topics of now: where this member leads, all partitions are shared out again."""
        consumer = self._ensure_consumer()
        await consumer._client.force_metadata_update()
        consumer._coordinator.request_rejoin()


class BatchingConsumer(driver.Consumer):
    """The aiokafka consumer of Faust, with runs for messages and commits in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spans: defaultdict[TP, deque[int]] = defaultdict(deque)
        self._next: dict[TP, int] = {}
        self._in_hand: set[TP] = set()
        self._stood: dict[TP, int] = {}
        self._fetched_little = False

    def _new_consumer_thread(self) -> _CommittedReads:
        return _CommittedReads(self, loop=self.loop, beacon=self.beacon)

    @property
    def _positions(self) -> Positions | None:
        positions: Positions | None = getattr(self.app, "positions", None)
        return positions

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield one message for each fetched run; as the parent's otherwise."""
        if self._fetched_little:
            await self.sleep(_PACE)
        try:
            fetched, active = await self._wait_next_records(timeout)
        except NoOffsetForPartitionError:
            # Partitions without a commit that were given to us this moment: the position in PostgreSQL is on its way
            # (perform_seek), or the process stops because there is none. Offsets out of the log's range are another error.
            if self._positions is None:
                raise
            return
        generation = self.app.consumer_generation_id
        if fetched is None or self.should_stop:
            return
        if not self.flow_active:
            # What was fetched while the flow is stopped is thrown away, so the reader must go back.
            await self.perform_seek()
            return
        self._in_hand = {tp for tp, records in fetched.items() if records}
        self._fetched_little = 0 < sum(map(len, fetched.values())) < _LITTLE
        for tp in self._in_hand:
            if not self._spans.get(tp):
                self._stood[tp] = self._next.get(tp, fetched[tp][0].offset)
        for tp, records in fetched.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            if records:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._run_message(tp, records)

    def _run_message(self, tp: TP, records: list[ConsumerRecord]) -> ConsumerMessage:
        first, last = records[0], records[-1]
        run = Run(tp.topic, tp.partition, self._next.get(tp, first.offset), tuple(records))
        self._next[tp] = run.next_offset
        # The parent would take the records inside the run, and the holes of compaction, for gaps it must track, and
        # drops what lies behind its read offset; a run is one step for it.
        self._read_offset[tp] = last.offset
        self._spans[tp].append(last.offset)
        self._in_hand.discard(tp)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            run,
            None,
            0,
            len(records),
            tp,
            # Without it the stream skips the event in silence.
            generation_id=self.app.consumer_generation_id,
        )

    def _new_offset(self, tp: TP) -> int | None:
        # The parent takes the longest row of consecutive acks wherever it begins, and so commits past a message that
        # is still in flight (faust-streaming #606). Only acks at the head of the line count here.
        spans, acked = self._spans[tp], self._acked_index[tp]
        last = None
        while spans and spans[0] in acked:
            last = spans.popleft()
            acked.discard(last)
            self._acked[tp].remove(last)
        if last is None:
            return None
        self._stood[tp] = last + 1
        return last + 1

    def standing(self) -> dict[TP, int]:
        """Return where each assigned partition stands: everything before that offset is acked.

        Where nothing is in flight that is where the reader stands, not the offset committed: behind the last message
        can lie what no reader is given (the end of a transaction, messages of one that was taken back), and a lag
        counted to the commit would never return to 0.
        """
        reader = self._thread._consumer
        subscription = reader._subscription.subscription if reader else None
        assignment = subscription.assignment if subscription else None
        if assignment is None:
            return {}
        found = {}
        for place in assignment.tps:
            tp, state = TP(place.topic, place.partition), assignment.state_value(place)
            if (self._spans.get(tp) or tp in self._in_hand) and tp in self._stood:
                found[tp] = self._stood[tp]
            elif state is not None and state.has_valid_position:
                found[tp] = state.position
        return found

    def in_hand(self) -> set[TP]:
        """Return the partitions of which something is fetched and not acked."""
        return self._in_hand | {tp for tp, spans in self._spans.items() if spans}

    async def shared_out(self) -> set[TP] | None:
        """Return the partitions that all members of the group have; None while that is not known."""
        try:
            found: set[TP] | None = await asyncio.wait_for(
                self._thread.call_thread(self._thread.shared_out), _ANSWER_SECONDS
            )
        except (KafkaError, TimeoutError):
            return None  # the watch says that Kafka does not answer
        return found

    async def rejoin(self) -> None:
        """Have the group share its partitions out again, where it listens to this member."""
        await self._thread.call_thread(self._thread.rejoin)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget the revoked partitions' runs: a stale head would freeze that partition's commits for good."""
        self._forget(revoked)
        if revoked:
            crash_point("rebalance.revoked")
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    def _forget(self, tps: set[TP]) -> None:
        for tp in tps:
            self._spans.pop(tp, None)
            self._next.pop(tp, None)
            self._in_hand.discard(tp)

    async def perform_seek(self) -> None:
        """Seek every assigned partition to where it must go on: our own position, or Kafka's commit.

        A seek that fails stops the process: Faust would only log it and go on behind records it has thrown away.
        """
        for book in (self._spans, self._acked, self._acked_index, self._next, self._in_hand):
            book.clear()
        crash_point("rebalance.assigned")
        try:
            if self._positions is None:
                await super().perform_seek()
            else:
                offsets = await self._positions(frozenset(self.assignment()))
                await self.seek_to(offsets)
                # Where nothing new arrives nothing would be acked, and what a crash kept from being committed would
                # look like a lag for ever.
                kept = {tp: offset for tp, offset in offsets.items() if tp not in self.app.lost}
                if kept:
                    await self._commit(kept)
        except Exception as error:  # noqa: BLE001  # handed on whole: the process ends with it
            await self.app.stop_for(error)

    async def seek_to(self, offsets: Mapping[TP, int]) -> None:
        """Go on reading each of these partitions at its offset, forgetting what was read of them and not acked."""
        await self.seek_wait(offsets)
        for tp, offset in offsets.items():
            for book in (self._spans, self._acked, self._acked_index):
                book.pop(tp, None)
            self._in_hand.discard(tp)
            self._next[tp] = offset
            # Left at Kafka's commit, these would make Faust drop what lies before it and skip its acks.
            self._read_offset[tp] = offset
            self._committed_offset[tp] = None


class BatchingTransport(driver.Transport):
    """Transport of the scheme `xinliu`."""

    Consumer = BatchingConsumer


TRANSPORTS.aliases[SCHEME] = "streams.runtime.transport:BatchingTransport"
