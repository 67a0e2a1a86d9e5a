"""Quality rules on fields together: categories and amounts, authority and domain, and placeholders.

Categories, authorities and domains repeat from row to row, so each distinct one is judged once and then joined to its
rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import date
from functools import cache

import polars as pl

from schemas.rules.model import Context, Rule, elsewhere
from schemas.rules.yuan import yuan_in

__all__ = ["MEANT", "QUALITY_RULES", "broken_quality", "placeholder_words", "separated", "short"]

_LAW = "行政处罚法 (2021) 第九条"
_FORM = "双公示 form (发改办财金〔2018〕424号), as observed"
_CONDITIONAL = f"{_FORM}; that the category needs it is background"


def _not_competent(context: Context) -> dict[str, pl.Expr]:
    until = context.catalogue.competent_until(context.today)
    pair = pl.concat_str("authority", "domain", separator=" ")
    # WRONG_AUTHORITY reports an authority that the catalogue does not know, DOMAIN an unknown domain.
    judged = (
        pl.col("kind").is_in(["PENALTY", "LISTING"])
        & pl.col("authority").is_in(list({authority for authority, _ in until}))
        & pl.col("domain").is_in([row.key for row in context.catalogue.domains(context.today)])
    )
    decided = pl.coalesce("penalty_decided_on", "listing_listed_on")
    ended = [
        (pair == f"{authority} {domain}") & (decided > last)
        for (authority, domain), last in until.items()
        if last < date.max
    ]
    never = ~pair.is_in([f"{authority} {domain}" for authority, domain in until])
    return {"authority": judged & pl.any_horizontal(never, *ended)}


QUALITY_RULES: tuple[Rule, ...] = (
    Rule("CATEGORY", "refuse", "处罚类别未知", "Unknown category of penalty", _LAW, "处罚类别 = 批评教育", elsewhere),
    Rule("FINE_WITHOUT_AMOUNT", "flag", "类别含罚款而无罚款金额", "A fine without an amount", _CONDITIONAL, "类别罚款, 金额为空", elsewhere),
    Rule("FINE_UNEXPECTED", "flag", "有罚款金额而类别不含罚款", "An amount of a fine, but no fine among the categories", _CONDITIONAL,
         "类别警告, 罚款金额 = 0.2", elsewhere),
    Rule("CONFISCATION_WITHOUT_AMOUNT", "flag", "类别含没收而无没收金额", "A confiscation without an amount", _CONDITIONAL,
         "类别没收违法所得, 金额为空", elsewhere),
    Rule("CONFISCATION_UNEXPECTED", "flag", "有没收金额而类别不含没收", "A confiscated amount, but no confiscation among the categories",
         _CONDITIONAL, "类别罚款, 没收金额 = 1", elsewhere),
    Rule("FINE_IN_YUAN", "flag", "罚款金额与处罚内容所写的元数相同, 疑似未换算为万元", "The fine equals the yuan in the text: not converted to 万元?",
         f"{_FORM}: 万元 (sample 罚款2000元 -> 0.2)", "处罚内容 = 罚款2000元, 罚款金额 = 2000", elsewhere),
    Rule("LICENCE_MISSING", "flag", "类别含暂扣或吊销而无证照名称及编号", "A licence was taken but is not named", _CONDITIONAL,
         "类别吊销许可证件, 证照为空", elsewhere),
    Rule("AUTHORITY_DOMAIN", "refuse", "该机关无权在此领域作出决定", "The authority does not decide in the domain",
         "行政处罚法 (2021) 第十七条 (法定职权范围); catalogue: competences.csv", "税务机关作出统计领域的处罚", _not_competent),
    Rule("PLACEHOLDER", "flag", "必填项只有占位文字", "A mandatory field holds a placeholder only", _FORM, "违法事实 = 无", elsewhere),
    Rule("REMOVED_IN_FUTURE", "flag", "移出日期晚于今天", "Removed in the future", "date logic", "移出日期 = 明年",
         lambda c: {"listing_removed_on": pl.col("listing_removed_on") > c.today}),
)  # fmt: skip

_SEPARATOR = re.compile("[;；]")
_WORDS = (
    "无", "空", "空白", "暂无", "暂缺", "未知", "不详", "待定", "待补", "待补充", "待核实", "不适用", "略", "从略", "同上", "同前", "同左", "如上", "上同",
    "某某", "N/A", "n/a", "NA", "null", "NULL", "Null", "None", "NONE", "none", "nan", "NaN", "NAN", "nil", "undefined", "\\N", "&nbsp;",
    "#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "test", "TEST", "测试",
)  # fmt: skip
_ELSEWHERE = (
    "附件", "附件1", "附件一", "附表", "附页", "附后", "决定书", "处罚决定书", "行政处罚决定书", "裁定书", "判决书", "文书", "原文", "原件", "正文", "备注", "上",
    "上栏", "上行", "其他", "系统", "公告", "扫描件", "图片",
)  # fmt: skip
_MARKS = ("〃", "″", '"', "''", "/", "\\", "|", "#", "…", "×", "－", "一")
_RUNS = ("*", "-", "_", ".", "?", "x", "X", "/", "0", "…", "—", "。", "？", "×", "／")
"""Marks that may be repeated."""

_BARE = (*_WORDS, *_MARKS, *(mark * count for mark in _RUNS for count in range(1, 9 if mark.isascii() else 5)))
_REFERRED = tuple(f"{see}{where}" for see in ("见", "详见", "参见", "另见", "具体见", "请见") for where in _ELSEWHERE)
_REFERRING = "^[(（]?(?:[详参另请]|具体)?见"


def _framed(texts: Iterable[str]) -> dict[str, None]:
    frames = (("", ""), ("(", ")"), ("（", "）"), ("", "。"))
    return dict.fromkeys(f"{before}{text}{after}" for text in texts for before, after in frames)


@cache
def placeholder_words() -> frozenset[str]:
    """Return the placeholder texts."""
    return frozenset((*_framed(_BARE), *_framed(_REFERRED)))


@cache
def _placeholders() -> pl.Series:
    # Not at import: polars would start its threads, which a process does not have after a fork.
    return pl.Series([*_framed(_BARE), *_framed(_REFERRED)]).implode()


_LONGEST_BARE = max(len(text.encode()) for text in _framed(_BARE))
MEANT = (
    "subject_name", "penalty_document_number", "penalty_violation_type", "penalty_facts", "penalty_basis", "penalty_content",
    "penalty_authority_name", "penalty_source_unit", "listing_entry_id", "listing_grounds", "listing_basis",
    "listing_authority_name",
)  # fmt: skip
"""Mandatory texts without a table of codes."""

_NOTABLE = 10
"""Minimum fine, in 万元, that is compared with the text: nobody is fined less than 10 yuan."""

_TEN_THOUSAND = 10_000


def separated(categories: str) -> list[str]:
    """Return the categories of a penalty, which a semicolon joins, in their order."""
    return [part.strip() for part in _SEPARATOR.split(categories.strip("; "))]


def short(name: str) -> pl.Expr:
    """Return whether any text of a field is so short, or begins so, that it may be a placeholder."""
    text = pl.col(name).str
    return ((text.len_bytes() <= _LONGEST_BARE) | text.contains(_REFERRING)).any()


def broken_quality(
    frame: pl.DataFrame, known_categories: Collection[str], names: Collection[str]
) -> dict[tuple[str, str], pl.Series]:
    """Return (code of the rule, field) → true if it is broken; `names` are the fields with a short text."""
    marks = _categories(frame, known_categories) if frame["penalty_categories"].null_count() < frame.height else {}
    marks |= {("PLACEHOLDER", name): pl.col(name).str.strip_chars().is_in(_placeholders()) for name in names}
    found = frame.select(mark.fill_null(False).alias("|".join(key)) for key, mark in marks.items())
    hits = found.select(pl.all().any()).row(0) if marks else ()
    return {key: found.to_series(place) for place, key in enumerate(marks) if hits[place]}


def _categories(frame: pl.DataFrame, known: Collection[str]) -> dict[tuple[str, str], pl.Expr]:
    said = {text: separated(text) for text in frame["penalty_categories"].unique().to_list() if text and text.strip()}
    known = set(known)

    def having(*words: str) -> pl.Expr:
        return _among(text for text, parts in said.items() if any(part.startswith(words) for part in parts))

    fined, taken = having("罚款"), having("没收")
    fine, confiscated = pl.col("penalty_fine") > 0, pl.col("penalty_confiscated") > 0
    no_fine, none_confiscated = ~fine.fill_null(False), ~confiscated.fill_null(False)
    marks = {
        ("CATEGORY", "penalty_categories"): _among(text for text, parts in said.items() if not known.issuperset(parts)),
        ("FINE_WITHOUT_AMOUNT", "penalty_fine"): fined & no_fine,
        ("FINE_UNEXPECTED", "penalty_fine"): ~fined & fine,
        ("CONFISCATION_WITHOUT_AMOUNT", "penalty_confiscated"): taken & none_confiscated,
        ("CONFISCATION_UNEXPECTED", "penalty_confiscated"): ~taken & confiscated,
        ("LICENCE_MISSING", "penalty_licence"): having("暂扣", "吊销") & pl.col("penalty_licence").is_null(),
    }
    if (frame["penalty_fine"].max() or 0) >= _NOTABLE:  # type: ignore[operator]
        marks["FINE_IN_YUAN", "penalty_fine"] = pl.lit(_in_yuan(frame))
    return marks


def _in_yuan(frame: pl.DataFrame) -> pl.Series:
    """Return for each row whether its fine is the number of yuan in its text, and not that of 万元."""
    fines = frame["penalty_fine"].to_list()
    notable = [place for place, fine in enumerate(fines) if fine is not None and fine >= _NOTABLE]
    said = {text: yuan_in(text) for text in frame["penalty_content"].gather(notable).unique().to_list() if text}
    marks = [False] * frame.height
    for place, text in zip(notable, frame["penalty_content"].gather(notable).to_list(), strict=True):
        stated = said.get(text, frozenset())
        marks[place] = fines[place] in stated and fines[place] * _TEN_THOUSAND not in stated
    return pl.Series(marks, dtype=pl.Boolean)


def _among(texts: Iterable[str]) -> pl.Expr:
    """Return for each row whether its categories are one of these texts."""
    return pl.col("penalty_categories").is_in(list(texts))
