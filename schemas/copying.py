"""Frames as PostgreSQL's binary COPY format: nothing is turned into text only to be parsed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import psycopg
from pgpq import ArrowToPostgresBinaryEncoder

__all__ = ["copy_rows"]

_COMPATIBLE = pl.CompatLevel.oldest()


def copy_rows(connection: psycopg.Connection[Any], table: str, frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Append a frame's columns to the table's columns of the same names.

    The types must be PostgreSQL's own: 16 bytes for a uuid, Datetime("ms", "UTC") for a timestamptz, Int16 for a
    smallint; PostgreSQL refuses the whole COPY otherwise (psycopg.DataError).
    """
    if frame.is_empty():
        return
    arrow = frame.select(columns).to_arrow(compat_level=_COMPATIBLE)
    encoder = ArrowToPostgresBinaryEncoder(arrow.schema)
    names = ", ".join(f'"{name}"' for name in columns)
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT binary)") as copy,
    ):
        copy.write(encoder.write_header())
        for batch in arrow.to_batches():
            copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())
