"""Generations: PostgreSQL schemas g1, g2… with the same tables, of which one serves.

Whoever makes, fills or drops one is the owner of the database; a number is never given twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql as compose

from schemas.errors import UsageError
from schemas.roles import grant
from schemas.store import sql

__all__ = ["Generation", "create", "drop", "generations", "set_state"]

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation as xinliu.generation has it; `created_at` in UTC."""

    number: int
    schema: str
    state: str
    """BUILDING, READY, SERVING, RETIRED or DROPPED."""
    created_at: datetime
    replay: str | None
    """Id of the replay that made it; None: the first one."""


def generations(connection: Connection) -> list[Generation]:
    """Return all generations, dropped ones too, in order."""
    rows = connection.execute(
        "SELECT generation, schema_name, state, created_at, replay FROM xinliu.generation ORDER BY generation"
    )
    return [Generation(*row) for row in rows]


def create(connection: Connection, *, replay: str | None = None) -> Generation:
    """Make an empty generation, BUILDING, with all tables and indexes, and give every role its rights there."""
    with connection.transaction():
        connection.execute("LOCK xinliu.generation IN SHARE ROW EXCLUSIVE MODE")
        row = connection.execute("SELECT max(generation) + 1 FROM xinliu.generation").fetchone()
        assert row is not None
        number = int(row[0])
        schema = f"g{number}"
        connection.execute(compose.SQL("CREATE SCHEMA {}").format(compose.Identifier(schema)))
        connection.execute(
            compose.SQL("SET LOCAL search_path = {}, xinliu, pg_catalog").format(compose.Identifier(schema))
        )
        connection.execute(sql("generation"))
        made = connection.execute(
            "INSERT INTO xinliu.generation (generation, schema_name, state, replay) VALUES (%s, %s, 'BUILDING', %s)"
            " RETURNING generation, schema_name, state, created_at, replay",
            (number, schema, replay),
        ).fetchone()
        assert made is not None
    grant(connection)
    return Generation(*made)


def set_state(connection: Connection, number: int, state: str) -> None:
    """Enter the state of a generation. Raises UsageError where there is none of that number."""
    changed = connection.execute("UPDATE xinliu.generation SET state = %s WHERE generation = %s", (state, number))
    if changed.rowcount != 1:
        raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")


def drop(connection: Connection, number: int) -> None:
    """Delete what a generation holds; its row stays. Raises UsageError where it serves or there is none of that number."""
    with connection.transaction():
        row = connection.execute(
            "SELECT schema_name, state, generation = (SELECT s.generation FROM xinliu.serving s)"
            " FROM xinliu.generation WHERE generation = %s FOR UPDATE",
            (number,),
        ).fetchone()
        if row is None or row[1] == "DROPPED":
            raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
        if row[2]:
            raise UsageError(f"generation {number} serves: promote another one first")
        connection.execute(compose.SQL("DROP SCHEMA {} CASCADE").format(compose.Identifier(row[0])))
        set_state(connection, number, "DROPPED")
