"""The sheets of a workbook as another process reads them: the header of each, the rows below it, and what is hidden."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from producers.importing import workbook
from producers.importing.headers import fitting
from producers.importing.table import Unread, some
from schemas.errors import UsageError

__all__ = ["Book", "Sheet", "read_sheets"]

_HEADER_WITHIN = 20
"""Filled rows among which the header is looked for."""


class Book(NamedTuple):
    """What is read of a workbook."""

    from_1904: bool
    kinds: Sequence[tuple[str, bool, bool]]
    """Of each sheet its name, if it is a worksheet, and if it is visible."""
    sheets: Sequence[Sheet]
    """Those that are read: all visible worksheets, or those that were named."""


def read_sheets(path: Path, wanted: Sequence[str], fits: Callable[[int, int], None]) -> Book:
    """Read the visible sheets of a workbook, or those that are named. `fits` raises if there are too many rows or columns.

    Raises UsageError if the workbook cannot be read, or has no such sheets.
    """
    messages = _told(path, wanted)
    try:
        from_1904, kinds = next(messages)
        _named(path, wanted, kinds)
        found: list[Sheet] = []
        for told in messages:
            if isinstance(told, tuple):
                place, hidden = told
                found.append(Sheet(kinds[place][0], hidden, fits))
            else:
                found[-1].take(told)
    finally:
        messages.close()
    for sheet in found:
        sheet.end()
    return Book(from_1904, kinds, found)


def _named(path: Path, wanted: Sequence[str], kinds: Sequence[tuple[str, bool, bool]]) -> None:
    absent = [name for name in wanted if name not in [sheet for sheet, worksheet, _ in kinds if worksheet]]
    if absent:
        raise UsageError(f"{path}: 没有工作表 {'、'.join(absent)}; 有: {'、'.join(sheet for sheet, _, _ in kinds)}")
    if not wanted and not any(worksheet and visible for _, worksheet, visible in kinds):
        raise UsageError(
            f"{path}: 没有可见的工作表; 隐藏的有: {'、'.join(sheet for sheet, _, _ in kinds)}; 如要读取, 用 --sheet 指明"
        )


class Sheet:
    """A sheet that is being read: the rows above its header, its header, and the table below."""

    def __init__(self, name: str, hidden_columns: Sequence[int], fits: Callable[[int, int], None]) -> None:
        self.name, self._hidden_columns, self._fits = name, hidden_columns, fits
        self.above: list[tuple[int, Sequence[Any]]] = []
        self.headers: tuple[str, ...] = ()
        self.kind: str | None = None
        self.header_line = 0
        self.lines: list[tuple[int, Sequence[Any]]] = []
        self.hidden: list[int] = []
        self.merged: list[tuple[int, int]] = []

    def take(self, rows: Sequence[Any]) -> None:
        """Add rows as they are read."""
        for told in rows:
            if not self.headers:
                self._look(told)
                continue
            self.lines.append(self._special(*told) if len(told) > 2 else told)
            if len(self.lines) % 1_000 == 0:
                self._fits(len(self.lines), len(self.headers))

    def end(self) -> None:
        """If no row was a header, take the first one for it: what is missing will be named."""
        if not self.headers and self.above:
            first, *others = self.above
            self.above = []
            self.headers = _headers(first[1])
            self.lines = [told if len(told) == 2 else self._special(*told) for told in others]

    def _look(self, told: Sequence[Any]) -> None:
        headers = _headers(told[1])
        kind = fitting(headers)
        if kind:
            self._fits(1, len(headers))
            self.headers, self.kind, self.header_line = headers, kind, told[0]
        else:
            self.above.append(tuple(told))
            if len(self.above) > _HEADER_WITHIN:
                self.end()

    def _special(
        self, line: int, cells: Sequence[Any], marks: dict[int, tuple[str, str]], merged: Sequence[int], hidden: bool
    ) -> tuple[int, Sequence[Any]]:
        kept = list(cells)
        for column, mark in marks.items():
            if column < len(kept):
                kept[column] = Unread(*mark)
            elif column < len(self.headers) and mark[0] != "MERGED_ACROSS":
                kept += [None] * (column + 1 - len(kept))
                kept[column] = Unread(*mark)
        del kept[max(len(self.headers), len(cells)) :]
        self.merged += [(line, column) for column in merged if column < len(self.headers)]
        if hidden:
            self.hidden.append(line)
        return line, kept

    def remarks(self) -> Iterator[str]:
        """Yield what a person must be told of how it was read."""
        title = [str(cell).strip() for _, cells, *_ in self.above for cell in cells if cell not in ("", None)]
        if self.above:
            shown = "、".join(title)[:60]
            yield f"工作表 {self.name}: 表头在第 {self.header_line} 行, 其上各行未读: {shown}"
        if self.hidden:
            yield f"工作表 {self.name}: {len(self.hidden)} 行是隐藏的 (或被筛选掉的), 也已读取: 第 {some(self.hidden)}行"
        columns = [self.headers[column] for column in self._hidden_columns if column < len(self.headers)]
        if any(columns):
            yield f"工作表 {self.name}: {len(columns)} 列是隐藏的, 也已读取: {'、'.join(columns[:12])}"


def _headers(cells: Sequence[Any]) -> tuple[str, ...]:
    names = ["" if cell is None else str(cell).strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _told(path: Path, wanted: Sequence[str]) -> Generator[Any, None, None]:
    """Yield what another process reads of a workbook: see producers/importing/workbook.py."""
    with subprocess.Popen(
        [sys.executable, "-I", workbook.__file__, str(path), *wanted], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as reader:
        assert reader.stdout is not None
        try:
            while (told := pickle.load(reader.stdout)) is not None:
                if isinstance(told, str):
                    raise UsageError(
                        f"{path}: 工作簿已损坏, 不能读取 ({told}); 请用 Excel 或 WPS 打开, 另存为新工作簿后再发布"
                    )
                yield told
        except (EOFError, pickle.UnpicklingError):
            raise UsageError(
                f"{path}: 工作簿已损坏, 或需要超出限度的内存或时间; 请用 Excel 打开, 将各行复制到新工作簿, 再发布新工作簿"
            ) from None
        finally:
            reader.kill()
