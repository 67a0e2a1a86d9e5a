"""Is each body written the way every Avro writer writes it?

polars takes any union index but 0 for "there is a value", so a body with a damaged index reads well here and nowhere
else. Nor does it mind numbers written with more bytes than they need, which would give one statement two digests. Both
show when the places of the fields are computed from the values read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["canonical"]

_Numbers = NDArray[np.int64] | None
"""Lengths of a text's bytes, or a number's values; 0 where there is none."""

_Present = NDArray[np.bool_] | None

_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_STEPS = tuple(np.uint64(1 << 7 * count) for count in range(1, 10))
"""From these on a zigzag number takes one byte more."""


def canonical(schema: Any, read: pl.DataFrame, bodies: Sequence[bytes]) -> NDArray[np.bool_]:
    """Return for each body whether every union index and every length in it is as the Avro specification has it.

    `schema` is the record's physical schema and `read` what polars read with it, one row a body.
    """
    walk = _Walk(bodies)
    walk.record(schema, read, np.ones(len(bodies), dtype=np.bool_))
    return walk.whole()


class _Walk:
    """Walks all bodies at once, field by field; `at` is where each of them stands."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bytes = np.frombuffer(b"".join((*bodies, b"\0")), dtype=np.uint8)
        self._ends = np.cumsum(np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies)))
        self._at = np.concatenate(([0], self._ends[:-1])).astype(np.int64)
        self._good = np.ones(len(bodies), dtype=np.bool_)

    def whole(self) -> NDArray[np.bool_]:
        ended: NDArray[np.bool_] = self._at == self._ends
        return self._good & ended

    def record(self, schema: Any, read: pl.DataFrame, present: NDArray[np.bool_]) -> None:
        # In one go: asked column by column, the lengths would take longer than all the rest.
        kinds = read.schema
        asked = {}
        for field in schema["fields"]:
            name, column = field["name"], pl.col(field["name"])
            if kinds[name] in (pl.String, pl.Binary):
                size = column.str.len_bytes() if kinds[name] == pl.String else column.bin.size()
                asked[f"{name} size"] = size.fill_null(0).cast(pl.Int64)
            elif kinds[name] == pl.Int64:
                asked[f"{name} size"] = column.fill_null(0)
            if isinstance(field["type"], list):
                asked[f"{name} there"] = column.is_not_null()
        told = read.select(**asked)
        for field in schema["fields"]:
            name = field["name"]
            there = told[f"{name} there"].to_numpy() if f"{name} there" in asked else None
            numbers = told[f"{name} size"].to_numpy() if f"{name} size" in asked else None
            self._field(field["type"], read[name], numbers, there, present)

    def _field(
        self, schema: Any, column: pl.Series, numbers: _Numbers, there: _Present, present: NDArray[np.bool_]
    ) -> None:
        if there is not None:
            self._nullable(schema, column, numbers, there & present, present)
            return
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind == "record":
            self.record(schema, column.struct.unnest(), present)
            return
        if kind in ("string", "bytes") and numbers is not None:
            sizes = numbers + _number_sizes(numbers)
        elif kind == "long" and numbers is not None:
            sizes = _number_sizes(numbers)
        else:
            sizes = np.full(len(present), schema["size"] if kind == "fixed" else _SIZES[kind], dtype=np.int64)
        self._at += sizes if present.all() else sizes * present

    def _nullable(
        self, schema: Any, column: pl.Series, numbers: _Numbers, there: NDArray[np.bool_], present: NDArray[np.bool_]
    ) -> None:
        null = schema.index("null")
        index = self._bytes[np.minimum(self._at, len(self._bytes) - 1)]
        self._good &= ~present | (index == np.where(there, 2 * (1 - null), 2 * null))
        self._at += present
        if there.any():
            self._field(schema[1 - null], column, numbers, None, there)


def _number_sizes(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    largest = zigzag.max(initial=np.uint64(0))
    sizes = np.ones(len(numbers), dtype=np.int64)
    for step in _STEPS:
        if largest < step:
            break
        sizes += zigzag >= step
    return sizes
