"""Frames copied into tables of PostgreSQL's own types."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import psycopg
import pytest

from schemas.servers.connection import Connection
from schemas.store.binary_copy import copy_rows
from schemas.store.database import connect

TABLE = """
CREATE TEMPORARY TABLE copied (
    record_id uuid NOT NULL, version bigint, name text, at timestamptz, day date, small smallint, epoch bigint NOT NULL DEFAULT 7
)
"""


def test_rows_are_what_the_frame_says(stack: Connection) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    frame = pl.DataFrame(
        {
            "record_id": [b"\x01" * 16, b"\x02" * 16],
            "version": [1, None],
            "name": ["企业", None],
            "at": pl.Series([at, None], dtype=pl.Datetime("ms", "UTC")),
            "day": [date(2026, 1, 1), None],
            "small": pl.Series([3, None], dtype=pl.Int16),
            "epoch": [0, 1],
        }
    )
    with connect(stack.database.get_secret_value(), autocommit=True) as store:
        store.execute(TABLE)
        copy_rows(store, "copied", frame, frame.columns)
        rows = store.execute("SELECT * FROM copied ORDER BY record_id").fetchall()
    assert [str(row[0])[:8] for row in rows] == ["01010101", "02020202"]
    assert [row[1:] for row in rows] == [
        (1, "企业", at, date(2026, 1, 1), 3, 0),
        (None, None, None, None, None, 1),
    ]


def test_a_column_in_which_a_frame_says_nothing_is_as_the_table_has_it(stack: Connection) -> None:
    frame = pl.DataFrame(
        {
            "record_id": [b"\x01" * 16],
            "name": pl.Series([None], dtype=pl.String),
            "epoch": pl.Series([None], dtype=pl.Int64),
        }
    )
    with connect(stack.database.get_secret_value(), autocommit=True) as store:
        store.execute(TABLE)
        copy_rows(store, "copied", frame, frame.columns)
        copy_rows(store, "copied", frame.clear(), frame.columns)
        assert store.execute("SELECT version, name, epoch FROM copied").fetchall() == [(None, None, 7)]


def test_postgresql_refuses_a_column_that_must_not_be_empty(stack: Connection) -> None:
    frame = pl.DataFrame({"record_id": pl.Series([None], dtype=pl.Binary), "version": [1]})
    with connect(stack.database.get_secret_value(), autocommit=True) as store:
        store.execute(TABLE)
        with pytest.raises(psycopg.errors.NotNullViolation):
            copy_rows(store, "copied", frame, frame.columns)
