"""Reader and writer of the operations topics: decisions of people and workers, from which all present rules follow."""

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
"""An operator vouches for a contract version that was not shipped: its detail has name and fingerprint."""

_TIMEOUT = 15.0
_A_LOOK = 0.2
"""Maximum seconds of one poll: a caller that ends `follow` waits for it."""
_SOON = 3.0
"""Maximum seconds of the look-up of new topics: a caller that ends `follow` waits for it."""


class OperationsWriter:
    """Writes events as this process's principal; the broker confirms each before `write` returns."""

    def __init__(self, kafka: Cluster, registry: Registry) -> None:
        self._registry = registry
        self._kafka, self.topic = kafka, topic_of(kafka)
        self._producer = Producer(
            kafka.client({"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"})
        )

    def write(self, operation: Operation) -> None:
        """Write an event, with persons' numbers in its texts masked, because it is kept for good.

        Raises Retryable if Kafka does not accept it, UsageError if this principal may not write it.
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

    `principal` begins the name of its group if the cluster does not authenticate. Events that their author may not
    write are skipped; `follow` logs them. A `lenient` reader also skips unreadable messages: the audit uses it and
    keeps such a message as UNREADABLE.
    """

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str, lenient: bool = False) -> None:
        self._kafka, self._registry, self._lenient = kafka, registry, lenient
        self._stopped, self._looked = threading.Event(), monotonic()
        self._tells = False  # a command's stdout is its answer: `xinliu audit verify` counts untrusted events
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
        """Return every event from before this reader was opened, in the order of their arrival at the broker.

        If a server does not answer, `wait` is called and returns when to try again; without it Retryable is raised.
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
        """Pass each event to `take` as it arrives, until `stop`; logs and waits if the broker is away."""
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
        """Close the reader if `follow` was never called."""
        self._consumer.close()

    def _topics(self, seconds: float = _TIMEOUT) -> list[str]:
        return topics_among(self._consumer.list_topics(timeout=seconds).topics, self._kafka)

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in self._next.items()])

    def look_for_topics(self) -> None:
        """Also read topics of people that are new; checks every few seconds at most."""
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
        # A consumer never sees aborted messages of a transaction; only its position shows them.
        for place in self._consumer.position([TopicPartition(topic, 0) for topic in self._left()]):
            self._next[place.topic] = max(self._next[place.topic], place.offset)
        return bool(self._left())

    def _read(self, seconds: float) -> tuple[Operation | None, str, int] | None:
        """Return the next event, or None in its place if it is not trusted; None if none arrives in time."""
        message = self._consumer.poll(seconds)
        if message is None:
            return None
        if (error := message.error()) is not None:
            raise Retryable(f"Kafka does not answer: {error.str()}")
        topic, offset = message.topic() or "", message.offset() or 0
        try:
            operation = self._operation(message, topic, offset)
        except Retryable:
            # Not decoded yet, since the registry is away: it is read again, not skipped.
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
                # One person must not be able to block the others' events; the audit keeps this one as UNREADABLE.
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
    """Return an event with persons' numbers in its texts masked, so that it may be kept."""
    by, reason, detail = (_covered(part) for part in (operation.by, operation.reason, operation.detail))
    return replace(operation, by=by, reason=reason, detail=detail)


def _covered(value: Any) -> Any:
    if isinstance(value, str):
        return cover_persons(value)
    if isinstance(value, Mapping):
        return {name: _covered(one) for name, one in value.items()}
    return [_covered(one) for one in value] if isinstance(value, list | tuple) else value


def operation_of(value: bytes | None, registry: Registry, headers: Headers | None = None) -> Operation:
    """Return the event in a message of the topic. Raises NotDecodable or ValueError if there is none."""
    told = registry.read(RECORD, value, headers)
    detail = json.loads(told["detail"])
    if not isinstance(detail, dict):
        raise ValueError("its detail is no JSON object")
    return Operation(
        told["kind"], told["department"], told["at"].astimezone(UTC), told["by"], told["reason"], detail, told["id"]
    )


def held_operations(kafka: Cluster, registry: Registry, *, lenient: bool = False) -> list[Operation]:
    """Return every present event, in the broker's order. Raises Retryable if a server does not answer."""
    reader = OperationsReader(kafka, registry, principal="operator", lenient=lenient)
    try:
        return reader.held()
    finally:
        reader.close()
