"""Readers of the columns, and cells as shown: shortened, nothing in them invisible, no person's number whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl

from producers.files.formats.workbook import LONGEST_CELL
from producers.files.headers.headers import MOVES, Columns
from producers.files.rows.repairs import MendedCell
from producers.files.table import Cell, Table, unreadable
from producers.files.values import values
from schemas.contracts.flat_frame import FLAT
from schemas.identifiers.persons import cover_persons, names_person
from schemas.identifiers.resident import mask
from schemas.texts.visible import visible

__all__ = ["Mending", "Reader", "as_written", "reader_of", "shown"]

Mending = tuple[int, MendedCell]
"""Line and mended cell."""

_READERS: dict[str, Callable[[Cell], values.CellReading[Any]]] = {
    **dict.fromkeys(("uscc", "authority", "penalty_source_unit_code", "original_uscc"), values.read_code),
    **dict.fromkeys(
        ("domain", "status", "reason", "subject_kind", "listing_list", "listing_removal_reason", "penalty_level"),
        values.read_word,
    ),
    "penalty_document_number": values.read_document_number,
    "listing_entry_id": values.read_identifier,
    "registration_former_names": values.read_former_names,
    "original_record_id": values.read_record_id,
    "penalty_categories": values.read_categories,
    "version": values.read_version,
}
"""Fields with a reader of their own; the others are read by their type."""

_NUMBERS = {"penalty_document_number", "listing_entry_id", "original_number"}
_TEXTS = {
    values.read_text,
    values.read_word,
    values.read_identifier,
    values.read_document_number,
    values.read_categories,
    values.read_former_names,
}
_LONGEST_NUMBER, _LONGEST_VALUE = 1_000, 100
"""Longest document number read at all (the rules allow fewer), longest code, date, time, amount or version."""

_SHOWN = 60
_PERSONAL = re.compile(r"(?<![0-9A-Za-z])([1-9]\d{5})\d{8,11}([0-9Xx])(?![0-9A-Za-z])")
"""Covered wherever it is shown: a number as long as a resident identity number."""

_FRACTION = re.compile(r"-?\d{1,9}\.\d+", re.ASCII)


class Reader:
    """Reads cells of one column, each distinct text once: dates, codes and amounts repeat often."""

    def __init__(
        self,
        header: str,
        place: int,
        read: Callable[[Cell], values.CellReading[Any]],
        longest: int,
        mended: list[Mending],
    ) -> None:
        self.header, self.place, self._read, self._longest, self._mended = header, place, read, longest, mended
        self._known: dict[Any, tuple[Any, MendedCell | None]] = {}

    def __call__(self, line: int, cell: Cell) -> Any:
        if cell is None or cell == "":
            return None
        # Unicode's normal forms and the pattern of a time take quadratic time: no cell may take hours.
        if isinstance(cell, str | Decimal) and len(cell if isinstance(cell, str) else str(cell)) > self._longest:
            raise values.CellRefused("CELL_TOO_LONG", f"此格超过 {self._longest} 字")
        key = (type(cell), cell)
        known = self._known.get(key)
        if known is None:
            if refused := unreadable(cell):
                raise values.CellRefused(*refused)
            if len(self._known) > 50_000:
                self._known.clear()
            value, repairs = self._read(cell)
            made = MendedCell(self.header, shown(cell), shown(value), repairs) if repairs else None
            known = self._known[key] = value, made
        if known[1] is not None:
            self._mended.append((line, known[1]))
        return known[0]


def reader_of(name: str, columns: Columns, table: Table, mended: list[Mending]) -> Reader:
    """Return the reader of this field's column; it adds its repairs to `mended`."""
    read, kind = _READERS.get(name), FLAT.get(name)
    if name == "original_number":
        read = values.read_document_number if columns.kind == "PENALTY" else values.read_identifier
    if name == "updated_at":
        read = partial(values.read_time, from_1904=table.from_1904)
    elif kind == pl.Date() or name in MOVES.values():
        read = partial(values.read_date, from_1904=table.from_1904)
    elif kind == pl.Decimal(18, 6):
        read = values.read_money
    read = read or values.read_text
    header = columns.headers[name]
    longest = (_LONGEST_NUMBER if name in _NUMBERS else LONGEST_CELL) if read in _TEXTS else _LONGEST_VALUE
    return Reader(header, table.headers.index(header), read, longest, mended)


def shown(cell: object) -> str:
    """Return a cell as it may be shown: shortened, nothing in it invisible, covered if it may be a person's number."""
    text = as_written(cell)
    if isinstance(cell, float | Decimal) and _FRACTION.fullmatch(text):
        return text[:_SHOWN]
    once = _PERSONAL.sub(lambda found: mask(found[0]), text)
    covered = cover_persons(once)
    # As a code it is a number, as a text perhaps not; with characters between its digits it is shown without them.
    if names_person(text) and (covered == text or (once == text and not text.isalnum())):
        covered = mask("".join(one for one in unicodedata.normalize("NFKC", text) if one.isascii() and one.isalnum()))
    return visible(covered[:_SHOWN])


def as_written(cell: object) -> str:
    """Return a cell as a person sees it: a day without its midnight, a long number with all its digits."""
    if isinstance(cell, datetime) and cell.tzinfo is None and cell.time() == time():
        return cell.date().isoformat()
    if isinstance(cell, float) and 1e15 <= abs(cell) < 1e30:
        return f"{cell:.0f}"
    return "" if cell is None else str(cell)
