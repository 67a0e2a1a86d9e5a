"""The relay: publishes what the view's transactions left in the outbox, in order, at least once.

Receipts go to `receipts.<department>`: first the exceptions, then the watermark that passes them; changed entities go to
`changes`; tombstones of what a revocation erases go to `accepted`, into the partition of what they erase. An advisory lock lets one relay work at a time; the others stand by.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import psycopg
from confluent_kafka import KafkaException, Message, Producer
from psycopg.types.json import Jsonb

from schemas.contracts.avro import schema_header
from schemas.contracts.codec import encode_own, frame
from schemas.contracts.registry import Registry
from schemas.errors import Fatal, Retryable
from schemas.servers.kafka import Cluster
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.projection.serving import while_serving
from streams.relay.recorder import RelayRecorder
from streams.runtime.crash_points import crash_point
from streams.runtime.locks import RELAY
from streams.runtime.service import go_round

__all__ = ["ViewRelay"]

_OUTBOX_ROWS = 500
_ROUND = 0.1
"""Seconds between two rounds, at least."""
_EXCEPTIONS_A_RECEIPT = 500
_BY_KEY = -1
"""librdkafka's number for: the partition that the key says."""
_NOTE_EVERY = 2.0
"""Seconds between two looks at what the sources vouch for, where no watermark has moved."""


class ViewRelay:
    """One relay in a thread of its own, woken after every commit of the view and at least every second."""

    def __init__(
        self, database: str, kafka: Cluster, registry: Registry, *, generation: int, recorder: RelayRecorder
    ) -> None:
        self._database = database
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
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._leads = False
        self._noted_at = -_NOTE_EVERY
        self._woken = threading.Event()
        self._stopped = threading.Event()

    def wake(self) -> None:
        """Tell the relay that there is news."""
        self._woken.set()

    def stop(self) -> None:
        """End `run` after the round that is under way."""
        self._stopped.set()
        self._woken.set()

    def run(self) -> None:
        """Publish until stopped; waits, with a message, for servers that do not answer."""
        go_round(
            self._go_round, self._stopped, waits="relay.waits", close=self._disconnect, retried=self._recorder.retried
        )
        self._recorder.ends()

    def _go_round(self) -> float:
        self._recorder.goes_round()
        self._woken.wait(1.0)
        # An entity that changes with every transaction is told of once a round, and the view has the processor.
        self._stopped.wait(_ROUND)
        self._woken.clear()
        while self.publish_some() and not self._stopped.is_set():
            self._recorder.goes_round()
        return 0.0

    def publish_some(self) -> bool:
        """Publish one portion; true where more may be waiting. Does nothing while another relay leads, or where this generation
        does not serve."""
        connection = self._connected()
        # From reading the outbox to deleting what was published: what a promote moves is told once.
        with while_serving(connection, self._generation) as ours:
            if ours:
                return self._publish(connection)
        if self._leads:
            self._disconnect()  # the relay of the generation that serves must be able to lead
        return False

    def _publish(self, connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
        if not self._leads:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (RELAY,)).fetchone()
            self._leads = bool(row and row[0])
            if not self._leads:
                return False
        with connection.transaction():
            # One snapshot: every exception that a watermark passes is among the rows, or was sent before.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            rows = connection.execute(sql("relay/outbox"), {"limit": _OUTBOX_ROWS}).fetchall()
            drained = len(rows) < _OUTBOX_ROWS
            watermarks = connection.execute(sql("relay/watermarks")).fetchall() if drained else []
            changed = self._changed(connection, rows)
        self._note(connection, news=bool(watermarks))  # before a department is told that it is visible
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
            told = [
                {
                    "topic": topic,
                    "partition": partition,
                    "next_offset": offset,
                    "as_of": as_of.isoformat() if as_of else None,
                }
                for _, topic, partition, offset, as_of in watermarks
            ]
            connection.execute(sql("relay/sent"), {"rows": Jsonb(told)})
        self._recorder.published(receipts, len(changed), tombstones)
        return not drained

    def _tombstones(self, rows: Iterable[tuple[Any, ...]]) -> int:
        gone = [entry for _, kind, _, payload in rows if kind == "TOMBSTONES" for entry in payload]
        for partition, key in gone:
            self._produce("accepted", key, None, partition)
        return len(gone)

    def _note(self, connection: psycopg.Connection[tuple[Any, ...]], *, news: bool = False) -> None:
        # What becomes silent by itself, or is held back by the quarantine, brings no watermark: it is looked for now and then.
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

    def _changed(self, connection: psycopg.Connection[tuple[Any, ...]], rows: Iterable[tuple[Any, ...]]) -> list[Any]:
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
            # Nothing has been deleted from the outbox: the next round publishes all of it again.
            raise Retryable(
                f"Kafka did not take {len(refusals) + left} messages of the relay: {refusals[:1]}", server="kafka"
            )

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            self._leads = False
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._leads = None, False
