"""Amounts of money in a text, in every usual spelling of a decision: 2,000元, 贰仟圆整, ２千元, 0.2万元, ¥2000.00."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from schemas.texts.visible import UNSEEN

__all__ = ["yuan_in"]

_DIGITS = {
    character: value
    for value, characters in enumerate(
        ("零〇○", "一壹弌", "二两贰貳弍兩", "三叁參叄弎", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖")
    )
    for character in characters
}
_SMALL = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1_000, "仟": 1_000}
_TENS = {"廿": 20, "卅": 30}
_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}

_CHARACTER = "".join((*_DIGITS, *_SMALL, *_TENS, *_LARGE))
_PART = rf"(?:(?:\d{{1,3}}(?:[ ,']\d{{3}})++(?!\d)|\d++)(?:\.\d++)?+|[{_CHARACTER}])"
# Possessive and bounded: whatever the text, each character is examined a few times only.
_NUMBER = rf"(?<![\d.{_CHARACTER}]){_PART}(?:\s?{_PART}){{0,30}}+"
_COIN = rf"[\d{''.join(_DIGITS)}]"
_AMOUNT = re.compile(
    rf"({_NUMBER})\s?[元圆圓块](?:\s?({_COIN})角)?(?:\s?({_COIN})分)?|(?:¥|RMB|CNY|人民币)\s?({_NUMBER})",
    re.ASCII | re.IGNORECASE,
)
_UNSEEN = re.compile(f"[{UNSEEN}]")


def yuan_in(text: str) -> frozenset[Decimal]:
    """Return every amount that a text states, in 元; amounts in 万元 or 亿元 are converted.

    Digits and their groups, numerals in both Chinese forms, full-width characters and ¥ are understood.

    >>> sorted(map(int, yuan_in("处罚款人民币贰万元整（¥20,000.00），没收1.5万元")))
    [15000, 20000]
    """
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    found = set()
    for amount in _AMOUNT.finditer(plain):
        number, tenths, hundredths, marked = amount.groups()
        coins = sum(
            _value(coin) * worth
            for coin, worth in ((tenths, Decimal("0.1")), (hundredths, Decimal("0.01")))
            if coin is not None
        )
        found.add(_value(number or marked) + coins)
    return frozenset(found)


def _value(number: str) -> Decimal:
    """Return the value of a number: digits, numerals, or both, as in 2万5千."""
    total = section = Decimal(0)
    current: Decimal | None = None
    for part in re.findall(_PART, number, re.ASCII):
        if part in _DIGITS:
            current = (current or 0) * 10 + Decimal(_DIGITS[part])  # 二〇〇〇 is written digit by digit
        elif part in _SMALL:
            section += (1 if current is None else current) * _SMALL[part]
            current = None
        elif part in _TENS:
            section, current = section + _TENS[part], None
        elif part in _LARGE:
            whole = section + (current or 0)
            # 1亿2000万: 亿 multiplies the whole number before it, 万 only its section.
            total = (total + whole) * _LARGE[part] if _LARGE[part] > 10**4 else total + whole * _LARGE[part]
            section, current = Decimal(0), None
        else:
            current = Decimal(re.sub("[ ,']", "", part))
    return total + section + (current or 0)
