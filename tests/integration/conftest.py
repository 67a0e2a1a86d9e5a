"""A database for tests of readers: one transaction, rolled back at the end, so that nothing stays of what is written.

Nor does it hold what other tests left behind: in which order they run says nothing about what is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import tuple_row

from schemas.catalogue import load
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.projection.positions import load_catalogue

Store = psycopg.Connection[Any]

_KEPT = ("generation", "serving", "installation", "audit")
"""Tables that say which database this is, and one that is only added to."""


@pytest.fixture(scope="module")
def owner(stack: Connection) -> Iterator[Store]:
    """A connection as the owner, its search_path the first generation."""
    with connect(stack.database.get_secret_value(), generation=1, autocommit=True) as connection:
        yield connection


@pytest.fixture
def undone(owner: Store) -> Iterator[Store]:
    """A transaction, rolled back at the end: empty tables, the catalogue and one partition of each log (positions 1,000,000)."""
    owner.row_factory = tuple_row
    with owner.transaction(force_rollback=True):
        for table in _tables(owner):
            owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(*table)))
        load_catalogue(owner, load(), "beijing")
        for topic in ("accepted", "quarantine"):
            owner.execute("INSERT INTO position VALUES (%s, 'id-of-' || %s, 0, 1000000)", (topic, topic))
        yield owner
    owner.row_factory = tuple_row


def _tables(store: Store) -> list[tuple[str, str]]:
    found = store.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'g1' OR schemaname = 'xinliu' AND tablename <> ALL(%s)",
        (list(_KEPT),),
    )
    return [(schema, name) for schema, name in found]
