"""Code rules: subject, authority and source unit must be well-formed 统一社会信用代码."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from schemas.identifiers.uscc_columns import check_column

__all__ = ["CODE_FIELDS", "CODE_TEXTS", "CodeText", "broken_codes"]

CODE_FIELDS = ("uscc", "authority", "penalty_source_unit_code")

_STANDARD = "GB 32100-2015"


@dataclass(frozen=True, slots=True)
class CodeText:
    """Text, source and example of a rule on codes; all of them refuse."""

    code: str
    text_zh: str
    text_en: str
    source: str
    example: str


CODE_TEXTS = (
    CodeText("USCC_LENGTH", "统一社会信用代码不是18位", "The code has not 18 characters", _STANDARD, "9111000"),
    CodeText("USCC_ALPHABET", "统一社会信用代码含有不允许的字符", "The code holds a character that none has", _STANDARD, "含字母 I"),
    CodeText("USCC_RESIDENT_ID", "填写的是居民身份证号", "This is a resident identity number", "GB 11643; PIPL", "362322198709086409"),
    CodeText("USCC_PREFIX", "登记管理部门与机构类别代码不符", "The first two characters do not go together", _STANDARD, "9Z…"),
    CodeText("USCC_DIVISION", "行政区划码未知", "Unknown division", "GB/T 2260", "91990000…"),
    CodeText("USCC_ORGANISATION", "主体标识码(第9至17位)校验不符", "Characters 9–17 fail their own check", "GB 11714", "111111111111111111"),
    CodeText("USCC_CHECK_DIGIT", "校验码不符; 若代码确实存在, 可申请人工放行", "Wrong check digit; a real code may be let through by a reviewer",
             f"{_STANDARD}; catalogue: uscc_exceptions.csv", "91350211M0000XUF47"),
)  # fmt: skip


def broken_codes(frame: pl.DataFrame, exceptions: Collection[str]) -> dict[tuple[str, str], pl.Series]:
    """Return (code of the rule, field) → true if it is broken; null fields are skipped.

    Authorities repeat, so each distinct code is checked once. `exceptions` are real codes with a wrong check digit.
    """
    columns = [frame[name] for name in CODE_FIELDS]
    distinct = pl.concat([column.rename("code").unique() for column in columns]).unique().drop_nulls()
    broken: dict[tuple[str, str], pl.Series] = {}
    for code, wrong in check_column(distinct, exceptions=exceptions).items():
        if wrong.any():
            bad = distinct.filter(wrong).implode()
            broken |= {(code, column.name): column.is_in(bad).fill_null(False) for column in columns}
    return broken
