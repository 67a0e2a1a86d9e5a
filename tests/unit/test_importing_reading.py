"""Reading files: what encodings and formats are found, which line a row stands on, and that nothing is guessed."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import pytest
import xlsxwriter

from producers.files.formats.reader import read_table
from schemas.errors import UsageError

TEXT = "CF_WSH,CF_SY\n京税罚〔2025〕1号,未按期申报\n"


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 (BOM)"),
        ("utf-16", "UTF-16"),
        ("gbk", "GBK"),
    ],
)
def test_encodings_are_found(tmp_path: Path, encoding: str, found: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.encode(encoding))
    table = read_table(path)
    assert table.encoding == found
    assert table.rows == ((2, ("京税罚〔2025〕1号", "未按期申报")),)


def test_gb18030_is_found_by_what_gbk_has_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("名称\n北京𬭩科技\n".encode("gb18030"))
    table = read_table(path)
    assert (table.encoding, table.rows[0][1]) == ("GB18030", ("北京𬭩科技",))


@pytest.mark.parametrize("damage", [b"\xff", b"\xd6\xd0", b"\xe4\xb8"])
def test_damaged_utf8_is_never_read_as_gbk(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.encode() + "京税罚〔2025〕2号,".encode() + damage + b"\n")
    with pytest.raises(UsageError, match=r"第 3 行.*UTF-8"):
        read_table(path)


def test_bytes_of_no_encoding_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.encode("gbk") + b"\xff\xff,x\n")
    with pytest.raises(UsageError, match=r"第 3 行: .*字节 ffff"):
        read_table(path)


@pytest.mark.parametrize(("delimiter", "form"), [(",", "CSV"), ("\t", "TSV"), (";", "CSV")])
def test_delimiters(tmp_path: Path, delimiter: str, form: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"a{delimiter}b\n一，二{delimiter}3\n", encoding="utf-8")
    table = read_table(path)
    assert (table.format, table.headers, table.rows) == (form, ("a", "b"), ((2, ("一，二", "3")),))


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\na,b\n"one\ntwo",x\n\n,\nlast,y\n', encoding="utf-8")
    assert [line for line, _ in read_table(path).rows] == [3, 7]


def test_a_row_with_too_many_cells_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2,3\n4,5,\n6\n", encoding="utf-8")
    table = read_table(path)
    assert [(fault.line, fault.code) for fault in table.faults] == [(2, "ROW_TOO_LONG")]
    assert table.rows == ((3, ("4", "5")), (4, ("6", None)))


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = ['{"CF_WSH": "1", "CF_NR_FK": 0.200000}', "{", "", '{"a": [1]}', "7", '{"CF_SY": "x"}', "[" * 100_000]
    path.write_text("\n".join(lines), encoding="utf-8")
    table = read_table(path)
    assert table.headers == ("CF_WSH", "CF_NR_FK", "CF_SY")
    assert [(line, str(cells[1])) for line, cells in table.rows] == [(1, "0.200000"), (6, "None")]
    assert [(fault.line, fault.code) for fault in table.faults] == [
        (2, "NOT_JSON"),
        (4, "NOT_FLAT"),
        (5, "NOT_FLAT"),
        (7, "NOT_JSON"),
    ]


def test_xlsx_rows_are_numbered_as_excel_does(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(str(path)) as workbook:
        sheet, day = workbook.add_worksheet(), workbook.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(2, 0, ["CF_WSH", "CF_JDRQ", "CF_NR_FK"])
        sheet.write_row(4, 0, ["京税罚1号"])
        sheet.write_datetime(4, 1, datetime(2025, 9, 1), day)
        sheet.write_number(4, 2, 0.2)
    table = read_table(path)
    assert (table.format, table.headers) == ("XLSX", ("CF_WSH", "CF_JDRQ", "CF_NR_FK"))
    ((line, cells),) = table.rows
    assert line == 5
    assert cells[0] == "京税罚1号"
    assert cells[1] in (date(2025, 9, 1), datetime(2025, 9, 1))
    assert cells[2] == 0.2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "是空文件"),
        ("a.csv", b" \n", "是空文件"),
        ("a.csv", b'a,b\n"open,1\n', "第 2 行: .*引号"),
        ("a.doc", b"x", ".csv、.tsv、.txt、.xlsx"),
        ("a.xlsx", b"no workbook", "不是 Excel 工作簿.*改为 .csv"),
        ("a.jsonl", b"\xff\xfe\x00", "UTF-16"),
    ],
)
def test_what_is_no_table_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as told:
        read_table(path)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("a.csv", "a.xlsx"):
        with pytest.raises(UsageError, match="没有文件"):
            read_table(tmp_path / name)


def test_json_keeps_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a": 1}) + '\n{"a": 123456789012.123456}\n', encoding="utf-8")
    assert str(read_table(path).rows[1][1][0]) == "123456789012.123456"
