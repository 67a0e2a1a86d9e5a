"""Unread parts of a file that may decide its rows' state: unknown columns, titles, sections and sheets.

If it were ignored, 以下为已撤销的处罚 above ten rows would publish as 有效 ten penalties that the department has revoked. If
each row has its state in a column of its own, nothing is left to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from producers.files.headers.headers import Columns, must_be_said, unnamed
from producers.files.headers.states import state_in, text_speaks, title_speaks
from producers.files.table import REASON_HEADER, Cell, Line, Table
from schemas.errors import UsageError

__all__ = ["ignorable_names", "nothing_decides"]

_IN_FORCE = ("", "有效", "IN_FORCE")
_OF_A_ROW = (
    "status", "reason", "disputed_since", "listing_removed_on", "registration_until", "registration_moved_out",
    "original_record_id", "original_number", "original_uscc",
)  # fmt: skip
"""Fields by which a row gives its own state."""


def ignorable_names(path: Path, table: Table) -> tuple[str, ...]:
    """Return the names that --ignore accepts beside columns and rows: the sheets read, and the file."""
    return (*table.sheets, path.name)


def nothing_decides(path: Path, table: Table, columns: Columns, ignored: Collection[str]) -> None:
    """Raise UsageError if an unread part speaks of the state of rows that do not give it themselves."""
    _no_column(table, columns, ignored)
    silent = _Silent(table, columns)
    for line, text in _sayings(table):
        row = line.row if isinstance(line, Line) else line
        name = f"第{row}行"
        if name not in ignored and silent.below(line):
            raise UsageError(
                f"第 {line} 行 {text!r} 可能决定以下各行的含义; 请在列中说明 (状态、移出日期或异议标注日期),"
                f" 或说明它不决定什么 --ignore {name}"
            )
    for passed in table.passed:
        row = passed.line.row if isinstance(passed.line, Line) else passed.line
        said = next((text for text in passed.text.splitlines() if text_speaks(text.strip())), "")
        if passed.code == "COMMENT" and said and f"第{row}行" not in ignored and silent.at(passed.line):
            raise UsageError(
                f"第 {passed.line} 行的批注 {said.strip()[:60]!r} 可能决定此行的含义; 请在列中说明 (状态、移出日期或异议标注日期),"
                f" 或说明它不决定什么 --ignore 第{row}行"
            )
    for sheet in table.sheets:
        if sheet not in ignored and title_speaks(sheet) and silent.of(sheet):
            raise UsageError(
                f"工作表 {sheet!r} 的名称可能决定其中各行的含义; 请在列中说明 (状态、移出日期或异议标注日期),"
                f" 或说明它不决定什么 --ignore {sheet}"
            )
    if path.name not in ignored and title_speaks(path.stem) and silent.all():
        raise UsageError(
            f"文件名 {path.name!r} 可能决定其中各行的含义; 请在列中说明 (状态、移出日期或异议标注日期),"
            f" 或说明它不决定什么 --ignore {path.name}"
        )


def _no_column(table: Table, columns: Columns, ignored: Collection[str]) -> None:
    deciding = []
    unread = {*columns.unknown} - {REASON_HEADER}
    for place, header in enumerate(table.headers):
        name = header or unnamed(place + 1)
        if header in unread and name not in ignored:
            found = state_in(name, (cells[place] for _, cells in table.rows))
            deciding += [found] if found else []
    if deciding:
        raise UsageError(must_be_said(deciding))


def _sayings(table: Table) -> Iterator[tuple[int, str]]:
    """Yield titles above the table, and texts between its rows, that speak of state."""
    for passed in table.passed:
        if passed.code == "TITLE_ROW" and title_speaks(passed.text):
            yield passed.line, passed.text
    for fault in table.faults:
        if fault.code == "NO_RECORD" and title_speaks(fault.shown):
            yield fault.line, fault.shown


class _Silent:
    """The rows that do not give their own state."""

    def __init__(self, table: Table, columns: Columns) -> None:
        self._table = table
        self._places = [table.headers.index(columns.headers[name]) for name in _OF_A_ROW if name in columns.headers]
        self._lines: list[int] | None = None
        self._at: frozenset[int] | None = None

    def _silent(self) -> list[int]:
        if self._lines is None:
            self._lines = [line for line, cells in self._table.rows if not any(map(self._says, self._of(cells)))]
        return self._lines

    def _of(self, cells: tuple[Cell, ...]) -> Iterator[Cell]:
        return (cells[place] for place in self._places)

    @staticmethod
    def _says(cell: Cell) -> bool:
        return cell is not None and str(cell).strip().upper() not in _IN_FORCE

    def below(self, line: int) -> bool:
        """Return whether one is below this line, on the same sheet."""
        sheet = getattr(line, "sheet", None)
        return any(row > line and getattr(row, "sheet", None) == sheet for row in self._silent())

    def at(self, line: int) -> bool:
        """Return whether the row on this line is one."""
        if self._at is None:
            self._at = frozenset(self._silent())
        return line in self._at

    def of(self, sheet: str) -> bool:
        """Return whether one is on this sheet."""
        return any(getattr(line, "sheet", sheet) == sheet for line in self._silent())

    def all(self) -> bool:
        """Return whether there are rows and none gives its own state."""
        return bool(self._table.rows) and len(self._silent()) == len(self._table.rows)
