"""Generations: PostgreSQL schemas g1, g2… with the same tables, of which one serves.

Whoever makes, fills or drops one is the owner of the database; a number is never given twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from time import sleep
from typing import Any

import psycopg
from psycopg import sql as compose

from schemas.errors import Retryable, UsageError
from schemas.store.roles import grant
from schemas.store.serving_views import changing_generations, expose
from schemas.store.sql_files import sql

__all__ = ["FORMAT", "Generation", "create", "drop", "generations", "must_be_known", "set_state"]

Connection = psycopg.Connection[Any]

FORMAT = 1
"""Of what the tables of a generation hold and who computes it. One more wherever the fold computes something that it did not
before: code of before would go on without it, and is kept from that (docs/evolution.md)."""

_TRIES, _PAUSE = 120, 0.5
"""How often, and at what distance in seconds, the tables of a generation are asked for that somebody may still read."""


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
            "INSERT INTO xinliu.generation (generation, schema_name, state, replay, format) VALUES (%s, %s, 'BUILDING', %s, %s)"
            " RETURNING generation, schema_name, state, created_at, replay",
            (number, schema, replay, FORMAT),
        ).fetchone()
        assert made is not None
    grant(connection)
    return Generation(*made)


def must_be_known(connection: Connection, number: int) -> None:
    """Raise UsageError where a newer xinliu has made this generation: folded by this one, something in it would be missing."""
    row = connection.execute("SELECT format FROM xinliu.generation WHERE generation = %s", (number,)).fetchone()
    if row is not None and row[0] > FORMAT:
        raise UsageError(
            f"generation {number} was made by a newer xinliu (format {row[0]}, this one knows {FORMAT}): run that one's workers"
        )


def set_state(connection: Connection, number: int, state: str) -> None:
    """Enter the state of a generation; READY puts it into the readers' views, so that it can be promoted.

    Raises UsageError where there is none of that number.
    """
    changed = connection.execute("UPDATE xinliu.generation SET state = %s WHERE generation = %s", (state, number))
    if changed.rowcount != 1:
        raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
    if state == "READY":
        expose(connection)
        grant(connection)


def drop(connection: Connection, number: int) -> None:
    """Delete what a generation holds; its row stays. First the readers' views lose it.

    Raises UsageError where it serves or there is none of that number, Retryable where readers hold it for long. Whatever was
    done then is gone on with by the next try.
    """
    row = connection.execute(
        "SELECT schema_name, to_regnamespace(schema_name) IS NOT NULL FROM xinliu.generation WHERE generation = %s",
        (number,),
    ).fetchone()
    if row is None or not row[1]:
        raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
    dropped = connection.execute(
        # Whoever promotes it holds this row.
        "UPDATE xinliu.generation SET state = 'DROPPED'"
        " WHERE generation = %s AND generation NOT IN (SELECT s.generation FROM xinliu.serving s)",
        (number,),
    )
    if dropped.rowcount != 1:
        raise UsageError(f"generation {number} serves: promote another one first")
    expose(connection)
    with changing_generations(connection):
        for _ in range(_TRIES):
            try:
                with connection.transaction():
                    connection.execute("SET LOCAL lock_timeout = '1s'")
                    connection.execute(
                        compose.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(compose.Identifier(row[0]))
                    )
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                sleep(_PAUSE)
    raise Retryable(
        f"somebody reads or writes generation {number}: end its workers, then drop it again", server="postgres"
    )
