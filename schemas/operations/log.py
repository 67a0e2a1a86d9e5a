"""The topics of operations: what people, and workers in their place, decided. Whatever holds now follows from them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.contracts.avro import Headers, schema_header
from schemas.contracts.codec import NotDecodable, encode, frame
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken, Retryable, UsageError
from schemas.identifiers.persons import cover_persons
from schemas.operations.event import Operation
from schemas.operations.topics import LOOK_AGAIN, SHARED_TOPIC, WORKERS_TOPIC, asks, believed, topic_of, topics_among
from schemas.servers.kafka import Cluster

__all__ = [
    "SCHEMA_ACCEPTED", "TOPIC", "OperationsReader", "OperationsWriter", "covered", "held_operations",
    "operation_of",
]  # fmt: skip

log = structlog.get_logger()

TOPIC, RECORD = SHARED_TOPIC, "xinliu.Operation"

SCHEMA_ACCEPTED = "SCHEMA_ACCEPTED"
"""An operator vouches for a version of a contract that was not shipped: its detail has name and fingerprint."""

_TIMEOUT = 15.0
_A_LOOK = 0.2
"""Seconds that one look for what comes takes at most: whoever ends `follow` waits for it."""
_SOON = 3.0
"""Seconds that the look for new topics may take: whoever ends `follow` waits for it."""


class OperationsWriter:
    """Writes events of this process's principal; each is confirmed by the broker before `write` returns."""

    def __init__(self, kafka: Cluster, registry: Registry) -> None:
        self._registry = registry
        self._kafka, self.topic = kafka, topic_of(kafka)
        self._producer = Producer(
            kafka.client({"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"})
        )

    def write(self, operation: Operation) -> None:
        """Write an event, with persons' numbers in its texts covered: it is kept for good.

        Raises Retryable where Kafka does not take it, UsageError where this principal may not write it.
        """
        operation = covered(operation)
        value = {
            "id": operation.id,
            "kind": operation.kind,
            "department": operation.department,
            "at": operation.at,
            "by": operation.by,
            "reason": operation.reason,
            "detail": json.dumps(operation.detail, ensure_ascii=False),
        }
        refused: list[KafkaError] = []
        body = frame(self._registry.schema_id(RECORD), encode(RECORD, value))
        key = operation.department or operation.kind
        try:
            self._producer.produce(
                self.topic,
                body,
                key.encode(),
                headers=[schema_header(RECORD)],
                on_delivery=lambda error, _: refused.append(error) if error else None,
            )
            left = self._producer.flush(_TIMEOUT)
        except (KafkaException, BufferError) as error:
            raise Retryable(f"Kafka does not take an event for {self.topic}: {error}") from error
        if refused and self._kafka.forbids(refused[0]):
            raise self._kafka.failure(refused[0])
        if left or refused:
            why = refused[0].str() if refused else "time-out"
            raise Retryable(f"Kafka did not take an event for {self.topic}: {why}")


class OperationsReader:
    """Reads all events from the first on; a reader of its own, in no group: every worker follows all of them.

    `principal` begins the name of its group if the cluster asks nobody who he is. What an author may not say is passed
    over; `follow` logs it. A reader that is `lenient` also passes over what cannot be read: the audit is, which keeps
    such a message as UNREADABLE.
    """

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str, lenient: bool = False) -> None:
        self._kafka, self._registry, self._lenient = kafka, registry, lenient
        self._stopped, self._looked = threading.Event(), monotonic()
        self._tells = False  # a command's stdout is its answer: `xinliu audit verify` counts what nobody believes
        self._consumer = Consumer(kafka.reader(principal, "operations"))
        self._ends: dict[str, int] = {}
        self._next: dict[str, int] = {}
        try:
            for topic in self._topics():
                self._next[topic], self._ends[topic] = self._consumer.get_watermark_offsets(
                    TopicPartition(topic, 0), timeout=_TIMEOUT
                )
        except KafkaException as error:
            self._consumer.close()
            raise Retryable(f"Kafka does not answer: {error.args[0].str()}") from error
        if not self._next:
            self._consumer.close()
            raise UsageError(f"there is no topic {TOPIC}: run `xinliu topics apply`")
        self._assign()

    def held(self, wait: Callable[[Retryable], None] | None = None) -> list[Operation]:
        """Return every event that was there when this reader was opened,
        in the order in which the broker received them.

        Where a server does not answer `wait` is called, which returns when it is to be asked again; without it Retryable is raised.
        """
        found: list[tuple[Operation, str, int]] = []
        while self._left():
            try:
                read = self._read(_TIMEOUT)
                if read is None and self._stands_behind():
                    raise Retryable(f"Kafka does not answer: {TOPIC} could not be read to its end")
            except Retryable as error:
                if wait is None:
                    raise
                wait(error)
                continue
            if read is not None and read[0] is not None:
                found.append((read[0], read[1], read[2]))
        return [operation for operation, _, _ in sorted(found, key=lambda one: (one[0].when, one[1], one[2]))]

    def read(self, seconds: float) -> list[Operation]:
        """Return the events that arrive within that time; returns as soon as there are any."""
        read = self._read(seconds)
        return [] if read is None or read[0] is None else [read[0]]

    def follow(self, take: Callable[[Operation], None]) -> None:
        """Hand each event to `take` as it comes, until `stop`; waits, with a message, for a broker that is away."""
        self._tells = True
        while not self._stopped.is_set():
            try:
                self.look_for_topics()
                for operation in self.read(_A_LOOK):
                    take(operation)
            except Retryable as error:
                log.warning("operations.waits", why=str(error))
                self._stopped.wait(1.0)
        self._consumer.close()

    def stop(self) -> None:
        """End `follow`."""
        self._stopped.set()

    def close(self) -> None:
        """End reading, where `follow` was never called."""
        self._consumer.close()

    def _topics(self, seconds: float = _TIMEOUT) -> list[str]:
        return topics_among(self._consumer.list_topics(timeout=seconds).topics, self._kafka)

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in self._next.items()])

    def look_for_topics(self) -> None:
        """Read the topics of people who have come since, too; looks every few seconds at most."""
        if monotonic() - self._looked < LOOK_AGAIN:
            return
        self._looked = monotonic()
        try:
            new = {
                topic: self._consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_TIMEOUT)[0]
                for topic in self._topics(_SOON)
                if topic not in self._next
            }
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error.args[0].str()}") from error
        if new:
            log.info("operations.followed", topics=sorted(new))
            self._next |= new
            self._assign()

    def _left(self) -> list[str]:
        return [topic for topic, end in self._ends.items() if self._next[topic] < end]

    def _stands_behind(self) -> bool:
        # What a transaction took back is never seen: the position tells.
        for place in self._consumer.position([TopicPartition(topic, 0) for topic in self._left()]):
            self._next[place.topic] = max(self._next[place.topic], place.offset)
        return bool(self._left())

    def _read(self, seconds: float) -> tuple[Operation | None, str, int] | None:
        """Return the next event, or None in its place where nobody may believe it; None where none comes in time."""
        message = self._consumer.poll(seconds)
        if message is None:
            return None
        if (error := message.error()) is not None:
            raise Retryable(f"Kafka does not answer: {error.str()}")
        topic, offset = message.topic() or "", message.offset() or 0
        try:
            operation = self._operation(message, topic, offset)
        except Retryable:
            # Read, but not understood yet, since the registry is away: it comes again, and is not passed over.
            self._consumer.seek(TopicPartition(topic, message.partition() or 0, offset))
            raise
        self._next[topic] = max(self._next[topic], offset + 1)
        return operation, topic, offset

    def _operation(self, message: Message, topic: str, offset: int) -> Operation | None:
        vouched = asks(self._kafka)
        try:
            said = operation_of(message.value(), self._registry, message.headers())
        except (NotDecodable, ValueError, OverflowError, RecursionError) as error:
            if self._lenient or (vouched and topic != WORKERS_TOPIC):
                # One person must not be able to stop what others say; the audit keeps it as UNREADABLE.
                if self._tells:
                    log.error("operations.unreadable", topic=topic, offset=offset, why=str(error))
                return None
            raise ContractBroken(
                f"{topic}/0@{offset} is no Operation ({error}): only workers and operators may write there"
            ) from error
        received = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        operation = believed(topic, said, received, vouched=vouched)
        if operation is None and self._tells:
            log.error("operations.not_believed", topic=topic, offset=offset, kind=said.kind, by=said.by)
        return operation


def covered(operation: Operation) -> Operation:
    """Return an event as it may be kept: persons' numbers in its texts are covered."""
    by, reason, detail = (_covered(part) for part in (operation.by, operation.reason, operation.detail))
    return replace(operation, by=by, reason=reason, detail=detail)


def _covered(value: Any) -> Any:
    if isinstance(value, str):
        return cover_persons(value)
    if isinstance(value, Mapping):
        return {name: _covered(one) for name, one in value.items()}
    return [_covered(one) for one in value] if isinstance(value, list | tuple) else value


def operation_of(value: bytes | None, registry: Registry, headers: Headers | None = None) -> Operation:
    """Return the event that a message of the topic holds. Raises NotDecodable or ValueError where it is none."""
    told = registry.read(RECORD, value, headers)
    detail = json.loads(told["detail"])
    if not isinstance(detail, dict):
        raise ValueError("its detail is no JSON object")
    return Operation(
        told["kind"], told["department"], told["at"].astimezone(UTC), told["by"], told["reason"], detail, told["id"]
    )


def held_operations(kafka: Cluster, registry: Registry, *, lenient: bool = False) -> list[Operation]:
    """Return every event there is now, in the broker's order. Raises Retryable where a server does not answer."""
    reader = OperationsReader(kafka, registry, principal="operator", lenient=lenient)
    try:
        return reader.held()
    finally:
        reader.close()
