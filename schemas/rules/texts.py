"""Text rules on every text: invalid or invisible characters, and persons' numbers.

All need one pass through all texts of a batch, and share it: a coarse pattern selects the texts that may break any of
them, and only those are checked closely.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from schemas.contracts.flat_frame import FLAT
from schemas.identifiers.persons_columns import LIKELY, persons_in
from schemas.rules.model import Rule, elsewhere

__all__ = ["FORMED", "TEXTS", "TEXT_RULES", "broken_texts", "suspect"]

TEXT_RULES = (
    Rule("CONTROL_CHARACTER", "refuse", "含有控制字符", "Text holds a control character", "contract of the project", "违法事实含 U+0000", elsewhere),
    Rule("GARBLED_TEXT", "refuse", "含有替换字符, 原字符已丢失", "Text holds a replacement character: what stood there is lost",
         "The Unicode Standard, U+FFFD", "名称 = 北京\ufffd\ufffd商贸有限公司", elsewhere),
    Rule("DIRECTION_MARK", "refuse", "含有改变文字显示方向的字符", "Text holds a character that changes the direction of writing",
         "Unicode Standard Annex 9", "名称含 U+202E", elsewhere),
    Rule("HIDDEN_CHARACTER", "refuse", "名称或代码含有看不见的字符", "A name or code holds a character that nobody sees",
         "contract of the project", "名称含 U+00AD", elsewhere),
    Rule("PRIVATE_USE", "flag", "含有自造字, 其他系统无法显示", "Text holds a private-use character, which no other system shows",
         "The Unicode Standard, 23.5", "名称含 U+E863", elsewhere),
    Rule("QUESTION_MARKS", "flag", "含有问号, 可能是转换时丢失的字", "Text holds question marks, perhaps for characters that a conversion lost",
         "contract of the project", "名称 = 北京??商贸有限公司", elsewhere),
    Rule("HTML_ENTITY", "flag", "含有网页转义符", "Text holds an HTML entity", "contract of the project", "违法事实含 &nbsp;", elsewhere),
    Rule("PERSONAL_IDENTIFIER", "refuse", "文字中含有居民身份证号", "Text holds a resident identity number", "个人信息保护法 第二十八条",
         "备注写有身份证号", elsewhere),
)  # fmt: skip

TEXTS = tuple(name for name, kind in FLAT.items() if kind == pl.String())
"""Every text field."""

_CODED = frozenset(
    (
        "record_id", "kind", "status", "reason", "uscc", "subject_kind", "province", "domain", "department", "authority",
        "penalty_categories", "penalty_authority_name", "penalty_source_unit", "penalty_source_unit_code", "penalty_level",
        "listing_list", "listing_authority_name", "listing_removal_reason", "registration_entity_kind",
        "registration_authority_name",
    )
)  # fmt: skip
"""Fields with few distinct values: a batch repeats the same codes and authorities."""

FORMED = frozenset(("record_id", "uscc", "authority", "penalty_source_unit_code"))
"""Fields of a strict form. Another rule finds a person's number there, or the field has none: any digits can look like
one by chance.
"""

_WRITTEN = frozenset(
    (
        "penalty_violation_type", "penalty_facts", "penalty_basis", "penalty_content", "penalty_licence", "penalty_remark",
        "listing_grounds", "listing_basis", "listing_remark", "registration_remark",
    )
)  # fmt: skip
"""Free texts; every other one is a name or a code, of one line."""

_CONTROL, _CONTROL_OR_LINE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", r"[\x00-\x1f\x7f-\x9f]"
_LOST = r"[\x{FFFD}-\x{FFFF}]"
_DIRECTION = r"[\x{202A}-\x{202E}\x{2066}-\x{2069}]"
_HIDDEN = r"[\xAD\x{61C}\x{180E}\x{200B}\x{200E}\x{200F}\x{2060}-\x{2064}\x{FEFF}\x{FFF9}-\x{FFFB}\x{E0000}-\x{E007F}]"
"""Without U+200C and U+200D, which several scripts need, and without variation selectors."""

_PRIVATE = r"[\x{E000}-\x{F8FF}\x{F0000}-\x{FFFFD}\x{100000}-\x{10FFFD}]"
_ENTITY = r"&(?:amp|lt|gt|quot|apos|nbsp|ldquo|rdquo|middot|#[0-9]{2,5}|#[xX][0-9A-Fa-f]{2,4});"
_COARSE = (
    r"[\x00-\x1f?\x7f-\x9f\xAD\x{61C}\x{180E}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2069}\x{E000}-\x{F8FF}"
    r"\x{FEFF}\x{FFF9}-\x{FFFF}\x{E0000}-\x{E007F}\x{F0000}-\x{10FFFF}]|&[#a-z]"
)
_PATTERNS = {
    "GARBLED_TEXT": _LOST, "DIRECTION_MARK": _DIRECTION, "PRIVATE_USE": _PRIVATE, "HTML_ENTITY": _ENTITY,
}  # fmt: skip
"""Rules with the same pattern for every text."""


def suspect(name: str) -> pl.Expr:
    """Return whether any text of a field may break one of these rules."""
    texts = pl.col(name)
    # A batch repeats the same code and authority.
    texts = texts.unique() if name in _CODED - {"record_id", "uscc"} else texts
    return texts.str.contains(_COARSE if name in FORMED else f"{_COARSE}|{LIKELY}").any()


def broken_texts(frame: pl.DataFrame, names: Collection[str]) -> dict[tuple[str, str], pl.Series]:
    """Return (code of the rule, field) → true if it is broken, for fields with a suspect text."""
    if not names:
        return {}
    marks = {(code, name): _holding(name, pattern) for name in names for code, pattern in _PATTERNS.items()}
    for name in names:
        written = name in _WRITTEN
        marks["CONTROL_CHARACTER", name] = _holding(name, _CONTROL if written else _CONTROL_OR_LINE)
        # No name contains a question mark; in a sentence a single one is a question.
        marks["QUESTION_MARKS", name] = _holding(name, r"\?\?" if written else r"\?")
        if not written:
            marks["HIDDEN_CHARACTER", name] = _holding(name, _HIDDEN)
    found = frame.select(mark.alias("|".join(key)) for key, mark in marks.items())
    broken = {key: found.to_series(place) for place, key in enumerate(marks)}
    return broken | {("PERSONAL_IDENTIFIER", name): persons_in(frame[name]) for name in names if name not in FORMED}


def _holding(name: str, pattern: str) -> pl.Expr:
    return pl.col(name).str.contains(pattern).fill_null(False)
