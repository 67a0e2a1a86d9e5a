"""Generations: PostgreSQL schemas g1, g2… with the same tables, of which one serves.

Only the owner of the database creates, fills or drops one; a number is never reused.
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
"""Version of the tables of a generation and of the fold that fills them. Increment it whenever the fold computes
something new: older code would continue without it, and this number prevents that (docs/evolution.md).
"""

_TRIES, _PAUSE = 120, 0.5
"""Number of attempts, and seconds between them, to lock the tables of a generation that may still have readers."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, as a row of xinliu.generation; `created_at` in UTC."""

    number: int
    schema: str
    state: str
    """BUILDING, READY, SERVING, RETIRED or DROPPED."""
    created_at: datetime
    replay: str | None
    """Id of the replay that created it; None: the first one."""


def generations(connection: Connection) -> list[Generation]:
    """Return all generations, dropped ones too, in order."""
    rows = connection.execute(
        "SELECT generation, schema_name, state, created_at, replay FROM xinliu.generation ORDER BY generation"
    )
    return [Generation(*row) for row in rows]


def create(connection: Connection, *, replay: str | None = None) -> Generation:
    """Create an empty generation, BUILDING, with all tables and indexes, and grant every role its rights there."""
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
    """Raise UsageError if a newer xinliu made this generation: this version's fold would leave fields out."""
    row = connection.execute("SELECT format FROM xinliu.generation WHERE generation = %s", (number,)).fetchone()
    if row is not None and row[0] > FORMAT:
        raise UsageError(
            f"generation {number} was made by a newer xinliu (format {row[0]}, this one knows {FORMAT}): run that one's workers"
        )


def set_state(connection: Connection, number: int, state: str) -> None:
    """Set the state of a generation; READY adds it to the readers' views, so that it can be promoted.

    Raises UsageError if there is none of that number.
    """
    changed = connection.execute("UPDATE xinliu.generation SET state = %s WHERE generation = %s", (state, number))
    if changed.rowcount != 1:
        raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
    if state == "READY":
        expose(connection)
        grant(connection)


def drop(connection: Connection, number: int) -> None:
    """Delete the content of a generation; its row stays. The readers' views lose it first.

    Raises UsageError if it serves or there is none of that number, Retryable if readers lock it for long. The next try
    continues from the finished part.
    """
    row = connection.execute(
        "SELECT schema_name, to_regnamespace(schema_name) IS NOT NULL FROM xinliu.generation WHERE generation = %s",
        (number,),
    ).fetchone()
    if row is None or not row[1]:
        raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
    dropped = connection.execute(
        # A promotion locks this row.
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
