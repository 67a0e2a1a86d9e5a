"""Canonical encoding: whether each body has the bytes that every Avro writer would write.

polars reads any union index but 0 as "there is a value", so a body with a damaged index reads well here and nowhere
else. It also accepts numbers written with more bytes than needed, which would give one statement two digests. Both
appear when the places of the fields are computed from the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Canonical"]

T = TypeVar("T", bound=np.generic)

_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_STEPS = tuple(np.uint64(1 << 7 * count) for count in range(1, 10))
"""Thresholds from which a zigzag number takes one byte more."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field on the walk; `place` is its number among all fields, including those within records."""

    name: str
    place: int
    null: int | None
    """Index of null in its union, if it is one."""
    size: int = 0
    """Bytes of a value of fixed size; the size of texts and numbers depends on the value."""
    fields: tuple[_Field, ...] = ()


class Canonical:
    """Check of the bodies of one writer schema.

    `schema` is the record's physical schema, `read` a frame that polars read with it, of any height. polars evaluates
    all fields in one expression list, which is built here: for a small batch building it costs more than evaluating it.
    """

    def __init__(self, schema: Any, read: pl.DataFrame) -> None:
        self._texts: list[int] = []
        self._bytes: list[int] = []
        self._numbers: list[int] = []
        self._others: list[int] = []
        self._count = 0
        self._fields = self._made(schema, read)
        self._lengths = [
            pl.col(list(map(str, self._texts))).str.len_bytes(),
            pl.col(list(map(str, self._bytes))).bin.size(),
        ]
        self._values = pl.col(list(map(str, self._numbers))).fill_null(0)
        self._held = pl.col(list(map(str, (*self._numbers, *self._others)))).is_not_null()

    def __call__(self, read: pl.DataFrame, bodies: Sequence[bytes]) -> NDArray[np.bool_]:
        """Return for each body whether every union index and every length in it follows the Avro specification.

        `read` has a row for each body.
        """
        columns: list[pl.Series] = []
        _gather(self._fields, read, columns)
        flat = pl.DataFrame(columns)
        lengths = flat.select(self._lengths).to_numpy(order="fortran")
        values = flat.select(self._values).to_numpy(order="fortran")
        held = flat.select(self._held).to_numpy(order="fortran")
        # polars returns floating-point numbers for nullable lengths; every length fits into one.
        texts = ~np.isnan(lengths) if lengths.dtype.kind == "f" else np.ones(lengths.shape, dtype=np.bool_)
        lengths = np.where(texts, lengths, 0).astype(np.int64)
        sizes = _by_place((*self._texts, *self._bytes), lengths + _number_sizes(lengths))
        there = _by_place((*self._texts, *self._bytes), texts)
        walk = _Walk(
            bodies,
            sizes | _by_place(self._numbers, _number_sizes(values)),
            there | _by_place((*self._numbers, *self._others), held),
        )
        walk.record(self._fields, None)
        return walk.whole()

    def _made(self, schema: Any, read: pl.DataFrame) -> tuple[_Field, ...]:
        return tuple(self._field(field["name"], field["type"], read[field["name"]]) for field in schema["fields"])

    def _field(self, name: str, schema: Any, column: pl.Series) -> _Field:
        place, self._count = self._count, self._count + 1
        null = schema.index("null") if isinstance(schema, list) else None
        inner = schema if null is None else schema[1 - null]
        kind = inner["type"] if isinstance(inner, dict) else inner
        if kind in ("string", "bytes"):
            (self._texts if column.dtype == pl.String else self._bytes).append(place)
            return _Field(name, place, null)
        if kind == "long":
            self._numbers.append(place)
            return _Field(name, place, null)
        self._others.append(place)
        if kind == "record":
            return _Field(name, place, null, fields=self._made(inner, column.struct.unnest()))
        return _Field(name, place, null, inner["size"] if kind == "fixed" else _SIZES[kind])


def _gather(fields: Sequence[_Field], read: pl.DataFrame, found: list[pl.Series]) -> None:
    """Add the columns of all fields, each under the number of its place."""
    for field in fields:
        column = read[field.name]
        found.append(column.alias(str(field.place)))
        if field.fields:
            _gather(field.fields, column.struct.unnest(), found)


def _by_place(places: Sequence[int], table: NDArray[T]) -> dict[int, NDArray[T]]:
    return {place: table[:, number] for number, place in enumerate(places)}


class _Walk:
    """A walk over all bodies at once, field by field; `at` is the present place in each of them.

    `sizes` are the bytes of each value, by place, and `there` whether there is one.
    """

    def __init__(
        self,
        bodies: Sequence[bytes],
        sizes: Mapping[int, NDArray[np.int64]],
        there: Mapping[int, NDArray[np.bool_]],
    ) -> None:
        self._sizes, self._there = sizes, there
        self._bytes = np.frombuffer(b"".join((*bodies, b"\0")), dtype=np.uint8)
        self._ends = np.cumsum(np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies)))
        self._at = np.concatenate(([0], self._ends[:-1])).astype(np.int64)
        self._good = np.ones(len(bodies), dtype=np.bool_)

    def whole(self) -> NDArray[np.bool_]:
        ended: NDArray[np.bool_] = self._at == self._ends
        return self._good & ended

    def record(self, fields: Sequence[_Field], present: NDArray[np.bool_] | None) -> None:
        """Walk over a record that is present in these bodies; None: in all."""
        for field in fields:
            self._field(field, present)

    def _field(self, field: _Field, present: NDArray[np.bool_] | None) -> None:
        if field.null is not None:
            present = self._union(field.null, self._there[field.place], present)
        if field.fields:
            self.record(field.fields, present)
            return
        sizes: NDArray[np.int64] | int = self._sizes.get(field.place, field.size)
        self._at += sizes if present is None else sizes * present

    def _union(self, null: int, there: NDArray[np.bool_], present: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        index = self._bytes[np.minimum(self._at, len(self._bytes) - 1)]
        right = index == np.where(there, 2 * (1 - null), 2 * null)
        if present is None:
            self._good &= right
            self._at += 1
            return there
        self._good &= ~present | right
        self._at += present
        return there & present


def _number_sizes(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    largest = zigzag.max(initial=np.uint64(0))
    sizes = np.ones_like(numbers)
    for step in _STEPS:
        if largest < step:
            break
        sizes += zigzag >= step
    return sizes
