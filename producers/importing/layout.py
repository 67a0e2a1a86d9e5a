"""Where a table begins: under a title, in two header rows, above a row of notes; and rows in it that are none.

A person sees at once which row is the header. It is read here where there is one reading, and every row that is passed
over is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from producers.importing.headers import known_in, same_column
from schemas.errors import UsageError

__all__ = ["Layout", "Passed"]

_ABOVE = 20
"""Rows in which a header is looked for."""

_BELOW = 3
"""Rows under a header that may be a second one, or say how to fill the form in."""

_ENOUGH, _LIKELY = 8, 5
"""Known headers in a row that is one beyond doubt, and in one that may be."""

_SHOWN, _WIDEST = 60, 1_000
"""Characters that are told of a row; columns in which two rows are looked at as one header."""

_EDGES = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\xa0\u3000\u200b\ufeff\x1a\0"
"""What may stand round a header and is none of it."""

_HELP = re.compile(
    r"必填|选填|非必填|可填|填写|格式|字以内|字符|文本|数字型|日期型|长度|下拉|示例|例如|^例[:：]|说明|YYYY|yyyy|单位[:：]"
)
_CODE = re.compile(r"(?<![0-9A-Za-z])[0-9A-HJ-NP-RT-UW-Ya-hj-np-rt-uw-y]{18}(?![0-9A-Za-z])")

Line = tuple[int, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Passed:
    """A row that is no row of the table, and why (a code of REPAIRS)."""

    line: int
    code: str
    text: str


@dataclass(slots=True)
class Layout:
    """A table as it was found in a sheet: the headers, the line they stand on, and the rows under them.

    `passed` fills while `rows` are read. Raises UsageError where there are two tables, or rows above the header.
    """

    headers: tuple[str, ...]
    line: int
    rows: Iterator[Line]
    passed: list[Passed] = field(default_factory=list)

    @classmethod
    def found_in(cls, lines: Iterator[Line]) -> Layout:
        """Find the header among the first rows; where none has enough columns that are known, the first row is it.

        Columns at its end that have no name stay: something may stand in them.
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
        layout = cls(tuple(_wide(names, len(rows[place][1]))), rows[place][0], iter(()))
        layout._pass_above(rows[:place])
        begin = layout._pass_below(rows[place + 1 :]) + place + 1
        layout.rows = layout._without_headers(chain(rows[begin:], lines))
        return layout

    def _pass_above(self, rows: Sequence[Line]) -> None:
        for line, cells in rows:
            texts = _texts(cells)
            if len(texts) > _LIKELY and any(_CODE.fullmatch(text) for text in texts):
                raise UsageError(
                    f"line {line} looks like a row of data, but the header stands under it, on line {self.line}"
                )
            self.passed.append(_told(line, "TITLE_ROW" if known_in(texts) < _LIKELY else "HEADER_ROW", texts))

    def _pass_below(self, rows: Sequence[Line]) -> int:
        """Pass over second headers and notes on how to fill in, directly under the header; return how many there are."""
        for count, (line, cells) in enumerate(rows[:_BELOW]):
            names, texts = _names(cells), _texts(cells)
            if _is_header(names) and len(names) <= len(self.headers):
                self._join(line, names)
            elif not (_is_help(texts) and not any(_CODE.search(text) for text in texts)):
                return count
            self.passed.append(_told(line, "HEADER_ROW", texts))
        return min(_BELOW, len(rows))

    def _join(self, line: int, names: Sequence[str]) -> None:
        """Take from a second header what the first does not say. They may not contradict each other."""
        joined = list(self.headers)
        for place, name in enumerate(names):
            own = self.headers[place]
            if not name or name == own:
                continue
            if own and not same_column(self.headers, own, name):
                raise UsageError(
                    f"lines {self.line} and {line} are both headers, but name a column {own!r} and {name!r}"
                )
            if not known_in([own]):
                joined[place] = name if known_in([name]) or not own else f"{own} {name}"
        self.headers = tuple(joined)

    def _without_headers(self, lines: Iterator[Line]) -> Iterator[Line]:
        """Yield the rows but those in which the header comes again: files that were joined, pages that were printed."""
        place = next((place for place, name in enumerate(self.headers) if name and known_in([name])), 0)
        sought = self.headers[place] if self.headers else None
        for line, cells in lines:
            if len(cells) > place and cells[place].__class__ is str and cells[place].strip(_EDGES) == sought:
                names = _names(cells)
                if names == _names(self.headers):
                    self.passed.append(_told(line, "HEADER_ROW", _texts(cells)))
                    continue
                if _is_header(names):
                    raise UsageError(f"line {line} is another header than line {self.line}: publish two files")
            yield line, cells


def _best(rows: Sequence[Line]) -> tuple[int, list[str]]:
    """Return the place and the names of the row, or the two rows that are one header, with most columns that are known."""
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
    names = ["" if cell is None else str(cell).strip(_EDGES) for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _texts(cells: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(name for name in _names(cells[:_WIDEST]) if name))


def _is_header(names: Sequence[str]) -> bool:
    said = [name for name in names if name]
    return known_in(said) >= 3 and 2 * known_in(said) >= len(set(said))


def _is_help(texts: Sequence[str]) -> bool:
    return bool(texts) and 2 * sum(bool(_HELP.search(text)) for text in texts) >= len(texts)


def _told(line: int, code: str, texts: Sequence[str]) -> Passed:
    return Passed(line, code, " ".join(texts)[:_SHOWN])
