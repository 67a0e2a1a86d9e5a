"""Sender: publishes a batch of an outbox to the department's topic, with a result for every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from confluent_kafka import KafkaError, Message

from producers.errors import NotDelivered, StatementRejected
from producers.outbox.store import Place, WaitingStatement
from producers.publisher import Publisher, PublisherConfig
from schemas.contracts.avro import own_fingerprint
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError, XinliuError
from schemas.records.refused_row import NAME as REFUSED_ROW
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = ["Delivery", "KafkaSender", "Sender"]

_STATEMENT = "xinliu.Statement"

_FOR_GOOD = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD, KafkaError.POLICY_VIOLATION}
)
"""Errors of a broker that a retry cannot change."""


@dataclass
class Delivery:
    """Result of a batch: each row is confirmed, refused permanently, or neither; `unsettled` is then the reason."""

    confirmed: dict[int, Place] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    unsettled: XinliuError | None = None


class Sender(Protocol):
    """The relay's way to the broker."""

    def send(self, batch: Sequence[WaitingStatement]) -> Delivery:
        """Publish rows in their order. Return when every row has its result, or none will come."""

    def mark(self, as_of: datetime) -> None:
        """Vouch for everything up to `as_of`, in every partition, behind all sent rows. Raises Retryable."""

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""


class KafkaSender:
    """Publishes with a Publisher that is opened on demand, and anew after every failure."""

    def __init__(
        self, kafka: Cluster | str, registry: RegistryAddress | str, department: str, *, timeout: float = 10.0
    ) -> None:
        self._config = PublisherConfig(kafka, registry, department, linger_ms=5, timeout=timeout)
        self._cluster = Cluster.of(kafka)
        self._publisher: Publisher | None = None
        self._ids: dict[str, int | None] = {}

    def send(self, batch: Sequence[WaitingStatement]) -> Delivery:
        """Publish rows in their order. If a batch is refused, each row is sent again alone: one bad row refuses all."""
        delivery = Delivery()
        try:
            self._send(batch, delivery)
        except XinliuError as error:
            delivery.unsettled = error
        return delivery

    def mark(self, as_of: datetime) -> None:
        """Write markers."""
        self._open().mark(as_of)

    def close(self) -> None:
        """Close the Publisher; no row that it still queues was reported as sent."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def _open(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(self._config)
            self._ids = {own_fingerprint(_STATEMENT): None}
            self._publisher.partitions()  # a missing topic or right is reported at once
        return self._publisher

    def _send(self, batch: Sequence[WaitingStatement], delivery: Delivery) -> None:
        publisher, answers = self._open(), _Answers()
        try:
            for row in batch:
                try:
                    publisher.publish_encoded(
                        row.uscc,
                        row.body,
                        writer=self._writer(row.writer_schema),
                        on_delivery=partial(answers.take, row.id),
                    )
                except StatementRejected as error:  # larger than any broker is asked to take
                    delivery.refused[row.id] = str(error)
        finally:
            # Rows passed on before an error are on their way, and their results count.
            unanswered = _flushed(publisher)
            delivery.confirmed.update(answers.places)
        self._judge(batch, answers, delivery)
        if unanswered is not None:
            raise unanswered

    def _judge(self, batch: Sequence[WaitingStatement], answers: _Answers, delivery: Delivery) -> None:
        refused = [row for row in batch if row.id in answers.errors and answers.errors[row.id].code() in _FOR_GOOD]
        if len(batch) == 1:
            delivery.refused.update((row.id, f"Kafka refuses it: {answers.errors[row.id].str()}") for row in refused)
        else:
            half = (len(refused) + 1) // 2
            for part in (refused[:half], refused[half:]):
                if part:
                    self._send(part, delivery)
        for id, error in answers.errors.items():
            if error.code() not in _FOR_GOOD:
                raise self._failure(id, error)

    def _failure(self, id: int, error: KafkaError) -> XinliuError:
        if self._cluster.forbids(error):
            return self._cluster.failure(error)
        return Retryable(f"Kafka did not confirm row {id}: {error.str()}", server="kafka")

    def _writer(self, wanted: str) -> tuple[int, str] | None:
        """Return id and fingerprint of the schema that a row was encoded with; None if it is this version's.

        Rows wait, and the program that wrote them may be of another version than the relay: readers would decode their
        bytes wrongly under a wrong id.
        """
        if wanted not in self._ids:
            with Registry(self._config.registry) as registry:
                self._ids.update(registry.ids(_STATEMENT))
                self._ids.update(registry.ids(REFUSED_ROW))
        if wanted not in self._ids:
            raise UsageError(
                "rows are encoded with a schema that the registry does not have: the program that writes them is newer"
                " than this relay; bring the relay to its version (`xinliu schemas register`)"
            )
        schema_id = self._ids[wanted]
        return None if schema_id is None else (schema_id, wanted)


class _Answers:
    """The broker's result for each row."""

    def __init__(self) -> None:
        self.places: dict[int, Place] = {}
        self.errors: dict[int, KafkaError] = {}

    def take(self, id: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.places[id] = (message.partition() or 0, message.offset() or 0)
        else:
            self.errors[id] = error


def _flushed(publisher: Publisher) -> XinliuError | None:
    try:
        publisher.flush()
    except NotDelivered as error:
        return error
    return None
