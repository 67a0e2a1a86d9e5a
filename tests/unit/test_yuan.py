"""FINE_IN_YUAN: every phrasing of an amount, and what is none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.rules.examples import good
from schemas.rules.yuan import yuan_in
from tests.examples import examples
from tests.unit.test_rule_examples import by_rules

TWO_THOUSAND = (
    "罚款2000元", "罚款2,000元", "罚款2，000元", "罚款２０００元", "罚款２，０００元", "罚款人民币2000元整", "罚款2000.00元", "罚款２０００．００元",
    "罚款二千元", "罚款两千元", "罚款贰仟元", "罚款贰仟元整", "罚款貳仟圓整", "罚款人民币贰仟圆整", "罚款二〇〇〇元", "罚款0.2万元", "罚款０.２万元", "罚款2千元",
    "罚款２千元", "罚款2仟元", "罚款20百元", "罚款￥2000", "罚款¥2,000.00", "罚款￥2000元", "罚款2000圆", "罚款2000块", "罚款 2000 元", "罚款2 000元",
    "罚款2'000元", "处以2000元罚款", "处以2000元的罚款", "处以人民币贰仟元（¥2,000.00）罚款", "罚款人民币(大写)贰仟元整", "罚款RMB2000", "罚款CNY 2000",
    "罚款人民币2000", "罚款2\u200b000元", "1.警告;2.罚款2000元", "警告;并处罚款2000元;没收违法所得300元",
    "罚款二千零〇元", "依据第六十二条,罚款2000元", "2025年9月1日罚款2000元",
)  # fmt: skip
OTHERS = {
    "罚款2000万元": 20_000_000, "罚款2万元": 20_000, "罚款贰万元整": 20_000, "罚款二万五千元": 25_000, "罚款2万5千元": 25_000, "罚款1万2000元": 12_000,
    "罚款十二万元": 120_000, "罚款拾贰万伍仟元整": 125_000, "罚款一百零五元": 105, "罚款壹佰零伍元": 105, "罚款1亿2000万元": 120_000_000, "罚款廿万元": 200_000,
    "罚款12000元": 12_000, "罚款20001元": 20_001, "罚款2000,300元": 300,
}  # fmt: skip
NONE = (
    "",
    "罚款",
    "警告",
    "罚款2000",
    "扣2000分",
    "2000年作出",
    "罚款二千",
    "没收2000件商品",
    "暂扣许可证2000日",
    "元",
    "第2000号",
)


def codes_of_fine(fine: str, text: str) -> set[str]:
    """Return what the rules say of a penalty with this fine, in 万元, and this 处罚内容."""
    return set(by_rules(good("PENALTY") | {"penalty_fine": Decimal(fine), "penalty_content": text})["code"])


@pytest.mark.parametrize("text", TWO_THOUSAND)
def test_every_phrasing_of_two_thousand_yuan(text: str) -> None:
    assert 2000 in yuan_in(text)
    assert "FINE_IN_YUAN" in codes_of_fine("2000", text)
    assert "FINE_IN_YUAN" not in codes_of_fine("0.2", text)
    assert "FINE_IN_YUAN" not in codes_of_fine("2001", text)


@pytest.mark.parametrize("text", OTHERS)
def test_other_amounts(text: str) -> None:
    assert yuan_in(text) == {OTHERS[text]}
    assert "FINE_IN_YUAN" not in codes_of_fine("2000", text)


@pytest.mark.parametrize("text", NONE)
def test_what_states_no_amount(text: str) -> None:
    assert yuan_in(text) == frozenset()


@pytest.mark.parametrize(
    ("fine", "text"), [("2000", "罚款2000万元"), ("2000", "罚款2000万元,另没收2000元"), ("20", "罚款20万元(200000元)")]
)
def test_a_fine_that_the_text_states_in_ten_thousands_is_right(fine: str, text: str) -> None:
    assert "FINE_IN_YUAN" not in codes_of_fine(fine, text)


def chinese(number: int, digits: str, units: str) -> str:
    """Write a number below 100,000,000 in Chinese numerals, without the zeros that join its parts."""
    if number >= 10_000:
        return chinese(number // 10_000, digits, units) + units[3] + chinese(number % 10_000, digits, units)
    text = ""
    for place, worth in ((2, 1_000), (1, 100), (0, 10)):
        if number >= worth:
            text, number = f"{text}{digits[number // worth]}{units[place]}", number % worth
    return text + (digits[number] if number else "")


@given(number=st.integers(1, 99_999_999), plain=st.booleans())
@examples(200)
def test_numbers_in_numerals_and_in_digits_are_one(number: int, plain: bool) -> None:
    forms = ("零一二三四五六七八九", "十百千万") if plain else ("零壹贰叁肆伍陆柒捌玖", "拾佰仟万")
    assert yuan_in(f"罚款{chinese(number, *forms)}元整") == {number}
    assert yuan_in(f"罚款{number:,}元") == yuan_in(f"罚款{number}.00元") == {number}
    assert yuan_in(f"罚款{Decimal(number) / 10_000}万元") == {number}


@given(text=st.text(alphabet="罚款0123456789,.， 元圆万千百十零一二两贰仟¥人民币角分\n", max_size=40))
@examples(200)
def test_any_text_has_amounts_that_are_numbers(text: str) -> None:
    assert all(amount >= 0 and amount.is_finite() for amount in yuan_in(text))
