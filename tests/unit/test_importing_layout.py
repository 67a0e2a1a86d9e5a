"""A person's layout: what a header means, where a table begins, and columns that must not be passed over."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from producers.files.headers.headers import _known, resolve
from producers.files.import_file import FileOptions, Import, import_file
from schemas.catalogue import load
from schemas.errors import UsageError
from tests.examples import examples
from tests.unit.importing import LISTING, NAMES, PENALTY, TAX, bodies, listing, penalty, read, told, write
from xinliu import app

CODES, CHINESE = list(PENALTY), [NAMES.get(header, header) for header in PENALTY]
VALUES = list(PENALTY.values())


def grid(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    """Write rows as they are: the first need be no header."""
    if path.suffix == ".xlsx":
        with xlsxwriter.Workbook(str(path)) as workbook:
            sheet = workbook.add_worksheet()
            for number, row in enumerate(rows):
                for column, cell in enumerate(row):
                    if cell != "":
                        sheet.write(number, column, cell)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def reading(path: Path, *, mapped: Mapping[str, str] | None = None, ignored: Sequence[str] = ()) -> Import:
    return import_file(path, TAX, load(), options=FileOptions(mapped or {}, ignored))


@pytest.fixture
def clean(tmp_path: Path) -> list[bytes]:
    return bodies(read(write(tmp_path / "clean.csv", [penalty()])))


WRITTEN: list[Callable[[str], str]] = [
    lambda name: f"*{name}",
    lambda name: f"{name}*",
    lambda name: f"★{name}",
    lambda name: f"{name}（必填）",
    lambda name: f"{name}(选填)",
    lambda name: f"【必填】{name}",
    lambda name: f"{name}[必填项]",
    lambda name: f"{name}：",
    lambda name: f"*{name}（必填）：",
    lambda name: f"1.{name}",
    lambda name: f"12、{name}",
    lambda name: f"（3）{name}",
    lambda name: f"①{name}",
    lambda name: f"1 {name}",
    lambda name: name.replace("_", "-").replace("(", "（").replace(")", "）"),
    lambda name: name.replace("_", "—"),
    lambda name: name.replace("_", ""),
    lambda name: f"{name[:2]}\n{name[2:]}",
    lambda name: f"\u200b{name}\u00a0",
    lambda name: f"\u202d{name}\u202c",
]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("names", [CODES, CHINESE], ids=["codes", "names"])
def test_a_header_is_known_however_a_form_writes_it(
    names: list[str], written: Callable[[str], str], clean: list[bytes], tmp_path: Path
) -> None:
    found = reading(grid(tmp_path / "a.csv", [[written(name) for name in names], VALUES]))
    assert (told(found), bodies(found)) == ([], clean)


@pytest.mark.parametrize(
    "both",
    [
        lambda code, name: f"{name}({code})",
        lambda code, name: f"{code}（{name}）",
        lambda code, name: f"{name}\n{code}",
        lambda code, name: f"{code} {name}",
        lambda code, name: f"*{name}【{code}】（必填）",
    ],
)
def test_name_and_code_may_stand_together(both: Callable[[str, str], str], clean: list[bytes], tmp_path: Path) -> None:
    headers = [both(code, name) for code, name in zip(CODES, CHINESE, strict=True)]
    found = reading(grid(tmp_path / "a.csv", [headers, VALUES]))
    assert (told(found), bodies(found)) == ([], clean)
    assert {repair.code for repair in found.repairs} == {"HEADER_READ"}
    assert {repair.line for repair in found.repairs} == {1}


def test_a_name_and_a_code_that_contradict_each_other_are_no_column() -> None:
    with pytest.raises(UsageError, match="行政处罚决定书文号"):
        resolve([name if name != "行政处罚决定书文号" else "行政相对人名称(CF_WSH)" for name in CHINESE])


@pytest.mark.parametrize(
    "unit",
    [
        "罚款金额(元)",
        "*罚款金额（元）",
        "罚款金额(元)(CF_NR_FK)",
        "罚款金额（单位：元）（必填）",
        "1.罚款金额_元",
        "罚款金额(元)*",
    ],
)
def test_a_note_never_hides_another_unit(unit: str) -> None:
    with pytest.raises(UsageError, match="不作换算"):
        resolve([name if name != "罚款金额(万元)" else unit for name in CHINESE])


@examples(300)
@given(st.sampled_from(sorted(_known())), st.lists(st.sampled_from(WRITTEN), max_size=3))
def test_no_way_of_writing_makes_another_column_of_a_header(
    known: tuple[str, str], ways: list[Callable[[str], str]]
) -> None:
    from producers.files.headers.headers import _field

    kind, header = known
    written = header
    for way in ways:
        written = way(written)
    of = "PENALTY" if kind == "ANY" else kind
    assert _field(of, written) in (_field(of, header), None)


TITLES = [
    ["国家税务总局北京市税务局行政处罚信息公示表"],
    ["", "填报单位：某局", "", "填报日期：2025年9月30日"],
    ["", "行政相对人", "", "", "处罚决定"],
]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("above", [TITLES[:1], TITLES[:2], TITLES])
@pytest.mark.parametrize("names", [CODES, CHINESE], ids=["codes", "names"])
def test_the_header_is_found_under_titles(
    names: list[str], above: list[list[str]], suffix: str, clean: list[bytes], tmp_path: Path
) -> None:
    found = reading(grid(tmp_path / f"a{suffix}", [*above, names, VALUES]))
    assert (told(found), bodies(found)) == ([], clean)
    assert [(repair.line, repair.code) for repair in found.repairs] == [
        (line, "TITLE_ROW") for line in range(1, len(above) + 1)
    ]
    assert found.outgoing[0].line == len(above) + 2


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize(
    "second",
    [
        (CODES, CHINESE),
        (CHINESE, CODES),
        (CODES, ["必填，文本，200字以内", "选填", *["必填"] * (len(CODES) - 2)]),
        (CODES, CODES),
    ],
    ids=["codes over names", "names over codes", "notes", "twice"],
)
def test_a_second_header_is_no_data(
    second: tuple[list[str], list[str]], suffix: str, clean: list[bytes], tmp_path: Path
) -> None:
    found = reading(grid(tmp_path / f"a{suffix}", [*second, VALUES]))
    assert (told(found), bodies(found)) == ([], clean)
    assert [(repair.line, repair.code) for repair in found.repairs] == [(2, "HEADER_ROW")]


def test_groups_over_names_are_one_header(clean: list[bytes], tmp_path: Path) -> None:
    place = CHINESE.index("违法行为类型")
    upper = [*CHINESE[:place], "处罚情况", *[""] * 4, *CHINESE[place + 5 :]]
    lower = [*[""] * place, *CHINESE[place : place + 5]]
    found = reading(grid(tmp_path / "a.csv", [upper, lower, VALUES]))
    assert (told(found), bodies(found)) == ([], clean)


def test_two_headers_that_contradict_each_other_stop_the_file(tmp_path: Path) -> None:
    turned = [CHINESE[2], CHINESE[1], CHINESE[0], *CHINESE[3:]]
    with pytest.raises(UsageError, match="都是表头"):
        reading(grid(tmp_path / "a.csv", [CODES, turned, VALUES]))


def test_rows_above_the_header_that_are_data_stop_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="第 1 行像是一条记录"):
        reading(grid(tmp_path / "a.csv", [VALUES, CODES, VALUES]))


def test_the_header_again_is_told_and_another_one_stops_the_file(clean: list[bytes], tmp_path: Path) -> None:
    other = [*VALUES[:4], "京税罚〔2025〕2号", *VALUES[5:]]
    found = reading(grid(tmp_path / "a.csv", [CODES, VALUES, [f"\ufeff{CODES[0]}", *CODES[1:]], other]))
    assert (told(found), len(found.outgoing)) == ([], 2)
    assert found.table.remarks == ("1 行又是表头, 未读: 第 3 行",)
    with pytest.raises(UsageError, match="第 3 行是另一个表头"):
        reading(grid(tmp_path / "b.csv", [CODES, VALUES, [CODES[0], *reversed(CODES[1:])], VALUES]))


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_rows_that_are_only_filled_in_beforehand_are_told_and_no_data(suffix: str, tmp_path: Path) -> None:
    headers = ["序号", *CODES]
    blank = dict.fromkeys(CODES, "") | {name: PENALTY[name] for name in ("CF_XDR_LB", "CF_CFJG", "CF_CFJGDM")}
    rows = [headers, ["1", *VALUES], ["2", *blank.values()], ["3", *[""] * len(CODES)]]
    found = reading(grid(tmp_path / f"a{suffix}", rows))
    assert (told(found), len(found.outgoing)) == ([], 1)
    assert found.table.remarks == (
        "1 行只有序号或预先填好的格, 未读: 第 3 行",
        "1 行只有未读的列 (序号) 有内容, 未读: 第 4 行",
    )


@pytest.mark.parametrize(
    "column", ["CF_XDR_MC", "CF_XDR_SHXYM", "CF_WSH", "CF_SY", "CF_NR", "CF_JDRQ", "CF_NR_FK", "CF_CFLB"]
)
def test_a_row_that_says_anything_of_its_own_is_never_passed_over(column: str, tmp_path: Path) -> None:
    other = {"CF_JDRQ": "2025-09-02", "CF_NR_FK": "0.3", "CF_CFLB": "警告"}.get(column, PENALTY[column])
    row = dict.fromkeys(CODES, "") | {column: other}
    found = reading(grid(tmp_path / "a.csv", [CODES, VALUES, list(row.values())]))
    assert found.refused_lines == {3}


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;"])
def test_the_line_that_names_the_separator_is_followed(line: str, clean: list[bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [penalty()], delimiter=";")
    path.write_text(f"{line}\r\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    found = reading(path)
    assert (bodies(found), found.outgoing[0].line) == (clean, 3)


STATES = [
    "当前状态", "CF_ZT", "是否移出", "移出时间", "移出日期", "撤销日期", "是否撤销", "是否修复", "信用修复日期", "是否有效", "有效标志",
    "异议状态", "是否存在异议", "公示状态", "是否公示", "处罚状态", "删除标志", "IS_DELETED", "del_flag", "STATUS_CODE", "isValid", "SFYC",
    "操作类型", "行政复议结果", "当前状态（必填）", "*当前状态", "数据状态：", "作废标志", "state",
]  # fmt: skip


@pytest.mark.parametrize("header", STATES)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".xlsx"])
def test_a_column_that_speaks_of_state_stops_the_file(
    header: str, suffix: str, clean: list[bytes], tmp_path: Path
) -> None:
    path, row = tmp_path / f"a{suffix}", penalty(**{header: "x"})
    if suffix == ".jsonl":
        path.write_text(json.dumps(row), encoding="utf-8")
    else:
        grid(path, [list(row), list(row.values())])
    with pytest.raises(UsageError, match="--ignore") as stopped:
        reading(path)
    assert header in str(stopped.value)
    found = reading(path, ignored=[header])
    assert (bodies(found), found.columns.ignored) == (clean, (header,))


@pytest.mark.parametrize("header", ["标志", "说明", "", "F20", "结果"])
@pytest.mark.parametrize("value", ["撤销", "已撤销", "已修复", "移出", "异议处理中", "作废", "REVOKED", "deleted"])
def test_what_stands_in_a_column_speaks_of_state_too(
    header: str, value: str, clean: list[bytes], tmp_path: Path
) -> None:
    path = grid(tmp_path / "a.csv", [[*CODES, header], [*VALUES, ""], [*VALUES, value]])
    name = header or f"第{len(CODES) + 1}列"
    with pytest.raises(UsageError, match=name):
        reading(path)
    assert bodies(reading(path, ignored=[name])) == clean


def test_a_column_that_says_nothing_of_the_kind_is_not_read_and_named(clean: list[bytes], tmp_path: Path) -> None:
    found = reading(grid(tmp_path / "a.csv", [[*CODES, "经办人", "区县"], [*VALUES, "张某", "朝阳"]]))
    assert (bodies(found), found.columns.unknown) == (clean, ("经办人", "区县"))


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("当前状态", "撤销", "已撤销"), ("当前状态", "1", "已撤销"), ("当前状态", "0", "有效"), ("当前状态", "正常", "有效"), ("当前状态", "", "有效"),
        ("CF_ZT", "1", "已撤销"), ("CF_ZT", "0", "有效"), ("处罚状态", "已修复", "已修复"), ("处罚状态", "修复", "已修复"),
    ],
)  # fmt: skip
def test_a_column_is_read_as_it_is_mapped(header: str, value: str, status: str, tmp_path: Path) -> None:
    expected = bodies(read(write(tmp_path / "a.csv", [penalty(状态=status)])))
    found = reading(write(tmp_path / "b.csv", [penalty(**{header: value})]), mapped={header: "状态"})
    assert (bodies(found), told(found)) == (expected, [])
    assert [(repair.column, repair.made, repair.code) for repair in found.repairs] == [(header, "状态", "HEADER_READ")]


@pytest.mark.parametrize(
    ("header", "value"),
    [("当前状态", "2"), ("当前状态", "异议"), ("当前状态", "3"), ("处罚状态", "1"), ("处罚状态", "0")],
)
def test_a_status_of_no_one_reading_refuses_its_row(header: str, value: str, tmp_path: Path) -> None:
    found = reading(write(tmp_path / "a.csv", [penalty(**{header: value})]), mapped={header: "状态"})
    assert told(found) == [(2, header, "STATUS")]


def test_a_removal_of_a_list_is_mapped(tmp_path: Path) -> None:
    removed = {"移出日期": "2025-10-01", "移出事由": "期满"}
    expected = bodies(read(write(tmp_path / "a.csv", [listing(**removed)])))
    path = write(tmp_path / "b.csv", [listing(移出时间="2025-10-01", 移出原因="期满")])
    with pytest.raises(UsageError, match="--map 移出时间=移出日期"):
        reading(path)
    assert bodies(reading(path, mapped={"移出时间": "移出日期", "移出原因": "移出事由"})) == expected


@pytest.mark.parametrize("title", ["2025年9月撤销行政处罚决定公示表", "信用修复名单", "已移出企业"])
def test_a_title_that_speaks_of_state_stops_the_file(title: str, clean: list[bytes], tmp_path: Path) -> None:
    path = grid(tmp_path / "a.csv", [[title], CODES, VALUES])
    with pytest.raises(UsageError, match="第1行"):
        reading(path)
    assert bodies(reading(path, ignored=["第1行"])) == clean


def test_a_known_column_that_decides_cannot_be_ignored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="不能略去"):
        reading(write(tmp_path / "a.csv", [penalty(状态="已撤销")]), ignored=["状态"])
    with pytest.raises(UsageError, match="没有叫"):
        reading(write(tmp_path / "b.csv", [penalty(当前状态="撤销")]), mapped={"当前状态": "状况"})


def test_the_columns_of_published_lists_are_known(tmp_path: Path) -> None:
    exported = {
        "列入事由": "严重违法失信行为的具体情形", "列入依据": "处罚依据", "列入决定机关": "执法单位", "纳税人名称": "企业名称",
    }  # fmt: skip
    row = {exported.get(header, header): value for header, value in LISTING.items()}
    expected = bodies(read(write(tmp_path / "a.csv", [listing()])))
    assert bodies(read(write(tmp_path / "b.csv", [row]))) == expected


def test_identity_documents_are_known_in_every_layout() -> None:
    columns = resolve([*CODES, "证件类型", "证件号码（必填）", "*身份证号码"])
    assert columns.personal == ("证件类型", "证件号码（必填）", "*身份证号码")


def test_the_command_maps_ignores_and_names_what_is_mistyped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [penalty(当前状态="撤销", 是否公示="是")])
    command = ["publish", str(path), "--department", "tax", "--dry-run"]

    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*command, *options])
        return done.exit_code, done.output + str(done.exception or "")

    code, said = run()
    assert code != 0
    assert "--map 当前状态=状态" in said
    code, said = run("--map", "当前状态=状态", "--ignore", "是否公示", "--json")
    assert code == 0, said
    code, said = run("--map", "当前状态=状态", "--ignore", "是否公示", "--ignore", "是否公开")
    assert code != 0
    assert "是否公开" in said
    code, said = run("--map", "当前状态")
    assert code != 0
    assert "HEADER=KNOWN" in said
