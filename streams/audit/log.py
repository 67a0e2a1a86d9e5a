"""The messages of `operations` as they stand, one by one, for the audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.cluster import Cluster
from schemas.errors import Retryable
from schemas.operations import TOPIC
from schemas.registry import Registry
from streams.audit.chain import Event, event_of, unreadable
from streams.logs import Logs

__all__ = ["Message", "OperationsLog"]

_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message: what the audit keeps of it, and what it would keep of it where the registry did not know its schema."""

    event: Event
    unreadable: Event


class OperationsLog:
    """Reads from `at` on. `principal` is as whom: what its group may be named. Raises Retryable where Kafka is away."""

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str) -> None:
        logs = Logs(kafka)
        self.topic_id = logs.describe([TOPIC])[TOPIC].topic_id
        self._kafka, self._registry, self._logs = kafka, registry, logs
        self.first, self.end = logs.ranges([(TOPIC, 0)])[TOPIC, 0]
        self._consumer = Consumer(kafka.reader(principal, "audit"))
        self.go_to(self.first)

    def go_to(self, offset: int) -> None:
        """Read on from this offset."""
        self._next = offset
        self._consumer.assign([TopicPartition(TOPIC, 0, offset)])

    def read(self, seconds: float, *, most: int = 500) -> list[Message]:
        """Return the messages that arrive within that time, `most` at most."""
        found = []
        try:
            arrived = self._consumer.consume(most, seconds)
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error}", server="kafka") from error
        for message in arrived:
            if (failed := message.error()) is not None:
                raise Retryable(f"Kafka does not answer: {failed.str()}", server="kafka")
            value, offset = message.value() or b"", message.offset()
            assert offset is not None
            at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            event = event_of(self.topic_id, offset, at, value, self._registry, message.headers())
            found.append(Message(event, unreadable(self.topic_id, offset, at, value)))
            self._next = offset + 1
        return found

    def to_end(self, tell: Callable[[int, int], None] = lambda read, end: None) -> list[Message]:
        """Return everything from here to what is the end now; `tell` hears how far it is, and of how much."""
        self.end = self._logs.ends([(TOPIC, 0)])[TOPIC, 0]
        found: list[Message] = []
        deadline = monotonic() + _TIMEOUT
        while self._next < self.end:
            read = self.read(1.0, most=min(500, self.end - self._next))
            found += read
            if read:
                tell(self._next, self.end)
                deadline = monotonic() + _TIMEOUT
                continue
            (place,) = self._consumer.position([TopicPartition(TOPIC, 0)])
            if place.offset >= self.end:  # what a transaction took back is never seen
                break
            if monotonic() > deadline:
                raise Retryable(f"Kafka does not answer: {TOPIC} could not be read to its end", server="kafka")
        return found

    def close(self) -> None:
        """End reading."""
        self._consumer.close()
