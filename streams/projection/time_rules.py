"""The catalogue's rules on time as tables in PostgreSQL, row by row, so that SQL readers can compute with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from schemas.calendar.workdays import Workdays
from schemas.catalogue.rows import Row
from schemas.catalogue.time_rows import TimeRows

__all__ = ["load_time"]


def load_time(connection: psycopg.Connection[Any], rows: TimeRows) -> None:
    """Replace the stored rows by these, within the caller's transaction.

    Deleted rather than truncated: a reader with an older snapshot still sees the former rules; a truncated table would
    be empty to it.
    """
    tables: Mapping[str, Sequence[Row]] = {
        "level": rows.levels,
        "list_period": rows.list_periods,
        "report_window": rows.windows,
        "visibility": rows.visibility,
        "deadline": rows.deadlines,
        "exchange_limit": rows.exchange_limits,
    }
    # Several workers may start at once: they take turns, and readers do not wait for them.
    names = sql.SQL(", ").join(sql.Identifier("xinliu", name) for name in (*tables, "workday"))
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
    for name, found in tables.items():
        columns = tuple(type(found[0]).model_fields) if found else ()
        _replace(
            connection, name, ("place", *columns),
            ((place, *(getattr(row, column) for column in columns)) for place, row in enumerate(found)),
        )  # fmt: skip
    days = Workdays(rows.holidays).days()
    _replace(
        connection, "workday", ("day", "working", "why", "ordinal"),
        ((one.day, one.working, one.why, one.ordinal) for one in days),
    )  # fmt: skip


def _replace(
    connection: psycopg.Connection[Any], name: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    table = sql.Identifier("xinliu", name)
    connection.execute(sql.SQL("DELETE FROM {}").format(table))
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(table, sql.SQL(", ").join(map(sql.Identifier, columns)))
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(row)
