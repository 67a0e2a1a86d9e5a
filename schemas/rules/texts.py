"""The rules that look at every text: control characters, and persons' numbers where none belongs.

Both need one pass through all texts of a batch. They share it: a coarse pattern says which texts may break either, and
only those are looked at closely.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from schemas.flat import FLAT
from schemas.rules.model import Rule, elsewhere

__all__ = ["TEXTS", "TEXT_RULES", "broken_texts", "suspect"]

TEXT_RULES = (
    Rule("CONTROL_CHARACTER", "refuse", "含有控制字符", "Text holds a control character", "contract of the project", "违法事实含 U+0000", elsewhere),
    Rule("PERSONAL_IDENTIFIER", "refuse", "文字中含有居民身份证号", "Text holds a resident identity number", "个人信息保护法 第二十八条",
         "备注写有身份证号", elsewhere),
)  # fmt: skip

TEXTS = tuple(name for name, kind in FLAT.items() if kind == pl.String())
"""Every field that holds text."""

_CODED = frozenset(
    (
        "record_id", "kind", "status", "reason", "uscc", "subject_kind", "province", "domain", "department", "authority",
        "penalty_categories", "penalty_authority_name", "penalty_source_unit", "penalty_source_unit_code", "penalty_level",
        "listing_list", "listing_authority_name", "listing_removal_reason", "registration_entity_kind",
        "registration_authority_name",
    )
)  # fmt: skip
"""Texts that rules of their own hold against a table or a form; every other may hold anything, a person's number too."""

_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_DIGIT = "[0-9０-９]"
_RESIDENT = (
    rf"(?:^|[^0-9A-Za-z０-９])[1-9１-９]{_DIGIT}{{5}}(?:[1１][9９]|[2２][0０]){_DIGIT}{{2}}"
    rf"(?:[0０][1-9１-９]|[1１][0-2０-２])(?:[0０][1-9１-９]|[12１２]{_DIGIT}|[3３][01０１])"
    rf"{_DIGIT}{{3}}[0-9Xx０-９Ｘｘ](?:$|[^0-9A-Za-z０-９])"
)
_COARSE = rf"{_CONTROL}|{_DIGIT}{{17}}"


def suspect(name: str) -> pl.Expr:
    """Tell of a field whether any text in it may break one of these rules."""
    texts = pl.col(name)
    # A batch says the same code, and the same authority, again and again.
    return (texts.unique() if name in _CODED - {"record_id", "uscc"} else texts).str.contains(_COARSE).any()


def broken_texts(frame: pl.DataFrame, names: Collection[str]) -> dict[tuple[str, str], pl.Series]:
    """Return (code of the rule, field) → true where it is broken, of fields in which some text is suspect."""
    if not names:
        return {}
    marks = {("CONTROL_CHARACTER", name): pl.col(name).str.contains(_CONTROL) for name in names}
    marks |= {
        ("PERSONAL_IDENTIFIER", name): pl.col(name).str.contains(_RESIDENT) for name in names if name not in _CODED
    }
    found = frame.select(mark.fill_null(False).alias("|".join(key)) for key, mark in marks.items())
    return {key: found.to_series(place) for place, key in enumerate(marks)}
