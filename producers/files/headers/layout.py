"""Table layout: the header under a title, in two rows, or above a row of notes.

A person sees at once which row is the header. This module reads a layout only if it has one reading, and reports every
row that it skips. Further down, producers/files/rows/outside.py finds the rows that do not belong to the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from producers.files.headers.headers import known_in, same_column
from producers.files.table import MERGED, UNREAD, Passed, UnreadCell
from schemas.errors import UsageError
from schemas.texts.visible import NOTHING

__all__ = ["TableLayout"]

_ABOVE = 20
"""Rows searched for a header."""

_BELOW = 3
"""Rows under a header that may be a second header or instructions."""

_ENOUGH, _LIKELY = 8, 5
"""Known headers that make a row certainly a header, and possibly one."""

_SHOWN, _WIDEST = 60, 1_000
"""Characters shown of a row; columns in which two rows are compared as one header."""

_HELP = re.compile(
    r"必填|选填|非必填|可填|填写|格式|字以内|字符|文本|数字型|日期型|长度|下拉|示例|例如|^例[:：]|说明|YYYY|yyyy|单位[:：]"
)
_TYPE = re.compile(
    r"(?:n?varchar2?|n?char|text|clob|string|datetime2?|date|time(?:stamp)?|decimal|numeric|number|float|double|int(?:eger)?|bigint|c|n|d"
    r"|字符串?|字符型|文本型?|日期型?|数值型?|数字型?|整数|小数)(?:\s*[(（]?\d{1,5}(?:\s*[,，.]\s*\d{1,2})?[)）]?)?",
    re.IGNORECASE | re.ASCII,
)
"""A type of a database column, as in the second row of table definitions."""

_ORDINALS = "甲乙丙丁戊己庚辛壬癸"
_CODE = re.compile(r"(?<![0-9A-Za-z])[0-9A-HJ-NP-RT-UW-Ya-hj-np-rt-uw-y]{18}(?![0-9A-Za-z])")

Line = tuple[int, Sequence[Any]]


@dataclass(slots=True)
class TableLayout:
    """The table found in a sheet: the headers, their line, and the rows under them.

    Raises UsageError if there are two headers, or rows above the header.
    """

    headers: tuple[str, ...]
    line: int
    rows: Iterator[Line]
    passed: list[Passed] = field(default_factory=list)

    @classmethod
    def found_in(cls, where: str, lines: Iterator[Line]) -> TableLayout:
        """Find the header among the first rows; if no row has enough known columns, the first row is the header.

        `where` is the name in messages: the file, or a sheet of it.

        Unnamed columns at its end stay: cells in them may be filled.
        """
        first = next(lines, None)
        if first is None:
            return cls((), 1, lines)
        rows = [first]
        if known_in(_names(first[1])) < _ENOUGH:
            rows += [line for line, _ in zip(lines, range(_ABOVE), strict=False)]
        place, names = _best(rows)
        while len(rows) <= place + _BELOW and (line := next(lines, None)) is not None:
            rows.append(line)
        if known_in(names) < _LIKELY:
            _lies_on_its_side(where, rows)
        layout = cls(tuple(_wide(names, len(rows[place][1]))), rows[place][0], iter(()))
        layout._pass_above(where, rows[:place])
        begin = layout._pass_below(where, rows[place + 1 :]) + place + 1
        shared = {
            column: str(cell) for column, cell in enumerate(rows[place][1])
            if isinstance(cell, UnreadCell) and cell.code == MERGED and not layout.headers[column]
        }  # fmt: skip
        below = chain(rows[begin:], lines)
        layout.rows = _none_shared(where, below, shared) if shared else below
        return layout

    def _pass_above(self, where: str, rows: Sequence[Line]) -> None:
        for line, cells in rows:
            texts = _texts(cells)
            if len(texts) > _LIKELY and any(_CODE.fullmatch(text) for text in texts):
                raise UsageError(
                    f"{where}: 第 {line} 行像是一条记录, 表头却在其下第 {self.line} 行; 请将表头移到各行之上"
                )
            self.passed.append(_told(line, "TITLE_ROW" if known_in(texts) < _LIKELY else "HEADER_ROW", texts))

    def _pass_below(self, where: str, rows: Sequence[Line]) -> int:
        """Skip second headers and instructions directly under the header. Return how many there are."""
        for count, (line, cells) in enumerate(rows[:_BELOW]):
            names, texts = _names(cells), _texts(cells)
            if _is_header(names) and len(names) <= len(self.headers):
                self._join(where, line, names)
            elif not _is_numbering(names) and not (_is_help(texts) and not any(_CODE.search(text) for text in texts)):
                return count
            self.passed.append(_told(line, "HEADER_ROW", texts))
        return min(_BELOW, len(rows))

    def _join(self, where: str, line: int, names: Sequence[str]) -> None:
        """Complete the header from a second header row. The two may not contradict each other."""
        joined = list(self.headers)
        for place, name in enumerate(names):
            own = self.headers[place]
            if not name or name == own:
                continue
            if own and not same_column(self.headers, own, name):
                raise UsageError(
                    f"{where}: 第 {self.line} 行和第 {line} 行都是表头, 对同一列却分别写作 {own!r} 和 {name!r}; 请保留一行"
                )
            if not known_in([own]):
                joined[place] = name if known_in([name]) or not own else f"{own} {name}"
        self.headers = tuple(joined)


def _none_shared(where: str, rows: Iterator[Line], shared: Mapping[int, str]) -> Iterator[Line]:
    """Yield the rows. Raises UsageError if a column without a name of its own, under a merged name, has content."""
    for line, cells in rows:
        for column, name in shared.items():
            if column < len(cells) and cells[column] not in ("", None) and not isinstance(cells[column], UnreadCell):
                raise UsageError(
                    f"{where}: 表头 {name.removeprefix(UNREAD)!r} 合并了几列, 第 {line} 行的第 {column + 1} 列也有内容, 不知是哪一列的值;"
                    " 请拆分表头, 每列各有一个名称"
                )
        yield line, cells


def _lies_on_its_side(where: str, rows: Sequence[Line]) -> None:
    down = [names[0] for _, cells in rows if (names := _names(cells[:1]))]
    if known_in(down) >= _ENOUGH:
        raise UsageError(
            f"{where}: 各列的名称写在第一列, 一条记录占一列; 请转置 (Excel: 复制, 选择性粘贴, 转置) 后再发布"
        )


def _best(rows: Sequence[Line]) -> tuple[int, list[str]]:
    """Return position and names of the row, or of the two rows that form one header, with most known columns."""
    alone = [_names(cells) for _, cells in rows]
    best, place, names = known_in(alone[0]), 0, alone[0]
    for number, row in enumerate(alone):
        candidates = [(number, row)]
        if number and len(row) <= _WIDEST:
            upper = alone[number - 1]
            width = min(max(len(upper), len(row)), _WIDEST)
            both = zip(_wide(upper, width)[:width], _wide(row, width), strict=True)
            candidates.append((number, [low or high for high, low in both]))
        for where, one in candidates:
            known = known_in(one)
            if known > best and known >= _LIKELY:
                best, place, names = known, where, one
    return place, names


def _wide(names: Sequence[str], width: int) -> list[str]:
    return [*names, *[""] * (width - len(names))]


def _names(cells: Sequence[Any]) -> list[str]:
    names = ["" if cell is None or isinstance(cell, UnreadCell) else str(cell).strip(NOTHING) for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _texts(cells: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(name for name in _names(cells[:_WIDEST]) if name))


def _is_header(names: Sequence[str]) -> bool:
    said = [name for name in names if name]
    return known_in(said) >= 3 and 2 * known_in(said) >= len(set(said))


def _is_help(texts: Sequence[str]) -> bool:
    return bool(texts) and 2 * sum(bool(_HELP.search(text) or _TYPE.fullmatch(text)) for text in texts) >= len(texts)


def _is_numbering(names: Sequence[str]) -> bool:
    """Return whether a row only numbers the columns: 1, 2, 3 …, 甲, 乙, 1, 2 … or (1), (2) …"""
    marks = [name.strip("()（）[]【】.、 ").removesuffix(".0") for name in names if name]
    letters = [mark for mark in marks if mark in _ORDINALS]
    numbers = [int(mark) for mark in marks if mark.isascii() and mark.isdecimal() and len(mark) <= 4]
    in_order = all(after == before + 1 for before, after in pairwise(numbers))
    return len(numbers) >= _LIKELY and in_order and len(letters) + len(numbers) == len(marks)


def _told(line: int, code: str, texts: Sequence[str]) -> Passed:
    return Passed(line, code, " ".join(texts)[:_SHOWN])
