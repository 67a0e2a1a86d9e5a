"""Repairs made while a file was read: counted by column and code, and listed cell by cell on request."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from producers.files.table import Line
from producers.files.values.values import REPAIRS
from schemas.errors import UsageError
from schemas.texts.spreadsheets import cell_written

__all__ = ["MendedCell", "Repair", "Repairs"]

_HEADERS = ("行", "列", "原值", "读作", "修整", "说明")


@dataclass(frozen=True, slots=True)
class MendedCell:
    """A mended cell: its column as the file names it, the text before and after, and the codes of the repairs."""

    column: str
    found: str
    made: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair of one cell."""

    line: int
    column: str
    found: str
    made: str
    code: str


@dataclass(frozen=True, slots=True)
class Repairs:
    """All repairs of a file. Equal cells of a column share one MendedCell, so that a large file needs little memory."""

    cells: tuple[tuple[int, MendedCell], ...] = ()
    """Line and mended cell, by line."""

    def without(self, lines: Collection[int]) -> Repairs:
        """Return the repairs of the other lines."""
        return Repairs(tuple(cell for cell in self.cells if cell[0] not in lines)) if lines else self

    def __iter__(self) -> Iterator[Repair]:
        """Yield every repair, by line."""
        for line, mended in self.cells:
            for code in mended.codes:
                yield Repair(line, mended.column, mended.found, mended.made, code)

    def counted(self) -> list[dict[str, Any]]:
        """Return a row for each column and code: the count and the first repair; the most frequent first."""
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for repair in self:
            key = repair.column, repair.code
            if key not in rows:
                rows[key] = {
                    "code": repair.code,
                    "column": repair.column,
                    "count": 0,
                    "first_line": f"{repair.line}" if isinstance(repair.line, Line) else repair.line,
                    "found": repair.found,
                    "made": repair.made,
                }
            rows[key]["count"] += 1
        return sorted(rows.values(), key=lambda row: -row["count"])  # equal counts stay in the order of the file

    def write(self, path: Path) -> int:
        """Write every repair to a CSV file (with BOM, so that Excel opens it). Return how many there are.

        Raises UsageError if it cannot be written.
        """
        count = 0
        try:
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(_HEADERS)
                for repair in self:
                    cells = (repair.line, repair.column, repair.found, repair.made, repair.code, REPAIRS[repair.code])
                    writer.writerow(map(cell_written, cells))
                    count += 1
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error}") from error
        return count
