"""Sheets, rows and kinds of files: what a person sees is read or named, and what is not read is called what it is."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import xlsxwriter

from producers.files.import_file import FileOptions, Import, import_file
from producers.files.rows.rows import located
from schemas.catalogue import load
from schemas.errors import UsageError
from tests.unit.importing import LISTING, PENALTY, listing, penalty, read, told, write

Rows = Sequence[Sequence[object]]


def _table(*rows: Mapping[str, str], title: Rows = ()) -> Rows:
    return [*title, list(rows[0]), *(list(row.values()) for row in rows)]


def _book(path: Path, sheets: Mapping[str, Rows], hidden: Sequence[str] = ()) -> Path:
    with xlsxwriter.Workbook(str(path)) as workbook:
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
            if name in hidden:
                sheet.hide()
            else:
                sheet.activate()
                sheet.set_first_sheet()
    return path


def _named(path: Path, *sheets: str) -> Import:
    return import_file(path, load().department("beijing", "tax"), load(), options=FileOptions(sheets=sheets))


def test_all_visible_sheets_with_the_header_are_read_as_one(tmp_path: Path) -> None:
    short = {header: text for header, text in penalty(CF_WSH="三").items() if header != "CF_NR_FK"}
    turned = dict(reversed(penalty(CF_WSH="二", CF_SY="").items()))
    sheets = {
        "封面": [["行政处罚信息"], ["填报单位", "某局"]],
        "1月": _table(penalty(CF_WSH="一")),
        "2月": _table(turned, title=[["二月"]]),
        "空": [],
        "3月": _table({**short, "内部编号": "7"}),
        "旧": _table(penalty(CF_WSH="旧")),
    }
    found = read(_book(tmp_path / "a.xlsx", sheets, hidden=["旧"]))
    assert [str(statement.line) for statement in found.outgoing] == ["1月!2", "3月!2"]
    (error,) = found.errors
    assert located(error) == {
        "line": 3,
        "sheet": "2月",
        "column": "CF_SY",
        "value": "",
        "code": "REQUIRED",
        "reason": "必填项为空",
    }
    said = " ".join(found.table.remarks)
    assert all(text in said for text in ("封面 (没有表头)", "空 (空白)", "旧 (隐藏)", "3 个工作表: 1月、2月、3月"))
    assert [(str(row.line), row.text) for row in found.table.passed] == [("2月!1", "二月")]


def test_sheets_are_chosen_by_name(tmp_path: Path) -> None:
    sheets = {
        "1月": _table(penalty(CF_WSH="一")),
        "2月": _table(penalty(CF_WSH="二")),
        "旧": _table(penalty(CF_WSH="旧")),
    }
    path = _book(tmp_path / "a.xlsx", sheets, hidden=["旧"])
    assert len(_named(path, "旧").outgoing) == 1
    found = _named(path, "1月", "旧")
    assert len(found.outgoing) == 2
    assert "2月 (--sheet 未指明)" in " ".join(found.table.remarks)
    with pytest.raises(UsageError, match="没有工作表 4月; 有: 1月、2月、旧"):
        _named(path, "4月")
    with pytest.raises(UsageError, match="只有工作簿才有工作表"):
        _named(write(tmp_path / "a.csv", [penalty()]), "1月")


def test_sheets_that_cannot_be_one_file_stop_it(tmp_path: Path) -> None:
    kinds = {"处罚": _table(PENALTY), "名单": _table(LISTING)}
    with pytest.raises(UsageError, match=r"处罚 .行政处罚.、名单 .严重失信主体名单.*--sheet"):
        read(_book(tmp_path / "a.xlsx", kinds))
    goes_on = {"1": _table(PENALTY), "2": [list(penalty(CF_WSH="二").values())]}
    with pytest.raises(UsageError, match="工作表 2 没有表头, 第一行就像一条记录"):
        read(_book(tmp_path / "b.xlsx", goes_on))
    with pytest.raises(UsageError, match=r"缺少列.*名录 .隐藏.*--sheet"):
        read(_book(tmp_path / "c.xlsx", {"说明": [["填表说明"]], "名录": _table(PENALTY)}, hidden=["名录"]))


@pytest.mark.parametrize("row", [penalty, listing])
def test_notes_totals_and_signatures_have_one_reason_with_their_text(tmp_path: Path, row: object) -> None:
    model = PENALTY if row is penalty else LISTING
    first, second, *_ = list(model)
    below = [
        {first: "合计", second: "3"},
        {first: "注：以上数据截至9月30日"},
        {second: "填报人：张某", list(model)[5]: "审核：李某"},
    ]
    path = write(tmp_path / "a.csv", [model, *below])
    found = read(path)
    assert [code for _, _, code in told(found)] == ["NO_RECORD"] * 3
    assert [error.value for error in found.errors] == ["合计、3", "注：以上数据截至9月30日", "填报人：张某、审核：李某"]
    assert len(found.outgoing) == 1


def test_a_repair_or_revocation_that_says_little_is_a_record(tmp_path: Path) -> None:
    little = {header: "" for header in PENALTY} | {
        header: PENALTY[header] for header in ("CF_XDR_MC", "CF_XDR_SHXYM", "CF_CFJGDM", "更新时间")
    }
    rows = [{**PENALTY, "状态": "", "原文号": ""}, {**little, "状态": "已撤销", "原文号": PENALTY["CF_WSH"]}]
    found = read(write(tmp_path / "a.csv", rows))
    assert "NO_RECORD" not in {code for _, _, code in told(found)}


def test_rows_that_say_nothing_are_counted(tmp_path: Path) -> None:
    rows = [
        {**PENALTY, "序号": "1"},
        {"序号": "2"},
        {"CF_XDR_MC": "\x1a"},
        {"CF_SY": "\0\0"},
        {one: one for one in PENALTY},
    ]
    found = read(write(tmp_path / "a.csv", rows))
    assert (found.rows, len(found.outgoing), found.errors) == (1, 1, ())
    assert [remark.split(":")[0] for remark in found.table.remarks] == [
        "1 行又是表头, 未读",
        "2 行没有内容 (只有空白或控制字符), 未读",
        "1 行只有未读的列 (序号) 有内容, 未读",
    ]
    other = [PENALTY, dict(zip(PENALTY, reversed(list(PENALTY)), strict=True))]
    with pytest.raises(UsageError, match="第 3 行是另一个表头"):
        read(write(tmp_path / "b.csv", other))


def test_a_quotation_mark_that_swallows_whole_rows_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [penalty(CF_WSH=f"{number}号") for number in range(5)])
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace("未按照规定", '"未按照规定')
    lines[4] = lines[4].replace("办理纳税申报", '办理纳税申报"')
    path.write_text("\n".join(lines), encoding="utf-8")
    found = read(path)
    assert told(found) == [(3, "", "QUOTE_OPEN")]
    assert [statement.line for statement in found.outgoing] == [2, 6]


def _zip(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return out.getvalue()


OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".xls", ".jsonl", ".xlsm", ""])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (OLD + "Workbook".encode("utf-16-le"), "旧版 Excel 或 WPS 工作簿.*另存为 .xlsx"),
        (OLD + "EncryptedPackage".encode("utf-16-le"), "有密码的工作簿.*去除密码"),
        (OLD + "WordDocument".encode("utf-16-le"), "Word 文档"),
        (OLD, "旧式 Office 文件"),
        (b"<html><table><tr><td>1</td></tr></table></html>", "网页"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE HTML>", "网页"),
        (b"<table border=1>", "网页"),
        ("\ufeff<html>".encode("utf-16-le"), "网页"),
        (b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>', "XML 表格"),
        (b"MIME-Version: 1.0\r\n", "网页存档"),
        (b"%PDF-1.7", "PDF"),
        (b"Rar!\x1a\x07", "压缩文件"),
        (b"\x1f\x8b\x08", "压缩文件"),
        (b"PK\x03\x04" + b"x" * 999, "不完整"),
        (_zip("xl/workbook.bin"), "xlsb"),
        (_zip("content.xml", "mimetype"), "ods"),
        (_zip("word/document.xml"), "Word"),
        (_zip("a.csv"), "解压"),
        (_zip(), "解压"),
    ],
)
def test_a_file_is_called_what_it_is(tmp_path: Path, content: bytes, what: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=what) as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "fits"),
    [
        (lambda text: text.encode("utf-16-le"), "UTF-16 LE"),
        (lambda text: text.encode("utf-16-be"), "UTF-16 BE"),
        (lambda text: text.encode().decode("latin-1").encode(), "按 UTF-8 读取, 更像是 UTF-8, 但曾被当作 latin-1"),
        (lambda text: text.encode("gb18030").decode("latin-1").encode(), "更像是 GB18030, 但曾被当作 cp1252"),
    ],
)
def test_an_encoding_that_fits_better_is_named(tmp_path: Path, raw: Callable[[str], bytes], fits: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(raw("行政相对人名称,统一社会信用代码,处罚类别,处罚内容,法定代表人\n某,某,某,某,某\n"))
    with pytest.raises(UsageError, match=fits):
        read(path)


@pytest.mark.parametrize(
    ("column", "word", "says"),
    [
        ("状态", "撤消", "是 已撤销 吗.*可填: 有效、已修复、已撤销"),
        ("变更原因", "更改", "可填: 首次发布、更正"),
        ("CF_CFLB", "罚金", "罚金.*可填: 警告、通报批评、罚款"),
        ("CF_XDR_LB", "法人", "可填: 法人及非法人组织、个体工商户"),
    ],
)
def test_an_unknown_word_names_the_allowed_ones(tmp_path: Path, column: str, word: str, says: str) -> None:
    found = read(write(tmp_path / "a.csv", [{**PENALTY, column: word}]))
    (error,) = (error for error in found.errors if error.column == column)
    assert re.search(says, error.reason), error.reason
