"""A reader of one partition from an offset up to another, in runs of limited bytes, as fast as the broker delivers."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.errors import PositionLost, Retryable
from schemas.servers.kafka import Cluster
from streams.kafka.records import Fetched, Run

__all__ = ["RUN_BYTES", "RUN_RECORDS", "PartitionReader"]

RUN_BYTES, RUN_RECORDS = 6 << 20, 10_000
"""Limits of a run: the memory for a batch must not depend on the length of its messages."""

_STEP = 2_000
_TIMEOUT, _A_WHILE = 30.0, 0.1
_FETCHED_KIB = 16 << 10
"""Limit of the client's prefetch."""


class PartitionReader:
    """Reads one partition of a topic. `principal` begins the name of its group; `records` limits a run, too."""

    def __init__(
        self, kafka: Cluster, topic: str, partition: int, *, principal: str, records: int = RUN_RECORDS
    ) -> None:
        self._records = records
        self._topic, self._partition = topic, partition
        self._cluster = kafka
        self._consumer = Consumer(
            kafka.reader(
                principal,
                "rebuild",
                {
                    "enable.partition.eof": True,
                    "queued.min.messages": 100_000,
                    "queued.max.messages.kbytes": _FETCHED_KIB,
                    "fetch.message.max.bytes": 4 << 20,
                    "fetch.wait.max.ms": 20,
                },
            )
        )

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def runs(self, first: int, end: int) -> Iterator[Run]:
        """Yield the records at these offsets, `end` excluded, in runs.

        Raises Retryable if Kafka does not answer, PositionLost if the log no longer contains `first`.
        """
        self._consumer.assign([TopicPartition(self._topic, self._partition, first)])
        expected, over = first, first >= end
        while not over:
            records, size = list[Fetched](), 0
            while not over and size < RUN_BYTES and len(records) < self._records:
                # `consume` waits its full time for so many messages: a long wait is only for the first message.
                found = (
                    self._consumer.consume(min(_STEP, self._records - len(records)), _A_WHILE)
                    if records
                    else [self._consumer.poll(_TIMEOUT)]
                )
                messages = [message for message in found if message is not None]
                if not messages:
                    if records:
                        break
                    raise Retryable(
                        f"Kafka does not answer: {self._topic}/{self._partition} could not be read from {expected} on",
                        server="kafka",
                    )
                for message in messages:
                    if message.error() is not None:
                        over = self._ends(message, end)
                        continue
                    record = record_of(message)
                    if record.offset >= end:
                        over = True
                        break
                    records.append(record)
                    size += len(record.value or b"")
            if records:
                yield Run(self._topic, self._partition, expected, records)
                expected = records[-1].offset + 1
                over = over or expected >= end

    def _ends(self, message: Message, end: int) -> bool:
        error = message.error()
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:
            return (message.offset() or 0) >= end
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            raise PositionLost(
                f"{self._topic}/{self._partition} does not hold the offset that was to be read: {error.str()}"
            )
        raise self._cluster.failure(error)


def record_of(message: Message) -> Fetched:
    """Return a message as a record of the stages."""
    return Fetched(
        message.topic(), message.partition(), message.offset(), message.timestamp()[1],
        message.key(), message.value(), message.headers() or (),
    )  # fmt: skip
