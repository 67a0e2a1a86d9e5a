"""The schema `serving`: views of the generation that serves, one for each table or view that readers need.

Each joins the same relation of all generations that may serve, and selects the one that does:

    SELECT … FROM (SELECT 1 AS generation, … FROM g1.record UNION ALL SELECT 2, … FROM g2.record) g
    WHERE generation = (SELECT generation FROM xinliu.serving)

PostgreSQL evaluates the subquery once per statement, and reads no table of another generation
(docs/decisions/048-readers-follow-serving.md). A promotion updates one row, so that a reader's snapshot decides which
generation it sees, for the whole of its transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep
from typing import Any

import psycopg
from psycopg import sql as compose
from psycopg.pq import TransactionStatus

from schemas.errors import Retryable
from schemas.store.sql_files import sql

__all__ = ["EXPOSED", "STATES", "changing_generations", "differing_views", "expose"]

Connection = psycopg.Connection[Any]

STATES = ("READY", "SERVING", "RETIRED")
"""States of generations that serve or may serve (again): those in the views."""

EXPOSED = (
    "position",
    "record",
    "record_history",
    "writer_schema",
    "former_entity",
    "credit_view",
    "registration",
    "entity",
    "source_freshness",
    "source_marked",
    "quarantine",
    "quarantine_entry",
    "quarantine_outcome",
    "quality_count",
    "quality_lateness",
    "manifest",
    "record_difference",
    "row_difference",
    "exchange_difference",
    "exchange_request",
    "foreign_domain",
    "foreign_pending",
    "applied_checkpoint",
    "reflected_checkpoint",
    "case_standing",
)
"""Tables and views of a generation with a view in `serving`: the sources of the views of `report`."""

_SHOWN = "SELECT generation FROM xinliu.generation WHERE state = ANY(%s) ORDER BY generation"
_HELD = """
SELECT c.relname::text, pg_get_viewdef(c.oid) FROM pg_class c
WHERE c.relnamespace = to_regnamespace('serving') AND c.relname = ANY(%s) AND c.relkind = 'v'
"""
_KNOWN_SAME = set[tuple[str, str | None]]()
"""Source of a view and PostgreSQL's text of it: pairs that this process has found equal."""
_LOCK = 0x67656E65726174  # "generat": one process at a time decides which generations the views contain
_PATIENCE = (50, 100, 200, 400, 800)
"""Lock time-outs, in milliseconds. A reader's transaction may lock a view for minutes, and whoever waits to replace the
view blocks every later reader. So each wait is short and is retried; the last one as often as needed.
"""
_PAUSE = 0.4
_TRIES = 600


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    collation: str | None


Shape = Mapping[str, Mapping[str, Sequence[_Column]]]
"""Schema → relation → columns in their order."""


def expose(connection: Connection) -> None:
    """Update the views of `serving` to the generations that may serve (STATES); the connection is the owner's.

    Returns when all views exist. Columns are those of any generation, NULL if one lacks them: a view may gain columns,
    and keeps its earlier ones. Raises Retryable if readers lock a view for some ten minutes.
    """
    with changing_generations(connection):
        shown = [int(number) for (number,) in connection.execute(_SHOWN, (list(STATES),))]
        shape = _shape(connection, [f"g{number}" for number in shown])
        for relation in EXPOSED:
            definition = _view(relation, shown, shape)
            if not _stands(connection, relation, definition):
                _replace(connection, relation, definition)


def differing_views(connection: Connection) -> list[str]:
    """Return the views of `serving` that differ from the output of `expose` for the present generations.

    Each is created once more, for this session alone, and PostgreSQL's texts of both are compared: a comment proves
    nothing.
    """
    shown = [int(number) for (number,) in connection.execute(_SHOWN, (list(STATES),))]
    shape = _shape(connection, [f"g{number}" for number in shown])
    held: dict[str, str] = dict(connection.execute(_HELD, (list(EXPOSED),)).fetchall())
    if not shown:
        return [one for one in EXPOSED if one in held]  # no generation serves through them
    return [
        one for one in EXPOSED if not _same(connection, one, held.get(one), _view(one, shown, shape, temporary=True))
    ]


def _same(connection: Connection, relation: str, held: str | None, wanted: compose.Composed) -> bool:
    pair = wanted.as_string(connection), held
    if pair not in _KNOWN_SAME:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute(wanted)
            row = connection.execute("SELECT pg_get_viewdef(to_regclass(%s))", (f"pg_temp.{relation}",)).fetchone()
        if row is None or row[0] != held:
            return False
        _KNOWN_SAME.add(pair)
    return True


@contextmanager
def changing_generations(connection: Connection) -> Iterator[None]:
    """Lock the set of generations, and of those in the views, against other processes."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        yield
    finally:
        # A failed transaction of the caller accepts no statement; the lock ends with the session.
        if not connection.closed and connection.info.transaction_status != TransactionStatus.INERROR:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _replace(connection: Connection, relation: str, definition: compose.Composed) -> None:
    for tried in range(_TRIES):
        patience = _PATIENCE[min(tried, len(_PATIENCE) - 1)]
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {patience:d}")
                connection.execute(definition)
                # Its source: PostgreSQL's own text of a view differs in wording.
                text = definition.as_string(connection)
                connection.execute(
                    compose.SQL("COMMENT ON VIEW {} IS {}").format(_name(relation), compose.Literal(text))
                )
                connection.execute("SET LOCAL lock_timeout = 0")
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            sleep(_PAUSE)
    raise Retryable(
        f"readers have held serving.{relation} through {_TRIES} tries: end the longest of them, then try again",
        server="postgres",
    )


def _stands(connection: Connection, relation: str, definition: compose.Composed) -> bool:
    row = connection.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", (f"serving.{relation}",)).fetchone()
    return row is not None and row[0] == definition.as_string(connection)


def _view(relation: str, shown: Sequence[int], shape: Shape, *, temporary: bool = False) -> compose.Composed:
    columns = _columns(relation, shown, shape)
    names = compose.SQL(", ").join(compose.Identifier(column.name) for column in columns)
    parts = [
        compose.SQL("SELECT {} AS generation, {} FROM {}").format(
            compose.Literal(number),
            compose.SQL(", ").join(_read(column, shape[f"g{number}"].get(relation, ())) for column in columns),
            compose.Identifier(f"g{number}", relation),
        )
        for number in shown
        if relation in shape[f"g{number}"]
    ]
    return compose.SQL(
        "CREATE OR REPLACE {}VIEW {} AS SELECT {} FROM ({}) g (serving_generation, {}) WHERE serving_generation = ({})"
    ).format(
        compose.SQL("TEMPORARY " if temporary else ""),
        compose.Identifier(relation) if temporary else _name(relation),
        names,
        compose.SQL(" UNION ALL ").join(parts),
        names,
        compose.SQL(sql("store/which")).format(compose.SQL(", ").join(compose.Literal(number) for number in shown)),
    )


def _columns(relation: str, shown: Sequence[int], shape: Shape) -> list[_Column]:
    # The view's own columns first, in their order: CREATE OR REPLACE can only append columns.
    found: dict[str, _Column] = {}
    for schema in ("serving", *(f"g{number}" for number in shown)):
        for column in shape.get(schema, {}).get(relation, ()):
            found.setdefault(column.name, column)
    return list(found.values())


def _read(column: _Column, held: Sequence[_Column]) -> compose.Composed:
    there = next((one for one in held if one.name == column.name), None)
    read: compose.Composable = compose.SQL("NULL") if there is None else compose.Identifier(column.name)
    if there is None or there.type != column.type:
        read = compose.SQL("{}::{}").format(read, compose.SQL(column.type))
    if column.collation is not None and (there is None or there.collation != column.collation):
        read = compose.SQL("{} COLLATE {}").format(read, compose.Identifier(column.collation))
    return compose.SQL("{} AS {}").format(read, compose.Identifier(column.name))


def _shape(connection: Connection, schemas: Sequence[str]) -> Shape:
    found: dict[str, dict[str, list[_Column]]] = {schema: {} for schema in schemas}
    for schema, relation, *column in connection.execute(
        sql("store/shape"), {"schemas": ["serving", *schemas], "relations": list(EXPOSED)}
    ):
        found.setdefault(str(schema), {}).setdefault(str(relation), []).append(_Column(*column))
    return found


def _name(relation: str) -> compose.Identifier:
    return compose.Identifier("serving", relation)
