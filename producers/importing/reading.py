"""Reading a file as a table: headers, and rows of cells with the line each stands on. Nothing is interpreted here."""

from __future__ import annotations

import codecs
import csv
import io
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from producers.importing import workbook
from producers.importing.layout import Layout, Passed
from schemas.errors import UsageError

__all__ = ["Cell", "Fault", "Table", "read_table"]

Cell = str | int | float | bool | Decimal | date | datetime | None

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DELIMITERS = (",", "\t", ";")
_LARGEST_FILE = 256 << 20
_MOST_ROWS = 1 << 20
_MOST_COLUMNS = 1_000
_MOST_CELLS = 50_000_000
_LONGEST_LINE = 8 << 20
"""Of JSON. All five keep a file from taking more memory than a desk's machine has; several files are no different."""

_SEPARATOR = re.compile(r'\s*"?sep=([^\r\n"]|\\t)"?[,;\t]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""The first line of some exports: it tells Excel what stands between the cells."""

_UTF8_TEXT = re.compile(rb"(?:[\xe3-\xe9][\x80-\xbf]{2}){3}")
"""Three Chinese characters in UTF-8; as GBK these bytes are no words."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that is no row of its table; the others are read all the same."""

    line: int
    code: str
    reason: str
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A file's content. `rows` holds line number (from 1, as an editor or Excel counts) and cells, as many as headers."""

    format: str
    encoding: str
    headers: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    faults: tuple[Fault, ...] = ()
    from_1904: bool = False
    """Whether a plain number that is a day counts from 1904: a setting of some workbooks."""
    line: int = 1
    """Where the headers stand."""
    passed: tuple[Passed, ...] = ()
    """Rows that are none of the table: titles, further headers."""


def read_table(path: Path) -> Table:
    """Read a CSV (.csv, .tsv, .txt), XLSX (.xlsx) or JSON Lines (.jsonl, .ndjson) file.

    Raises UsageError, naming the line, where the file is not what its name says or holds bytes of no known encoding:
    no character is ever guessed.
    """
    try:
        kind = path.suffix.lower()
        if kind == ".xlsx":
            return _xlsx(path)
        if path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path} has more than {_LARGEST_FILE >> 20} MiB: publish it in several files")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if not raw.strip():
        raise UsageError(f"{path} is empty")
    text, encoding = _decoded(path, raw)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path, text, encoding)
    if kind in (".csv", ".tsv", ".txt"):
        return _csv(path, text, encoding)
    raise UsageError(f"{path.name}: files are .csv, .xlsx or .jsonl, not {kind or 'without ending'}")


def _decoded(path: Path, raw: bytes) -> tuple[str, str]:
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return _strictly(path, raw, encoding), "UTF-8 (BOM)" if encoding == "utf-8-sig" else "UTF-16"
    try:
        return raw.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as not_utf8:
        if _UTF8_TEXT.search(raw, 0, not_utf8.start):
            # Damaged UTF-8 can be read as GBK too: as other characters than were written.
            return _strictly(path, raw, "utf-8"), "UTF-8"
        try:
            return raw.decode("gbk"), "GBK"
        except UnicodeDecodeError:
            pass
        try:
            # Windows writes € as the byte 80, which no GB standard has.
            return raw.decode("gbk", "xinliu.euro"), "GBK (80 = €)"
        except UnicodeDecodeError:
            pass
        try:
            return raw.decode("gb18030"), "GB18030"
        except UnicodeDecodeError as error:
            # The encoding that reads furthest is the one that was meant.
            worst, name = (error, "GB18030") if error.start > not_utf8.start else (not_utf8, "UTF-8")
            line = raw[: worst.start].count(b"\n") + 1
            raise UsageError(
                f"{path} line {line}: bytes {raw[worst.start : worst.start + 4].hex()} are no {name} text; files are UTF-8,"
                " GBK or GB18030: save it again in one of them"
            ) from None


def _euro(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] == 0x80:
        return "€", error.start + 1
    raise error


codecs.register_error("xinliu.euro", _euro)


def _strictly(path: Path, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise UsageError(
            f"{path} line {line}: the file is {name}, but bytes {raw[error.start : error.start + 4].hex()} are not: save it again"
        ) from None


def _csv(path: Path, text: str, encoding: str) -> Table:
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    lines_of = io.StringIO(text, newline="")
    named = _SEPARATOR.match(text)
    if named:
        lines_of.seek(named.end())
        delimiter = named[1].replace("\\t", "\t")
    begin = 1 if named else 0
    reader = csv.reader(lines_of, delimiter=delimiter, strict=True)

    def lines() -> Iterator[tuple[int, Sequence[Any]]]:
        begins = begin + reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = begin + reader.line_num + 1

    try:
        layout = Layout.found_in(lines())
        if not layout.headers:
            raise UsageError(f"{path} holds nothing but {delimiter!r}")
        return _table(path, "TSV" if delimiter == "\t" else "CSV", encoding, layout)
    except csv.Error as error:
        raise UsageError(f"{path} line {begin + reader.line_num}: {error}; a quotation mark may be missing") from error


def _table(path: Path, form: str, encoding: str, layout: Layout) -> Table:
    headers = layout.headers
    width = len(headers)
    _fits(path, 1, width)
    rows: list[tuple[int, tuple[Cell, ...]]] = []
    faults: list[Fault] = []
    for line, cells in layout.rows:
        _fits(path, len(rows) + len(faults) + 1, width)
        fitted = tuple(cells[:width]) + (None,) * (width - len(cells))
        if any(cell not in ("", None) for cell in cells[width:]):
            reason = f"此行有 {len(cells)} 格, 表头只有 {width} 格; 含逗号的文字须加引号"
            faults.append(Fault(line, "ROW_TOO_LONG", reason, fitted))
        else:
            rows.append((line, fitted))
    passed = tuple(layout.passed)
    return Table(form, encoding, headers, tuple(rows), tuple(faults), line=layout.line, passed=passed)


def _fits(path: Path, rows: int, columns: int) -> None:
    if columns > _MOST_COLUMNS:
        raise UsageError(f"{path} has more than {_MOST_COLUMNS} columns")
    if rows > _MOST_ROWS or rows * columns > _MOST_CELLS:
        raise UsageError(
            f"{path} has more than {min(_MOST_ROWS, _MOST_CELLS // columns)} rows: publish it in several files"
        )


def _xlsx(path: Path) -> Table:
    if not path.exists():
        raise FileNotFoundError(path)
    lines = _sheet(path)
    try:
        _, settings = next(lines)
        layout = Layout.found_in(lines)
        named = (place for place in range(len(layout.headers), 0, -1) if layout.headers[place - 1])
        layout.headers = layout.headers[: next(named, 0)]
        if not layout.headers:
            raise UsageError(f"{path}: the first sheet is empty")
        return replace(_table(path, "XLSX", "", layout), from_1904=settings[0])
    finally:
        lines.close()


def _sheet(path: Path) -> Generator[tuple[int, Sequence[Any]], None, None]:
    """Yield what is set for all of it, as line 0, and the filled rows of the first sheet.

    They are read by another process: see producers/importing/workbook.py.
    """
    with subprocess.Popen(
        [sys.executable, "-I", workbook.__file__, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as reader:
        assert reader.stdout is not None
        try:
            while (told := pickle.load(reader.stdout)) is not None:
                if isinstance(told, str):
                    raise UsageError(f"{path} is no Excel workbook: {told}")
                yield from told
        except (EOFError, pickle.UnpicklingError):
            raise UsageError(
                f"{path} cannot be read: it is damaged, or needs more memory or time than a workbook may; open it in Excel,"
                " copy the rows into a new workbook, and publish that"
            ) from None
        finally:
            reader.kill()


def _json_lines(path: Path, text: str, encoding: str) -> Table:
    objects: list[tuple[int, dict[str, Any]]] = []
    faults: list[Fault] = []
    headers: dict[str, None] = {}
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        _fits(path, len(objects) + len(faults) + 1, len(headers) or 1)
        try:
            value = json.loads(line, parse_float=Decimal) if len(line) <= _LONGEST_LINE else None
            if "\\ud" in line.lower():
                json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            faults.append(Fault(number, "NOT_TEXT", "此行含有不成对的代理码(\\ud800 至 \\udfff), 不是文字"))
            continue
        except (ValueError, RecursionError):
            faults.append(Fault(number, "NOT_JSON", "此行不是 JSON"))
            continue
        if not isinstance(value, dict) or any(isinstance(cell, dict | list) for cell in value.values()):
            faults.append(Fault(number, "NOT_FLAT", '每行须为一个不嵌套的对象, 如 {"CF_WSH": …}'))
            continue
        objects.append((number, value))
        headers.update(dict.fromkeys(value))
    _fits(path, len(objects) + len(faults), len(headers) or 1)
    rows = tuple((number, tuple(value.get(header) for header in headers)) for number, value in objects)
    return Table("JSON Lines", encoding, tuple(headers), rows, tuple(faults))


def _lines(text: str) -> Iterator[str]:
    # Not split: a file of line ends alone would make hundreds of millions of them at once.
    begin = 0
    while begin <= len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        yield text[begin:end]
        begin = end + 1
