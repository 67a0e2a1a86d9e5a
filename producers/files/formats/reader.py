"""Reader: a file as a table of headers and rows of cells, each with its line. It interprets nothing."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from producers.files.formats.json_lines import NOTHING, json_table
from producers.files.formats.kinds import WORKBOOKS, better_encoding, check_kind
from producers.files.formats.sheets import Book, Sheet, read_sheets
from producers.files.headers.headers import KIND_NAMES, known_headers, known_in, knows_any
from producers.files.headers.layout import TableLayout
from producers.files.table import REASON_HEADER, Cell, Fault, Line, Passed, Table
from schemas.errors import UsageError
from schemas.texts.spreadsheets import cell_read

__all__ = ["read_table"]

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DELIMITERS = (",", "\t", ";")
_BEGINNING, _FIRST_LINES = 1 << 16, 21
_LARGEST_FILE = 256 << 20
_MOST_ROWS = 1 << 20
_MOST_COLUMNS = 1_000
_MOST_CELLS = 50_000_000
"""Most cells in all files together: more would take more memory than a desk's machine has."""

_SHOWN = 30
_SEPARATOR = re.compile(r'\s*"?sep=([^\r\n"]|\\t)"?[,;\t]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""The first line of some exports: it names the separator to Excel."""

_UTF8_TEXT = re.compile(rb"(?:[\xe3-\xe9][\x80-\xbf]{2}){3}")
"""Three Chinese characters in UTF-8; as GBK these bytes are no words."""


def read_table(path: Path, sheets: Sequence[str] = ()) -> Table:
    """Read a CSV (.csv, .tsv, .txt), a workbook (.xlsx, .xlsm) or a JSON Lines (.jsonl, .ndjson) file.

    In a workbook it reads all visible sheets with a header, or those that `sheets` names. Raises UsageError, naming the
    line, if the file does not fit its name or has bytes of no known encoding: it never guesses a character.
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
    table = json_table(path, text, encoding, _fits) if kind in (".jsonl", ".ndjson") else _csv(path, text, encoding)
    if not knows_any(table.headers) and (better := better_encoding(raw, text, known_headers)):
        hint = f"表头无一认识: 文件按 {encoding} 读取, 更像是 {better}; 请另存为 UTF-8 后再发布"
        return replace(table, remarks=(*table.remarks, hint))
    return table


_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def _decoded(path: Path, raw: bytes) -> tuple[str, str]:
    if raw.startswith(_UTF32):
        raise UsageError(f"{path}: 文件按 UTF-32 存储, 不能读取; 请另存为 UTF-8 后再发布")
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return _strictly(path, raw, encoding), "UTF-8 (BOM)" if encoding == "utf-8-sig" else "UTF-16"
    try:
        return raw.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as not_utf8:
        if _UTF8_TEXT.search(raw, 0, not_utf8.start):
            # Damaged UTF-8 can be decoded as GBK too, to other characters than were written.
            return _strictly(path, raw, "utf-8"), "UTF-8"
        try:
            # Windows writes € as the byte 80, which no GB standard has.
            for encoding, how, name in (("gbk", "strict", "GBK"), ("gbk", "xinliu.euro", "GBK (80 = €)")):
                with suppress(UnicodeDecodeError):
                    return _of_one_encoding(path, raw, raw.decode(encoding, how), name)
            return _of_one_encoding(path, raw, raw.decode("gb18030"), "GB18030")
        except UnicodeDecodeError as error:
            # The encoding that decodes furthest is the intended one.
            worst, name = (error, "GB18030") if error.start > not_utf8.start else (not_utf8, "UTF-8")
            raise _undecodable(path, raw, worst.start, name) from None


def _of_one_encoding(path: Path, raw: bytes, text: str, name: str) -> tuple[str, str]:
    """Return a text and its encoding. Raises UsageError if some lines are UTF-8: GBK would change their characters."""
    end = 0
    for found in _UTF8_TEXT.finditer(raw):
        if found.start() < end:
            continue  # its line was checked
        begin, end = raw.rfind(b"\n", 0, found.start()) + 1, raw.find(b"\n", found.end())
        end = end if end >= 0 else len(raw)
        with suppress(UnicodeDecodeError):
            raw[begin:end].decode("utf-8")
            line = raw.count(b"\n", 0, begin) + 1
            raise UsageError(
                f"{path} 第 {line} 行: 此行是 UTF-8 文字, 其他各行是 {name}; 请用一种编码 (UTF-8) 另存后再发布"
            )
    return text, name


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
    if text.lstrip(NOTHING)[:2] in ('{"', "[{"):
        raise UsageError(f"{path}: 内容是 JSON, 不是表格; 每行一个对象的文件, 请将文件名的结尾改为 .jsonl 后再发布")
    beginning = text.lstrip()[:_BEGINNING]
    delimiter = _delimiter(beginning)
    lines_of = io.StringIO(text, newline="")
    named = _SEPARATOR.match(text)
    if named:
        lines_of.seek(named.end())
        delimiter = named[1].replace("\\t", "\t")
    begin = 1 if named else 0
    spaced = (
        re.search(rf'"{re.escape(delimiter)} +"', beginning) is not None
    )  # "a", "b": a quotation mark begins a cell there, too
    reader = csv.reader(lines_of, delimiter=delimiter, strict=True, skipinitialspace=spaced)

    begins = begin + 1

    def lines() -> Iterator[tuple[int, Sequence[Any]]]:
        nonlocal begins
        begins = begin + reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = begin + reader.line_num + 1

    try:
        layout = TableLayout.found_in(str(path), lines())
        if not layout.headers:
            raise UsageError(f"{path}: 只有分隔符 {delimiter!r}, 没有内容")
        quotes = _quotes(layout.headers)
        if quotes:
            layout.headers = tuple(_unquoted(header, quotes) for header in layout.headers)
            layout.rows = ((line, [_unquoted(cell, quotes) for cell in cells]) for line, cells in layout.rows)
        table = _table(path, "TSV" if delimiter == "\t" else "CSV", encoding, layout, delimiter)
    except csv.Error as error:
        if "quote" not in str(error) and "expected after" not in str(error) and "unexpected end" not in str(error):
            raise UsageError(f"{path} 第 {begins} 行: 不能读取: {error}") from error
        last = begin + reader.line_num
        later = f" (读到第 {last} 行才发现)" if last > begins else ""
        raise UsageError(
            f"{path} 第 {begins} 行: 此行有引号打开后没有正确闭合{later}; 文字中的引号须写两个, 或改为中文引号"
        ) from error
    if quotes:
        table = replace(table, remarks=(*table.remarks, f"每格都写在引号 {quotes} 之中, 引号未读"))
    if len(table.headers) == 1:
        hint = "表头只有一列; 列间的分隔符须为半角逗号、制表符或半角分号"
        return replace(table, remarks=(hint,))
    return table


def _quotes(headers: Sequence[str]) -> str:
    """Return the quotation marks round every header, if they are not those of CSV."""
    said = [header for header in headers if header]
    for marks in ("''", "“”", "‘’", "＂＂", "「」"):
        if len(said) > 1 and all(len(one) > 1 and one[0] == marks[0] and one[-1] == marks[1] for one in said):
            return marks
    return ""


def _unquoted(text: str, marks: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == marks[0] and text[-1] == marks[1] else text


def _delimiter(beginning: str) -> str:
    """Return the separator of the cells: of the line with the most known headers, or of the first one."""
    lines = beginning.splitlines()[:_FIRST_LINES]
    if not lines:
        return _DELIMITERS[0]
    known = {
        mark: max(known_in([part.strip('" ') for part in line.split(mark)]) for line in lines) for mark in _DELIMITERS
    }
    return max(_DELIMITERS, key=lambda mark: (known[mark], lines[0].count(mark)))


def _table(path: Path, form: str, encoding: str, layout: TableLayout, delimiter: str = "") -> Table:
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
            beyond = next(str(cell) for cell in cells[width:] if cell not in ("", None))
            remedy = (
                "含逗号的文字须加引号"
                if delimiter
                else f"表头之外写有 {beyond[:_SHOWN]!r}, 请删去, 或在表头写上该列的名称"
            )
            reason = f"此行有 {len(cells)} 格, 表头只有 {width} 格; {remedy}"
            faults.append(Fault(line, "ROW_TOO_LONG", reason, fitted))
        elif delimiter and width > 1 and (rows_in := _rows_within(cells, delimiter, width)):
            reason = f"此行有引号打开后过了 {rows_in} 行才闭合, 其间各行都成了一格; 请改正引号"
            faults.append(Fault(line, "QUOTE_OPEN", reason, fitted))
        else:
            rows.append((line, fitted))
    passed = tuple(layout.passed)
    return Table(form, encoding, headers, tuple(rows), tuple(faults), line=layout.line, passed=passed)


def _rows_within(cells: Sequence[str], delimiter: str, width: int) -> int:
    """Return the number of lines of a cell that has as many separators as a row: a quotation mark was left open."""
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


_EXAMPLE = re.compile(r"示例|样例|范例|样表|模板|模版|填写说明|填表说明")
"""Names of sheets without real records."""


def _joined(path: Path, wanted: Sequence[str], book: Book) -> Table:
    """Join the sheets that have a header, and remark which are not read and why."""
    read = [sheet for sheet in book.sheets if sheet.kind] or [sheet for sheet in book.sheets if sheet.headers][:1]
    if not read:
        raise UsageError(f"{path}: 工作表 {'、'.join(sheet.name for sheet in book.sheets)} 是空的")
    if len({sheet.kind for sheet in read}) > 1:
        names = "、".join(f"{sheet.name} ({KIND_NAMES[sheet.kind or '']})" for sheet in read)
        raise UsageError(
            f"{path}: 各工作表不是同一种记录: {names}; 请用 --sheet 逐个发布, 除最后一个外都加 --no-marker"
        )
    examples = [sheet.name for sheet in read if _EXAMPLE.search(sheet.name)]
    if examples and len(examples) < len(read) and not wanted:
        raise UsageError(
            f"{path}: 工作表 {'、'.join(examples)} 的名称说它是示例或模板, 其中却有记录; 请用 --sheet 指明要读取的工作表:"
            f" {'、'.join(sheet.name for sheet in read if sheet.name not in examples)}"
        )
    reading = {sheet.name: sheet for sheet in book.sheets}
    passed = []
    for name, worksheet, visible in book.kinds:
        sheet = reading.get(name)
        if sheet in read:
            continue
        if sheet and (like := sheet.like_a_record()):
            first = like == sheet.layout.line
            what = "没有表头, 第一行就像一条记录" if first else f"没有可用的表头, 第 {like} 行却像一条记录"
            raise UsageError(
                f"{path}: 工作表 {name} {what}; 请补全表头 (多余的工作表则删去),"
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
            return replace(table, remarks=tuple(remarks), merged=tuple(sheet.merged), sheets=(sheet.name,))
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
        sheets=tuple(sheet.name for sheet in read),
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
