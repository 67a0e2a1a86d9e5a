"""Comparison of the quarantine with its topic: an entry lost, or closed by nobody, would turn 待核 into 无.

The view's own projection puts the topic's messages into temporary tables, first all and then new ones; these are the
expected rows. If the tables differ, everything is compared once more under the lock of the position, and repaired.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from psycopg import sql as compose
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from schemas.errors import Retryable
from schemas.servers.kafka import Cluster
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.integrity.comparison import Connection, RowDifference
from streams.integrity.repair import note
from streams.kafka.headers import ORIGIN, header
from streams.kafka.partition_reader import record_of
from streams.kafka.records import Record
from streams.projection.batch import Projection
from streams.quarantine.projection import project_refusal

__all__ = ["QuarantineAudit", "QuarantineLog", "RefusedLog"]

log = structlog.get_logger()

_TIMEOUT = 15.0
_TOPIC = "quarantine"
_TABLES = ("quarantine", "quarantine_outcome")
_ID = re.compile(r"[0-9a-f]{32}")


class RefusedLog(Protocol):
    """The topic `quarantine`."""

    def first(self, partition: int) -> int:
        """Return the topic's first offset."""

    def messages(self, partition: int, since: int, upto: int) -> Iterator[Record]:
        """Yield the messages from offset `since` to before `upto`."""

    def close(self) -> None:
        """Close the client; the next question opens another."""


class QuarantineLog:
    """The topic of this province's cluster, as the view reads it. Raises Retryable if Kafka does not answer."""

    def __init__(self, kafka: Cluster) -> None:
        self._cluster = kafka
        self._consumer: Consumer | None = None

    def first(self, partition: int) -> int:
        """Return the topic's first offset."""
        try:
            low, _ = self._reader().get_watermark_offsets(TopicPartition(_TOPIC, partition), timeout=_TIMEOUT)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        return int(low)

    def messages(self, partition: int, since: int, upto: int) -> Iterator[Record]:
        """Yield the messages from offset `since` to before `upto`."""
        consumer = self._reader()
        consumer.assign([TopicPartition(_TOPIC, partition, since)])
        try:
            while since < upto:
                message = consumer.poll(_TIMEOUT)
                if message is None:
                    raise Retryable(f"Kafka does not answer: {_TOPIC} could not be read", server="kafka")
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    raise self._cluster.failure(error)
                since = (message.offset() or 0) + 1
                if since <= upto:
                    yield record_of(message)
        finally:
            consumer.unassign()

    def close(self) -> None:
        """Close the client; the next question opens another."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def _reader(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(self._cluster.reader("view", "refused", {"enable.partition.eof": True}))
        return self._consumer


class QuarantineAudit:
    """Compares the quarantine of one generation with its topic, on a connection of its own."""

    def __init__(self, database: str, log_of: RefusedLog, *, generation: int) -> None:
        self._database, self._log, self._schema = database, log_of, f"g{generation:d}"
        self._generation = generation
        self._connection: Connection | None = None
        self._read: dict[int, int] = {}
        self._first: dict[int, int] = {}

    def close(self) -> None:
        """Close the connection, which drops the temporary tables, and the client of the topic."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._log.close()

    def look(self) -> tuple[Sequence[RowDifference], int]:
        """Compare everything; return the differences, and the number of repaired rows."""
        connection = self._connected()
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            places = self._places(connection, "")
        self._follow(connection, places)
        with connection.transaction():
            if not any(self._wrong(connection, table) for table in _TABLES):
                return (), 0
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '5s'")
            self._follow(connection, self._places(connection, " FOR UPDATE"))
            found = {table: self._wrong(connection, table) for table in _TABLES}
            differences = [_difference(table, row) for table, rows in found.items() for row in rows]
            note(connection, differences)
            # Revoked statements come back without their content; `quarantine` in this SQL is the temporary table.
            ids = [row["record_id"] for row in found["quarantine"] if _ID.fullmatch(row["record_id"] or "")]
            connection.execute(sql("projection/forget"), (ids,))
            for table, rows in found.items():
                connection.execute(self._query(f"integrity/repair/{table}"), {"rows": Jsonb(rows)})
            values = {"relations": list(_TABLES), "ids": None, "usccs": None, "still": [], "how": "LOG"}
            connection.execute(sql("integrity/repair/mended"), values)
        return differences, len(differences)

    def _places(self, connection: Connection, lock: str) -> dict[int, int]:
        query = f"SELECT partition, next_offset FROM position WHERE topic = 'quarantine' ORDER BY partition{lock}"
        return dict(connection.execute(query).fetchall())

    def _follow(self, connection: Connection, places: Mapping[int, int]) -> None:
        """Put the topic's messages before these offsets into the temporary tables."""
        if any(places.get(partition, 0) < offset for partition, offset in self._read.items()):
            connection.execute("TRUNCATE pg_temp.quarantine, pg_temp.quarantine_outcome")
            self._read.clear()
        projection = _Said(connection)
        for partition, end in places.items():
            self._first[partition] = self._log.first(partition)
            since = max(self._read.get(partition, 0), self._first[partition])
            with connection.transaction():
                for record in self._log.messages(partition, since, end):
                    if record.value is not None and header(record.headers, ORIGIN) is not None:
                        project_refusal(projection, record)
            self._read[partition] = end
            for table in _TABLES:  # messages that have expired since prove nothing
                connection.execute(
                    f"DELETE FROM pg_temp.{table} WHERE quarantine_partition = %s AND quarantine_offset < %s",
                    (partition, self._first[partition]),
                )

    def _wrong(self, connection: Connection, table: str) -> list[dict[str, Any]]:
        values = {
            "partitions": list(self._read), "read": list(self._read.values()),
            "first": [self._first[partition] for partition in self._read],
        }  # fmt: skip
        return (
            connection.cursor(row_factory=dict_row)
            .execute(self._query(f"integrity/compare/{table}"), values)
            .fetchall()
        )

    def _query(self, name: str) -> compose.Composed:
        return compose.SQL(sql(name)).format(schema=compose.Identifier(self._schema))

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            self._read.clear()
            self._connection.execute("SET jit = off")
            self._connection.execute("SET client_min_messages = warning")
            for table in _TABLES:
                # With the same names, so that the projection's own SQL fills them.
                self._connection.execute(
                    compose.SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING ALL)").format(
                        compose.Identifier(table), compose.Identifier(self._schema, table)
                    )
                )
        return self._connection


class _Said(Projection):
    """The projection into the temporary tables: it notifies nobody."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def announce(self, kind: str, payload: Any, department: str | None = None) -> None:
        """Notify nobody."""


def _difference(table: str, row: Mapping[str, Any]) -> RowDifference:
    log.error(
        "audit.quarantine", relation=table, difference=row["difference"], topic=row["topic"], partition=row["partition"],
        offset=row["offset"],
    )  # fmt: skip
    return RowDifference(
        relation=table, difference=row["difference"], department=row["topic"].removeprefix("records."),
        uscc=row.get("uscc"), domain=row.get("domain"), partition=row["partition"],
    )  # fmt: skip
