"""Rows that are no records: repeated headers, notes, totals and signatures below the table, rows without content."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from producers.files.headers.headers import Columns, field_of, mandatory_of
from producers.files.rows.cells import shown
from producers.files.table import MERGED, Cell, Fault, Table, UnreadCell, some
from schemas.errors import UsageError
from schemas.texts.visible import NOTHING

__all__ = ["without_outsiders"]

_NUMBERS = {"PENALTY": "penalty_document_number", "LISTING": "listing_entry_id", "REGISTRATION": "uscc"}
_DECIDING = ("status", "reason", "original_record_id", "original_number", "original_uscc")
"""Fields with which a row needs no content."""

_NAMING = (
    "uscc", "subject_name", "penalty_document_number", "listing_entry_id", "original_record_id", "original_number",
    "original_uscc", "penalty_facts", "listing_grounds", "penalty_content",
)  # fmt: skip
"""Fields for the entity or the decision: a row without any of them is about nobody."""

_CODE = 18
_COUNTED = re.compile(r"\d{1,7}(?:\.0)?")
"""A row's number, in an unread column."""

_EXAMPLE = re.compile(r"(?:填写)?(?:示例|样例|范例|示范|例子|例如|例|样本|模板)(?:数据|行|[:：].*)?", re.DOTALL)
"""Marks of an example row: in an unread column, or before its first text (示例：北京某公司)."""

_FEWEST_SIGNS = 4
"""Minimum of letters and digits for a code: 审核人：李四 is none."""

_FEWEST = 3
"""Minimum of header cells for a repeated header row."""


def without_outsiders(table: Table, columns: Columns) -> Table:
    """Return the table without rows that are no records: one with text is a fault, the others are counted in a remark.

    Raises UsageError if the columns of another table begin in the middle of this one.
    """
    outsiders = _Outsiders(table, columns)
    rows = tuple((line, cells) for line, cells in table.rows if not outsiders.takes(line, cells))
    if len(rows) == len(table.rows):
        return table
    return replace(
        table,
        rows=rows,
        faults=tuple(sorted((*table.faults, *outsiders.faults), key=lambda fault: fault.line)),
        remarks=(*table.remarks, *outsiders.remarks()),
    )


class _Outsiders:
    def __init__(self, table: Table, columns: Columns) -> None:
        places = {name: table.headers.index(header) for name, header in columns.headers.items()}
        self._headers, self._kind, self._places = table.headers, columns.kind, tuple(places.values())
        self._code, self._number = places["uscc"], places[_NUMBERS[columns.kind]]
        self._name = places.get("subject_name")
        self._deciding = tuple(places[name] for name in _DECIDING if name in places)
        self._mandatory = tuple(places[name] for name in mandatory_of(columns.kind) if name in places)
        self._naming = tuple(places[name] for name in _NAMING if name in places)
        self._unread = tuple(place for place in range(len(table.headers)) if place not in places.values())
        self._again: list[int] = []
        self._empty: list[int] = []
        self._partly: list[int] = []
        self._prefilled: list[int] = []
        self._before: Sequence[Cell] = ()
        self._holding: dict[int, None] = {}
        self.faults: list[Fault] = []

    def takes(self, line: int, cells: tuple[Cell, ...]) -> bool:
        """Return whether a row is no record, and remember it."""
        if self._is_example(cells):
            reason = "此行标明是示例, 不是记录; 如是示例, 请删去此行; 如非示例, 请改正所标的字样"
            self.faults.append(Fault(line, "NO_RECORD", reason, cells, shown(_text(cells))))
            return True
        return self._is_none(line, cells)

    def _is_none(self, line: int, cells: tuple[Cell, ...]) -> bool:
        code = cells[self._code]
        if isinstance(code, str) and len(code) == _CODE and code.isascii() and cells[self._number] not in ("", None):
            self._before = cells
            return False  # as most rows
        said = [cell for place in self._places if _says(cell := cells[place])]
        if not said:
            holding = [place for place in self._unread if _says(cells[place])]
            self._holding.update(dict.fromkeys(holding))
            (self._partly if holding else self._empty).append(line)
            return True
        if self._is_header(line, cells):
            self._again.append(line)
            return True
        if self._is_record(cells):
            self._before = cells
            return False
        if self._is_prefilled(cells):
            self._prefilled.append(line)
            return True
        text = _text(cells)
        reason = (
            f"此行不是记录 (如说明、合计、签名): 只有 {_count(said)} 格有内容, 没有代码或文号; 如非记录, 请删去此行"
        )
        self.faults.append(Fault(line, "NO_RECORD", reason, cells, shown(text)))
        return True

    def _is_record(self, cells: Sequence[Cell]) -> bool:
        if _signs(cells[self._code]) and _says(cells[self._number]):
            return True
        if any(_says(cells[place]) and not _is_covered(cells[place]) for place in self._deciding):
            return True
        said = sum(_says(cells[place]) and not _is_covered(cells[place]) for place in self._mandatory)
        return said * 2 > len(self._mandatory)

    def _is_example(self, cells: Sequence[Cell]) -> bool:
        marks = (cells[place] for place in self._unread)
        if any(isinstance(cell, str) and cell and _EXAMPLE.fullmatch(cell.strip(NOTHING)) for cell in marks):
            return True
        name = cells[self._name] if self._name is not None else None
        return isinstance(name, str) and "例" in name[:6] and _EXAMPLE.fullmatch(name.strip(NOTHING)) is not None

    def _is_prefilled(self, cells: Sequence[Cell]) -> bool:
        """Return whether a row only repeats cells of the record before it: forms end with such prefilled rows."""
        if not self._before or any(_says(cells[place]) for place in self._naming):
            return False
        unread = set(self._unread)
        return all(
            cell == self._before[place] or (place in unread and _COUNTED.fullmatch(str(cell)))
            for place, cell in enumerate(cells)
            if _says(cell)
        )

    def _is_header(self, line: int, cells: Sequence[Cell]) -> bool:
        """Return whether a row repeats its own headers. Names of other columns would be another table's."""
        fields = {
            place: field
            for place, cell in enumerate(cells)
            if isinstance(cell, str) and (field := field_of(self._kind, cell)) is not None
        }
        if len(fields) < _FEWEST or len(fields) * 2 < sum(map(_says, cells)):
            return False
        if any(field_of(self._kind, self._headers[place]) != field for place, field in fields.items()):
            raise UsageError(
                f"第 {line} 行是另一个表头, 各列与第一个表头不同; 请将两个表分成两个文件发布, 除最后一个外都加 --no-marker"
            )
        return True

    def remarks(self) -> list[str]:
        """Return remarks on skipped rows."""
        columns = "、".join(self._headers[place] or f"第 {place + 1} 列" for place in self._holding)[:60]
        told = (
            (self._again, "又是表头, 未读"),
            (self._empty, "没有内容 (只有空白或控制字符), 未读"),
            (self._prefilled, "只有序号或预先填好的格, 未读"),
            (self._partly, f"只有未读的列 ({columns}) 有内容, 未读"),
        )
        return [f"{len(lines)} 行{what}: 第 {some(lines)}行" for lines, what in told if lines]


def _signs(cell: Cell) -> bool:
    """Return whether a cell may be a code."""
    if not isinstance(cell, str):
        return cell is not None
    return sum(one.isascii() and one.isalnum() for one in unicodedata.normalize("NFKC", cell)) >= _FEWEST_SIGNS


def _is_covered(cell: Cell) -> bool:
    """Return whether a merged cell to its left covers a cell: a note merged over the row is one text."""
    return isinstance(cell, UnreadCell) and cell.code == MERGED


def _count(cells: Sequence[Cell]) -> int:
    return sum(not _is_covered(cell) for cell in cells)


def _text(cells: Sequence[Cell]) -> str:
    said = (str(cell).strip(NOTHING) for cell in cells if _says(cell) and not _is_covered(cell))
    return "、".join(dict.fromkeys(said))


def _says(cell: Cell) -> bool:
    return bool(cell.strip(NOTHING)) if isinstance(cell, str) else cell is not None
