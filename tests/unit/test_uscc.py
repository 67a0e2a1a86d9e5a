"""统一社会信用代码: known codes, and columns that say what single codes say."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc as stdnum_uscc

from schemas.identifiers.resident import RESIDENT_CHECKS, is_resident_id, mask
from schemas.identifiers.uscc import DIVISIONS, FINDINGS, generate
from schemas.identifiers.uscc_check import check
from schemas.identifiers.uscc_columns import check_column
from tests.examples import examples

_FILE = Path(__file__).parents[1] / "data" / "uscc_vectors.csv"
VECTORS = list(csv.DictReader(_FILE.read_text(encoding="utf-8").splitlines()))
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@pytest.mark.parametrize("row", VECTORS, ids=[row["code"] for row in VECTORS])
def test_known_codes(row: dict[str, str]) -> None:
    found = check(row["code"])
    if row["code"] == "362322198709086409":
        assert found == ("USCC_RESIDENT_ID",), "its check digit passes, and it is a person's number all the same"
        return
    assert ("USCC_CHECK_DIGIT" in found) == row["outer_check"].startswith("FAIL")
    if row["org_check_pos9_17"] == "ok":
        assert "USCC_ORGANISATION" not in found


_DIVISIONS = st.sampled_from([*sorted(DIVISIONS), "00", "99"])
_CHECKS = st.sampled_from([*RESIDENT_CHECKS, "x", " ", "", "Ｘ"])


@st.composite
def numbers_of_persons(draw: st.DrawFn) -> str:
    """What is a resident identity number, or nearly: any check character, any years, small letters, marks in between."""
    division = f"{draw(_DIVISIONS)}{draw(st.integers(0, 9999)):04}"
    born = f"{draw(st.integers(1890, 2110))}{draw(st.integers(0, 13)):02}{draw(st.integers(0, 33)):02}"
    return f"{division}{born}{draw(st.integers(0, 999)):03}{draw(_CHECKS)}"


@st.composite
def codes_with_a_slip(draw: st.DrawFn) -> str:
    """A good code, in which at most one place is another character."""
    prefix = draw(st.sampled_from(["91", "92", "11", "51", "A1", "N2", "Y1"]))
    code = generate(draw(st.integers(0, 99_999_999)), prefix=prefix)
    place = draw(st.integers(0, 17))
    return code[:place] + draw(st.sampled_from([code[place], *ALPHABET, "I", "x", "９"])) + code[place + 1 :]


TEXTS = st.text(alphabet=ALPHABET + "IOSVZx北 ", min_size=15, max_size=20) | st.text(max_size=20)


@given(st.lists(TEXTS | numbers_of_persons() | codes_with_a_slip(), min_size=1, max_size=20), st.data())
@examples(500)
def test_columns_say_what_single_codes_say(codes: list[str], data: st.DataObject) -> None:
    exceptions = data.draw(st.lists(st.sampled_from(codes), max_size=3))
    found = {name: series.to_list() for name, series in check_column(pl.Series(codes), exceptions=exceptions).items()}
    for place, code in enumerate(codes):
        assert tuple(name for name in FINDINGS if found[name][place]) == check(code, exceptions=exceptions)


@given(
    st.integers(0, 99_999_999),
    st.sampled_from(["91", "92", "93", "11", "12", "51", "52", "53", "54", "55", "A1", "N2", "Y1"]),
)
def test_generated_codes_are_good(number: int, prefix: str) -> None:
    code = generate(number, prefix=prefix)
    assert check(code) in ((), ("USCC_RESIDENT_ID",))
    if code[0].isdigit() and not check(code):
        assert stdnum_uscc.is_valid(code)


@pytest.mark.parametrize("prefix", ["51", "52", "53", "54", "55", "92", "93"])
def test_all_kinds_of_subjects_of_2024_pass(prefix: str) -> None:
    assert check(generate(7, prefix=prefix)) == ()


def test_each_finding() -> None:
    good = generate(1)
    assert check(good[:-1]) == ("USCC_LENGTH",)
    assert check("I" + good[1:]) == ("USCC_ALPHABET",)
    assert "USCC_PREFIX" in check("94" + good[2:])
    assert "USCC_DIVISION" in check(good[:2] + "99" + good[4:])
    assert "USCC_ORGANISATION" in check(good[:16] + ("0" if good[16] != "0" else "1") + good[17])
    assert check(good[:17] + ("0" if good[17] != "0" else "1")) == ("USCC_CHECK_DIGIT",)


def test_persons_are_recognised_and_covered() -> None:
    assert is_resident_id("362322198709086409")
    assert is_resident_id("11010119900307475x".upper()) or not is_resident_id("11010119901307475X")
    assert not is_resident_id(generate(1))
    assert "19870908" not in mask("362322198709086409")
