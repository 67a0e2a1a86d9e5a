"""Intake's producer: to `accepted` and `quarantine`, each message confirmed by the broker before its input is acked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaException, Message, Producer

from schemas.contracts.codec import encode_own, frame
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.servers.kafka import Cluster

__all__ = ["Forwarder", "Forwards", "Nowhere", "Outgoing"]

Outgoing = tuple[int, bytes, bytes, list[tuple[str, bytes]]]
"""Partition, key, value and headers of a message for `accepted`."""

_FLUSH_SECONDS = 60.0


class Forwards(Protocol):
    """Destination of forwarded messages. Any method may raise Retryable; the same call may then be made again."""

    accepted_partitions: int

    def accept(self, messages: Sequence[Outgoing], /) -> None:
        """Queue messages for `accepted`."""

    def quarantine(self, value: bytes, headers: list[tuple[str, bytes]], /) -> None:
        """Queue a message for `quarantine`."""

    def vector(self, key: bytes, progress: dict[str, Any], /) -> None:
        """Write a Progress vector behind everything."""

    def flush(self) -> None:
        """Return once everything queued is durable."""


class Nowhere:
    """Destination for code that only examines: a message forwarded here is a mistake of the code."""

    accepted_partitions = 1

    def accept(self, messages: Sequence[Outgoing], /) -> None:
        """Refuse."""
        raise AssertionError("nothing is forwarded here")

    def quarantine(self, value: bytes, headers: list[tuple[str, bytes]], /) -> None:
        """Refuse."""
        raise AssertionError("nothing is forwarded here")

    def vector(self, key: bytes, progress: dict[str, Any], /) -> None:
        """Refuse."""
        raise AssertionError("nothing is forwarded here")

    def flush(self) -> None:
        """Refuse."""
        raise AssertionError("nothing is forwarded here")


class Forwarder:
    """Idempotent producer of intake, confirmed by all in-sync replicas; it drops nothing in silence."""

    def __init__(
        self, kafka: Cluster, registry: Registry, *, accepted_partitions: int, quarantine_partitions: int
    ) -> None:
        self.accepted_partitions = accepted_partitions
        self._quarantine_partitions = quarantine_partitions
        self._registry = registry
        self._refusals: list[str] = []
        self._producer = Producer(
            kafka.client(
                {
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": 2,
                    "batch.num.messages": 10_000,
                    "queue.buffering.max.messages": 200_000,
                    "message.max.bytes": 8 << 20,
                    "partitioner": "murmur2_random",
                    "on_delivery": self._delivered,
                    "delivery.report.only.error": True,
                }
            )
        )

    def accept(self, messages: Sequence[Outgoing]) -> None:
        """Queue messages for `accepted`; wait while the queue is full."""
        produce = self._producer.produce
        for partition, key, value, headers in messages:
            try:
                produce("accepted", value, key, partition, headers=headers)
            except (BufferError, KafkaException):  # the slow way, which waits for room
                self._produce("accepted", value, key=key, partition=partition, headers=headers)

    def quarantine(self, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Queue a refused message for `quarantine`."""
        self._produce("quarantine", value, partition=0, headers=headers)

    def vector(self, key: bytes, progress: dict[str, Any]) -> None:
        """Write a Progress vector behind everything, to every partition of both topics, and wait for it."""
        value = frame(self._registry.schema_id("xinliu.Progress"), encode_own("xinliu.Progress", progress))
        for partition in range(self.accepted_partitions):
            self._produce("accepted", value, key=key, partition=partition)
        for partition in range(self._quarantine_partitions):
            self._produce("quarantine", value, key=key, partition=partition)
        self.flush()

    def flush(self) -> None:
        """Return once the broker has confirmed everything. Raises Retryable if it has not."""
        left = self._producer.flush(_FLUSH_SECONDS)
        refusals, self._refusals = self._refusals, []
        if left or refusals:
            raise Retryable(
                f"Kafka did not take {left + len(refusals)} messages of intake: {(refusals or ['time-out'])[0]}",
                server="kafka",
            )

    def _produce(self, topic: str, value: bytes, **rest: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, **rest)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise Retryable(
                    f"Kafka does not take messages for {topic}: {error.args[0].str()}", server="kafka"
                ) from error

    def _delivered(self, error: Any, message: Message) -> None:
        if error is not None:
            self._refusals.append(f"{message.topic()}/{message.partition()}: {error.str()}")
