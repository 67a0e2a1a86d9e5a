"""The sheets of a workbook, read by another process: the header of each, the rows below it, and hidden parts."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from producers.files.formats import looks, workbook
from producers.files.headers.headers import fitting
from producers.files.headers.layout import TableLayout
from producers.files.table import Passed, UnreadCell, some
from schemas.errors import UsageError

__all__ = ["Book", "Sheet", "read_sheets"]

_CODE = re.compile(r"[0-9A-HJ-NPQRTUWXY]{18}")
_AUTHORITIES = ("11", "12")
_FEWEST = 5
_LONGEST_COMMENT = 400

_WIDEST = 1_000
"""Columns in which an unreadable cell is kept: no table has more."""


class Book(NamedTuple):
    """The content of a workbook."""

    from_1904: bool
    kinds: Sequence[tuple[str, bool, bool]]
    """Each sheet's name, whether it is a worksheet, and whether it is visible."""
    sheets: Sequence[Sheet]
    """The sheets read: all visible worksheets, or those that were named."""


def read_sheets(path: Path, wanted: Sequence[str], fits: Callable[[int, int], None]) -> Book:
    """Read the visible sheets of a workbook, or the named ones. `fits` raises if there are too many rows or columns.

    Raises UsageError if the workbook cannot be read, or has no such sheets.
    """
    messages = _told(path, wanted)
    try:
        from_1904, kinds = next(messages)
        _named(path, wanted, kinds)
        found: list[Sheet] = []
        for told in messages:
            if isinstance(told, tuple):
                place, hidden, comments = told
                found.append(Sheet(kinds[place][0], hidden, fits, comments))
            else:
                found[-1].take(told)
    finally:
        messages.close()
    for sheet in found:
        sheet.end(path)
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
    """A sheet during reading: its rows, and the place of its table among them."""

    def __init__(
        self,
        name: str,
        hidden_columns: Sequence[int],
        fits: Callable[[int, int], None],
        comments: Sequence[tuple[int, str]] = (),
    ) -> None:
        self._comments = comments
        self.name, self._hidden_columns, self._fits = name, hidden_columns, fits
        self._rows: list[tuple[int, Sequence[Any]]] = []
        self._cells = 0
        self._lengths: dict[int, int] = {}
        self._hidden: list[int] = []
        self._merged: list[tuple[int, int]] = []
        self.layout = TableLayout((), 1, iter(()))
        self.kind: str | None = None
        """The kind of records of its header; None if it has none."""

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of its columns."""
        return self.layout.headers

    @property
    def merged(self) -> list[tuple[int, int]]:
        """Line and position among the headers of cells that take their value from a merged cell."""
        return [(line, column) for line, column in self._merged if column < len(self.headers)]

    def take(self, rows: Sequence[Any]) -> None:
        """Add rows as they are read."""
        for told in rows:
            self._rows.append(self._special(*told) if len(told) > 2 else told)
            self._cells += len(told[1])
            if len(self._rows) % 1_000 == 0:
                self._fits(len(self._rows), self._cells // len(self._rows))

    def end(self, path: Path) -> None:
        """Find the table. Raises UsageError if it has two headers, or rows above its header."""
        self.layout = TableLayout.found_in(f"{path}: 工作表 {self.name}", iter(self._rows))
        self.layout.headers = _named_columns(self.layout.headers)
        self.kind = fitting(self.layout.headers)
        self.layout.passed += (Passed(line, "COMMENT", text[:_LONGEST_COMMENT]) for line, text in self._comments)
        self.layout.rows = map(self._cut, self.layout.rows)

    def like_a_record(self) -> int | None:
        """Return the first line that looks like a record: an entity's code among several cells, as in no dictionary."""
        for line, cells in self._rows:
            said = {str(cell).strip() for cell in cells if cell not in ("", None)}
            if len(said) >= _FEWEST and any(
                _CODE.fullmatch(text) and not text.startswith(_AUTHORITIES) for text in said
            ):
                return line
        return None

    def _special(
        self, line: int, cells: Sequence[Any], marks: dict[int, tuple[str, str]], merged: Sequence[int], hidden: bool
    ) -> tuple[int, Sequence[Any]]:
        kept = list(cells)
        for column, mark in marks.items():
            if column < len(kept):
                kept[column] = UnreadCell(mark[0], mark[1] or str(kept[column]))
            elif column < _WIDEST and mark[0] != "MERGED_ACROSS":
                kept += [None] * (column + 1 - len(kept))
                kept[column] = UnreadCell(*mark)
        if len(kept) > len(cells):
            self._lengths[line] = len(cells)
        self._merged += [(line, column) for column in merged]
        if hidden:
            self._hidden.append(line)
        return line, kept

    def _cut(self, told: tuple[int, Sequence[Any]]) -> tuple[int, Sequence[Any]]:
        # Empty cells under a header belong to the row; the others do not.
        line, cells = told
        length = self._lengths.get(line)
        return told if length is None else (line, cells[: max(len(self.headers), length)])

    def remarks(self) -> Iterator[str]:
        """Yield remarks on the reading of the sheet."""
        hidden = [line for line in self._hidden if line > self.layout.line]
        if hidden:
            yield f"工作表 {self.name}: {len(hidden)} 行是隐藏的 (或被筛选掉的), 也已读取: 第 {some(hidden)}行"
        columns = [self.headers[column] for column in self._hidden_columns if column < len(self.headers)]
        if any(columns):
            yield f"工作表 {self.name}: {len(columns)} 列是隐藏的, 也已读取: {'、'.join(columns[:12])}"


def _named_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without the empty ones at the end."""
    return tuple(names[: next((place for place in range(len(names), 0, -1) if names[place - 1]), 0)])


_START = "import runpy, sys; sys.path.append(sys.argv[1]); del sys.argv[:2]; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Runs workbook.py with the folder of looks.py: -I leaves out every folder but Python's own."""


def _told(path: Path, wanted: Sequence[str]) -> Generator[Any, None, None]:
    """Yield the other process's results for a workbook: see producers/files/formats/workbook.py."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _START, str(Path(looks.__file__).parent), workbook.__file__, str(path), *wanted],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
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
