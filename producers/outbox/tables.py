"""The tables of an outbox: what is to be told, and which relay is telling it; the same on PostgreSQL, MySQL and SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

__all__ = ["REFUSAL", "TABLE_NAME", "RowState", "Tables", "ddl", "utc"]

TABLE_NAME = "xinliu_outbox"
"""What the table is called where nothing else is said."""

REFUSAL = -1
"""Version of a row that is no statement, but says that one was refused (schemas/records/refused_row.py): body is a RefusedRow."""

_MYSQL = ("mysql", "mariadb")
_ID = BigInteger().with_variant(Integer, "sqlite")  # only an INTEGER counts by itself there
_TIME = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}
"""An engine without transactions would tell what was rolled back; a server's own character set may know no Chinese."""
_BODY = LargeBinary().with_variant(mysql.MEDIUMBLOB(), *_MYSQL)  # a BLOB ends at 64 kB there


class RowState(StrEnum):
    """What has become of a row."""

    WAITING = "WAITING"
    """Committed by the department, not told yet."""
    SENT = "SENT"
    """Confirmed by the broker."""
    FAILED = "FAILED"
    """Refused by the broker for good; a person must do something."""
    DISCARDED = "DISCARDED"
    """A person decided that it is not to be told, and why."""


class Tables:
    """The two tables of an outbox, defined in a department's own metadata, so that its migrations make them.

    `rows` has one row a statement. `relay` has one row a department: which relay is at work, and what it last vouched
    for. Times are UTC; MySQL and SQLite keep them without a zone.
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
            # The relay asks for what waits, in order; pruning and reconciliation ask for what was sent when.
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
    """Return the statements that make the tables, for a person or a migration that runs them."""
    statements = []
    for table in (tables.rows, tables.relay):
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return statements


def utc(time: datetime) -> datetime:
    """Return a time as a database gave it as one that knows its zone: what has none is UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
