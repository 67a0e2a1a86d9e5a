"""Reading a file as a table: headers, and rows of cells with the line each stands on. Nothing is interpreted here."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from producers.importing.headers import KIND_NAMES, known_headers, knows_any
from producers.importing.kinds import WORKBOOKS, better_encoding, check_kind
from producers.importing.layout import Layout
from producers.importing.sheets import Book, Sheet, read_sheets
from producers.importing.table import REASON_HEADER, Cell, Fault, Line, Passed, Table
from schemas.errors import UsageError
from schemas.spreadsheets import cell_read

__all__ = ["Cell", "Fault", "Table", "read_table"]

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


def read_table(path: Path, sheets: Sequence[str] = ()) -> Table:
    """Read a CSV (.csv, .tsv, .txt), a workbook (.xlsx, .xlsm) or a JSON Lines (.jsonl, .ndjson) file.

    Of a workbook all visible sheets with a header are read, or those that `sheets` names. Raises UsageError, naming the
    line, if the file is not what its name says or holds bytes of no known encoding: no character is ever guessed.
    """
    try:
        check_kind(path)
        kind = path.suffix.lower()
        if kind in WORKBOOKS:
            return _workbook(path, sheets)
        if sheets:
            raise UsageError(f"{path}: 只有工作簿才有工作表, 此文件不能用 --sheet")
        if path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path}: 超过 {_LARGEST_FILE >> 20} MiB; 请分成几个文件发布")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"没有文件 {path}") from None
    except OSError as error:
        raise UsageError(f"{path}: 不能读取: {error.strerror}") from error
    if not raw.strip():
        raise UsageError(f"{path}: 是空文件")
    text, encoding = _decoded(path, raw)
    table = _json_lines(path, text, encoding) if kind in (".jsonl", ".ndjson") else _csv(path, text, encoding)
    if not knows_any(table.headers) and (better := better_encoding(raw, text, known_headers)):
        hint = f"表头无一认识: 文件按 {encoding} 读取, 更像是 {better}; 请另存为 UTF-8 后再发布"
        return replace(table, remarks=(*table.remarks, hint))
    return table


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
            raise _undecodable(path, raw, worst.start, name) from None


def _euro(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] == 0x80:
        return "€", error.start + 1
    raise error


codecs.register_error("xinliu.euro", _euro)


def _strictly(path: Path, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(path, raw, error.start, "UTF-16" if encoding == "utf-16" else "UTF-8") from None


def _undecodable(path: Path, raw: bytes, start: int, assumed: str) -> UsageError:
    line = raw[:start].count(b"\n") + 1
    better = better_encoding(raw, raw.decode("utf-8", "replace") if assumed == "UTF-8" else None, known_headers)
    fits = f", 更像是 {better}" if better and assumed not in better else ""
    return UsageError(
        f"{path} 第 {line} 行: 文件按 {assumed} 读取{fits}, 字节 {raw[start : start + 4].hex()} 不是 {assumed} 文字;"
        " 请另存为 UTF-8 (或 GBK、GB18030) 后再发布"
    )


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

    begins = begin + 1

    def lines() -> Iterator[tuple[int, Sequence[Any]]]:
        nonlocal begins
        begins = begin + reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = begin + reader.line_num + 1

    try:
        layout = Layout.found_in(str(path), lines())
        if not layout.headers:
            raise UsageError(f"{path}: 只有分隔符 {delimiter!r}, 没有内容")
        table = _table(path, "TSV" if delimiter == "\t" else "CSV", encoding, layout, delimiter)
    except csv.Error as error:
        if "quote" not in str(error) and "expected after" not in str(error) and "unexpected end" not in str(error):
            raise UsageError(f"{path} 第 {begins} 行: 不能读取: {error}") from error
        last = begin + reader.line_num
        later = f" (读到第 {last} 行才发现)" if last > begins else ""
        raise UsageError(
            f"{path} 第 {begins} 行: 此行有引号打开后没有正确闭合{later}; 文字中的引号须写两个, 或改为中文引号"
        ) from error
    if len(table.headers) == 1:
        hint = "表头只有一列; 列间的分隔符须为半角逗号、制表符或半角分号"
        return replace(table, remarks=(hint,))
    return table


def _table(path: Path, form: str, encoding: str, layout: Layout, delimiter: str = "") -> Table:
    headers = layout.headers
    ours = bool(delimiter) and REASON_HEADER in headers
    headers = tuple(map(cell_read, headers)) if ours else headers
    width = len(headers)
    _fits(path, 1, width)
    rows: list[tuple[int, tuple[Cell, ...]]] = []
    faults: list[Fault] = []
    for line, raw in layout.rows:
        _fits(path, len(rows) + len(faults) + 1, width)
        cells = [cell_read(cell) for cell in raw] if ours else raw
        fitted = tuple(cells[:width]) + (None,) * (width - len(cells))
        if any(cell not in ("", None) for cell in cells[width:]):
            reason = f"此行有 {len(cells)} 格, 表头只有 {width} 格; 含逗号的文字须加引号"
            faults.append(Fault(line, "ROW_TOO_LONG", reason, fitted))
        elif delimiter and width > 1 and (rows_in := _rows_within(cells, delimiter, width)):
            reason = f"此行有引号打开后过了 {rows_in} 行才闭合, 其间各行都成了一格; 请改正引号"
            faults.append(Fault(line, "QUOTE_OPEN", reason, fitted))
        else:
            rows.append((line, fitted))
    passed = tuple(layout.passed)
    return Table(form, encoding, headers, tuple(rows), tuple(faults), line=layout.line, passed=passed)


def _rows_within(cells: Sequence[str], delimiter: str, width: int) -> int:
    """Return over how many lines a cell goes that holds as many separators as a row: a quotation mark was left open."""
    for cell in cells:
        if "\n" in cell and cell.count(delimiter) >= width - 1:
            return cell.count("\n")
    return 0


def _fits(path: Path, rows: int, columns: int) -> None:
    if columns > _MOST_COLUMNS:
        raise UsageError(f"{path}: 超过 {_MOST_COLUMNS} 列")
    if rows > _MOST_ROWS or rows * columns > _MOST_CELLS:
        raise UsageError(f"{path}: 超过 {min(_MOST_ROWS, _MOST_CELLS // columns)} 行; 请分成几个文件发布")


def _workbook(path: Path, wanted: Sequence[str]) -> Table:
    book = read_sheets(path, wanted, partial(_fits, path))
    return replace(_joined(path, wanted, book), from_1904=book.from_1904)


_CODE = re.compile(r"[0-9A-HJ-NPQRTUWXY]{18}")
"""A 统一社会信用代码: no header."""


def _joined(path: Path, wanted: Sequence[str], book: Book) -> Table:
    """Join the sheets that have a header, and say which are not read and why."""
    read = [sheet for sheet in book.sheets if sheet.kind] or [sheet for sheet in book.sheets if sheet.headers][:1]
    if not read:
        raise UsageError(f"{path}: 工作表 {'、'.join(sheet.name for sheet in book.sheets)} 是空的")
    if len({sheet.kind for sheet in read}) > 1:
        names = "、".join(f"{sheet.name} ({KIND_NAMES[sheet.kind or '']})" for sheet in read)
        raise UsageError(
            f"{path}: 各工作表不是同一种记录: {names}; 请用 --sheet 逐个发布, 除最后一个外都加 --no-marker"
        )
    reading = {sheet.name: sheet for sheet in book.sheets}
    passed = []
    for name, worksheet, visible in book.kinds:
        sheet = reading.get(name)
        if sheet in read:
            continue
        if sheet and any(_CODE.fullmatch(name) for name in sheet.headers):
            raise UsageError(
                f"{path}: 工作表 {name} 没有表头, 第一行就像一条记录; 请补上表头 (可为空白的工作表则删去),"
                f" 或用 --sheet 指明要读取的工作表: {'、'.join(one.name for one in read)}"
            )
        why = "没有表头" if sheet and sheet.headers else "空白" if sheet else "图表" if not worksheet else "隐藏"
        passed.append(
            f"{name} ({why if visible or sheet else '隐藏'})" if sheet or not wanted else f"{name} (--sheet 未指明)"
        )
    remarks = [f"未读的工作表: {'、'.join(passed)}; 如要读取, 用 --sheet 指明"] if passed else []
    headers = (
        tuple(dict.fromkeys(header for sheet in read for header in sheet.headers)) if len(read) > 1 else read[0].headers
    )
    if len(read) > 1:
        remarks.append(f"读取了 {len(read)} 个工作表: {'、'.join(sheet.name for sheet in read)}")
    rows: list[tuple[int, tuple[Cell, ...]]] = []
    faults: list[Fault] = []
    merged: list[tuple[int, int]] = []
    titles: list[Passed] = []
    for place, sheet in enumerate(read):
        remarks.extend(sheet.remarks())
        table = _table(path, "XLSX", "", sheet.layout)
        if len(read) == 1:
            return replace(table, remarks=tuple(remarks), merged=tuple(sheet.merged))
        _distinct(path, sheet)
        places = [headers.index(header) for header in sheet.headers]
        at = partial(Line, place, sheet.name)
        rows += ((at(line), _placed(cells, places, len(headers))) for line, cells in table.rows)
        faults += (
            replace(fault, line=at(fault.line), cells=_placed(fault.cells, places, len(headers)))
            for fault in table.faults
        )
        merged += ((at(line), places[column]) for line, column in sheet.merged)
        titles += (replace(row, line=at(row.line)) for row in table.passed)
        _fits(path, len(rows) + len(faults), len(headers))
    return Table(
        "XLSX", "", headers, tuple(rows), tuple(faults), remarks=tuple(remarks), merged=tuple(merged),
        line=Line(0, read[0].name, read[0].layout.line), passed=tuple(titles),
    )  # fmt: skip


def _distinct(path: Path, sheet: Sheet) -> None:
    twice = [header for header in sheet.headers if header and sheet.headers.count(header) > 1]
    if twice:
        raise UsageError(f"{path}: 工作表 {sheet.name} 有两列同名: {twice[0]}; 请保留一列")


def _placed(cells: Sequence[Cell], places: Sequence[int], width: int) -> tuple[Cell, ...]:
    placed: list[Cell] = [None] * width
    for place, cell in zip(places, cells, strict=True):
        if cell not in ("", None):
            placed[place] = cell
    return tuple(placed)


def _json_lines(path: Path, text: str, encoding: str) -> Table:
    objects: list[tuple[int, dict[str, Any]]] = []
    faults: list[Fault] = []
    headers: dict[str, None] = {}
    doubled: list[tuple[int, _SaidTwice]] = []
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        _fits(path, len(objects) + len(faults) + len(doubled) + 1, len(headers) or 1)
        try:
            value = _object(line) if len(line) <= _LONGEST_LINE else None
            if "\\ud" in line.lower():
                json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            faults.append(Fault(number, "NOT_TEXT", "此行含有不成对的代理码(\\ud800 至 \\udfff), 不是文字"))
            continue
        except _SaidTwice as twice:
            headers.update(dict.fromkeys(twice.said))
            doubled.append((number, twice))
            continue
        except (ValueError, RecursionError):
            faults.append(Fault(number, "NOT_JSON", "此行不是 JSON"))
            continue
        if not isinstance(value, dict) or any(isinstance(cell, dict | list) for cell in value.values()):
            faults.append(Fault(number, "NOT_FLAT", '每行须为一个不嵌套的对象, 如 {"CF_WSH": …}'))
            continue
        objects.append((number, value))
        headers.update(dict.fromkeys(value))
    _fits(path, len(objects) + len(faults) + len(doubled), len(headers) or 1)
    faults += (
        Fault(
            number,
            "NAME_TWICE",
            f"此行的 {twice.name[:60]!r} 出现两次, 不知以何者为准; 请保留一个",
            tuple(None if isinstance(cell := twice.said.get(header), dict | list) else cell for header in headers),
        )
        for number, twice in doubled
    )
    if not objects and not doubled:
        begin = text.lstrip()[:1]
        what = "一个数组 ([…])" if begin == "[" else "跨多行的对象" if begin == "{" else "其他内容"
        raise UsageError(
            f'{path}: 没有一行是 JSON 对象, 文件是{what}; 每行须为一个完整的对象, 如 {{"CF_WSH": …}}'
            " (数组可用 jq -c '.[]' 原文件 > 新文件.jsonl 转换)"
        )
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


class _SaidTwice(Exception):
    """An object names something twice."""

    def __init__(self, name: str, said: dict[str, Any]) -> None:
        super().__init__(name)
        self.name, self.said = name, said


def _object(line: str) -> Any:
    return json.loads(line, parse_float=Decimal, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        names = [name for name, _ in pairs]
        raise _SaidTwice(next(name for name in names if names.count(name) > 1), said)
    return said
