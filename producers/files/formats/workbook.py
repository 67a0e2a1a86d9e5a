"""Workbook reader in a process of its own: `python -I workbook.py FILE [SHEET …]`; it pickles rows to stdout.

A workbook of 1 kB can ask for terabytes (two cells, at opposite corners of the sheet), one of 3 kB for gigabytes of
text (one shared string that every cell names); the reader allocates it and its process dies. So the process has limits
of memory and time. It imports nothing of the project: it starts in 40 ms.

python-calamine reads the cells. It reads an error value, and a formula without a stored value, as empty, and does not
report hidden rows: for these the sheet's XML is searched (at the speed of unpacking it), and parsed only if it has any.
"""

from __future__ import annotations

import pickle
import posixpath
import re
import resource
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from xml.parsers import expat

import python_calamine

if __name__ == "__main__":
    # -I leaves out the folder of this file.
    sys.path.append(posixpath.dirname(__file__))
    import looks as seen  # type: ignore[import-not-found, unused-ignore]
else:
    from producers.files.formats import looks as seen

__all__ = ["LONGEST_CELL"]

LONGEST_CELL = 32_767
"""Maximum characters of a cell in Excel."""

_MEMORY = 1 << 30
_SECONDS = 60
_ROWS = 1 << 20
"""Maximum rows of a sheet in Excel; a cell may claim row 99,999,999,999 all the same."""
_COLUMNS = 1 << 14
_TEXT = 1 << 29
_ROWS_AT_ONCE = 1_000
_CHUNK = 1 << 20

_MARKS = (b"<f", b":f", b"hidden", b"mergeCell", b'"e"', b"'e'", b"strike")
_MARK = re.compile(rb"""<(?:[\w.-]+:)?f[\s/>]|\bhidden\s*=\s*["'](?:1|true)|mergeCell\b|strike\b|\bt\s*=\s*["']e["']""")

Mark = tuple[str, str]
"""Code of an unreadable cell, and the text shown for it."""
Row = tuple[int, Sequence[Any]] | tuple[int, Sequence[Any], dict[int, Mark], list[int], bool]
"""Number and cells; and, if any: unreadable cells and merged columns, by column, and whether the row is hidden."""


class _Span(NamedTuple):
    top: int
    left: int
    bottom: int
    right: int


class _Book(NamedTuple):
    """Settings from the workbook's own part."""

    from_1904: bool
    uncalculated: bool
    """Whether formulas are calculated on opening: a program wrote the workbook, with zeros in place of their values."""
    parts: dict[str, str]
    """Sheet → its part."""
    looks: seen.Looks


class _Sheet:
    """Facts from a sheet's XML beside the cells' values. Rows count from 1, columns from 0."""

    def __init__(self, uncalculated: bool, looks: seen.Looks) -> None:
        self._looks, self._style, self._struck = looks, "", False
        self.comments: list[tuple[int, str]] = []
        self.unread: defaultdict[int, dict[int, Mark]] = defaultdict(dict)
        self.hidden: set[int] = set()
        self.hidden_columns: list[int] = []
        self.merged: list[_Span] = []
        self._uncalculated = uncalculated
        self._row, self._column, self._kind = 0, -1, "n"
        self._formula: list[str] | None = None
        self._value: list[str] | None = None
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EntityDeclHandler = self._entity

    def feed(self, part: bytes, final: bool = False) -> None:
        """Parse on. Raises ExpatError if this is no XML."""
        self._parser.Parse(part, final)
        if final:
            self._finish()

    def _entity(self, *_: object) -> None:
        raise ValueError("it declares entities")

    def _start(self, name: str, said: dict[str, str]) -> None:
        self._parser.CharacterDataHandler = None
        name = name.rpartition(":")[2]
        if name == "c":
            self._finish()
            found = seen.REFERENCE.fullmatch(said.get("r", ""))
            self._column = _number(found[1]) if found else self._column + 1
            self._kind, self._style = said.get("t", "n"), said.get("s", "0")
        elif name == "row":
            self._finish()
            self._row = int(said["r"]) if said.get("r", "").isdecimal() else self._row + 1
            self._column = -1
            if said.get("hidden") in seen.TRUE:
                self.hidden.add(self._row)
        elif name == "f":
            self._formula = []
            self._parser.CharacterDataHandler = self._formula.append
        elif name in ("v", "t"):
            looked_at = self._style in self._looks.styles or (self._looks.struck and self._kind == "s")
            if looked_at or self._formula is not None or self._kind == "e":
                self._value = [] if self._value is None else self._value
                self._parser.CharacterDataHandler = self._value.append
        elif name == "strike" and said.get("val", "1") in seen.TRUE:
            self._struck = True
        elif name == "mergeCell":
            ends = [seen.REFERENCE.fullmatch(end) for end in said.get("ref", "").split(":")]
            if len(ends) == 2 and ends[0] and ends[1]:
                (left, top), (right, bottom) = ((_number(end[1]), int(end[2])) for end in ends if end)
                self.merged.append(_Span(min(top, bottom), min(left, right), max(top, bottom), max(left, right)))
        elif name == "col" and said.get("hidden") in seen.TRUE:
            first, last = int(said.get("min", "1")), int(said.get("max", "0"))
            self.hidden_columns.extend(range(first - 1, min(last, _COLUMNS)))

    def _finish(self) -> None:
        """Judge the finished cell."""
        formula, value, kind = self._formula, self._value, self._kind
        struck, self._struck = self._struck, False
        self._formula = self._value = None
        self._kind = "n"
        text = "".join(value or ()).strip()
        if kind == "e":
            self.unread[self._row][self._column] = ("CELL_ERROR", text or "#?")
        elif formula is not None:
            # Excel keeps an empty text as t="str" with an empty value. A program that leaves calculation to Excel
            # writes nothing, the same, or 0.
            empty_text = kind == "str" and value is not None and not self._uncalculated
            zero = self._uncalculated and kind == "n" and text == "0"
            if (not text and not empty_text) or zero:
                said = "".join(formula).strip()[: seen.LONGEST_SHOWN]
                self.unread[self._row][self._column] = ("FORMULA_WITHOUT_VALUE", f"={said}")
                return
        if struck:
            self.unread[self._row][self._column] = ("STRUCK_OUT", "")
        elif text and kind != "e":
            self._look(kind, text)

    def _look(self, kind: str, text: str) -> None:
        """Mark a cell that shows a person something else than its value, or is struck out."""
        form = self._looks.styles.get(self._style, "")
        if form is None or (kind == "s" and text.isdecimal() and int(text) in self._looks.struck):
            self.unread[self._row][self._column] = ("STRUCK_OUT", text if kind != "s" else "")
        elif form and kind == "n" and seen.shows_otherwise(form, text):
            self.unread[self._row][self._column] = ("NUMBER_FORMAT", f"{text} ({form[: seen.LONGEST_SHOWN]})")


def _number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def _sheet(archive: zipfile.ZipFile, part: str, book: _Book) -> _Sheet:
    """Search a sheet's XML for facts that calamine does not report; parse it if there are any."""
    found = _Sheet(book.uncalculated, book.looks)
    found.comments = seen.comments_of(archive, {name.lower(): name for name in archive.namelist()}, part)
    styles = "|".join(book.looks.styles)
    styled = re.compile(rf"""\bs\s*=\s*["'](?:{styles})["']""".encode()) if styles else None
    with archive.open(part) as file:
        before, marked = b"", False
        while not marked and (read := file.read(_CHUNK)):
            chunk = before + read
            wide = not before and chunk.startswith((b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"))
            marked = wide or (any(mark in chunk for mark in _MARKS) and _MARK.search(chunk) is not None)
            marked = marked or bool(book.looks.struck) or (styled is not None and styled.search(chunk) is not None)
            before = chunk[-64:]
    if marked:
        with archive.open(part) as file:
            while read := file.read(_CHUNK):
                found.feed(read)
            found.feed(b"", final=True)
    return found


def _book(archive: zipfile.ZipFile) -> _Book:
    names = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
    targets: dict[str, str] = {}
    sheets: dict[str, str] = {}
    settings: dict[str, str] = {}

    def start(name: str, said: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "Relationship":
            targets[said.get("Id", "")] = said.get("Target", "")
        elif name == "sheet":
            place = next((value for key, value in said.items() if key.rpartition(":")[2] == "id"), "")
            sheets[said.get("name", "")] = place
        elif name in ("workbookPr", "calcPr"):
            settings.update(said)

    for part in ("xl/_rels/workbook.xml.rels", "xl/workbook.xml"):
        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        with archive.open(names[part]) as file:
            parser.Parse(file.read(seen.LARGEST_PART), True)
    parts = {
        sheet: names.get(
            posixpath.normpath(posixpath.join("/xl", targets.get(place, "").replace("\\", "/"))).lower()[1:], ""
        )
        for sheet, place in sheets.items()
    }
    looks = seen.looks_of(archive, names)
    return _Book(settings.get("date1904") in seen.TRUE, settings.get("fullCalcOnLoad") in seen.TRUE, parts, looks)


def _rows(sheet: python_calamine.CalamineSheet, found: _Sheet) -> Iterator[Row]:
    """Yield the rows with content: number, from 1 as Excel counts, and cells from column A on."""
    text = 0
    _, left = sheet.start or (0, 0)  # calamine reports empty rows at the top, but not empty columns at the left
    fill = _Merging(found.merged)
    special = bool(found.unread or found.hidden or found.merged)
    number = 0
    for number, row in enumerate(sheet.iter_rows(), 1):
        if number > _ROWS:
            raise python_calamine.CalamineError(f"it has a row {number}")
        marks = found.unread.pop(number, None) if special else None
        if marks or any(cell not in ("", None) for cell in row):
            # One more than the maximum is enough to see that the cell is too long.
            cells = [cell[: LONGEST_CELL + 1] if isinstance(cell, str) else cell for cell in row]
            text += sum(len(cell) for cell in cells if isinstance(cell, str))
            if text > _TEXT:
                raise MemoryError
            cells = [""] * left + cells
            yield _completed(number, cells, marks or {}, found, fill) if special else (number, cells)
    for number, marks in sorted(found.unread.items()):  # cells that calamine takes for empty may be below all its rows
        if number <= _ROWS:
            yield _completed(number, [], marks, found, fill)


def _completed(number: int, cells: list[Any], marks: dict[int, Mark], found: _Sheet, fill: _Merging) -> Row:
    marks = {column: mark for column, mark in marks.items() if column < _COLUMNS}
    cells += [""] * (max(marks, default=-1) + 1 - len(cells))
    merged = fill(number, cells, marks)
    return number, cells, marks, merged, number in found.hidden


class _Merging:
    """Gives the value of a merged cell to every row that it covers and that has content of its own."""

    def __init__(self, spans: list[_Span]) -> None:
        self._waiting = sorted(spans, reverse=True)
        self._open: list[tuple[_Span, Any, Mark | None]] = []

    def __call__(self, number: int, cells: list[Any], marks: dict[int, Mark]) -> list[int]:
        """Complete a row. Return the filled columns.

        Other columns under the merged cell are marked: nobody knows to which of them its value belongs.
        """
        filled = []
        self._open = [one for one in self._open if one[0].bottom >= number]
        for span, value, mark in self._open:
            cells += [""] * (span.left + 1 - len(cells))
            if span.left not in marks and cells[span.left] in ("", None):
                if mark:
                    marks[span.left] = mark
                elif value not in ("", None):
                    cells[span.left] = value
                    filled.append(span.left)
        while self._waiting and self._waiting[-1].top <= number:
            span = self._waiting.pop()
            if span.top == number:
                value = cells[span.left] if span.left < len(cells) else ""
                self._open.append((span, value, marks.get(span.left)))
        for span, value, mark in self._open:
            shown = mark[1] if mark else str(value)
            if shown:
                for column in range(span.left + 1, min(span.right + 1, _COLUMNS)):
                    marks.setdefault(column, ("MERGED_ACROSS", shown[: seen.LONGEST_SHOWN]))
        return filled


def _tell(path: str, wanted: Sequence[str]) -> Iterator[object]:
    """Yield the workbook's settings, then for each sheet read its position and hidden columns, and its rows."""
    workbook = python_calamine.CalamineWorkbook.from_path(path)
    sheets = workbook.sheets_metadata
    with zipfile.ZipFile(path) as archive:
        book = _book(archive)
        kinds = [(one.name, one.typ == python_calamine.SheetTypeEnum.WorkSheet,
                  one.visible == python_calamine.SheetVisibleEnum.Visible) for one in sheets]  # fmt: skip
        yield book.from_1904, kinds
        for place, (name, worksheet, visible) in enumerate(kinds):
            if not worksheet or not (name in wanted if wanted else visible):
                continue
            cells = workbook.get_sheet_by_index(place)
            found = _sheet(archive, book.parts.get(name, ""), book)
            yield place, found.hidden_columns, found.comments
            rows: list[Row] = []
            for row in _rows(cells, found):
                rows.append(row)
                if len(rows) == _ROWS_AT_ONCE:
                    yield rows
                    rows = []
            yield rows


def _main(path: str, wanted: Sequence[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    try:
        for told in _tell(path, wanted):
            pickle.dump(told, out)
        pickle.dump(None, out)
    except (
        python_calamine.CalamineError,
        OSError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
        expat.ExpatError,
    ) as error:
        pickle.dump(f"{type(error).__name__}: {error}", out)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
