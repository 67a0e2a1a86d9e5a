"""Signed log: the topic `exchange.<own>` as its only writer sees it, in runs that a signed checkpoint closes.

A run and its checkpoints are one Kafka transaction, so the last committed message of every partition is a checkpoint:
the chain goes on from the topic, never from a database's memory. `open` fences the writer before.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.contracts.avro import schema_header
from schemas.contracts.codec import HEADER, frame
from schemas.contracts.registry import Registry
from schemas.errors import Fatal, Retryable
from schemas.exchange.topics import EXCHANGE_PARTITIONS, FIRST_HASH, RunHash, exchange_topic
from schemas.servers.kafka import Cluster
from streams.runtime.crash_points import crash_point

__all__ = ["Framed", "SignedLog", "Signs", "WrittenCheckpoint"]

CONTRACT = "xinliu.Checkpoint"
_KEY = "checkpoint|"
_TIMEOUT = 30.0
_TRANSACTION_MS = 60_000
_WINDOW = 64
"""Offsets that are read back first, from the end of a partition; eight times as many if they have no checkpoint."""


class Signs(Protocol):
    """Signs records: schemas.exchange.keys.Signer."""

    def record(self, name: str, value: Mapping[str, Any]) -> bytes:
        """Return the Avro body of this record, signed."""


@dataclass(frozen=True, slots=True)
class Framed:
    """A message as it goes into the log: `value` is the 5 bytes and the body."""

    partition: int
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    value: bytes


@dataclass(frozen=True, slots=True)
class WrittenCheckpoint:
    """A checkpoint in the log: its place, and the values that the next one follows on."""

    topic_id: str
    partition: int
    sequence: int
    offset: int
    hash: str
    made_at: datetime


class SignedLog:
    """The only writer of `exchange.<own>`. Every method raises Retryable if Kafka does not answer or another writer has
    taken over; the broker then aborts the open transaction, and the object can only be closed."""

    def __init__(self, kafka: Cluster, registry: Registry, province: str, signer: Signs, topic_id: str) -> None:
        self._kafka, self._registry = kafka, registry
        self._province, self._signer, self._topic_id = province, signer, topic_id
        self._topic = exchange_topic(province)
        self._producer: Producer | None = None
        self._offsets: dict[int, list[int]] = defaultdict(list)
        self._refusals: list[str] = []
        self.chain: dict[int, WrittenCheckpoint] = {}
        """The last checkpoint of each partition; none if none was ever written."""
        self._lows: dict[int, int] = {}
        """The first offset of each partition when it was opened."""

    def open(self, remembered: Mapping[int, WrittenCheckpoint]) -> None:
        """Become the only writer, and find the end of the chain.

        `remembered` are checkpoints from a database: used only if the topic lost all of its own by retention.
        """
        self._producer = Producer(
            self._kafka.client(
                {
                    "transactional.id": self._topic,
                    "transaction.timeout.ms": _TRANSACTION_MS,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": 5,  # a flush does not wait for it
                    "on_delivery": self._delivered,
                }
            )
        )
        try:
            self._producer.init_transactions(_TIMEOUT)
        except KafkaException as error:
            raise self._failure(error) from error
        self.chain = self._read_back()
        for partition, known in remembered.items():
            if known.topic_id == self._topic_id:
                self.chain.setdefault(partition, known)

    def told_since(self, remembered: Mapping[int, WrittenCheckpoint]) -> Iterator[Message]:
        """Yield the committed messages behind these checkpoints, in partitions whose chain goes on further."""
        with self._reading() as consumer:
            for partition, last in sorted(self.chain.items()):
                known = remembered.get(partition)
                if known is None or (known.topic_id, known.sequence) != (last.topic_id, last.sequence):
                    low, _ = consumer.get_watermark_offsets(
                        TopicPartition(self._topic, partition), timeout=_TIMEOUT, cached=False
                    )
                    start = known.offset + 1 if known and known.topic_id == last.topic_id else low
                    yield from self._from(consumer, partition, max(low, start))

    def close(self) -> None:
        """Stop writing; the broker aborts an uncommitted transaction."""
        if self._producer is not None:
            self._producer.purge()
        self._producer = None

    def append(
        self,
        messages: Sequence[Framed],
        *,
        close: Collection[int],
        complete: bool,
        domains: Mapping[int, Sequence[Any]],
    ) -> list[WrittenCheckpoint]:
        """Write messages and close these partitions (those of the messages among them), all of it or nothing.

        `domains` are the checkpoints' domains by partition, if `complete`. Returns the checkpoints.
        """
        assert self._producer is not None
        self._offsets.clear()
        try:
            self._producer.begin_transaction()
            for message in messages:
                self._produce(message)
            self._flush()
            crash_point("publisher.run-produced")
            closed = self._close(messages, close, complete, domains)
            crash_point("publisher.before-commit")
            self._producer.commit_transaction(_TIMEOUT)
        except KafkaException as error:
            raise self._failure(error) from error
        crash_point("publisher.committed")
        self.chain |= {one.partition: one for one in closed}
        return closed

    def _close(
        self, messages: Sequence[Framed], close: Collection[int], complete: bool, domains: Mapping[int, Sequence[Any]]
    ) -> list[WrittenCheckpoint]:
        runs: dict[int, list[Framed]] = defaultdict(list)
        for message in messages:
            runs[message.partition].append(message)
        schema_id = self._registry.schema_id(CONTRACT)
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        places, made = dict(self._offsets), []
        self._offsets = defaultdict(list)
        for partition in sorted(close):
            run, offsets, before = runs[partition], places.get(partition, []), self.chain.get(partition)
            if len(offsets) != len(run):
                raise Fatal(f"{self._topic}/{partition}: {len(run)} messages were written, {len(offsets)} confirmed")
            total = RunHash(before.hash if before else FIRST_HASH)
            for offset, message in zip(offsets, run, strict=True):
                total.add(offset, message.key, message.headers, message.value[HEADER:])
            # If neither log nor database has the last one, the chain begins again, above every sequence that this log
            # can have had (each checkpoint took an offset): as a gap, which every province detects and mends. From 0 on
            # it would count as applied long ago.
            low = self._lows[partition]
            # After the one that it follows on, even if the clock goes back: no province believes another.
            made_at = max(now, before.made_at + timedelta(milliseconds=1)) if before else now
            predecessor = before.offset if before else low - 1
            sequence = before.sequence + 1 if before else low
            body = self._signer.record(
                CONTRACT,
                {
                    "province": self._province,
                    "topic_id": self._topic_id,
                    "partition": partition,
                    "sequence": sequence,
                    "predecessor": predecessor,
                    "predecessor_hash": before.hash if before else FIRST_HASH,
                    "last_offset": offsets[-1] if offsets else predecessor,
                    "count": len(run),
                    "hash": total.hexdigest(),
                    "made_at": made_at,
                    "complete": complete,
                    "domains": list(domains.get(partition, ())) if complete else [],
                },
            )
            headers = (schema_header(CONTRACT),)
            key = f"{_KEY}{self._province}|{partition}".encode()
            self._produce(Framed(partition, key, headers, frame(schema_id, body)))
            made.append((partition, sequence, total.hexdigest(), made_at))
        self._flush()
        return [
            WrittenCheckpoint(self._topic_id, partition, sequence, self._offsets[partition][-1], total, made_at)
            for partition, sequence, total, made_at in made
        ]

    def _produce(self, message: Framed) -> None:
        assert self._producer is not None
        while True:
            try:
                self._producer.produce(
                    self._topic, message.value, message.key, message.partition, headers=list(message.headers)
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def _flush(self) -> None:
        assert self._producer is not None
        try:
            left = self._producer.flush(_TIMEOUT)
        except SystemError as error:  # the client's binding ended the wait and lost the reason
            raise Retryable(
                f"Kafka's client did not finish writing to {self._topic}: {error}", server="kafka"
            ) from error
        refusals, self._refusals = self._refusals, []
        if left or refusals:
            raise Retryable(
                f"Kafka did not take {left + len(refusals)} messages of {self._topic}: {refusals[:1]}", server="kafka"
            )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        # In order within a partition: the producer is idempotent.
        if error is not None:
            self._refusals.append(error.str())
        else:
            self._offsets[message.partition()].append(message.offset())

    def _failure(self, error: KafkaException) -> Exception:
        known: KafkaError = error.args[0]
        if self._kafka.forbids(known):
            return self._kafka.failure(known)
        return Retryable(f"{self._topic} cannot be written: {known.str()}", server="kafka")

    @contextmanager
    def _reading(self) -> Iterator[Consumer]:
        consumer = Consumer(
            self._kafka.client(
                {
                    # Required by librdkafka; nothing is ever committed. The view's rights cover groups of this name.
                    "group.id": f"view.{self._topic}",
                    "enable.auto.commit": False,
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    # Each partition is read to its end, which the client reports only after the broker waited for more.
                    "fetch.wait.max.ms": 10,
                    "auto.offset.reset": "error",
                }
            )
        )
        try:
            yield consumer
        except KafkaException as error:
            raise self._failure(error) from error
        finally:
            consumer.close()

    def _read_back(self) -> dict[int, WrittenCheckpoint]:
        with self._reading() as consumer:
            found = {partition: self._last(consumer, partition) for partition in range(EXCHANGE_PARTITIONS)}
        return {partition: known for partition, known in found.items() if known is not None}

    def _last(self, consumer: Consumer, partition: int) -> WrittenCheckpoint | None:
        place = TopicPartition(self._topic, partition)
        low, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT, cached=False)
        self._lows[partition] = low
        window = _WINDOW
        while True:
            start = max(low, high - window)
            known = self._newest_from(consumer, partition, start) if start < high else None
            if known is not None or start == low:
                return known
            window *= 8

    def _newest_from(self, consumer: Consumer, partition: int, start: int) -> WrittenCheckpoint | None:
        checkpoints = (
            one for one in self._from(consumer, partition, start) if (one.key() or b"").startswith(_KEY.encode())
        )
        newest = deque(checkpoints, maxlen=1)
        return self._read(newest[0]) if newest else None

    def _from(self, consumer: Consumer, partition: int, start: int) -> Iterator[Message]:
        consumer.assign([TopicPartition(self._topic, partition, start)])
        waits_until = monotonic() + _TIMEOUT
        while monotonic() < waits_until:
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise KafkaException(error)
            yield message
            waits_until = monotonic() + _TIMEOUT
        raise Retryable(f"the end of {self._topic}/{partition} was not reached within {_TIMEOUT:.0f} s", server="kafka")

    def _read(self, message: Message) -> WrittenCheckpoint:
        known = self._registry.read(CONTRACT, message.value(), message.headers())
        if known["topic_id"] != self._topic_id or known["province"] != self._province:
            raise Fatal(
                f"the last checkpoint of {self._topic}/{known['partition']} is of another log ({known['province']},"
                f" {known['topic_id']}): who else writes there?"
            )
        return WrittenCheckpoint(
            known["topic_id"],
            known["partition"],
            known["sequence"],
            message.offset() or 0,
            known["hash"],
            known["made_at"],
        )
