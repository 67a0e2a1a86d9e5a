"""Cells: what is read, and what is refused rather than guessed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from producers.files.rows.cells import shown
from producers.files.table import Cell
from producers.files.values.values import (
    REPAIRS,
    CellReading,
    CellRefused,
    as_time,
    read_categories,
    read_code,
    read_date,
    read_document_number,
    read_identifier,
    read_money,
    read_record_id,
    read_text,
    read_time,
    read_version,
    read_word,
)

SEPTEMBER_1 = date(2025, 9, 1)


@pytest.mark.parametrize(
    "cell",
    ["2025-09-01", "2025/9/1", "2025.9.1", "20250901", "2025年9月1日", " ２０２５-09-01 ", SEPTEMBER_1, "2025-9-1 00:00:00", 20250901.0,
     45901.0, "45901", 45901, "２０２５年９月１日", "2025 年 9 月 1 日", "2025-09-01\u200b", datetime(2025, 9, 1, 8), 45901.3,
     "2025-09-01 00:00:00.0", "2025-09-01T00:00:00.000+08:00", "2025-09-01 14:23:11", "20250901142311", "2025年9月1号", "2025、9、1",
     "2025–9–1", "2025—09—01", "二〇二五年九月一日", "二零二五年九月一日", "二○二五年〇九月〇一日", "2025年九月一日", "2025/9/1 下午 3:20",
     "2025年9月1日15时20分", "'2025-09-01", '="2025-09-01"', "\u202d2025-09-01\u202c"],
)  # fmt: skip
def test_dates(cell: Cell) -> None:
    assert read_date(cell).value == SEPTEMBER_1


@pytest.mark.parametrize(
    "cell",
    [
        "01/09/2025",
        "9/1/2025",
        "2025-13-01",
        "2025-02-30",
        "25-09-01",
        "2025-09",
        "昨天",
        459010.0,
        32873,
        73416,
        "45901.5",
        "٢٠٢٥-٠٩-٠١",
        "2025-1 2-01",
        "2025 0901",
        True,
        float("nan"),
        "²⁰²⁵-09-01",
        "2025-08-31T16:00:00Z",
        "2025-09-01 00:00:00+00:00",
        "2025-09-01 25:00:00",
        "9月1号",
        "2025年十三月1日",
        "2025年一二月1日",
        "2025年9月三十二日",
        "长期",
        "9999-12-31",
        "1756656000000",
        "2025.9.1-2026.8.31",
    ],
)
def test_dates_that_would_have_to_be_guessed(cell: Cell) -> None:
    with pytest.raises(CellRefused):
        read_date(cell)


@pytest.mark.parametrize(
    ("cell", "amount"),
    [("0.2", "0.2"), ("1,234.5", "1234.5"), ("１２", "12"), (0.2, "0.2"), (3.0, "3"), (2, "2"), (Decimal("0.100000"), "0.1"),
     ("１，２３４．５", "1234.5"), ("1，234", "1234"), (" 0.2\u00a0", "0.2"), ("\u200b12", "12"), ("0.5万元", "0.5"), ("0.5 万", "0.5"),
     ("1,234.5万元", "1234.5"), ("0.30000000000000004", "0.3"), (0.1 + 0.2, "0.3"), (3.3000000000000003, "3.3"), (Decimal("1E+2"), "100"),
     ("'0.5", "0.5"), ('="0.5"', "0.5")],
)  # fmt: skip
def test_amounts_are_in_ten_thousand_yuan(cell: Cell, amount: str) -> None:
    assert read_money(cell).value == Decimal(amount)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("2000元", "MONEY_FORM"),
        ("五千元", "MONEY_FORM"),
        ("0.2亿元", "MONEY_FORM"),
        ("0.2万美元", "MONEY_FORM"),
        ("2千万元", "MONEY_FORM"),
        (1e-07, "MONEY_SCALE"),
        ("1,5", "MONEY_FORM"),
        ("12,34.5", "MONEY_FORM"),
        ("1e3", "MONEY_FORM"),
        ("nan", "MONEY_FORM"),
        (float("nan"), "MONEY_FORM"),
        (float("inf"), "MONEY_FORM"),
        (True, "MONEY_FORM"),
        ("10²", "MONEY_FORM"),
        ("①", "MONEY_FORM"),
        ("٣٣", "MONEY_FORM"),
        ("10 5", "MONEY_FORM"),
        ("1，5", "MONEY_FORM"),
        ("1;234", "MONEY_FORM"),
        ("¥12", "MONEY_FORM"),
        ("0.1234567", "MONEY_SCALE"),
        ("1234567890123", "DECIMAL_OVERFLOW"),
        ("9" * 200, "DECIMAL_OVERFLOW"),
        ("0." + "1" * 40, "MONEY_SCALE"),
    ],
)
def test_amounts_that_are_refused(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        read_money(cell)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "cell",
    [
        "2025-09-01 08:30",
        "2025/9/1 8:30",
        "2025-09-01T08:30:00",
        "2025年9月1日 8:30:00",
        "2025-09-01T00:30:00Z",
        "2025-09-01 00:30:00+00:00",
        "20250901 08:30",
        "20250901083000",
        "2025/9/1 上午 8:30:00",
        "2025/9/1 8:30 AM",
        "2025年9月1日 8时30分",
        "2025年9月1日8时30分00秒",
        "2025-09-01 08:30:00.0",
        "二〇二五年九月一日 8:30",
        datetime(2025, 9, 1, 8, 30),
    ],
)
def test_times_are_chinas_unless_they_say_otherwise(cell: Cell) -> None:
    found = as_time(cell)
    assert found is not None
    assert found.astimezone(UTC) == datetime(2025, 9, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "8:30",
        "2025-09-01 25:00",
        "2025-09-01 8",
        "2025-W36-1",
        "09/01/2025 08:30",
        "x",
        "2025-09-01 13:30 AM",
        "2025-09-01 24:30",
        "1756715400000",
    ],
)
def test_times_that_are_refused(cell: Cell) -> None:
    with pytest.raises(CellRefused, match=r"时间|可读作"):
        as_time(cell)


def test_codes_are_half_width_capitals() -> None:
    assert read_code(" ９１110000 101623741k ") == ("91110000101623741K", ("FULL_WIDTH", "SPACES", "LOWER_CASE"))
    assert read_code("①1110000101623741K").value == "①1110000101623741K", "it is no 1"


def test_a_number_that_excel_rounded_is_refused() -> None:
    with pytest.raises(CellRefused) as refused:
        read_text(911101066976941872.0)
    assert refused.value.code == "NUMBER_ROUNDED"
    assert read_text(110105000001.0) == ("110105000001", ("NUMBER_AS_TEXT",))


@pytest.mark.parametrize("cell", ["1.5", "-1", "v2", str(1 << 63)])
def test_versions_are_whole_numbers(cell: Cell) -> None:
    with pytest.raises(CellRefused):
        read_version(cell)
    assert read_version("１２").value == 12


@pytest.mark.parametrize("empty", [None, "", "  ", "\u3000", "\u200b", "\ufeff \u00a0"])
def test_empty_cells_are_nothing(empty: Cell) -> None:
    readers = (read_text, read_word, read_code, read_document_number, read_identifier, read_record_id, read_categories)
    assert {reader(empty) for reader in (*readers, read_date, read_money, read_time, read_version)} == {
        CellReading(None)
    }


@pytest.mark.parametrize(
    ("read", "cell", "hint"),
    [
        (read_date, "1756656000000", "毫秒时间戳 2025-09-01"),
        (read_time, "1756715400", "秒时间戳 2025-09-01 16:30:00"),
        (read_date, "2025-08-31T16:00:00.000Z", "在中国是 2025-09-01"),
        (read_date, "长期", "2099-12-31"),
        (read_date, "9999-12-31", "2099-12-31"),
    ],
)
def test_a_refusal_names_what_was_probably_meant(read: Callable[[Cell], object], cell: Cell, hint: str) -> None:
    with pytest.raises(CellRefused, match=hint):
        read(cell)


@pytest.mark.parametrize(
    "read", [read_text, read_word, read_code, read_document_number, read_identifier, read_record_id]
)
@pytest.mark.parametrize(
    "cell",
    ["1.10101E+17", "1.10101e+17", "1.10101E17", "1E+17", " 9.11E+17 ", "'1.10101E+17", "110101199003070000.0",
     Decimal("1.10101E+17"), Decimal("110101199003070000.0"), 1.10101e17],
)  # fmt: skip
def test_a_number_that_a_program_rounded_is_refused_in_every_column(read: Callable[[Cell], object], cell: Cell) -> None:
    with pytest.raises(CellRefused) as refused:
        read(cell)
    assert refused.value.code == "NUMBER_ROUNDED"


def test_a_text_that_looks_like_a_number_is_left_alone() -> None:
    for text in ("1E12", "京罚1.5E号", "2026.1", "20260160.0"):
        assert read_document_number(text) == (text, ())


@pytest.mark.parametrize(
    "old, new", [("\ue78d", "\ufe10"), ("\ue796", "\ufe19"), ("\ue81e", "龴"), ("\ue864", "\u9fbb")]
)
def test_code_points_that_gb18030_moved_in_2022_are_read_as_today(old: str, new: str) -> None:
    assert read_text(f"北京{old}行") == (f"北京{new}行", ("GB18030_2022",))
    assert read_text("北京\ue863行").value == "北京\ue863行", (
        "a character of somebody's own stays, and a rule remarks it"
    )


def test_what_may_be_a_persons_number_is_covered_wherever_it_stands() -> None:
    assert shown("张某 110101199003074514 男") == "张某 110101***********4 男"
    assert shown("110101900307451") == "110101********1"
    assert shown("91110000101623741K") == "91110000101623741K"
    assert len(shown("长" * 500)) == 60
    assert shown("１１０１０１１９９００３０７４５１４") == "１１０１０１***********４"
    assert shown("110101 1990 0307 4514") == "110101***********4"
    assert "19900307" not in shown(110101199003074514.0)
    assert shown("乙\u200b店\u00a0") == "乙⟨U+200B⟩店⟨U+00A0⟩"


@pytest.mark.parametrize(
    ("cell", "readings"),
    [
        ("01/02/2025", ("2025-01-02", "2025-02-01")),
        ("3.4.2025", ("2025-03-04", "2025-04-03")),
        ("01-02-03", ("2001-02-03", "2003-01-02", "2003-02-01")),
    ],
)
def test_a_date_of_two_readings_names_them(cell: str, readings: tuple[str, ...]) -> None:
    with pytest.raises(CellRefused) as refused:
        read_date(cell)
    assert refused.value.code == "DATE_AMBIGUOUS"
    assert all(reading in str(refused.value) for reading in readings)


def test_a_workbook_that_counts_from_1904_is_asked_for_dates() -> None:
    with pytest.raises(CellRefused) as refused:
        read_date(45901.0, from_1904=True)
    assert refused.value.code == "EXCEL_EPOCH"
    assert "2025-09-01" in str(refused.value)
    assert "2029-09-02" in str(refused.value)


@pytest.mark.parametrize(
    ("reading", "value", "repairs"),
    [
        (read_date("2025-09-01"), SEPTEMBER_1, ()),
        (read_date(SEPTEMBER_1), SEPTEMBER_1, ()),
        (read_date("2025/9/1"), SEPTEMBER_1, ("DATE_FORM_READ",)),
        (read_date("20250901"), SEPTEMBER_1, ("DATE_FORM_READ",)),
        (read_date("2025-09-01 00:00:00"), SEPTEMBER_1, ("DATE_FORM_READ",)),
        (read_date("2025年\u30009月1日"), SEPTEMBER_1, ("SPACES", "DATE_FORM_READ")),
        (read_date("45901"), SEPTEMBER_1, ("EXCEL_SERIAL",)),
        (read_date(datetime(2025, 9, 1, 8)), SEPTEMBER_1, ("TIME_DROPPED",)),
        (read_time(45901.35416666667).value, datetime.fromisoformat("2025-09-01T08:30:00+08:00"), None),
        (read_money("1，234.50"), Decimal("1234.5"), ("FULL_WIDTH", "THOUSANDS")),
        (read_money(0.2), Decimal("0.2"), ()),
        (read_categories("罚款、没收违法所得"), "罚款;没收违法所得", ("CATEGORY_SEPARATOR",)),
        (read_categories("警告，罚款 没收违法所得；"), "警告;罚款;没收违法所得", ("CATEGORY_SEPARATOR",)),
        (read_categories(" 警告;罚款"), "警告;罚款", ("SPACES",)),
        (read_categories("警告;罚款"), "警告;罚款", ()),
        (read_document_number("京税罚【2025】 １号"), "京税罚〔2025〕1号", ("FULL_WIDTH", "SPACES", "BRACKETS")),
        (read_document_number("京税罚〔2025〕1号(更正)"), "京税罚〔2025〕1号(更正)", ()),
        (read_document_number("（2025）京01罚1号"), "〔2025〕京01罚1号", ("BRACKETS",)),
        (read_identifier("（2025）京01执1号"), "（2025）京01执1号", ()),
        (read_record_id("AB" * 16), "ab" * 16, ("UPPER_CASE",)),
        (read_record_id("ab" * 16), "ab" * 16, ()),
        (read_text("\ufeff北京\u200b甲公司 "), "北京甲公司", ("SPACES",)),
        (read_text("ＡＢＣ公司　北京"), "ＡＢＣ公司　北京", ()),
        (read_word("ＴＡＸ "), "TAX", ("FULL_WIDTH", "SPACES")),
    ],
)
def test_every_repair_is_named(reading: object, value: object, repairs: tuple[str, ...] | None) -> None:
    assert reading == (value if repairs is None else (value, repairs))
    assert set(repairs or ()) <= REPAIRS.keys()


@pytest.mark.parametrize("reader", [read_code, read_identifier, read_document_number])
def test_a_number_that_excel_made_a_date_of_is_refused(reader: Callable[[Cell], object]) -> None:
    with pytest.raises(CellRefused) as refused:
        reader(SEPTEMBER_1)
    assert refused.value.code == "NUMBER_AS_DATE"
