"""Frames and columns in PostgreSQL's binary formats, without a detour through text."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import psycopg
from numpy.typing import NDArray
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["BigintArray", "UuidArray", "copy_rows"]

_COMPATIBLE = pl.CompatLevel.oldest()


def copy_rows(connection: psycopg.Connection[Any], table: str, frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Append a frame's columns to the table's columns of the same names.

    The types must be PostgreSQL's own: 16 bytes for a uuid, Datetime("ms", "UTC") for a timestamptz, Int16 for a
    smallint; PostgreSQL refuses the whole COPY otherwise (psycopg.DataError). A column without values in the frame is
    not named, so it is null unless the table has a default for it.
    """
    if frame.is_empty():
        return
    # Penalties have no values in the fields of list entries, which are half of the columns.
    columns = [name for name in columns if frame[name].null_count() < frame.height]
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


@dataclass(frozen=True, slots=True)
class UuidArray:
    """A column of 16 bytes each, without nulls, as a parameter of type uuid[]."""

    column: pl.Series


@dataclass(frozen=True, slots=True)
class BigintArray:
    """A column of Int64, without nulls, as a parameter of type bigint[]."""

    column: pl.Series


def _array(element: int, values: NDArray[np.uint8]) -> bytes:
    # One dimension, no nulls; each element behind its length.
    count, width = values.shape
    elements = np.empty((count, 4 + width), dtype=np.uint8)
    elements[:, :4] = np.frombuffer(struct.pack("!i", width), dtype=np.uint8)
    elements[:, 4:] = values
    return struct.pack("!iiIii", 1, 0, element, count, 1) + elements.tobytes()


class _UuidArrayDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.adapters.types["uuid"].array_oid

    def dump(self, obj: UuidArray) -> bytes:
        joined = b"".join(obj.column.to_list())
        return _array(psycopg.adapters.types["uuid"].oid, np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16))


class _BigintArrayDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.adapters.types["int8"].array_oid

    def dump(self, obj: BigintArray) -> bytes:
        values = np.ascontiguousarray(obj.column.to_numpy(), dtype=">i8")
        return _array(psycopg.adapters.types["int8"].oid, values.view(np.uint8).reshape(-1, 8))


psycopg.adapters.register_dumper(UuidArray, _UuidArrayDumper)
psycopg.adapters.register_dumper(BigintArray, _BigintArrayDumper)
