"""Receipts: the platform's answers to one department's records, read from `receipts.<department>`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producers.errors import NotVisibleYet
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = ["Receipts"]

Receipt = dict[str, Any]


class Receipts:
    """Reads a department's receipts from now on, or from the beginning of the broker's retention.

    If it is opened before publishing, it misses no receipt of the records published afterwards.
    """

    def __init__(
        self, kafka: Cluster | str, registry: RegistryAddress | str, department: str, *, from_beginning: bool = False
    ) -> None:
        self._registry = Registry(registry)
        self._cluster = Cluster.of(kafka)
        self._topic = f"receipts.{department}"
        self._consumer = Consumer(
            self._cluster.client(
                {
                    # Assigned by hand: the group is never joined. Groups with this prefix are this department's alone.
                    "group.id": f"department-{department}.receipts-{uuid.uuid4().hex}",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 100,
                    "log_level": 2,
                }
            )
        )
        try:
            first, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=15)
        except KafkaException as error:
            self._consumer.close()
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                # The broker reports a topic as unknown to a client that may not see it.
                whose = " as this department" if self._cluster.security else ""
                raise UsageError(
                    f"there is no topic {self._topic}: run `xinliu topics apply`{whose and f', or connect{whose}'}"
                ) from None
            raise self._cluster.failure(error.args[0]) from error
        self._end = end
        self._consumer.assign([TopicPartition(self._topic, 0, first if from_beginning else end)])

    def read(self, seconds: float) -> list[Receipt]:
        """Return the receipts that arrive within `seconds`. It returns as soon as there are any."""
        receipts = []
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        # poll waits for one message; consume takes the others that have arrived, without waiting.
        for message in (first, *self._consumer.consume(500, 0)):
            if message.error() is not None:
                raise self._cluster.failure(message.error())
            receipts.append(self._registry.read("xinliu.Receipt", message.value(), message.headers()))
        return receipts

    def held(self) -> Iterator[Receipt]:
        """Yield the receipts stored before opening, if reading began at the beginning."""
        while self._consumer.position([TopicPartition(self._topic, 0)])[0].offset < self._end:
            batch = self.read(1.0)
            yield from batch
            if not batch and self._end <= 0:
                return

    def watch_past(
        self, markers: Mapping[int, int], seconds: float
    ) -> Iterator[tuple[list[Receipt], Mapping[int, int]]]:
        """Yield exceptions as they are read, and the watermark by partition, until it passes every marker.

        The platform publishes exceptions before the watermark that passes them, so that all have been yielded by then.
        Raises NotVisibleYet when the time is over.
        """
        deadline = monotonic() + seconds
        reached: dict[int, int] = {}
        while True:
            exceptions: list[Receipt] = []
            for receipt in self.read(0.2):
                exceptions.extend(receipt["exceptions"])
                for mark in receipt["watermark"]:
                    reached[mark["partition"]] = max(reached.get(mark["partition"], 0), mark["next_offset"])
            yield exceptions, reached
            done = sum(reached.get(partition, 0) > offset for partition, offset in markers.items())
            if done == len(markers):
                return
            if monotonic() > deadline:
                raise NotVisibleYet(
                    f"{done} of {len(markers)} partitions are visible after {seconds:.0f} s; the records are on their way:"
                    " see `xinliu status` whether the workers run, and wait longer with --timeout"
                )

    def close(self) -> None:
        """End reading."""
        self._consumer.close()
        self._registry.close()
