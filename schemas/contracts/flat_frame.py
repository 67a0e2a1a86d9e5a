"""The flat frame: one column for each field of a statement, with the same names as in the PostgreSQL tables."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from schemas.contracts.avro import source

__all__ = ["FLAT", "STATEMENT_SHAPE", "Shape", "physical"]

Spoiled = tuple[int, str, str]
"""Row, code and message of a row with values that no column can hold."""

_DECIMAL = pl.Decimal(18, 6)
_LARGEST = 10**18
_DAYS = (-719_162, 2_932_896)
"""0001-01-01 and 9999-12-31 as days since 1970-01-01: the bounds of dates."""
_DATE, _TIME = pl.Date(), pl.Datetime("ms", "UTC")
_RANGES: dict[pl.DataType, tuple[int, int]] = {_DATE: _DAYS, _TIME: (_DAYS[0] * 86_400_000, _DAYS[1] * 86_400_000)}
_MADE_OF: dict[pl.DataType, pl.DataType] = {_DATE: pl.Int32(), _TIME: pl.Int64()}


def _polars_type(avro: Any) -> Any:
    inner = next(branch for branch in avro if branch != "null") if isinstance(avro, list) else avro
    logical = inner.get("logicalType") if isinstance(inner, dict) else None
    if logical == "decimal":
        return _DECIMAL
    if logical == "date":
        return _DATE
    if logical == "timestamp-millis":
        return _TIME
    return {"string": pl.String(), "long": pl.Int64(), "boolean": pl.Boolean()}[inner]


class Shape:
    """Columns of one version of the contract Statement, and the conversion of polars' output to them."""

    def __init__(self, statement: Any) -> None:
        self._fields: dict[str, tuple[str, str | None, Any, Any]] = {}
        envelope: dict[str, Any] = {"row": pl.UInt32()}
        inside: dict[str, Any] = {}
        self._bodies: list[str] = []
        for field in statement["fields"]:
            name, kind = field["name"], field["type"]
            record = kind[1] if isinstance(kind, list) else kind
            if not isinstance(record, dict) or record["type"] != "record":
                self._fields[name] = (name, None, _polars_type(kind), field.get("default"))
                envelope[name] = self._fields[name][2]
                continue
            if isinstance(kind, list):
                self._bodies.append(name)
            for inner in record["fields"]:
                flat = "uscc" if (name, inner["name"]) == ("subject", "uscc") else f"{name}_{inner['name']}"
                self._fields[flat] = (name, inner["name"], _polars_type(inner["type"]), inner.get("default"))
                (inside if isinstance(kind, list) else envelope)[flat] = self._fields[flat][2]
        self.schema = pl.Schema({**envelope, **{f"has_{body}": pl.Boolean() for body in self._bodies}, **inside})
        self._beyond = {
            flat: (pl.col(flat) < _RANGES[kind][0]) | (pl.col(flat) > _RANGES[kind][1])
            for flat, (_, _, kind, _) in self._fields.items()
            if kind in _RANGES
        }
        self._any_beyond = {flat: beyond.any() for flat, beyond in self._beyond.items()}
        self.empty = self.schema.to_frame()
        """No rows; made once, since that takes longer than reading a small batch."""
        self._outer = dict.fromkeys(outer for outer, inner, _, _ in self._fields.values() if inner is not None)

    def flatten(self, read: pl.DataFrame, rows: Sequence[int]) -> tuple[pl.DataFrame, list[Spoiled]]:
        """Convert the output of polars for a physical writer schema to this shape.

        Fields unknown to the writer get their default; fields unknown here are dropped. Rows with values beyond every
        date or beyond 18 decimal digits are left out and returned as spoiled.
        """
        known = set(read.columns)
        structs = {name: read[name].struct.unnest() for name in self._outer if name in known}
        held: dict[str | None, set[str]] = {
            None: known,
            **{name: set(frame.columns) for name, frame in structs.items()},
        }
        spoiled: dict[int, Spoiled] = {}
        columns: dict[str, pl.Series] = {"row": pl.Series("row", rows, dtype=pl.UInt32)}
        present = read.select(pl.col([body for body in self._bodies if body in known]).is_not_null())
        for body in self._bodies:
            there = present[body] if body in known else pl.Series([False]).new_from_index(0, read.height)
            columns[f"has_{body}"] = there.alias(f"has_{body}")
        numbers: dict[str, pl.Series] = {}
        for flat, (outer, inner, kind, default) in self._fields.items():
            name = outer if inner is None else inner
            if name in held.get(None if inner is None else outer, ()):
                column = read[name] if inner is None else structs[outer][name]
                if flat in self._beyond:
                    numbers[flat] = column.alias(flat)
                else:
                    columns[flat] = _converted(column, kind, rows, spoiled).alias(flat)
                continue
            filled = pl.Series(flat, [default], dtype=kind).new_from_index(0, read.height)
            if default is not None and outer in self._bodies:
                filled = filled.zip_with(columns[f"has_{outer}"], pl.Series([None], dtype=kind))
            columns[flat] = filled
        for flat, column in numbers.items():
            kind = self.schema[flat]
            # Not strict: values out of range are reported below, and their rows left out.
            columns[flat] = column.cast(_MADE_OF[kind], strict=False).cast(kind, strict=False)
        self._out_of_range(pl.DataFrame(list(numbers.values())), rows, spoiled)
        flat_frame = pl.DataFrame([columns[name] for name in self.schema.names()])
        if spoiled:
            flat_frame = flat_frame.filter(~pl.col("row").is_in(list(spoiled)))
        return flat_frame, list(spoiled.values())

    def _out_of_range(self, numbers: pl.DataFrame, rows: Sequence[int], spoiled: dict[int, Spoiled]) -> None:
        # One check for all columns: nearly always there is no such value.
        if not numbers.width:
            return
        told = numbers.select([self._any_beyond[name] for name in numbers.columns]).row(0)
        for name in (name for name, beyond in zip(numbers.columns, told, strict=True) if beyond):
            outer, inner, _, _ = self._fields[name]
            for place in numbers.select(self._beyond[name]).to_series().arg_true().to_list():
                message = f"{inner or outer}: {numbers[name][place]} is beyond every date"
                spoiled.setdefault(rows[place], (rows[place], "DATE_RANGE", message))


STATEMENT_SHAPE = Shape(source("xinliu.Statement"))
"""Shape of the contract in this version of the code."""

FLAT = STATEMENT_SHAPE.schema
"""Columns and types of a decoded batch of statements; `row` is the place in the batch."""


def physical(schema: Any) -> Any:
    """Return an Avro schema without its logical types: the types of the bytes.

    An int becomes a long, which is written the same way, so that a value of more than 32 bits is noticed and not cut.
    Defaults are removed too: bytes are read without them, and polars reads no schema with another default than null.
    """
    if isinstance(schema, dict):
        return {
            key: schema[key] if key == "name" else physical(schema[key])
            for key in schema
            if key not in ("logicalType", "precision", "scale", "doc", "default")
        }
    if isinstance(schema, list):
        return [physical(branch) for branch in schema]
    return "long" if schema == "int" else schema


def _converted(column: pl.Series, kind: Any, rows: Sequence[int], spoiled: dict[int, Spoiled]) -> pl.Series:
    if kind == _DECIMAL:
        return _decimals(column, rows, spoiled)
    if kind == pl.String():
        return _texts(column, rows, spoiled)
    return column.cast(kind)


def _texts(column: pl.Series, rows: Sequence[int], spoiled: dict[int, Spoiled]) -> pl.Series:
    if column.dtype == pl.String:
        return column
    # A writer may have bytes for our string (Avro's promotion), without UTF-8 in them.
    texts: list[str | None] = []
    for row, raw in zip(rows, column.to_list(), strict=True):
        try:
            texts.append(None if raw is None else raw.decode())
        except UnicodeDecodeError:
            texts.append("")
            spoiled.setdefault(row, (row, "DAMAGED", f"{column.name} is no UTF-8"))
    return pl.Series(column.name, texts, dtype=pl.String)


def _decimals(column: pl.Series, rows: Sequence[int], spoiled: dict[int, Spoiled]) -> pl.Series:
    if column.null_count() == len(column):
        return pl.Series(column.name, [None], dtype=_DECIMAL).new_from_index(0, len(column))
    # Amounts repeat, so each distinct one is converted once and then joined to its rows.
    column = column.cast(pl.Binary)  # a writer may have a string for our bytes
    distinct = column.unique()
    values: list[Decimal | None] = []
    beyond: list[bytes] = []
    for raw in distinct.to_list():
        unscaled = 0 if raw is None else int.from_bytes(raw, "big", signed=True)
        if abs(unscaled) >= _LARGEST:
            beyond.append(raw)
        values.append(None if raw is None or abs(unscaled) >= _LARGEST else Decimal(unscaled).scaleb(-6))
    for place in column.is_in(beyond).fill_null(False).arg_true().to_list() if beyond else ():
        message = f"{column.name} has more than 18 digits ({len(column[place])} bytes)"
        spoiled.setdefault(rows[place], (rows[place], "DECIMAL_OVERFLOW", message))
    return column.replace_strict(distinct, pl.Series(values, dtype=_DECIMAL), return_dtype=_DECIMAL)
