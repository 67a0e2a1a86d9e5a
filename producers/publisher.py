"""Publisher: a department's programs publish statements with it, in batches, at least once, or it raises an error."""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.changes.publishing import ChangePublisher
from producers.errors import NotDelivered, NotVouched, StatementRejected
from producers.statements.checks import checked
from producers.statements.refusals import refusal_of
from producers.statements.registration import Registration, registration_statement
from schemas.contracts.avro import SCHEMA, own_fingerprint, parsed
from schemas.contracts.codec import decode, encode, frame
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.records.refused_row import DISCARDED, MENDED, RowRefusal
from schemas.records.refused_row import NAME as REFUSED_ROW
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = ["Publisher", "PublisherConfig"]

_ASK = 15.0
"""Seconds that a broker may take to answer a request for metadata."""

_PATIENCE = 5.0
"""Seconds that the publisher waits at most, after Ctrl-C, until the records on their way are confirmed."""

_STATEMENT, _MARKER, _MANIFEST = "xinliu.Statement", "xinliu.Marker", "xinliu.Manifest"

OnDelivery = Callable[[KafkaError | None, Message], None]
"""Called with the error, or None if the broker has confirmed the record, and the record with partition and offset."""


@dataclass(frozen=True, slots=True)
class PublisherConfig:
    """Where a department publishes, and as whom.

    >>> config = PublisherConfig(kafka="127.0.0.1:9092", registry="http://127.0.0.1:8081/apis/ccompat/v7",
    ...                          department="tax")
    >>> config.topic
    'records.tax'
    """

    kafka: Cluster | str
    """The cluster and the identity for it; only the bootstrap servers if the cluster does not authenticate clients."""
    registry: RegistryAddress | str
    """The schema registry's Confluent-compatible API; only its base address if it does not authenticate clients."""
    department: str
    """Key of the department, which names its topic."""
    linger_ms: int = 20
    """Milliseconds that a batch may wait to fill."""
    queue_messages: int = 100_000
    """Records that may wait to be sent; `publish` blocks while there are more."""
    timeout: float = 60.0
    """Seconds after which a broker that accepts no record is an error."""

    @property
    def topic(self) -> str:
        """The department's own topic."""
        return f"records.{self.department}"


class Publisher(ChangePublisher):
    """Publishes statements and markers of one department. Use it as a context manager: leaving it flushes.

    >>> with Publisher(config) as publisher:                    # doctest: +SKIP
    ...     publisher.publish(statement)                        # a mapping as schemas/avro/Statement.avsc has it
    ...     publisher.revoke(statement)                         # and every other change: ChangePublisher
    ...     publisher.mark(as_of=datetime.now(UTC))             # 数据截至: all up to now has been published

    A statement that `publish` raised on was not published. It stays in `refused` until the record is published at that
    version or a later one, `publish_refusals` has notified readers of it (待核), or `dismiss` names it. Until then `mark`
    raises NotVouched: a department cannot vouch while a refused statement is hidden from readers.

    A record that the broker does not confirm raises NotDelivered, at the latest on flush() or on leaving; none is
    dropped silently. Publishing is idempotent: publishing the same statements again changes nothing.
    With `track`, `offsets` gives the place of each record, in the order of publication.
    """

    def __init__(self, config: PublisherConfig, *, track: bool = False) -> None:
        self.config = config
        self._registry = Registry(config.registry)
        self._schema_id = self._registry.schema_id(_STATEMENT)
        self._published = self._confirmed = self._failed = self._lost = 0
        self._first_failure: KafkaError | None = None
        self._cluster = Cluster.of(config.kafka)
        self._unsaid: dict[int, RowRefusal] = {}
        self._track = track
        self._partitions, self._offsets, self._received = array("i"), array("q"), array("q")
        self._producer = Producer(
            self._cluster.client(
                {
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "zstd",
                    "linger.ms": config.linger_ms,
                    "queue.buffering.max.messages": config.queue_messages,
                    "delivery.timeout.ms": round(config.timeout * 1000),
                    # Kafka's own partitioner: an entity is always in the same partition, whichever client wrote it.
                    "partitioner": "murmur2_random",
                    "reconnect.backoff.max.ms": 2_000,
                    "log_level": 2,  # a broker that does not answer is reported once, as an error, not line by line
                }
            )
        )

    @property
    def published(self) -> int:
        """Number of statements passed to `publish`."""
        return self._published

    @property
    def confirmed(self) -> int:
        """Number of them that the broker has confirmed so far."""
        return self._confirmed

    @property
    def offsets(self) -> tuple[array[int], array[int]]:
        """Partition and offset of each record, in the order of publication; complete after flush()."""
        return self._partitions, self._offsets

    @property
    def received(self) -> array[int]:
        """When the broker received each record: milliseconds since 1970, by its clock, in the order of publication."""
        return self._received

    def publish(self, statement: Mapping[str, Any], /) -> None:
        """Publish one statement. It blocks while the queue is full.

        Raises StatementRejected if it is no valid statement or its subject has no USCC, NotDelivered if earlier records
        were not confirmed, Retryable if the broker accepts nothing for `timeout` seconds.
        """
        try:
            uscc, body = checked(statement, self.config.department)
        except BaseException as error:
            self._note_refused(statement, error)
            raise
        self.publish_encoded(uscc, body)
        if self._unsaid:
            self._settle(statement["record_id"], statement["version"])

    @property
    def refused(self) -> tuple[RowRefusal, ...]:
        """Statements that `publish` raised on and readers have not been notified of: see the class."""
        return tuple(self._unsaid.values())

    def publish_refusals(self) -> int:
        """Notify readers of every refused statement, and return how many: its entity and domain show 待核.

        If no entity can be read, the source's data as of stays where it is. Raises as `publish` does.
        """
        for refusal in (waiting := self.refused):
            self.refuse(refusal)
        self.flush()
        for refusal in waiting:
            self._unsaid.pop(refusal.refusal_id, None)
        return len(waiting)

    def dismiss(self, refusal: RowRefusal) -> None:
        """Decide that readers need not be notified of a refused statement. Raises UsageError if `refused` lacks it."""
        if self._unsaid.pop(refusal.refusal_id, None) is None:
            raise UsageError(f"{refusal.refusal_id} is no statement that was refused here")

    def refuse(self, refusal: RowRefusal) -> None:
        """Publish the refusal of a row, before the marker that would vouch for the row. Raises as `publish` does."""
        self._refused_row(refusal.to_record(self.config.department, datetime.now(UTC)), refusal.uscc)

    def mended(self, refusal_id: int, record_id: str, version: int) -> None:
        """Publish that this statement replaces a refused row. The refusal is closed once the statement is visible."""
        told = RowRefusal(refusal_id, None, None, record_id, version, None, ())
        self._refused_row({**told.to_record(self.config.department, datetime.now(UTC)), "outcome": MENDED})

    def discard(self, refusal_id: int, *, reason: str, by: str) -> None:
        """Publish that a refused row stays out, by whose decision, and why. Raises UsageError if there is no reason."""
        if not reason.strip():
            raise UsageError("a reason must say why the row stays out: it is kept, and readers are told 无 of it")
        told = RowRefusal(refusal_id, None, None, None, None, None, ())
        record = told.to_record(self.config.department, datetime.now(UTC), reason=reason.strip())
        self._refused_row({**record, "outcome": DISCARDED, "by": by})

    def _refused_row(self, record: Mapping[str, Any], uscc: str | None = None) -> None:
        value = frame(self._registry.schema_id(REFUSED_ROW), encode(REFUSED_ROW, dict(record)))
        key = (uscc or str(record["refusal_id"])).encode()
        self._produce(value, own_fingerprint(REFUSED_ROW), key=key, on_delivery=self._told)

    def _told(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._lost += 1
            self._note_failure(error)

    def _note_refused(self, statement: object, error: BaseException) -> None:
        refusal = refusal_of(statement, error, self.config.department)
        self._unsaid[refusal.refusal_id] = refusal

    def _settle(self, record_id: str, version: int) -> None:
        settled = [
            id
            for id, one in self._unsaid.items()
            if one.record_id == record_id and one.version is not None and one.version <= version
        ]
        for id in settled:
            del self._unsaid[id]

    def publish_many(self, statements: Iterable[Mapping[str, Any]]) -> int:
        """Publish statements in order. Return how many. Raises as `publish` does."""
        before = self._published
        for statement in statements:
            self.publish(statement)
        return self._published - before

    def register(
        self, registration: Registration, *, province: str, stated_at: datetime, version: int | None = None
    ) -> str:
        """Publish where an entity is registered, and return the record's id; for a department that registers.

        `stated_at` is when this state was true; by default the version follows from it. Raises as `publish` does.
        """
        statement = registration_statement(
            registration, province=province, department=self.config.department, stated_at=stated_at, version=version
        )
        self.publish(statement)
        return str(statement["record_id"])

    def publish_encoded(
        self, uscc: str, body: bytes, *, writer: tuple[int, str] | None = None, on_delivery: OnDelivery | None = None
    ) -> None:
        """Publish a checked statement that `schemas.contracts.codec.encode` has encoded.

        `writer` is id and fingerprint of its schema, if that is not this version's. `on_delivery` is called with the
        record's result before the next `flush` returns; the caller handles a failure, and the Publisher raises nothing.
        """
        schema_id, named = writer or (self._schema_id, own_fingerprint(_STATEMENT))
        value = frame(schema_id, body)
        if on_delivery is not None:
            self._produce(value, named, key=uscc.encode(), on_delivery=on_delivery)
            self._published += 1
            return
        place = self._published
        if self._track:
            for places in (self._partitions, self._offsets, self._received):
                places.append(-1)
        try:
            self._produce(value, named, key=uscc.encode(), on_delivery=lambda e, m: self._delivered(place, e, m))
        except BaseException as error:
            if self._track and isinstance(error, StatementRejected):
                # It was not published: the other records keep their places.
                for places in (self._partitions, self._offsets, self._received):
                    places.pop()
            self._note_refused(decode(parsed(_STATEMENT), body) if writer is None else None, error)
            raise
        self._published += 1

    def mark(self, as_of: datetime) -> dict[int, int]:
        """Vouch that everything up to `as_of` has been published. Return the offsets of the markers by partition.

        Flushes first: a marker stands behind every record it vouches for. Raises NotVouched and writes no marker while
        `refused` is not empty, and once a record was not delivered: publish the same again with another Publisher.
        """
        self.flush()
        self._must_have_said_all()
        marker = {"department": self.config.department, "marker_id": uuid.uuid4().hex, "as_of": as_of}
        return self._behind_all(_MARKER, marker, range(self.partitions()))

    def _must_have_said_all(self) -> None:
        if self._unsaid:
            first = next(iter(self._unsaid.values()))
            raise NotVouched(
                f"no marker: {len(self._unsaid)} statements were refused and readers were not told, the first of record"
                f" {first.record_id or 'unknown'} ({first.findings[0]['message']}): publish them mended, or call"
                " publish_refusals() or dismiss()"
            )
        if self._lost:
            raise NotVouched(
                f"no marker: {self._lost} records were not delivered by this Publisher; publish the same again with another"
            )

    def manifest(self, manifest: Mapping[str, Any]) -> None:
        """Publish one part of a manifest (schemas.reconciliation.manifest), behind everything published before it.

        Part 0 goes to every partition: once it has read them all, the platform has all records before the manifest.
        A manifest vouches for nothing; `mark` does.
        """
        partitions = range(1) if manifest["part"] else range(self.partitions())
        self._behind_all(_MANIFEST, manifest, partitions)

    def _behind_all(self, name: str, record: Mapping[str, Any], partitions: Iterable[int]) -> dict[int, int]:
        self.flush()
        value = frame(self._registry.schema_id(name), encode(name, dict(record)))
        places: dict[int, int] = {}

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                places[message.partition() or 0] = message.offset() or 0
            else:
                self._note_failure(error)

        for partition in partitions:
            self._produce(value, own_fingerprint(name), partition=partition, on_delivery=delivered)
        self.flush()
        return places

    def partitions(self) -> int:
        """Return the number of partitions of the topic. Raises UsageError if there is no such topic."""
        try:
            found = self._producer.list_topics(self.config.topic, timeout=min(self.config.timeout, _ASK))
            topic = found.topics[self.config.topic]
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        if topic.error is not None and self._cluster.forbids(topic.error):
            raise self._cluster.failure(topic.error)
        if topic.error is not None or not topic.partitions:
            raise UsageError(f"there is no topic {self.config.topic}: run `xinliu topics apply`")
        return len(topic.partitions)

    def flush(self) -> None:
        """Return once the broker has confirmed everything.

        Raises NotDelivered if it has not, UsageError if this department may not write there.
        """
        left = self._confirm(self.config.timeout + 5)
        failed, self._failed = self._failed, 0
        first, self._first_failure = self._first_failure, None
        if first is not None and self._cluster.forbids(first):
            raise self._cluster.failure(first)
        if failed or left:
            raise NotDelivered(failed + left, first.str() if first else "no answer in time")

    def _confirm(self, seconds: float) -> int:
        """Wait up to `seconds` until the broker has confirmed everything. Return the number of records left."""
        deadline = monotonic() + seconds
        left: int = self._producer.flush(1.0)
        while left and monotonic() < deadline:  # one second at a time: the library does not notice Ctrl-C meanwhile
            left = self._producer.flush(1.0)
        return left

    def close(self) -> None:
        """Close at once. Unconfirmed records may or may not arrive, and this is not reported."""
        self._producer.purge()
        self._producer.poll(0)
        self._registry.close()

    def __enter__(self) -> Publisher:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Flush. An exception already raised stays the exception; records published before it are still sent."""
        try:
            if kind is None:
                self.flush()
            else:
                self._confirm(_PATIENCE if kind is KeyboardInterrupt else self.config.timeout)
        finally:
            self._registry.close()

    def _produce(self, value: bytes, named: str, **rest: Any) -> None:
        deadline, headers = monotonic() + self.config.timeout, [(SCHEMA, named.encode())]
        while True:
            try:
                self._producer.produce(self.config.topic, value, headers=headers, **rest)
                self._producer.poll(0)
                break
            except BufferError:
                self._producer.poll(0.1)
                if monotonic() > deadline:
                    raise Retryable(f"Kafka has taken nothing for {self.config.timeout:.0f} s") from None
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise StatementRejected(
                        f"the statement is {len(value)} bytes long, more than the broker takes"
                    ) from error
                raise Retryable(f"Kafka does not take records: {error.args[0].str()}") from error
        if self._failed:
            self.flush()

    def _delivered(self, place: int, error: KafkaError | None, message: Message) -> None:
        self._confirmed += error is None
        if error is not None:
            self._lost += 1
            self._note_failure(error)
        elif self._track:
            self._partitions[place] = message.partition() or 0
            self._offsets[place] = message.offset() or 0
            self._received[place] = message.timestamp()[1]

    def _note_failure(self, error: KafkaError) -> None:
        self._failed += 1
        self._first_failure = self._first_failure or error
