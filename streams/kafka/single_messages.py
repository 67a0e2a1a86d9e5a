"""Single messages of a log, by partition and offset: the original values of refused messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import Retryable
from schemas.servers.kafka import Cluster

__all__ = ["Place", "StoredMessages"]

Place = tuple[str, int, int]
"""Topic, partition, offset."""

_TIMEOUT = 15.0
_NEAR = 500
"""Up to this distance in messages, reading on is cheaper than a seek."""


class StoredMessages:
    """Reads messages one by one, without joining a group; `principal` begins the name of its group."""

    def __init__(self, kafka: Cluster, *, principal: str) -> None:
        self._cluster = kafka
        self._consumer = Consumer(kafka.reader(principal, "stored"))

    def read(self, places: Iterable[Place]) -> dict[Place, Message]:
        """Return the messages at these places; those that the log does not contain (any more) are missing.

        Raises Retryable if Kafka does not answer.
        """
        by_partition: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
        for topic, partition, offset in places:
            by_partition[topic, partition].add(offset)
        found: dict[Place, Message] = {}
        for (topic, partition), offsets in by_partition.items():
            for message in self._messages(topic, partition, sorted(offsets)):
                found[topic, partition, message.offset() or 0] = message
        return found

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _messages(self, topic: str, partition: int, offsets: list[int]) -> Iterable[Message]:
        try:
            first, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                return
            raise self._cluster.failure(error.args[0]) from error
        position: int | None = None
        for offset in offsets:
            if not first <= offset < end:
                continue
            if position is None or not position <= offset <= position + _NEAR:
                self._consumer.assign([TopicPartition(topic, partition, offset)])
            while True:
                message = self._next(topic, partition)
                if message is None:
                    return  # deleted while it was read
                position = (message.offset() or 0) + 1
                if position > offset:
                    break
            if message.offset() == offset:
                yield message
        self._consumer.unassign()

    def _next(self, topic: str, partition: int) -> Message | None:
        message = self._consumer.poll(_TIMEOUT)
        if message is None:
            raise Retryable(f"Kafka does not answer: {topic}/{partition} could not be read", server="kafka")
        error = message.error()
        if error is None:
            return message
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            return None
        raise self._cluster.failure(error)
