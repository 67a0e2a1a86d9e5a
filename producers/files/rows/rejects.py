"""The rejects file: refused rows in their original columns, with the reasons; once mended, it can be published."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from operator import itemgetter
from pathlib import Path

import xlsxwriter
from xlsxwriter.exceptions import XlsxFileError

from producers.errors import RowError
from producers.files.formats.workbook import LONGEST_CELL
from producers.files.rows.cells import as_written
from producers.files.rows.refusals import REFUSAL_NUMBER
from producers.files.table import REASON_HEADER, Cell, Table
from schemas.errors import UsageError
from schemas.identifiers.persons import cover_persons, names_person
from schemas.identifiers.resident import mask
from schemas.texts.spreadsheets import CONTROL, cell_written

__all__ = ["REASON_HEADER", "write_rejects"]

_PARTY = re.compile(r"[^;；、,，\r\n]+")
"""A code of a cell that may have several."""

_LARGEST_NUMBER = 10**15
"""Excel rounds from here on; JSON has numbers that no workbook can store at all."""


def write_rejects(
    path: Path,
    table: Table,
    errors: Collection[RowError],
    *,
    personal: Collection[str] = (),
    refusals: Mapping[int, Collection[int]] | None = None,
) -> int:
    """Write the refused rows to a CSV (with BOM, so that Excel opens it) or XLSX file. Return how many there are.

    Columns in `personal` (identity documents) stay empty: such numbers are not copied. In other columns, the birth date
    and serial number of such a number are covered. `refusals` are the ids, by line, that the mended row closes.
    """
    persons = {(error.line, error.column) for error in errors if error.code == "USCC_RESIDENT_ID"}
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    for error in errors:
        where = f"{error.column}: " if error.column else f"第 {error.line} 行: "
        reasons[error.line].append(f"{where}{error.reason} [{error.code}]")
    blank = (None,) * len(table.headers)
    lines_of = [*table.rows, *((fault.line, fault.cells or blank) for fault in table.faults)]
    rows = [
        (line, cells, "; ".join(dict.fromkeys(reasons[line])) + _numbered((refusals or {}).get(line, ())))
        for line, cells in sorted(lines_of, key=itemgetter(0))
        if line in reasons
    ]
    hidden = {place for place, header in enumerate(table.headers) if header in personal}
    first = [*(header for header in table.headers if header != REASON_HEADER), REASON_HEADER]
    kept = [place for place, header in enumerate(table.headers) if header != REASON_HEADER]
    lines: list[list[Cell]] = [
        [
            *(
                None if place in hidden else _covered(cells[place], (line, table.headers[place]) in persons)
                for place in kept
            ),
            reason,
        ]
        for line, cells, reason in rows
    ]
    rows_of: list[Sequence[Cell]] = [first, *lines]
    try:
        if path.suffix.lower() == ".xlsx":
            _write_xlsx(path, first, lines)
        else:
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                csv.writer(file).writerows(map(cell_written, cells) for cells in rows_of)
    except (OSError, XlsxFileError) as error:
        raise UsageError(f"cannot write {path}: {error}") from error
    return len(rows)


def _numbered(ids: Collection[int]) -> str:
    return f" 〔{REFUSAL_NUMBER} {' '.join(map(str, ids))}〕" if ids else ""


def _covered(cell: Cell, person: bool) -> Cell:
    if not isinstance(cell, str | int | float | Decimal) or isinstance(cell, bool):
        return cell
    text = as_written(cell)
    covered = _PARTY.sub(lambda found: mask(found[0]) if names_person(found[0]) else found[0], text) if person else text
    covered = cover_persons(covered)
    return cell if covered == text else covered


def _write_xlsx(path: Path, headers: list[str], lines: list[list[Cell]]) -> None:
    with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd", "strings_to_numbers": False}) as workbook:
        sheet = workbook.add_worksheet("退回")
        sheet.write_row(0, 0, headers, workbook.add_format({"bold": True}))
        sheet.freeze_panes(1, 0)
        for number, cells in enumerate(lines, 1):
            for column, cell in enumerate(cells):
                if cell is None:
                    continue
                if isinstance(cell, bool | date | time | timedelta) or _is_number(cell):
                    sheet.write(number, column, cell)
                else:
                    # Never as a formula. A text longer than a cell would be dropped silently.
                    sheet.write_string(number, column, CONTROL.sub("�", str(cell))[:LONGEST_CELL])


def _is_number(cell: object) -> bool:
    if isinstance(cell, int | float):
        return abs(cell) < _LARGEST_NUMBER
    return isinstance(cell, Decimal) and abs(cell) < _LARGEST_NUMBER
