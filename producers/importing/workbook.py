"""Reads the first sheet of a workbook in a process of its own: `python -I workbook.py FILE`; rows are pickled to stdout.

A workbook of 1 kB can ask for terabytes (two cells, at opposite corners of the sheet), one of 3 kB for gigabytes of text
(one shared string that every cell names); the reader allocates it, and its process ends with it. So it has one whose
memory and time are limited. Imports nothing of the project: it starts in 40 ms.
"""

from __future__ import annotations

import pickle
import re
import resource
import sys
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import python_calamine

__all__ = ["LONGEST_CELL"]

LONGEST_CELL = 32_767
"""Characters that a cell of Excel can hold."""

_MEMORY = 4 << 30
_SECONDS = 60
_ROWS = 1 << 20
"""A sheet of Excel has as many; a cell may say that it stands in row 99,999,999,999 all the same."""
_TEXT = 1 << 29
_ROWS_AT_ONCE = 1_000
_BEGINNING = 1 << 16
_FROM_1904 = re.compile(rb"""<workbookPr\b[^>]*\bdate1904\s*=\s*["'](?:1|true)["']""")

Row = tuple[int, Sequence[Any]]


def _filled(path: str) -> Iterator[Row]:
    """Yield the rows that hold anything: number, from 1 as Excel counts, and cells from column A on."""
    sheet = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0)
    text = 0
    _, left = sheet.start or (0, 0)  # empty rows at the top are told, empty columns at the left are not
    for number, row in enumerate(sheet.iter_rows(), 1):
        if number > _ROWS:
            raise python_calamine.CalamineError(f"it has a row {number}")
        if any(cell not in ("", None) for cell in row):
            # One more than a cell can hold is enough to see that it is too long.
            cells = [cell[: LONGEST_CELL + 1] if isinstance(cell, str) else cell for cell in row]
            text += sum(len(cell) for cell in cells if isinstance(cell, str))
            if text > _TEXT:
                raise MemoryError
            yield number, [""] * left + cells


def _counts_from_1904(path: str) -> bool:
    """Tell whether the workbook's days are counted from 1904; it says so near the beginning of its first part."""
    with zipfile.ZipFile(path) as parts, parts.open("xl/workbook.xml") as part:
        return bool(_FROM_1904.search(part.read(_BEGINNING)))


def _main(path: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    rows: list[Row] = []
    try:
        from_1904 = _counts_from_1904(path)
    except Exception:  # noqa: BLE001  # no zip, or none that Python can read: the reader of sheets says why, or reads it
        from_1904 = False
    try:
        pickle.dump([(0, [from_1904])], out)
        for row in _filled(path):
            rows.append(row)
            if len(rows) == _ROWS_AT_ONCE:
                pickle.dump(rows, out)
                rows = []
        pickle.dump(rows, out)
        pickle.dump(None, out)
    except (python_calamine.CalamineError, OSError) as error:
        pickle.dump(str(error), out)


if __name__ == "__main__":
    _main(sys.argv[1])
