"""Hostile files: CSV, JSON Lines and workbooks that are good, nearly good, or made to harm whoever reads them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from itertools import chain
from typing import Any
from xml.sax.saxutils import escape

from tests.fuzz.choices import Choices
from tests.fuzz.hostile import mutated
from tests.unit.importing import LISTING, PENALTY, REGISTRATION

__all__ = ["SUFFIXES", "file", "workbook"]

SUFFIXES = (".csv", ".jsonl", ".xlsx", ".txt", ".tsv", ".ndjson")

_CELLS: tuple[Any, ...] = (
    "", " ", "\0", "\ud800", "\ufeff", "=1+1", "9" * 19, "9" * 5000, "1." + "0" * 40, "0.0000001", "1,234.50", "-0.2", "1e5",
    "٣٣", "２０２５-０１-０１", "0001-01-01", "0001-01-01 00:00", "9999-12-31 23:59:59", "9999-12-31T23:59:59-23:59", "0000-00-00",
    "2025-02-30", "2025-01-01 25:61", "2025-01-01 00:00+99:99", "1 " + " " * 60_000 + "1", "a" + "\u0301\u0316" * 20_000,
    "\ufdfa" * 100, "甲" * 40_000, "已撤销", "已修复", "撤销", "自然人", "362322198709086409", "2000元", True, False, None, 0, -1,
    "甲公司;乙公司", "91110000101623741K;911101066976941872", "91110000101623741K、", ";;", "01/02/2025", "45901", 45901, "罚款、 没收违法所得",
    "１，２３４．５", "９１110000101623741ｋ", "京税罚【2025】1号", "1\u200b2", "²", "511123 19800101 123X", "张某;李某", "0.1;0.2",
    2**63, 2**63 - 1, 10**30, 1.5, 1e300, float("nan"), float("inf"), "\n", "a\nb", "a\rb", '"', "a\x1fb", "0" * 32,
)  # fmt: skip
_COLUMNS = (
    "版本号",
    "原主体",
    "原文号",
    "原记录标识",
    "状态",
    "变更原因",
    "领域",
    "row",
    "uscc",
    "退回原因",
    "",
    "\0",
    "x",
    "身份证号",
)


def _rows(choose: Choices) -> list[dict[str, Any]]:
    model: dict[str, Any] = dict(choose.pick((PENALTY, LISTING, REGISTRATION)))
    for _ in range(choose.integer(0, 2)):
        model[choose.pick(_COLUMNS)] = choose.pick(_CELLS)
    if choose.rarely(12):
        model.pop(choose.pick(tuple(model)))
    rows = []
    for number in range(choose.integer(0, 4)):
        row = dict(model)
        if "CF_WSH" in row and choose.rarely(2):
            row["CF_WSH"] = f"京税罚〔2025〕{number}号"
        for _ in range(choose.pick((0, 0, 1, 3))):
            cell = choose.pick(_CELLS) if not choose.rarely(4) else choose.raw(16).decode("utf-8", "surrogateescape")
            row[choose.pick(tuple(row))] = cell
        rows.append(row)
    return rows


def _csv(choose: Choices, rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    headers = list(rows[0]) if rows else list(PENALTY)
    writer = csv.writer(text, delimiter=choose.pick((",", "\t", ";")), lineterminator=choose.pick(("\r\n", "\n", "\r")))
    writer.writerow(headers)
    for row in rows:
        cells = [row.get(header) for header in headers]
        writer.writerow(cells + ["多"] * (choose.integer(0, 1) if choose.rarely(6) else 0))
    encoding = choose.pick(("utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"))
    return text.getvalue().encode(encoding, "replace" if encoding != "utf-8" else "surrogatepass")


def _json(rows: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(row, ensure_ascii=True).encode() for row in rows)


def workbook(sheet: str | Iterable[str], strings: str = "", *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a workbook of one sheet with this XML, or these pieces of it, within its sheetData, and these shared strings."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    pieces = [sheet] if isinstance(sheet, str) else sheet
    parts: dict[str, Iterable[str]] = {
        "[Content_Types].xml": ['<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'],
        "_rels/.rels": [
            f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{office}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>'
        ],
        "xl/workbook.xml": [
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>'
        ],
        "xl/_rels/workbook.xml.rels": [
            f'<Relationships xmlns="{package}"><Relationship Id="r1"'
            f' Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
        ],
        "xl/sharedStrings.xml": [f'<sst xmlns="{main}">{strings}</sst>'],
        "xl/worksheets/sheet1.xml": chain(
            [f'<worksheet xmlns="{main}"><sheetData>'], pieces, ["</sheetData></worksheet>"]
        ),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, texts in parts.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            with archive.open(info, "w") as part:
                for text in texts:
                    part.write(text.encode("utf-8", "replace"))
    return out.getvalue()


_REFERENCES = ("A1", "B2", "XFD1048576", "ZZZZ9", "A0", "", "A99999999999", "1A", "A-1", "XFD1", "A1048576")


def _xlsx(choose: Choices, rows: list[dict[str, Any]]) -> bytes:
    lines = []
    for number, row in enumerate([{header: header for header in (rows[0] if rows else PENALTY)}, *rows], 1):
        cells = []
        for value in row.values():
            kind = choose.pick(("inlineStr", "str", "n", "b", "e", "s", "d")) if choose.rarely(20) else "inlineStr"
            place = f' r="{choose.pick(_REFERENCES)}"' if choose.rarely(40) else ""
            text = escape("".join(one for one in str(value) if one not in "\0\x1f"))
            inner = f"<is><t>{text}</t></is>" if kind == "inlineStr" else f"<v>{text}</v>"
            cells.append(f'<c{place} t="{kind}">{inner}</c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    whole = workbook("".join(lines), "<si><t>x</t></si>" * choose.integer(0, 2))
    if choose.rarely(6):
        return mutated(choose, whole, whole[::-1])
    return whole


def file(choose: Choices) -> tuple[str, bytes]:
    """Return how a file's name ends, and its content."""
    suffix = choose.pick(SUFFIXES)
    what = choose.integer(0, 5)
    if what >= 4 and suffix != ".xlsx":
        return suffix, choose.raw(1 << 16)
    if what == 5:
        return suffix, workbook(choose.raw(1 << 16).decode("utf-8", "replace"), "<si><t>x</t></si>")
    rows = _rows(choose)
    content = _xlsx(choose, rows) if suffix == ".xlsx" else _json(rows) if "j" in suffix else _csv(choose, rows)
    if what == 3 and suffix != ".xlsx":
        content = mutated(choose, content, content[::-1])
    return suffix, content
