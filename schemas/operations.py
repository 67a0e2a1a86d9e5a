"""The topic `operations`: what people, and workers in their place, decided. Whatever holds now follows from it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from schemas.cluster import Cluster
from schemas.codec import NotDecodable, decode, encode, frame, unframe
from schemas.contracts import parsed
from schemas.errors import ContractBroken, Retryable, UsageError
from schemas.persons import cover_persons
from schemas.registry import Registry

__all__ = ["TOPIC", "Operation", "OperationsReader", "OperationsWriter", "covered", "operation_of"]

log = structlog.get_logger()

TOPIC, RECORD = "operations", "xinliu.Operation"
_TIMEOUT = 15.0
_A_LOOK = 0.2
"""Seconds that one look for what comes takes at most: whoever ends `follow` waits for it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One event of `operations`, as schemas/avro/Operation.avsc has it."""

    kind: str
    department: str | None
    at: datetime
    by: str
    reason: str
    detail: Mapping[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class OperationsWriter:
    """Writes events; each is confirmed by the broker before `write` returns."""

    def __init__(self, kafka: Cluster, registry: Registry) -> None:
        self._registry = registry
        self._producer = Producer(
            kafka.client({"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"})
        )

    def write(self, operation: Operation) -> None:
        """Write an event, with persons' numbers in its texts covered: it is kept for good. Raises Retryable where Kafka does not take it."""
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
        body = frame(self._registry.register(RECORD), encode(RECORD, value))
        key = operation.department or operation.kind
        try:
            self._producer.produce(
                TOPIC, body, key.encode(), on_delivery=lambda error, _: refused.append(error) if error else None
            )
            left = self._producer.flush(_TIMEOUT)
        except (KafkaException, BufferError) as error:
            raise Retryable(f"Kafka does not take an event for {TOPIC}: {error}") from error
        if left or refused:
            raise Retryable(f"Kafka did not take an event for {TOPIC}: {refused[0].str() if refused else 'time-out'}")


class OperationsReader:
    """Reads all events from the first on; a reader of its own, in no group: every worker follows all of them.

    `principal` is as whom it reads: what its group may be named.
    """

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str) -> None:
        self._registry = registry
        self._stopped = threading.Event()
        self._consumer = Consumer(kafka.reader(principal, "operations"))
        place = TopicPartition(TOPIC, 0)
        try:
            first, self._end = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT)
        except KafkaException as error:
            self._consumer.close()
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                raise UsageError(f"there is no topic {TOPIC}: run `xinliu topics apply`") from None
            raise Retryable(f"Kafka does not answer: {error.args[0].str()}") from error
        self._next = first
        self._consumer.assign([TopicPartition(TOPIC, 0, first)])

    def held(self, wait: Callable[[Retryable], None] | None = None) -> list[Operation]:
        """Return every event that was there when this reader was opened.

        Where a server does not answer `wait` is called, which returns when it is to be asked again; without it Retryable is raised.
        """
        found: list[Operation] = []
        while self._next < self._end:
            try:
                read = self.read(_TIMEOUT)
                if not read and self._consumer.position([TopicPartition(TOPIC, 0)])[0].offset < self._end:
                    raise Retryable(f"Kafka does not answer: {TOPIC} could not be read to its end")
            except Retryable as error:
                if wait is None:
                    raise
                wait(error)
                continue
            found.extend(read)
            self._next = max(self._next, self._consumer.position([TopicPartition(TOPIC, 0)])[0].offset)
        return found

    def read(self, seconds: float) -> list[Operation]:
        """Return the events that arrive within that time; returns as soon as there are any."""
        message = self._consumer.poll(seconds)
        if message is None:
            return []
        if (error := message.error()) is not None:
            raise Retryable(f"Kafka does not answer: {error.str()}")
        try:
            return [self._operation(message.value() or b"", message.offset())]
        except Retryable:
            # Read, but not understood yet, since the registry is away: it comes again, and is not passed over.
            self._consumer.seek(TopicPartition(TOPIC, message.partition() or 0, message.offset() or 0))
            raise

    def follow(self, take: Callable[[Operation], None]) -> None:
        """Hand each event to `take` as it comes, until `stop`; waits, with a message, for a broker that is away."""
        while not self._stopped.is_set():
            try:
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

    def _operation(self, value: bytes, offset: int | None) -> Operation:
        try:
            return operation_of(value, self._registry)
        except (NotDecodable, ValueError) as error:
            raise ContractBroken(
                f"{TOPIC}/0@{offset} is no Operation ({error}): only workers and operators may write there"
            ) from error


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


def operation_of(value: bytes, registry: Registry) -> Operation:
    """Return the event that a message of the topic holds. Raises NotDecodable or ValueError where it is none."""
    schema_id, body = unframe(value)
    told = decode(registry.writer(schema_id).parsed, body, parsed(RECORD))
    detail = json.loads(told["detail"])
    if not isinstance(detail, dict):
        raise ValueError("its detail is no JSON object")
    return Operation(
        told["kind"], told["department"], told["at"].astimezone(UTC), told["by"], told["reason"], detail, told["id"]
    )
