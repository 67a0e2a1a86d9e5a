"""Table: a file's headers and rows of cells, and remarks on cells that cannot be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

__all__ = [
    "MERGED",
    "REASON_HEADER",
    "UNREAD",
    "Cell",
    "Fault",
    "FileLine",
    "Line",
    "Passed",
    "Table",
    "UnreadCell",
    "some",
    "unreadable",
]

REASON_HEADER = "退回原因"
"""Header of the column that the rejects have in addition; publishing ignores it."""

ERROR, FORMULA, MERGED = "CELL_ERROR", "FORMULA_WITHOUT_VALUE", "MERGED_ACROSS"
_REASONS = {
    ERROR: "此格是错误值, 没有内容; 请在原表中改正后重新填写",
    FORMULA: "此格是公式, 文件里没有它的结果; 请用 Excel 或 WPS 打开, 保存后再发布",
    "NUMBER_FORMAT": "此格的数字按单元格格式显示成另一个样子 (括号中为格式), 不知以何者为准; 请将该列设为文本或常规, 按所见重新填写",
    "STRUCK_OUT": "此格的文字带删除线, 不知是否已删去; 请删去所划的文字或整行, 或去掉删除线",
    MERGED: "此格与左边的格合并, 不知其值属于哪一列; 请拆分合并单元格后分别填写",
}
"""Code of an unreadable cell → reason and remedy."""

UNREAD = "#未读! "
"""Marks a text in a rejects file that would otherwise be read as a value when the file comes back."""

_ERROR_TEXT = re.compile(
    r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|BUSY!|UNKNOWN!|GETTING_DATA|PYTHON!"
    r"|EXTERNAL!|TIMEOUT!|ERROR!|N/A N/A|NV|N/D|正在获取数据|正在加载.{0,4}|繁忙!?)|#[^\s#]{1,12}[!?]|#{3,}|ERR:\d{3}|#未读!.*",
    re.DOTALL,
)
"""Texts that spreadsheets show instead of a value; a row of # is a column too narrow for its value, saved as text."""

_FORMULA_TEXT = re.compile(r'\{?=(?!\s*"[^"]*"\s*$).*[^\s=].*', re.DOTALL)
"""A formula in place of its value: `=IF(…)`. Excel's way to keep a text a text, `="0045"`, is no formula."""

_LONGEST_FORMULA = 8_192


class UnreadCell(str):
    """A cell whose content cannot be read; its text is shown to the user."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, code: str, text: str) -> UnreadCell:
        """Return the cell of this code: one of _REASONS."""
        self = super().__new__(cls, text if unreadable(text) else f"{UNREAD}{text}")
        self.code = code
        return self


Cell = str | int | float | bool | Decimal | date | datetime | None


def unreadable(cell: Cell) -> tuple[str, str] | None:
    """Return code and reason why a filled cell cannot be read; None if it can be.

    An error value or a formula that came as text, by way of CSV or JSON, is as unreadable as in a workbook.
    """
    if isinstance(cell, UnreadCell):
        return cell.code, _REASONS[cell.code]
    if not isinstance(cell, str) or len(cell) > _LONGEST_FORMULA:
        return None
    text = cell.strip()
    if text[:1] not in _FIRST:
        return None
    text = unicodedata.normalize("NFKC", text).strip().upper()
    code = ERROR if _ERROR_TEXT.fullmatch(text) else FORMULA if _FORMULA_TEXT.fullmatch(text) else ""
    return (code, _REASONS[code]) if code else None


_FIRST = frozenset("#＃=＝{｛EeＥｅ")


class Line(int):
    """The line of a row in a workbook with several sheets: `row` of `sheet`, shown as 2月!3."""

    sheet: str
    row: int

    def __new__(cls, place: int, sheet: str, row: int) -> Line:
        """Return a line that differs from those of the other sheets; `place` is the position among the sheets read."""
        self = super().__new__(cls, (place << 21) + row)  # no sheet has 2²¹ rows
        self.sheet, self.row = sheet, row
        return self

    def __str__(self) -> str:
        return f"{self.sheet}!{self.row}"

    def __format__(self, how: str) -> str:
        return format(str(self), how)

    def __reduce__(self) -> tuple[type[Line], tuple[int, str, int]]:
        return Line, (int(self) >> 21, self.sheet, self.row)


class FileLine(int):
    """The line of a row in one of several files published together: `line` of `file`, shown as a.csv:3."""

    file: str
    line: int

    def __new__(cls, place: int, file: str, line: int) -> FileLine:
        """Return a line that differs from those of the other files; `place` is the file's position among them."""
        self = super().__new__(cls, (place << 40) + line)  # no workbook has 2¹⁹ sheets
        self.file, self.line = file, line
        return self

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def __format__(self, how: str) -> str:
        return format(str(self), how)


def some(lines: Sequence[int]) -> str:
    """Return the first of some lines for a message: 3、4 or 3、4 …等."""
    return "、".join(map(str, lines[:10])) + (" 等" if len(lines) > 10 else " ")


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that does not belong to its table; the others are read all the same."""

    line: int
    code: str
    reason: str
    cells: tuple[Cell, ...] = ()
    shown: str = ""
    """The text of such a row, if it explains the row."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A row above the table, or of its header, and why it is no data row (a code of REPAIRS)."""

    line: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A file's content. `rows` has line number (from 1, as an editor or Excel counts) and cells, as many as headers."""

    format: str
    encoding: str
    headers: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    faults: tuple[Fault, ...] = ()
    from_1904: bool = False
    """Whether plain numbers count days from 1904: a setting of some workbooks."""
    remarks: tuple[str, ...] = ()
    """Remarks on the file as a whole: sheets and rows that are not read, or are read although hidden."""
    merged: tuple[tuple[int, int], ...] = ()
    """Line and position among the headers of cells that take their value from a merged cell."""
    line: int = 1
    """Line of the headers."""
    passed: tuple[Passed, ...] = ()
    """Titles above the table, and further rows of its header."""
    sheets: tuple[str, ...] = ()
    """The sheets read from a workbook."""
