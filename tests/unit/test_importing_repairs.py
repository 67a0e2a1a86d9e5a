"""Repairs: a garbled file says exactly what the clean one says, and tells what was mended; nothing is mended in silence."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from producers.files.import_file import Import
from producers.files.values.values import REPAIRS
from schemas.errors import UsageError
from tests.examples import examples
from tests.unit.importing import LISTING, PENALTY, bodies, listing, penalty, read, told, write
from xinliu import app

Row = dict[str, Any]
_WIDE = {plain: plain + 0xFEE0 for plain in range(0x21, 0x7F)}


def wide(text: str) -> str:
    return text.translate(_WIDE)


def spaced(text: str) -> str:
    return "\u3000" + text[:3] + "\u200b" + text[3:] + "\u00a0"


def bracketed(text: str) -> str:
    return text.replace("〔", "【").replace("〕", "】")


def serial(text: str) -> str:
    return str((date.fromisoformat(text) - date(1899, 12, 30)).days)


def slashed(text: str) -> str:
    return re.sub(r"(\d{4})-0?(\d+)-0?(\d+)", r"\1/\2/\3", text)


def in_chinese(text: str) -> str:
    return re.sub(r"(\d{4})-0?(\d+)-0?(\d+)", r"\1年\2月\3日", text)


def grouped(text: str) -> str:
    return f"{float(text):,.1f}"


def grouped_wide(text: str) -> str:
    return grouped(text).replace(",", "，")


def in_numerals(text: str) -> str:
    year, month, day = text.split("-")
    digits = dict(zip("0123456789", "〇一二三四五六七八九", strict=True))

    def below_100(number: int) -> str:
        tens, units = divmod(number, 10)
        return ("" if not tens else "十" if tens == 1 else f"{digits[str(tens)]}十") + (
            digits[str(units)] if units else ""
        )

    return f"{''.join(digits[one] for one in year)}年{below_100(int(month))}月{below_100(int(day))}日"


def turned(text: str) -> str:
    return f"\u202d{text[:2]}\xad{text[2:]}\u202c"


def guarded(text: str) -> str:
    return f"'{text}"


def as_formula(text: str) -> str:
    return f'="{text}"'


def dusty(text: str) -> str:
    return f"{text}{'0' * 11}4"


CODES, DATES = ("CF_XDR_SHXYM", "CF_CFJGDM", "CF_SJLYDM"), ("CF_JDRQ", "CF_YXQ", "CF_GSJZQ")
GARBLES: list[tuple[tuple[str, ...], Callable[[str], str], set[str]]] = [
    (CODES, str.lower, {"LOWER_CASE"}),
    (CODES, wide, {"FULL_WIDTH"}),
    (CODES, spaced, {"SPACES"}),
    (("CF_WSH",), bracketed, {"BRACKETS"}),
    (("CF_WSH",), lambda text: text.replace("〔", "[").replace("〕", "]"), {"BRACKETS"}),
    (("CF_WSH",), lambda text: text.replace("〔", "（").replace("〕", "）"), {"BRACKETS"}),
    (("CF_WSH",), lambda text: text.replace("〔", "(").replace("〕", ")"), {"BRACKETS"}),
    (("CF_WSH",), wide, {"FULL_WIDTH"}),
    (("CF_WSH",), spaced, {"SPACES"}),
    (DATES, slashed, {"DATE_FORM_READ"}),
    (DATES, in_chinese, {"DATE_FORM_READ"}),
    (DATES, lambda text: text.replace("-", ""), {"DATE_FORM_READ"}),
    (DATES, lambda text: f"{text} 00:00:00", {"DATE_FORM_READ"}),
    (DATES, lambda text: f"{text} 00:00:00.0", {"DATE_FORM_READ"}),
    (DATES, lambda text: f"{text}T00:00:00.000+08:00", {"DATE_FORM_READ"}),
    (DATES, lambda text: f"{text} 14:23:11", {"TIME_DROPPED"}),
    (DATES, lambda text: in_chinese(text).replace("日", "号"), {"DATE_FORM_READ"}),
    (DATES, lambda text: text.replace("-", "、"), {"DATE_FORM_READ"}),
    (DATES, lambda text: text.replace("-", "–"), {"DATE_FORM_READ"}),
    (DATES, in_numerals, {"DATE_FORM_READ"}),
    ((*CODES, *DATES, "CF_WSH", "CF_XDR_MC", "CF_NR_FK", "CF_XDR_LB", "更新时间"), guarded, {"TEXT_GUARD"}),
    ((*CODES, *DATES, "CF_WSH", "CF_XDR_MC", "CF_NR_FK", "CF_XDR_LB", "更新时间"), as_formula, {"TEXT_GUARD"}),
    ((*CODES, *DATES, "CF_WSH", "CF_XDR_MC", "CF_NR_FK", "CF_SY", "CF_CFJG", "更新时间"), turned, {"SPACES"}),
    (("CF_WSH",), lambda text: text.replace("〔", "{").replace("〕", "}"), {"BRACKETS"}),
    (("CF_WSH",), lambda text: text.replace("〔", "《").replace("〕", "》"), {"BRACKETS"}),
    (("CF_WSH",), lambda text: text.replace("〔", "﹝").replace("〕", "﹞"), {"BRACKETS"}),
    (("CF_WSH",), lambda text: text.replace("〔", "「").replace("〕", "』"), {"BRACKETS"}),
    (("CF_NR_FK", "CF_NR_WFFF"), lambda text: f"{text}万元", {"UNIT_WRITTEN"}),
    (("CF_NR_FK", "CF_NR_WFFF"), lambda text: f"{text}万", {"UNIT_WRITTEN"}),
    (("CF_NR_FK",), dusty, {"FLOAT_DUST"}),
    (("更新时间",), lambda text: text.replace(" 10", " 上午 10"), {"DATE_FORM_READ"}),
    (("更新时间",), lambda text: re.sub("[-: ]", "", text), {"DATE_FORM_READ"}),
    (DATES, serial, {"EXCEL_SERIAL"}),
    (DATES, wide, {"FULL_WIDTH"}),
    (("CF_CFLB",), lambda text: text.replace(";", "、"), {"CATEGORY_SEPARATOR"}),
    (("CF_CFLB",), lambda text: text.replace(";", "；"), {"CATEGORY_SEPARATOR"}),
    (("CF_CFLB",), lambda text: text.replace(";", " , "), {"CATEGORY_SEPARATOR"}),
    (("CF_CFLB",), lambda text: text.replace(";", "　"), {"CATEGORY_SEPARATOR"}),
    (("CF_NR_FK",), grouped, {"THOUSANDS"}),
    (("CF_NR_FK",), grouped_wide, {"THOUSANDS", "FULL_WIDTH"}),
    (("CF_NR_FK", "CF_NR_WFFF"), wide, {"FULL_WIDTH"}),
    (("CF_XDR_MC", "CF_SY", "BZ"), spaced_ends := (lambda text: f"\ufeff {text}\u3000"), {"SPACES"}),
    (("更新时间",), slashed, {"DATE_FORM_READ"}),
    (("更新时间",), wide, {"FULL_WIDTH"}),
]
CLEAN = penalty(CF_CFLB="罚款;没收违法所得", CF_NR_FK="1234.5", CF_NR_WFFF="0.5", BZ="已履行")


def counted(found: Import) -> Counter[tuple[str, str]]:
    return Counter((repair.column, repair.code) for repair in found.repairs)


@pytest.fixture
def clean(tmp_path: Path) -> list[bytes]:
    found = read(write(tmp_path / "clean.csv", [CLEAN]))
    assert (told(found), counted(found)) == ([], Counter())
    return bodies(found)


@pytest.mark.parametrize(("columns", "garble", "codes"), GARBLES)
def test_what_is_garbled_is_mended_and_told(
    columns: tuple[str, ...], garble: Callable[[str], str], codes: set[str], clean: list[bytes], tmp_path: Path
) -> None:
    for column in columns:
        row = CLEAN | {column: garble(CLEAN[column])}
        changed = row[column] != CLEAN[column]
        found = read(write(tmp_path / "garbled.csv", [row]))
        assert bodies(found) == clean
        assert counted(found) == (Counter({(column, code): 1 for code in codes}) if changed else Counter())


@st.composite
def garbled(draw: st.DrawFn) -> tuple[list[Row], list[Row], Counter[tuple[str, str]]]:
    """Draw clean rows, and the same rows garbled, with the repairs to expect by column and code."""
    rows, spoiled, expected = [], [], Counter()  # type: ignore[var-annotated]
    for number in range(draw(st.integers(1, 5))):
        row = CLEAN | {"CF_WSH": f"京税罚〔2025〕{number}号", "CF_NR_FK": f"{draw(st.integers(1000, 999_999))}.5"}
        bad = dict(row)
        for columns, garble, codes in draw(st.lists(st.sampled_from(GARBLES), max_size=8, unique_by=id)):
            column = draw(st.sampled_from(columns))
            if bad[column] == row[column]:  # garbled once: what two make of a cell is for the test above
                bad[column] = garble(row[column])
                if bad[column] != row[column]:
                    expected.update((column, code) for code in codes)
        rows.append(row)
        spoiled.append(bad)
    return rows, spoiled, expected


@examples(150)
@given(garbled(), st.sampled_from([".csv", ".jsonl"]))
def test_any_garbled_file_says_what_the_clean_one_says(
    made: tuple[list[Row], list[Row], Counter[tuple[str, str]]], suffix: str
) -> None:
    rows, spoiled, expected = made
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, content in (("clean", rows), ("garbled", spoiled)):
            path = Path(folder, name + suffix)
            if suffix == ".csv":
                write(path, content)
            else:
                path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in content), encoding="utf-8")
            files.append(path)
        clean, found = read(files[0]), read(files[1])
        assert not clean.errors
        assert bodies(found) == bodies(clean)
        assert counted(found) == expected
        again = read(files[1])
        assert (bodies(again), list(again.repairs)) == (bodies(found), list(found.repairs)), "and says it every time"


def test_mending_twice_is_mending_once(tmp_path: Path) -> None:
    row = CLEAN | {column: garble(CLEAN[column]) for columns, garble, _ in GARBLES for column in columns[:1]}
    found = read(write(tmp_path / "a.csv", [row]))
    made = {repair.column: repair.made for repair in found.repairs}
    mended = row | made | {"更新时间": CLEAN["更新时间"]}
    again = read(write(tmp_path / "b.csv", [mended]))
    assert counted(again) == Counter()
    assert bodies(again) == bodies(found)


def test_a_repair_says_line_column_and_both_texts(tmp_path: Path) -> None:
    rows = [penalty(), penalty(CF_WSH="2号", CF_JDRQ="2025/9/1"), penalty(CF_WSH="3号", CF_JDRQ="2025/9/1")]
    found = read(write(tmp_path / "a.csv", rows))
    first, second = found.repairs
    assert (first.line, first.column, first.found, first.made, first.code) == (
        3,
        "CF_JDRQ",
        "2025/9/1",
        "2025-09-01",
        "DATE_FORM_READ",
    )
    assert second.line == 4
    assert found.repairs.counted() == [
        {
            "code": "DATE_FORM_READ",
            "column": "CF_JDRQ",
            "count": 2,
            "first_line": 3,
            "found": "2025/9/1",
            "made": "2025-09-01",
        }
    ]


def test_what_is_refused_is_not_told_as_mended(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [penalty(CF_JDRQ="2025/9/1", CF_SY="")]))
    assert (found.outgoing, list(found.repairs)) == ((), [])


def test_repairs_hold_no_persons_number(tmp_path: Path) -> None:
    found = read(
        write(
            tmp_path / "a.csv",
            [
                penalty(CF_FRDB=" 张某 362322198709086409 ", BZ="\u200b")
                | {"原主体": "１１０１０１１９９００３０７４５１４"}
            ],
        )
    )
    found.repairs.write(tmp_path / "r.csv")
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    assert not re.search("19870908|19900307|１９９００３０７", text)


def test_the_same_decision_in_other_brackets_is_one_record(tmp_path: Path) -> None:
    variants = [
        "京税罚〔2025〕1号",
        "京税罚【2025】1号",
        "京税罚[2025]1号",
        "京税罚(2025)1号",
        "京税罚（2025）1号",
        "京税罚［2025］１号",
        *(
            f"京税罚{pair[0]}2025{pair[1]}1号"
            for pair in ("{}", "「」", "『』", "《》", "〖〗", "﹝﹞", "⟨⟩", "«»", "{〕")
        ),
    ]
    found = read(write(tmp_path / "a.csv", [penalty(CF_WSH=number) for number in variants]))
    assert (len(found.outgoing), found.duplicates, told(found)) == (1, len(variants) - 1, [])


def test_excel_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(str(path)) as workbook:
        _sheet(
            workbook,
            {
                "CF_JDRQ": 45901,
                "CF_YXQ": 46266.0,
                "CF_NR_FK": 0.2,
                "更新时间": 45902.416666666664,
                "CF_XDR_GSZC": 110000,
            },
        )
    found = read(path)
    assert bodies(found) == bodies(read(write(tmp_path / "b.csv", [penalty(CF_XDR_GSZC="110000")])))
    expected = {
        ("CF_JDRQ", "EXCEL_SERIAL"),
        ("CF_YXQ", "EXCEL_SERIAL"),
        ("更新时间", "EXCEL_SERIAL"),
        ("CF_XDR_GSZC", "NUMBER_AS_TEXT"),
    }
    assert counted(found).keys() == expected


def test_a_workbook_of_1904(tmp_path: Path) -> None:
    for name, cells, codes in (("a", {}, []), ("b", {"CF_JDRQ": 44439}, ["EXCEL_EPOCH"])):
        path = tmp_path / f"{name}.xlsx"
        with xlsxwriter.Workbook(str(path), {"date_1904": True}) as workbook:
            _sheet(workbook, {"CF_JDRQ": date(2025, 9, 1), **cells})
        found = read(path)
        assert [error.code for error in found.errors] == codes
        assert bodies(found) == ([] if codes else bodies(read(write(tmp_path / "c.csv", [penalty()]))))


def _sheet(workbook: xlsxwriter.Workbook, cells: Row) -> None:
    sheet, day = workbook.add_worksheet(), workbook.add_format({"num_format": "yyyy-mm-dd"})
    row = {**PENALTY, **cells}
    sheet.write_row(0, 0, list(row))
    for place, value in enumerate(row.values()):
        if isinstance(value, date):
            sheet.write_datetime(1, place, value, day)
        elif isinstance(value, str):
            sheet.write_string(1, place, value)
        else:
            sheet.write_number(1, place, value)


@pytest.mark.parametrize(
    ("changes", "column", "code", "reason"),
    [
        ({"CF_NR_FK": "2000元"}, "CF_NR_FK", "MONEY_FORM", "万元"),
        ({"CF_NR_FK": "0.2000001"}, "CF_NR_FK", "MONEY_SCALE", "6位小数"),
        ({"CF_JDRQ": "01/02/2025"}, "CF_JDRQ", "DATE_AMBIGUOUS", "2025-01-02 或 2025-02-01"),
        ({"CF_CFLB": "罚款、批评教育、责令改正"}, "CF_CFLB", "CATEGORY", "批评教育、责令改正"),
        ({"CF_CFLB": "没 收违法所得"}, "CF_CFLB", "CATEGORY", "没、收违法所得"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused_with_the_reason(
    changes: dict[str, str], column: str, code: str, reason: str, tmp_path: Path
) -> None:
    found = read(write(tmp_path / "a.csv", [penalty(**changes)]))
    assert told(found) == [(2, column, code)]
    assert reason in found.errors[0].reason


@pytest.mark.parametrize("unit", ["(元)", "（元）", "(人民币元)", "_元", "(单位：元)", "(亿元)", "（百万元）"])
@pytest.mark.parametrize("name", ["罚款金额", "CF_NR_FK"])
def test_a_column_in_another_unit_is_refused(name: str, unit: str, tmp_path: Path) -> None:
    row = {header if header != "CF_NR_FK" else name + unit: value for header, value in PENALTY.items()}
    with pytest.raises(UsageError, match=r"万元.*不作换算"):
        read(write(tmp_path / "a.csv", [row]))


def test_headers_may_be_garbled_too(tmp_path: Path, clean: list[bytes]) -> None:
    row = {wide(header) + "\u3000" if header.startswith("CF_") else header: value for header, value in CLEAN.items()}
    assert bodies(read(write(tmp_path / "a.csv", [row]))) == clean
    named = {header if header != "CF_NR_FK" else "CF_NR_FK（万元）": value for header, value in CLEAN.items()}
    assert bodies(read(write(tmp_path / "b.csv", [named]))) == clean


def test_the_command_counts_and_lists_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [penalty(CF_WSH=f"京税罚[2025]{number}号") for number in range(3)])
    options = ["publish", str(path), "--department", "tax", "--dry-run", "--repairs", str(tmp_path / "r.csv")]
    done = CliRunner().invoke(app, [*options, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [(row["code"], row["column"], row["count"]) for row in said["repairs"]] == [("BRACKETS", "CF_WSH", 3)]
    rows = list(csv.reader((tmp_path / "r.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert rows[1] == ["2", "CF_WSH", "京税罚[2025]0号", "京税罚〔2025〕0号", "BRACKETS", REPAIRS["BRACKETS"]]
    assert len(rows) == 4
    shown = CliRunner().invoke(app, options)
    assert "mended: 3 times" in shown.stdout


def test_list_entries_are_mended_too(tmp_path: Path) -> None:
    clean = read(write(tmp_path / "a.csv", [listing(列入日期="2025-09-01")]))
    row = listing(统一社会信用代码=wide("91110000101623741k"), 条目编号="SX-2025-１ ")
    found = read(write(tmp_path / "b.csv", [row]))
    assert bodies(found) == bodies(clean)
    assert {code for _, code in counted(found)} == {"FULL_WIDTH", "LOWER_CASE", "SPACES", "DATE_FORM_READ"}
    assert LISTING["列入日期"] == "2025年9月1日"


def test_a_time_that_a_command_line_gives() -> None:
    from producers.files.values.values import as_time

    assert as_time("2025/9/1 8:30") == datetime(2025, 9, 1, 0, 30, tzinfo=UTC)
