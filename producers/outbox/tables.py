"""The tables of an outbox: rows to publish, and the relay at work; the same on PostgreSQL, MySQL and SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

__all__ = ["REFUSAL", "TABLE_NAME", "RowState", "Tables", "ddl", "utc"]

TABLE_NAME = "xinliu_outbox"
"""Default name of the table."""

REFUSAL = -1
"""Version of a row that is no statement but a refusal (schemas/records/refused_row.py); its body is a RefusedRow."""

_MYSQL = ("mysql", "mariadb")
_ID = BigInteger().with_variant(Integer, "sqlite")  # only an INTEGER key counts up by itself there
_TIME = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}
"""Without transactions the relay would publish rolled-back rows; a server's default character set may lack Chinese."""
_BODY = LargeBinary().with_variant(mysql.MEDIUMBLOB(), *_MYSQL)  # a BLOB ends at 64 kB there


class RowState(StrEnum):
    """The state of a row."""

    WAITING = "WAITING"
    """Committed by the department, not published yet."""
    SENT = "SENT"
    """Confirmed by the broker."""
    FAILED = "FAILED"
    """Refused by the broker permanently; a person must act."""
    DISCARDED = "DISCARDED"
    """A person decided that it is not to be published, and why."""


class Tables:
    """The two tables of an outbox, defined in a department's own metadata, so that its migrations create them.

    `rows` has one row for each statement. `relay` has one row for each department: the relay at work, and the time it
    last vouched for. Times are UTC; MySQL and SQLite store them without a zone.
    """

    def __init__(self, metadata: MetaData, name: str = TABLE_NAME, schema: str | None = None) -> None:
        self.rows = Table(
            name,
            metadata,
            Column("id", _ID, primary_key=True, autoincrement=True),
            Column("department", String(64), nullable=False),
            Column("record_id", String(32), nullable=False),
            Column("version", BigInteger, nullable=False),
            Column("domain", String(64), nullable=False),
            Column("uscc", String(18), nullable=False),
            Column("digest", String(32), nullable=False),
            Column("writer_schema", String(64), nullable=False),
            Column("body", _BODY, nullable=False),
            Column("added_at", _TIME, nullable=False),
            Column("state", String(9), nullable=False),
            Column("sent_at", _TIME),
            Column("sent_partition", Integer),
            Column("sent_offset", BigInteger),
            Column("reason", String(500)),
            # The relay queries waiting rows in order; pruning and reconciliation query sent rows by time.
            Index(f"{name}_state", "department", "state", "id"),
            Index(f"{name}_sent", "department", "sent_at"),
            Index(f"{name}_record", "record_id", "version"),
            schema=schema,
            sqlite_autoincrement=True,
            **_OPTIONS,
        )
        self.relay = Table(
            f"{name}_relay",
            metadata,
            Column("department", String(64), primary_key=True),
            Column("owner", String(200)),
            Column("beats", BigInteger, nullable=False),
            Column("beat_at", _TIME),
            Column("as_of", _TIME),
            schema=schema,
            **_OPTIONS,
        )


def ddl(tables: Tables, dialect: Dialect) -> list[str]:
    """Return the statements that create the tables, for a person or a migration that runs them."""
    statements = []
    for table in (tables.rows, tables.relay):
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return statements


def utc(time: datetime) -> datetime:
    """Return a time from a database with its zone: a time without one is UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
