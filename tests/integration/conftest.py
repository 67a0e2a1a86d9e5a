"""A database for tests of readers: one transaction, rolled back at the end, so that nothing stays of what is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import tuple_row

from schemas.catalogue import load
from schemas.connection import Connection
from schemas.store import connect
from streams.positions import load_catalogue

Store = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def owner(stack: Connection) -> Iterator[Store]:
    """A connection as the owner, its search_path the first generation."""
    with connect(stack.database.get_secret_value(), generation=1, autocommit=True) as connection:
        yield connection


@pytest.fixture
def undone(owner: Store) -> Iterator[Store]:
    """A transaction with the catalogue loaded and one partition of each log (positions 1,000,000), rolled back at the end."""
    owner.row_factory = tuple_row
    with owner.transaction(force_rollback=True):
        load_catalogue(owner, load(), "beijing")
        owner.execute("DELETE FROM position")
        for topic in ("accepted", "quarantine"):
            owner.execute("INSERT INTO position VALUES (%s, 'id-of-' || %s, 0, 1000000)", (topic, topic))
        yield owner
    owner.row_factory = tuple_row
