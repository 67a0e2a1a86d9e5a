"""Cells: what is read, and what is refused rather than guessed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from producers.importing.parsing import shown
from producers.importing.reading import Cell
from producers.importing.values import CellRefused, as_code, as_date, as_money, as_text, as_time, as_version

SEPTEMBER_1 = date(2025, 9, 1)


@pytest.mark.parametrize(
    "cell",
    ["2025-09-01", "2025/9/1", "2025.9.1", "20250901", "2025年9月1日", " ２０２５-09-01 ", SEPTEMBER_1, "2025-9-1 00:00:00", 20250901.0],
)  # fmt: skip
def test_dates(cell: Cell) -> None:
    assert as_date(cell) == SEPTEMBER_1


@pytest.mark.parametrize(
    "cell", ["01/09/2025", "9/1/2025", "2025-13-01", "2025-02-30", "25-09-01", "2025-09", "昨天", 45901.0]
)
def test_dates_that_would_have_to_be_guessed(cell: Cell) -> None:
    with pytest.raises(CellRefused):
        as_date(cell)


@pytest.mark.parametrize(
    ("cell", "amount"),
    [("0.2", "0.2"), ("1,234.5", "1234.5"), ("１２", "12"), (0.2, "0.2"), (3.0, "3"), (2, "2"), (Decimal("0.100000"), "0.1")],
)  # fmt: skip
def test_amounts_are_in_ten_thousand_yuan(cell: Cell, amount: str) -> None:
    assert as_money(cell) == Decimal(amount)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("2000元", "MONEY_FORM"),
        ("0.2万元", "MONEY_FORM"),
        ("1,5", "MONEY_FORM"),
        ("12,34.5", "MONEY_FORM"),
        ("1e3", "MONEY_FORM"),
        ("nan", "MONEY_FORM"),
        (float("nan"), "MONEY_FORM"),
        (float("inf"), "MONEY_FORM"),
        (True, "MONEY_FORM"),
        ("0.1234567", "MONEY_SCALE"),
        ("1234567890123", "DECIMAL_OVERFLOW"),
        ("9" * 200, "DECIMAL_OVERFLOW"),
        ("0." + "1" * 40, "MONEY_SCALE"),
    ],
)
def test_amounts_that_are_refused(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        as_money(cell)
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
        datetime(2025, 9, 1, 8, 30),
    ],
)
def test_times_are_chinas_unless_they_say_otherwise(cell: Cell) -> None:
    found = as_time(cell)
    assert found is not None
    assert found.astimezone(UTC) == datetime(2025, 9, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("cell", ["8:30", "2025-09-01 25:00", "2025-09-01 8", "2025-W36-1", "09/01/2025 08:30", "x"])
def test_times_that_are_refused(cell: Cell) -> None:
    with pytest.raises(CellRefused, match="时间"):
        as_time(cell)


def test_codes_are_half_width_capitals() -> None:
    assert as_code(" ９１110000 101623741k ") == "91110000101623741K"


def test_a_number_that_excel_rounded_is_refused() -> None:
    with pytest.raises(CellRefused) as refused:
        as_text(911101066976941872.0)
    assert refused.value.code == "NUMBER_ROUNDED"
    assert as_text(110105000001.0) == "110105000001"


@pytest.mark.parametrize("cell", ["1.5", "-1", "v2", str(1 << 63)])
def test_versions_are_whole_numbers(cell: Cell) -> None:
    with pytest.raises(CellRefused):
        as_version(cell)
    assert as_version("１２") == 12


@pytest.mark.parametrize("empty", [None, "", "  ", "\u3000"])
def test_empty_cells_are_nothing(empty: Cell) -> None:
    assert (as_text(empty), as_code(empty), as_date(empty), as_money(empty), as_time(empty), as_version(empty)) == (
        None,
    ) * 6


def test_what_may_be_a_persons_number_is_covered_wherever_it_stands() -> None:
    assert shown("张某 110101199003074514 男") == "张某 110101***********4 男"
    assert shown("110101900307451") == "110101********1"
    assert shown("91110000101623741K") == "91110000101623741K"
    assert len(shown("长" * 500)) == 60
