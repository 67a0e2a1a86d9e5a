"""Reader of the operations topics for the audit: every message, topic by topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.operations.log import TOPIC
from schemas.operations.topics import asks, topics_among
from schemas.servers.kafka import Cluster
from streams.audit.chain import AuditEvent, event_of, unreadable
from streams.kafka.ranges import Logs

__all__ = ["OperationMessage", "OperationsLog", "Span"]

_TIMEOUT = 15.0
_SOON = 5.0


@dataclass(frozen=True, slots=True)
class OperationMessage:
    """A message: its copy for the audit, and the copy that the audit stores if the registry does not know the
    schema."""

    event: AuditEvent
    unreadable: AuditEvent
    topic: str = TOPIC


@dataclass(frozen=True, slots=True)
class Span:
    """A topic of operations: its id, and its offsets from `first` to before `end`."""

    topic_id: str
    first: int
    end: int


class OperationsLog:
    """Reads every topic of operations from its beginning, or from the offsets given to `go_to`.

    `principal` is the name under which it reads; its group name must be allowed to it. Raises Retryable if Kafka is
    away.
    """

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str) -> None:
        self._kafka, self._registry, self._logs = kafka, registry, Logs(kafka)
        self._consumer = Consumer(kafka.reader(principal, "audit"))
        try:
            topics = self.topics_now()
            if not topics:
                raise UsageError(f"there is no topic {TOPIC}: run `xinliu topics apply`")
            facts = self._logs.describe(topics)
            ranges = self._logs.ranges([(topic, 0) for topic in topics])
        except BaseException:
            self._consumer.close()
            raise
        self.spans = {topic: Span(facts[topic].topic_id, *ranges[topic, 0]) for topic in topics}
        self._next = {topic: span.first for topic, span in self.spans.items()}
        self.go_to({})

    def topics_now(self) -> list[str]:
        """Return the topics that exist now: people may have been added since this was opened."""
        try:
            return topics_among(self._consumer.list_topics(timeout=_SOON).topics, self._kafka)
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error}", server="kafka") from error

    def go_to(self, offsets: dict[str, int]) -> None:
        """Read on from these offsets."""
        self._next |= offsets
        self._consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in self._next.items()])

    def read(self, seconds: float, *, most: int = 500) -> list[OperationMessage]:
        """Return the messages that arrive within `seconds`, at most `most`."""
        found = []
        try:
            arrived = self._consumer.consume(most, seconds)
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error}", server="kafka") from error
        for message in arrived:
            if (failed := message.error()) is not None:
                raise Retryable(f"Kafka does not answer: {failed.str()}", server="kafka")
            value, offset, topic = message.value() or b"", message.offset(), message.topic()
            assert offset is not None
            assert topic is not None
            at, topic_id = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC), self.spans[topic].topic_id
            vouched = topic if asks(self._kafka) else None
            event = event_of(topic_id, offset, at, value, self._registry, message.headers(), topic=vouched)
            found.append(OperationMessage(event, unreadable(topic_id, offset, at, value), topic))
            self._next[topic] = offset + 1
        return found

    def to_end(self, tell: Callable[[int, int], None] = lambda read, end: None) -> list[OperationMessage]:
        """Return all messages up to the present end. Calls `tell` with the number read and the total."""
        ends = self._logs.ends([(topic, 0) for topic in self.spans])
        self.spans = {topic: Span(one.topic_id, one.first, ends[topic, 0]) for topic, one in self.spans.items()}
        found: list[OperationMessage] = []
        deadline = monotonic() + _TIMEOUT
        while left := sum(max(0, span.end - self._next[topic]) for topic, span in self.spans.items()):
            read = self.read(1.0, most=min(500, left))
            found += read
            if read:
                tell(sum(self._next.values()), sum(span.end for span in self.spans.values()))
                deadline = monotonic() + _TIMEOUT
                continue
            for place in self._consumer.position([TopicPartition(topic, 0) for topic in self.spans]):
                # Messages of an aborted transaction are never delivered: without this the end would not be reached.
                self._next[place.topic] = max(self._next[place.topic], place.offset)
            if monotonic() > deadline:
                raise Retryable(f"Kafka does not answer: {TOPIC} could not be read to its end", server="kafka")
        return found

    def close(self) -> None:
        """Close the reader."""
        self._consumer.close()
