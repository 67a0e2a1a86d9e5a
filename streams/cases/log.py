"""The topic `cases`: this province's events about cases, kept for good. Its operators and its reminders write there."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType

import structlog
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from schemas.cases.fold import CONTRACT, CaseEvent
from schemas.contracts.avro import named_by, parsed, schema_header
from schemas.contracts.codec import NotDecodable, decode, frame, unframe
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.servers.kafka import Cluster
from streams.exchange.carried.cases import Arrival

__all__ = ["TOPIC", "CaseReader", "CaseWriter"]

log = structlog.get_logger()

TOPIC = "cases"
_TIMEOUT = 15.0


class CaseWriter:
    """Writes events; the broker confirms each before `write` returns."""

    def __init__(self, kafka: Cluster, registry: Registry) -> None:
        self._registry = registry
        self._producer = Producer(
            kafka.client({"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"})
        )

    def write(self, *events: CaseEvent) -> None:
        """Write events, in order. Raises Retryable if Kafka does not take them all; writing them again is
        idempotent."""
        refused: list[KafkaError] = []
        schema_id = self._registry.schema_id(CONTRACT)
        try:
            for event in events:
                self._producer.produce(
                    TOPIC,
                    frame(schema_id, event.body()),
                    event.case_id.encode(),
                    headers=[schema_header(CONTRACT)],
                    on_delivery=lambda error, _: refused.append(error) if error else None,
                )
            left = self._producer.flush(_TIMEOUT)
        except (KafkaException, BufferError) as error:
            raise Retryable(f"Kafka does not take an event for {TOPIC}: {error}", server="kafka") from error
        if left or refused:
            why = refused[0].str() if refused else "time-out"
            raise Retryable(f"Kafka did not take {left + len(refused)} events for {TOPIC}: {why}", server="kafka")


class CaseReader:
    """Reads events from an offset on, in no consumer group. Use it as a context.

    `principal` is the name under which it reads; its group name must be allowed to it. `position` is the offset of the
    next event; it is never beyond the events that `read` has returned.
    """

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str) -> None:
        self._kafka, self._registry = kafka, registry
        self._consumer = Consumer(kafka.reader(principal, "cases", {"enable.partition.eof": True}))
        self.position, self.at_end = 0, False

    def __enter__(self) -> CaseReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def seek(self, offset: int) -> None:
        """Read on from an offset, or from the first one if the log does not reach it: a repeated event changes
        nothing."""
        try:
            first, end = self._consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                raise UsageError(f"there is no topic {TOPIC}: run `xinliu topics apply`") from None
            raise self._kafka.failure(error.args[0]) from error
        if not first <= offset <= end:
            log.warning("cases.log_shorter", stands_at=offset, log=f"{first} to {end}", goes_on_at=first)
            offset = first
        self.position, self.at_end = offset, False
        self._consumer.assign([TopicPartition(TOPIC, 0, offset)])

    def read(self, seconds: float, *, most: int = 500) -> list[Arrival]:
        """Return at most `most` next events. Waits up to `seconds` for the first one, but not at the end of the log.

        `at_end` says afterwards whether that was all. Messages that are no event are logged and skipped. Raises
        Retryable if Kafka or the registry does not answer.
        """
        found: list[Arrival] = []
        while len(found) < most:
            message = self._consumer.poll(0.0 if found and self.at_end else seconds)
            if message is None:
                break
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise self._kafka.failure(error)
                self.at_end = True
                break
            arrival = self._arrival(message)
            self.at_end, self.position = False, (message.offset() or 0) + 1
            if arrival is not None:
                found.append(arrival)
        return found

    def rest(self) -> list[Arrival]:
        """Return all remaining events. Raises Retryable if Kafka does not answer."""
        found: list[Arrival] = []
        while not self.at_end:
            before = self.position
            found += self.read(_TIMEOUT)
            if self.position == before and not self.at_end:
                raise Retryable(f"Kafka does not answer: {TOPIC} could not be read to its end", server="kafka")
        return found

    def close(self) -> None:
        """Close the reader."""
        self._consumer.close()

    def _arrival(self, message: Message) -> Arrival | None:
        value = message.value() or b""
        try:
            schema_id, body = unframe(value)
            writer = self._registry.believed(schema_id, named_by(message.headers()))
            event = CaseEvent.of(decode(writer.parsed, body, parsed(CONTRACT)))
        except (NotDecodable, KeyError) as error:
            log.error("cases.not_an_event", offset=message.offset(), why=str(error))
            return None
        kind, milliseconds = message.timestamp()
        taken = (
            datetime.now(UTC) if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, UTC)
        )
        return Arrival(event, taken, body, writer.fingerprint)
