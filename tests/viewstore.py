"""The view's tables alone, on the real database: a generation of their own, and statements folded into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import polars as pl
import psycopg

from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements, digests
from schemas.contracts.registry import WriterSchema
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.projection.batch import Projection, StoreFinding
from streams.projection.staging import staged
from tests.statements import Statement

__all__ = ["Store", "decoded", "folded", "of_bodies", "opened", "projection_of", "take", "tombstones"]

NAME = "xinliu.Statement"
WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
TABLES = (
    "record",
    "record_history",
    "former_entity",
    "credit_view",
    "quarantine",
    "outbox",
    "writer_schema",
    "quality_day",
)
Store = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def opened(stack: Connection, generation: int) -> Iterator[Store]:
    """Make a generation of its own, so that workers of other tests do not meet these rows."""
    with connect(stack.database.get_secret_value(), generation=generation, autocommit=True) as connection:
        with connection.transaction():
            connection.execute(f"CREATE SCHEMA g{generation}")
            connection.execute(sql("generation"))
        try:
            yield connection
        finally:
            connection.execute(f"DROP SCHEMA g{generation} CASCADE")


def decoded(statements: list[Statement], first_offset: int) -> pl.DataFrame:
    """Return statements as the view stage has decoded them."""
    bodies = [encode(NAME, statement) for statement in statements]
    return of_bodies(bodies, first_offset)


def of_bodies(bodies: list[bytes], first_offset: int) -> pl.DataFrame:
    """Return Avro bodies of our own contract as the view stage has decoded them."""
    frame = decode_statements(WRITER, bodies, list(range(len(bodies)))).frame
    high, low = digests(bodies)
    count = len(bodies)
    return frame.with_columns(
        pl.Series("writer", [1] * count, dtype=pl.Int16),
        pl.Series("accepted_partition", [0] * count, dtype=pl.Int16),
        pl.Series("accepted_offset", range(first_offset, first_offset + count), dtype=pl.Int64),
        high.alias("digest_hi"),
        low.alias("digest_lo"),
        pl.Series("statement", bodies, dtype=pl.Binary),
        pl.Series("known_at", [datetime(2026, 1, 1, tzinfo=UTC)] * count, dtype=pl.Datetime("ms", "UTC")),
        pl.Series("received_at", [datetime(2026, 1, 1, tzinfo=UTC)] * count, dtype=pl.Datetime("ms", "UTC")),
        epoch=pl.lit(0, dtype=pl.Int64),
    )


_PROJECTIONS: WeakKeyDictionary[Store, Projection] = WeakKeyDictionary()
"""One of each connection, as workers have it: its plans are made once."""


def projection_of(store: Store) -> Projection:
    """Return the projection of this connection."""
    if store not in _PROJECTIONS:
        _PROJECTIONS[store] = Projection(store)
    return _PROJECTIONS[store]


def take(store: Store, batches: list[list[Statement]]) -> list[StoreFinding]:
    """Fold batches into empty tables and return what was found of the last one."""
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    projection, offset = projection_of(store), 0
    findings: list[StoreFinding] = []
    for batch in batches:
        with store.transaction():
            findings = list(projection.fold(staged(decoded(batch, offset))[0]).findings)
        offset += len(batch)
    return findings


def folded(store: Store, batches: list[list[Statement]]) -> list[Any]:
    """Fold batches into empty tables and return everything that must not depend on their order."""
    take(store, batches)
    queries = (
        "SELECT * FROM record ORDER BY record_id, province, department",
        "SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo FROM credit_view ORDER BY 1, 2, 3",
        "SELECT * FROM entity ORDER BY uscc",
        "SELECT * FROM registration ORDER BY uscc, province",
        # Whom a record is or was about, as readers see it; an entity that a record came back to may stand in both tables.
        "SELECT uscc, record_id FROM record UNION SELECT uscc, record_id FROM former_entity ORDER BY 1, 2",
        "SELECT record_id, version, digest_hi, digest_lo, status, uscc, statement FROM record_history ORDER BY 1, 2, 3, 4",
    )
    return [*(store.execute(query).fetchall() for query in queries), sorted(tombstones(store))]


def tombstones(store: Store) -> set[tuple[int, str]]:
    """Return what waits to be erased from `accepted`: partition and key."""
    rows = store.execute("SELECT payload FROM outbox WHERE kind = 'TOMBSTONES'").fetchall()
    return {(partition, key) for (payload,) in rows for partition, key in payload}
