"""Variants of the kinds of files in tests/data/cases, made here: each is read as a person reads it, or refused with the way out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from producers.files.import_file import FileOptions, Import, import_file
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from tests.unit.importing import NAMES, TAX, penalty

CODES = [generate(number) for number in range(201, 206)]
NAMED = [
    "北京甲某商贸有限公司",
    "北京乙某科技有限公司",
    "北京丙某建材有限公司",
    "北京丁某食品有限公司",
    "北京戊某物流有限公司",
]


def good(number: int, **changes: str) -> dict[str, str]:
    """Return a good row of one of five companies."""
    row = penalty(CF_XDR_MC=NAMED[number], CF_XDR_SHXYM=CODES[number], CF_WSH=f"京税罚〔2025〕{number + 1}号")
    return {**row, **changes}


def grid(*rows: Mapping[str, str]) -> list[list[str]]:
    headers = list(dict.fromkeys(header for row in rows for header in row))
    return [headers, *([row.get(header, "") for header in headers] for row in rows)]


def text(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue()


def publish(path: Path, content: str | bytes, **options: Any) -> Import:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return import_file(path, TAX, load(), options=FileOptions(**options))


def codes(found: Import) -> list[str]:
    return sorted({error.code for error in found.errors})


def stated(found: Import, place: int = 0) -> Any:
    return decode(parsed("xinliu.Statement"), found.outgoing[place].body)


DECIDING = {
    "是否撤案": "是", "处理结果": "已撤案", "有效": "否", "标记": "X", "备注一": "删", "是否生效": "否", "是否展示": "0", "公示": "否",
    "撤": "是", "解除日期": "2025-10-01", "出列日期": "2025-10-01", "取消": "是", "下架": "是", "屏蔽标志": "1", "纠正": "是", "处置": "已出清",
    "备注二": "本案经复议决定撤销原处罚决定，特此说明", "SFGS": "0", "XXZT": "1", "ZTDM": "1", "YXBZ": "N", "SCBZ": "1", "is_latest": "0",
    "expired": "Y", "current": "N", "OP": "D", "rowKind": "-D", "操作": "D", "变动类型": "减少", "增减": "减", "是否历史": "是", "最新": "否",
    "暂停公示": "是", "终结日期": "2025-10-01", "中止执行": "是", "F20": "√", "是否核销": "是",
}  # fmt: skip


@pytest.mark.parametrize(("header", "value"), DECIDING.items())
def test_a_column_that_says_yes_or_no_or_what_became_of_a_row_stops_the_file(
    header: str, value: str, tmp_path: Path
) -> None:
    content = text(grid(good(0, **{header: value}), good(1)))
    with pytest.raises(UsageError, match="--ignore") as stopped:
        publish(tmp_path / "a.csv", content)
    assert header in str(stopped.value)
    assert len(publish(tmp_path / "a.csv", content, ignored=[header]).outgoing) == 2


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("序号", "1 2"),
        ("序号", "1"),
        ("件数", "1 1"),
        ("区县", "朝阳 海淀"),
        ("经办人", "张某 李某"),
        ("案情", "执照被吊销 无"),
    ],
)
def test_a_column_that_decides_nothing_is_not_read(header: str, values: str, tmp_path: Path) -> None:
    rows = [good(number, **{header: value}) for number, value in enumerate(values.split())]
    found = publish(tmp_path / "a.csv", text(grid(*rows)))
    assert (len(found.outgoing), found.columns.unknown) == (len(rows), (header,))


REMARKS = {
    "已撤销": 0,
    "该处罚已被法院撤销": 0,
    "经复议，撤销原处罚决定": 0,
    "已移出": 0,
    "信用已修复": 0,
    "更正": 1,
    "更正后的金额": 0,
    "当事人配合调查": 1,
}


@pytest.mark.parametrize(("remark", "sent"), REMARKS.items())
def test_a_remark_that_says_that_its_row_is_no_more_in_force(remark: str, sent: int, tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text(grid(good(0, BZ=remark))))
    assert (len(found.outgoing), codes(found)) == (sent, [] if sent else ["STATE_IN_REMARK"])
    said = publish(tmp_path / "a.csv", text(grid(good(0, BZ=remark, 变更原因="更正"))))
    assert len(said.outgoing) == 1, "a row that says itself what became of it may remark anything"


def _book(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]]) -> xlsxwriter.Workbook:
    book = xlsxwriter.Workbook(str(path))
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                if cell != "":
                    sheet.write(number, column, cell)
    return book


def _read(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]], **options: Any) -> Import:
    _book(path, sheets).close()
    return import_file(path, TAX, load(), options=FileOptions(**options))


THREE = grid(good(0), good(1), good(2))


@pytest.mark.parametrize(
    ("sheets", "says"),
    [
        ({"有效": THREE, "已撤销": grid(good(3))}, "工作表 '已撤销' 的名称"),
        ({"撤销处罚信息": THREE}, "--ignore 撤销处罚信息"),
        ({"1": [*THREE, [], ["二、已撤销的行政处罚"], *grid(good(3))]}, "第 6 行 '二、已撤销的行政处罚'"),
        ({"1": [*THREE, ["以下为已移出的记录"], grid(good(3))[1]]}, "--ignore 第5行"),
        ({"填写示例": grid(good(3)), "数据": THREE}, "示例"),
        ({"1": THREE, "1续": grid(good(3))[1:]}, "第一行就像一条记录"),
        ({"1": THREE, "1续": [["接上页"], *grid(good(3), good(4))[1:]]}, "第 2 行却像一条记录"),
        ({"1": THREE, "补": [row[:5] for row in grid(good(3))]}, "第 2 行却像一条记录"),
        ({"1": list(map(list, zip(*grid(good(0)), strict=True)))}, "请转置"),
    ],
)  # fmt: skip
def test_what_a_person_sees_beside_the_rows_stops_the_file(
    sheets: Mapping[str, Sequence[Sequence[str]]], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        _read(tmp_path / "a.xlsx", sheets)


def test_a_name_that_speaks_of_state_is_no_matter_where_the_rows_say_it(tmp_path: Path) -> None:
    gone = grid(good(3, 状态="已撤销"), good(4, 状态="已撤销"))
    for sheets in ({"有效": THREE, "已撤销": gone}, {"1": [*gone[:1], ["以下已撤销"], *gone[1:]]}):
        found = _read(tmp_path / "a.xlsx", sheets)
        assert {stated(found, -1)["status"], stated(found, -2)["status"]} == {"REVOKED"}
    assert len(_read(tmp_path / "a.xlsx", {"撤销案件": THREE}, ignored=["撤销案件"]).outgoing) == 3
    with pytest.raises(UsageError, match=r"文件名 '撤销\.csv'"):
        publish(tmp_path / "撤销.csv", text(THREE))
    assert len(publish(tmp_path / "撤销.csv", text(gone)).outgoing) == 2


def test_notes_beside_cells_are_told_and_may_decide(tmp_path: Path) -> None:
    for note, says in (("请核对金额", ""), ("王某:\n此条已撤销", "第 2 行的批注 '此条已撤销'")):
        book = _book(tmp_path / "a.xlsx", {"1": THREE})
        book.worksheets()[0].write_comment("B2", note)
        book.close()
        if says:
            with pytest.raises(UsageError, match=says):
                import_file(tmp_path / "a.xlsx", TAX, load())
        found = import_file(tmp_path / "a.xlsx", TAX, load(), options=FileOptions(ignored=["第2行"]))
        assert (len(found.outgoing), {repair.code for _, repair in _told(found)}) == (3, {"COMMENT"})


def _told(found: Import) -> list[tuple[int, Any]]:
    return [(line.line, line) for line in found.repairs]


FORMATS = {
    ("CF_NR_FK", 0.2, "0%"): True, ("CF_NR_FK", 2000, '0!.0,"万"'): True, ("CF_NR_FK", 2000, "#,##0,"): True,
    ("CF_NR_FK", 2000, '0"元"'): True, ("CF_NR_FK", 0.25, ";;;"): True, ("CF_NR_FK", 0.2, "0.00"): False,
    ("CF_NR_FK", 0.2, '0.00"万元"'): False, ("CF_NR_FK", 0.2, '#,##0.00_);[Red](#,##0.00)'): False, ("CF_NR_FK", 0.2, "¥#,##0.00"): False,
    ("CF_WSH", 7, '"京税罚〔2025〕"0"号"'): True, ("CF_WSH", 7, "0000"): True, ("CF_WSH", 70001, "0000"): False,
    ("CF_JDRQ", 45901, 'yyyy"年"m"月"d"日"'): False, ("CF_JDRQ", 45901, "m月d日"): False, ("CF_JDRQ", 20250901, '0000"-"00"-"00'): False,
    ("CF_JDRQ", 45901, "[$-804]yyyy/m/d;@"): False,
}  # fmt: skip


@pytest.mark.parametrize("cell", FORMATS, ids=str)
def test_a_number_that_is_shown_as_something_else(cell: tuple[str, float, str], tmp_path: Path) -> None:
    header, value, form = cell
    book = _book(tmp_path / "a.xlsx", {"1": THREE})
    book.worksheets()[0].write(1, THREE[0].index(header), value, book.add_format({"num_format": form}))
    book.close()
    found = import_file(tmp_path / "a.xlsx", TAX, load())
    assert [(error.line, error.column, error.code) for error in found.errors] == (
        [(2, header, "NUMBER_FORMAT")] if FORMATS[cell] else []
    )


def test_what_is_struck_out_is_no_content(tmp_path: Path) -> None:
    book = _book(tmp_path / "a.xlsx", {"1": THREE})
    sheet, struck = book.worksheets()[0], book.add_format({"font_strikeout": True})
    for column, cell in enumerate(THREE[1]):
        sheet.write(1, column, cell, struck)
    sheet.write_rich_string(2, THREE[0].index("CF_SY"), "未按照", struck, "规定的期限", "办理")
    book.close()
    found = import_file(tmp_path / "a.xlsx", TAX, load())
    assert [(error.line, error.column, error.code) for error in found.errors] == [
        (2, "CF_XDR_MC", "STRUCK_OUT"), (3, "CF_SY", "STRUCK_OUT"),
    ]  # fmt: skip


def test_a_header_over_two_columns_and_a_note_over_all(tmp_path: Path) -> None:
    book = _book(tmp_path / "a.xlsx", {"1": [*THREE, ["以上共3条"]]})
    book.worksheets()[0].merge_range(4, 0, 4, len(THREE[0]) - 1, "以上共3条")
    book.close()
    (error,) = import_file(tmp_path / "a.xlsx", TAX, load()).errors
    assert (error.line, error.code, error.value) == (5, "NO_RECORD", "以上共3条")
    wider = [[*row[:10], extra, *row[10:]] for row, extra in zip(THREE, ("", "没收1万元", "", ""), strict=True)]
    book = _book(tmp_path / "b.xlsx", {"1": wider})
    book.worksheets()[0].merge_range(0, 9, 0, 10, THREE[0][9])
    book.close()
    with pytest.raises(UsageError, match="合并了几列"):
        import_file(tmp_path / "b.xlsx", TAX, load())


UNITS = {
    "罚款金额（单位：元）": "不作换算", "罚款（元）": "不作换算", "罚款金额（以元计）": "不作换算", "罚款金额（角）": "不作换算", "罚款金额(w)": "不作换算",
    "罚没金额（元）": "不作换算", "罚款总额(美元)": "不作换算", "罚没金额（万元）": "可能是金额", "罚款合计": "可能是金额",
    "罚款金额（人民币：万元）": "", "罚款金额（万元，保留6位小数）": "", "罚款金额（以万元计）": "", "罚款数额（万元）": "", "罚款额(万元)": "",
    "罚款金额（萬元）": "", "罚款金额—万元": "",
}  # fmt: skip


@pytest.mark.parametrize(("header", "says"), UNITS.items())
def test_no_amount_is_dropped_and_none_is_read_in_another_unit(header: str, says: str, tmp_path: Path) -> None:
    row = {NAMES.get(name, name): cell for name, cell in good(0).items()}
    content = text(grid({header if name == "罚款金额(万元)" else name: cell for name, cell in row.items()}))
    if not says:
        assert str(stated(publish(tmp_path / "a.csv", content))["penalty"]["fine"]) == "0.200000"
        return
    with pytest.raises(UsageError, match=says):
        publish(tmp_path / "a.csv", content)
    if says == "不作换算":  # nor where somebody says that it is the column
        with pytest.raises(UsageError, match=says):
            publish(tmp_path / "a.csv", content, mapped={header: "罚款金额"})


SPELLED = [
    "一、行政相对人名称", "A.行政相对人名称", "行政相对人名称\n（全称）", "列1：行政相对人名称", "字段1行政相对人名称", "行政相对人名称（200字）",
    "行政相对人名称(不超过200字)", "“行政相对人名称”",
]  # fmt: skip


@pytest.mark.parametrize("header", SPELLED)
def test_more_ways_to_write_a_header(header: str, tmp_path: Path) -> None:
    row = {NAMES.get(name, name): cell for name, cell in good(0).items()}
    content = text(grid({header if name == "行政相对人名称" else name: cell for name, cell in row.items()}))
    assert stated(publish(tmp_path / "a.csv", content))["subject"]["name"] == NAMED[0]


def test_a_missing_column_names_the_one_that_may_be_it(tmp_path: Path) -> None:
    rows = grid({"社会信用代码" if name == "CF_XDR_SHXYM" else name: cell for name, cell in good(0).items()})
    with pytest.raises(UsageError, match="--map 社会信用代码="):
        publish(tmp_path / "a.csv", text(rows))


@pytest.mark.parametrize(
    "row",
    [
        [str(number + 1) for number in range(19)],
        ["甲", "乙", *(str(number + 1) for number in range(17))],
        [f"({number + 1})" for number in range(19)],
        ["varchar(200)"] * 18 + ["datetime"],
        ["字符型"] * 10 + ["C(100)"] * 9,
    ],
)
def test_a_row_that_numbers_the_columns_or_names_their_types_is_no_record(row: list[str], tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text([THREE[0], row, *THREE[1:]]))
    assert (len(found.outgoing), codes(found)) == (3, [])
    assert "HEADER_ROW" in {repair.code for repair in found.repairs}


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (["制表人：张三", "", "审核人：李四", "", "2025年9月3日"], "制表人:张三、审核人:李四、2025年9月3日"),
        (
            ["示例：北京某公司", "", "91110000XXXXXXXXXX", "", "京X罚〔2025〕1号", "x", "x", "x", "罚款", "x", "0.1"],
            "示例",
        ),
        (["—以下空白—"], "以下空白"),
        (["合  计", "", "", "", "3件", "", "", "", "", "", "0.6"], "合"),
    ],
)
def test_a_row_that_is_no_record_has_one_reason(row: list[str], shown: str, tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text([*THREE, [*row, *[""] * (19 - len(row))]]))
    (error,) = found.errors
    assert (error.line, error.code) == (5, "NO_RECORD")
    assert shown.replace(":", "：") in error.value.replace(":", "：")


@pytest.mark.parametrize("mark", ["例", "示例", "样例", "示例：", "填写示例"])
def test_an_example_is_never_published(mark: str, tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text(grid({"序号": mark, **good(0)}, {"序号": "1", **good(1)})))
    assert ([statement.line for statement in found.outgoing], codes(found)) == ([3], ["NO_RECORD"])


CELLS: list[tuple[str, str, str]] = [
    *(
        ("CF_WSH", value, "NO_IDENTITY")
        for value in ("同上", "无", "/", "—", "暂无", "NULL", "京税罚〔2025〕1号、京税罚〔2025〕2号")
    ),
    *(
        ("CF_SY", value, "CELL_ERROR")
        for value in ("#名称?", "#值!", "#引用！", "#溢出!", "#WERT!", "#NV", "#正在获取数据", "#除数/0!")
    ),
    *(("CF_XDR_MC", value, "GARBLED_TEXT") for value in ("锟斤拷公司", "烫烫烫", "åŒ—äº¬", "北京��")),
    ("CF_XDR_MC", "北京甲某商贸有限公司等3家", "PARTIES_UNPAIRED"),
    ("CF_XDR_MC", "北京甲某商贸有限公司等三家企业", "PARTIES_UNPAIRED"),
]


@pytest.mark.parametrize(("header", "value", "code"), CELLS)
def test_cells_that_no_person_reads_as_they_stand(header: str, value: str, code: str, tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text(grid(good(0, **{header: value}), good(1))))
    assert ([statement.line for statement in found.outgoing], codes(found)) == ([3], [code])


HINTS = [
    ("CF_JDRQ", "9月1号", "缺少年份"), ("CF_JDRQ", "2025年9月", "缺少月或日"), ("CF_JDRQ", "二〇二五年九月", "缺少月或日"),
    ("CF_JDRQ", "民国114年9月1日", "是 2025-09-01 吗"), ("CF_JDRQ", "25年9月1日", "是 2025-09-01 吗"), ("CF_JDRQ", "2025-9-31", "没有这一天"),
    ("CF_YXQ", "2025年9月1日至2026年9月1日", "一段时间"), ("CF_YXQ", "2026年9月1日止", "是 2026年9月1日 吗"), ("CF_YXQ", "一年", "到期的那一天"),
    ("CF_YXQ", "/", "没有日期则留空"), ("CF_YXQ", "终身", "2099-12-31"), ("CF_NR_FK", "无", "没有金额则留空"), ("CF_NR_FK", "¥0.2", "不写单位和货币符号"),
    ("CF_NR_FK", "20%", "百分比"), ("CF_NR_FK", "贰仟元整", "2000元写作 0.2"), ("CF_NR_FK", "0.2-0.3", "一格一个金额"),
    ("CF_XDR_SHXYM", "同上", "占位文字"), ("CF_XDR_SHXYM", f"统一社会信用代码：{CODES[0]}", "请只写代码"), ("CF_XDR_SHXYM", f"{CODES[0]}/{CODES[1]}", "几个代码"),
    ("CF_XDR_SHXYM", CODES[0].replace("M", "Μ"), "不是数字或拉丁字母: 第 9 位"), ("CF_XDR_SHXYM", CODES[0][:17], "有 17 位"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "value", "says"), HINTS)
def test_a_refusal_says_what_a_person_would_see(header: str, value: str, says: str, tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text(grid(good(0, **{header: value}))))
    assert says in next(error.reason for error in found.errors if error.column == header)


def test_brackets_of_every_kind_are_one_number(tmp_path: Path) -> None:
    for year in ("⦗2025⦘", "⸨2025⸩", "((2025))", "⌈2025⌉", "︵2025︶", "⁽2025⁾", "【【2025】】", "“2025”"):
        found = publish(tmp_path / "a.csv", text(grid(good(0, CF_WSH=f"京税罚{year}1号"))))
        assert stated(found)["penalty"]["document_number"] == "京税罚〔2025〕1号", year


def test_a_code_on_two_lines_is_one(tmp_path: Path) -> None:
    found = publish(tmp_path / "a.csv", text(grid(good(0, CF_XDR_SHXYM=f"{CODES[0][:9]}\n{CODES[0][9:]}"))))
    assert stated(found)["subject"]["uscc"] == CODES[0]
