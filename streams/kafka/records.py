"""Runs: consecutive records of one partition, the input of every stage, whichever client has read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Fetched", "Record", "Run"]


class Record(Protocol):
    """A Kafka message, the input of stages: aiokafka's ConsumerRecord is one, and so is Fetched."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition of the topic."""

    @property
    def offset(self) -> int:
        """Its offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Broker time or the producer's, as the topic has it, in milliseconds since 1970."""

    @property
    def key(self) -> Any:
        """Its key's bytes, or None."""

    @property
    def value(self) -> Any:
        """Its value's bytes, or None: a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers, in the order in which they were written."""


@dataclass(slots=True)
class Fetched:
    """A record read by confluent-kafka. Not frozen: there are millions, and a frozen one takes four times as long."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: Any
    value: Any
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one partition, as fetched; gaps left by compaction are normal."""

    topic: str
    partition: int
    expected_offset: int
    """The reader's position before: the run contains every record from here on that still exists."""
    records: Sequence[Record]

    @property
    def next_offset(self) -> int:
        """The reader's position after this run."""
        return self.records[-1].offset + 1
