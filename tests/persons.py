"""Resident identity numbers of nobody in every spelling, and what departments write that is none.

`python -m tests.persons [COUNT]` counts how many of COUNT numbers of documents, amounts, codes, accounts, telephones
and days, in sentences as departments write them, are taken for persons'; exit code 1 where it is one in a million or
more.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from schemas.identifiers.persons import check_of, holds_person
from schemas.identifiers.uscc import generate

__all__ = ["CHECKS", "GAPS", "SCRIPTS", "UNSEEN", "number", "others", "short", "written_in"]

SCRIPTS = (
    "0123456789", "０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "০১২৩৪৫৬৭৮৯", "๐๑๒๓๔๕๖๗๘๙", "༠༡༢༣༤༥༦༧༨༩",
    "".join(map(chr, range(0x1D7CE, 0x1D7D8))), "".join(map(chr, range(0x1D7D8, 0x1D7E2))), "".join(map(chr, range(0x1D7F6, 0x1D800))),
    "".join(map(chr, range(0x1FBF0, 0x1FBFA))), "⓪①②③④⑤⑥⑦⑧⑨", "⓿❶❷❸❹❺❻❼❽❾", "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉", "〇一二三四五六七八九", "零壹贰叁肆伍陆柒捌玖",
)  # fmt: skip
"""Digits 0 to 9, as they are written elsewhere."""
UNSEEN = (
    "\u200b", "\u200c", "\u200d", "\u200e", "\u2060", "\ufeff", "\xad", "\u061c", "\u180e", "\u034f", "\u115f", "\u3164",
    "\uffa0", "\ufe0f", "\ufe0f\u20e3", "\u0305", "\U000e0020", "\U000e0101", "\u202d", "\u2066",
)  # fmt: skip
"""What nobody sees between two digits, or only above one."""
GAPS = (
    " ", "  ", "\t", "\n", "\r\n", "\u3000", "\xa0", "\u2009", "\u2028", "-", "–", "—", "‐", "‑", "−", "－", "_", "/", "／", "·", "•", ".", "．",
    "。", "(", ")", "（", "）", "[", "】", "〔", "*", "|", "~", "、", ",", "，", ":", " - ", ") (", "\u200b \u200b", "×",
)  # fmt: skip
"""What is seen between two digits."""
CHECKS = "XxＸｘХх×ⅩⅹΧ𝐗𝚡"
"""What is written for X at its end."""


def number(draw: random.Random, *, place: str = "110101") -> str:
    """Return a number of 18 characters of nobody: born in 2099."""
    born = date(2099, 1, 1) + timedelta(days=draw.randrange(365))
    body = f"{place}{born:%Y%m%d}{draw.randrange(1000):03}"
    return body + check_of(body)


def short(draw: random.Random, *, place: str = "110101") -> str:
    """Return a number of 15 digits, as before 1999."""
    return f"{place}{date(1900, 1, 1) + timedelta(days=draw.randrange(36_524)):%y%m%d}{draw.randrange(1000):03}"


def written_in(script: str, plain: str) -> str:
    """Return a number with the digits of a script."""
    return "".join(script[int(one)] if one.isdigit() else one for one in plain)


_HERE = (
    *(f"1101{county:02}" for county in range(1, 20)), *(f"1201{county:02}" for county in range(1, 20)), *(f"3101{county:02}" for county in range(1, 21)),
    *(f"13{city:02}{county:02}" for city in range(1, 12) for county in (2, 4, 8, 23, 81)), "500112", "500120", "440305", "510104", "330106",
)  # fmt: skip
_PREFIXES = (*["91"] * 70, *["92"] * 22, "93", "93", "12", "12", "12", "11", "51", "52")
_ORGANS = ("京税稽罚", "京朝市监处罚", "京卫生罚", "津应急罚", "冀环罚", "京海消行罚决字", "京公(交)行罚决字", "晋水罚")


def _digits(draw: random.Random, count: int) -> str:
    return f"{draw.randrange(10**count):0{count}}"


def _document(draw: random.Random) -> str:
    year, serial = draw.randrange(2015, 2027), draw.randrange(1, 100_000)
    forms = (
        f"{draw.choice(_ORGANS)}〔{year}〕{serial}号",
        f"{draw.choice(_ORGANS)}[{year}]第{serial:06}号",
        f"（{year}）京0{draw.randrange(101, 120)}行初{serial}号",
        f"{draw.choice(_ORGANS)}〔{year}〕{draw.choice(_HERE)}{_digits(draw, 9)}号",
        f"{draw.choice(_HERE)}-{_digits(draw, 10)}",
        f"编号:{draw.choice(_HERE)}{year}{_digits(draw, 5)}",
        f"编号 {draw.choice(_HERE)}{year}{_digits(draw, 8)}",
        f"{year}-{_digits(draw, 4)}-{_digits(draw, 6)}",
    )
    return draw.choice(forms)


def _amount(draw: random.Random) -> str:
    cents = draw.randrange(10 ** draw.randrange(3, 13))
    forms = (
        f"罚款{cents / 100:.2f}元", f"{cents / 100:,.2f}", f"罚款 {cents / 1_000_000:.6f} 万元", f"{cents / 100:,.2f}、{cents / 300:,.2f}",
        f"分别为 {cents / 100:.2f} {cents / 700:.2f} {cents / 900:.2f}", f"￥{cents}",
    )  # fmt: skip
    return draw.choice(forms)


def _code(draw: random.Random) -> str:
    stem = (
        draw.randrange(10**7) if draw.random() < 0.7 else draw.randrange(10**7, 10**8)
    )  # MA…, or the eight digits of before 2015
    code = generate(stem, prefix=draw.choice(_PREFIXES), division=draw.choice(_HERE))
    return f"统一社会信用代码{code}" if draw.random() < 0.5 else code


def _account(draw: random.Random) -> str:
    forms = (
        f"6222{_digits(draw, 15)}", f"62{_digits(draw, 14)}", " ".join(f"6217{_digits(draw, 15)}"[i : i + 4] for i in range(0, 19, 4)),
        f"02000{_digits(draw, 14)}", f"1100{_digits(draw, 16)}", f"{_digits(draw, 12)}", f"11-{_digits(draw, 15)}", f"1001{_digits(draw, 14)}",
        f"1100601490188{_digits(draw, 8)}", f"账号 {draw.choice(_HERE)[:4]}{_digits(draw, 11)}", f"账号:{draw.choice(('110', '310', '441', '131', '330'))}0{_digits(draw, 14)}",
        f"注册号 {draw.choice(_HERE)}{_digits(draw, 9)}", f"纳税人识别号{draw.choice(_HERE)}{_digits(draw, 9)}",
    )  # fmt: skip
    return draw.choice(forms)


def _telephone(draw: random.Random) -> str:
    mobile, fixed = f"1{draw.choice('3456789')}{_digits(draw, 9)}", f"{draw.choice('5678')}{_digits(draw, 7)}"
    forms = (
        mobile, f"010-{fixed}", f"{mobile}、{fixed}", f"电话 {mobile} {fixed}", f"+86 {mobile}", f"0311-{fixed}-{_digits(draw, 3)}",
        f"{mobile}-{_digits(draw, 4)}", f"邮编 {draw.choice(_HERE)[:2]}0000 电话 {mobile}",
    )  # fmt: skip
    return draw.choice(forms)


def _day(draw: random.Random) -> str:
    day = date(1990, 1, 1) + timedelta(days=draw.randrange(13_500))
    forms = (
        f"{day:%Y年%m月%d日}", f"{day}", f"{day:%Y%m%d}", f"{day} {draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02}",
        f"{day}至{day + timedelta(days=365)}", f"{day:%Y.%m.%d}-{day + timedelta(days=99):%Y.%m.%d}", f"{day:%Y%m%d}{_digits(draw, 8)}",
    )  # fmt: skip
    return draw.choice(forms)


_KINDS: dict[str, Callable[[random.Random], str]] = {
    "document": _document, "amount": _amount, "code": _code, "account": _account, "telephone": _telephone, "day": _day,
}  # fmt: skip
_FRAMES = ("{}", "当事人{},已缴纳。", "经查, {}。", "({})", "见附件:{}\n", "第1条 {} 第2项")


def others(draw: random.Random, kind: str) -> str:
    """Return a text with a number of this kind in it, which is no person's."""
    return draw.choice(_FRAMES).format(_KINDS[kind](draw))


def _texts(count: int, seed: int) -> Iterator[tuple[str, str]]:
    draw, kinds = random.Random(seed), list(_KINDS)
    for place in range(count):
        kind = kinds[place % len(kinds)]
        yield kind, others(draw, kind)


def main() -> int:
    """Count, and print the figure."""
    count, taken = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000_000, Counter[str]()
    for kind, text in _texts(count, seed=2026):
        if holds_person(text):
            taken[kind] += 1
            sys.stdout.write(f"  taken for a person's: {text!r}\n")
    per = ", ".join(f"{kind} {taken[kind]}" for kind in _KINDS)
    sys.stdout.write(
        f"{taken.total()} of {count:,} taken for a person's number: {taken.total() / count * 1e6:.2f} in a million ({per})\n"
    )
    return int(taken.total() * 1_000_000 >= count)


if __name__ == "__main__":
    sys.exit(main())
