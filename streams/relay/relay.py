"""The relay: publishes the outbox rows of the view's transactions, in order, at least once.

Receipts go to `receipts.<department>`: first the exceptions, then the watermark that passes them. Changed entities go
to `changes`. Tombstones of revoked statements go to `accepted`, into the partition of the message that they erase. One
relay leads; the others stand by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from confluent_kafka import KafkaException, Message, Producer
from psycopg.types.json import Jsonb

from schemas.contracts.avro import schema_header
from schemas.contracts.codec import encode_own, frame
from schemas.contracts.registry import Registry
from schemas.errors import Fatal, Retryable
from schemas.servers.kafka import Cluster
from schemas.store.sql_files import sql
from streams.projection.serving import while_serving
from streams.relay.recorder import RelayRecorder
from streams.runtime.crash_points import crash_point
from streams.runtime.locks import RELAY, Lead
from streams.runtime.service import Connection, Service

__all__ = ["ViewRelay"]

_OUTBOX_ROWS = 500
_ROUND = 0.1
"""Seconds between two rounds, at least: an entity that changes with every transaction is published once a round, and
the view has the processor."""
_EXCEPTIONS_A_RECEIPT = 500
_BY_KEY = -1
"""librdkafka's number for the partition that follows from the key."""
_NOTE_EVERY = 2.0
"""Seconds between two updates of the times that sources vouch for, if no watermark has moved."""


class ViewRelay(Service):
    """One relay in a thread of its own, woken after every commit of the view and at least every second."""

    waits = "relay.waits"

    def __init__(
        self, database: str, kafka: Cluster, registry: Registry, *, generation: int, recorder: RelayRecorder
    ) -> None:
        super().__init__(database, generation=generation, retried=recorder.retried)
        self.lead = Lead(RELAY)
        self._recorder = recorder
        self._registry = registry
        self._generation = generation
        self._refusals: list[str] = []
        self._producer = Producer(
            kafka.client(
                {
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": 0,
                    "partitioner": "murmur2_random",
                    "on_delivery": self._delivered,
                    "delivery.report.only.error": True,
                }
            )
        )
        self._noted_at = -_NOTE_EVERY

    def run(self) -> None:
        """Publish until stopped."""
        super().run()
        self._recorder.ends()

    def _round(self) -> float:
        self._recorder.goes_round()
        self._await_news(_ROUND)
        while self.publish_some() and not self._stopped.is_set():
            self._recorder.goes_round()
        return 0.0

    def publish_some(self) -> bool:
        """Publish one portion; return whether more may be waiting. Do nothing if another relay leads, or another
        generation serves."""
        connection = self._connected()
        # From reading the outbox to deleting the published rows: rows that a promote moves are published once.
        with while_serving(connection, self._generation) as ours:
            if ours:
                return self._publish(connection)
        if self.lead.held:
            self.close()  # the relay of the generation that serves must be able to lead
        return False

    def _publish(self, connection: Connection) -> bool:
        if not self._leads():
            return False
        with connection.transaction():
            # One snapshot: every exception that a watermark passes is among the rows, or was published before.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            rows = connection.execute(sql("relay/outbox"), {"limit": _OUTBOX_ROWS}).fetchall()
            drained = len(rows) < _OUTBOX_ROWS
            watermarks = connection.execute(sql("relay/watermarks")).fetchall() if drained else []
            changed = self._changed(connection, rows)
        self._note(connection, news=bool(watermarks))  # before a department reads that its records are visible
        if not rows and not watermarks:
            return False
        crash_point("relay.before-publish")
        tombstones = self._tombstones(rows)
        receipts = self._exceptions(rows) + self._reconciliations(rows)
        self._flush()  # before any watermark that passes them
        receipts += self._watermarks(watermarks)
        self._changes(changed)
        self._flush()
        crash_point("relay.published")
        with connection.transaction():
            connection.execute("DELETE FROM outbox WHERE id = ANY(%s)", ([row[0] for row in rows],))
            sent = [
                {
                    "topic": topic,
                    "partition": partition,
                    "next_offset": offset,
                    "as_of": as_of.isoformat() if as_of else None,
                }
                for _, topic, partition, offset, as_of in watermarks
            ]
            connection.execute(sql("relay/sent"), {"rows": Jsonb(sent)})
        self._recorder.published(receipts, len(changed), tombstones)
        return not drained

    def _tombstones(self, rows: Iterable[tuple[Any, ...]]) -> int:
        gone = [entry for _, kind, _, payload in rows if kind == "TOMBSTONES" for entry in payload]
        for partition, key in gone:
            self._produce("accepted", key, None, partition)
        return len(gone)

    def _note(self, connection: Connection, *, news: bool = False) -> None:
        # A source that falls silent, or is held back by the quarantine, brings no watermark.
        if news or monotonic() - self._noted_at >= _NOTE_EVERY:
            connection.execute(sql("relay/vouched"), {"generation": self._generation})
            self._noted_at = monotonic()

    def _exceptions(self, rows: Iterable[tuple[Any, ...]]) -> int:
        receipts = 0
        by_department: dict[str, list[Any]] = defaultdict(list)
        for _, kind, department, payload in rows:
            if kind == "EXCEPTIONS":
                by_department[department].extend(payload)
        for department, exceptions in by_department.items():
            for start in range(0, len(exceptions), _EXCEPTIONS_A_RECEIPT):
                self._receipt(department, exceptions=exceptions[start : start + _EXCEPTIONS_A_RECEIPT])
                receipts += 1
        return receipts

    def _reconciliations(self, rows: Iterable[tuple[Any, ...]]) -> int:
        answers = [(department, payload) for _, kind, department, payload in rows if kind == "RECONCILED"]
        for department, answer in answers:
            compared_at = datetime.fromisoformat(answer["compared_at"])
            self._receipt(department, reconciliation={**answer, "compared_at": compared_at})
        return len(answers)

    def _watermarks(self, watermarks: Iterable[tuple[Any, ...]]) -> int:
        by_department: dict[str, list[Any]] = defaultdict(list)
        for department, _, partition, next_offset, as_of in watermarks:
            by_department[department].append({"partition": partition, "next_offset": next_offset, "as_of": as_of})
        for department, watermark in by_department.items():
            self._receipt(department, watermark=watermark)
        return len(by_department)

    def _receipt(
        self,
        department: str,
        *,
        watermark: list[Any] | None = None,
        exceptions: list[Any] | None = None,
        reconciliation: dict[str, Any] | None = None,
    ) -> None:
        receipt = {
            "department": department,
            "issued_at": datetime.now(UTC),
            "watermark": watermark or [],
            "exceptions": exceptions or [],
            "reconciliation": reconciliation,
        }
        value = frame(self._registry.schema_id("xinliu.Receipt"), encode_own("xinliu.Receipt", receipt))
        self._produce(f"receipts.{department}", department, value, headers=[schema_header("xinliu.Receipt")])

    def _changed(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
        entities = sorted({uscc for _, kind, _, payload in rows if kind == "CHANGES" for uscc in payload["uscc"]})
        return connection.execute(sql("relay/digests"), {"uscc": entities}).fetchall() if entities else []

    def _changes(self, changed: Iterable[tuple[Any, ...]]) -> None:
        schema_id = self._registry.schema_id("xinliu.EntityChange")
        for uscc, high, low, changed_at in changed:
            digest = high.to_bytes(8, "big", signed=True) + low.to_bytes(8, "big", signed=True)
            change = {
                "uscc": uscc,
                "changed_at": changed_at or datetime.now(UTC),
                "generation": self._generation,
                "digest": digest.hex(),
            }
            value = frame(schema_id, encode_own("xinliu.EntityChange", change))
            self._produce("changes", uscc, value, headers=[schema_header("xinliu.EntityChange")])

    def _produce(
        self,
        topic: str,
        key: str,
        value: bytes | None,
        partition: int = _BY_KEY,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key.encode(), partition, headers=headers)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: Any, message: Message) -> None:
        if error is not None:
            self._refusals.append(f"{message.topic()}: {error.str()}")

    def _flush(self) -> None:
        try:
            left = self._producer.flush(30)
        except KafkaException as error:
            raise Fatal(f"the relay cannot publish: {error}") from error
        refusals, self._refusals = self._refusals, []
        if refusals or left:
            # No row has been deleted from the outbox: the next round publishes all of them again.
            raise Retryable(
                f"Kafka did not take {len(refusals) + left} messages of the relay: {refusals[:1]}", server="kafka"
            )
