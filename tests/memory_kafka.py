"""A topic in memory for the Publisher: keeps what is produced, and ends the process, as far as one can play it, where it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import producers.publisher
from producers import Publisher, PublisherConfig
from schemas.contracts.codec import decode, unframe
from schemas.contracts.memory_registry import MemoryRegistry

__all__ = ["PARTITIONS", "Killed", "MemoryKafka", "publishing"]

PARTITIONS = 2


class Killed(BaseException):
    """kill -9: what was produced before it stands in the topic, nothing is done afterwards."""


class MemoryKafka:
    """Stands for confluent_kafka.Producer and the broker behind it."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.registry = registry
        self.values: list[tuple[int, bytes]] = []
        self.kill_after: int | None = None
        self.refuses: Callable[[bytes], bool] = lambda _: False
        self._answers: list[Callable[[], None]] = []

    def produce(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes = b"",
        partition: int | None = None,
        on_delivery: Any,
        headers: Any = None,
    ) -> None:
        """Take a record, or end."""
        if self.kill_after is not None and len(self.values) >= self.kill_after:
            raise Killed
        place = SimpleNamespace(
            partition=lambda: partition or 0, offset=lambda: len(self.values), timestamp=lambda: (1, 0)
        )
        error = SimpleNamespace(code=lambda: -192, str=lambda: "refused") if self.refuses(value) else None
        if error is None:
            self.values.append((sum(key) % PARTITIONS if partition is None else partition, value))
        self._answers.append(lambda: on_delivery(error, place))

    def poll(self, _: float) -> int:
        """Nothing answers before the flush."""
        return 0

    def flush(self, _: float) -> int:
        """Answer everything."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()
        return 0

    def purge(self) -> None:
        """Nothing waits."""

    def list_topics(self, topic: str, timeout: float) -> Any:
        """Name the topic's partitions."""
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=dict.fromkeys(range(PARTITIONS)))})

    def said(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of every record, in the order in which they were produced."""
        for _, value in self.values:
            schema_id, body = unframe(value)
            writer = self.registry.writer(schema_id)
            yield writer.name.removeprefix("xinliu."), decode(writer.parsed, body)


@contextmanager
def publishing(kafka: MemoryKafka, department: str = "tax") -> Iterator[Publisher]:
    """Give a Publisher onto this topic; leaving it flushes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(producers.publisher, "Producer", lambda _: kafka)
        patch.setattr(producers.publisher, "Registry", lambda _: kafka.registry)
        with Publisher(PublisherConfig("127.0.0.1:1", "", department)) as publisher:
            yield publisher
