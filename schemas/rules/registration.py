"""Registration rules (经营主体登记), checked only if a batch contains registrations.

Their findings go to the registering department. A contradiction to the code (its division, its prefix) is a flag: a
code never changes, and entities move.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

import polars as pl

from schemas.catalogue import Catalogue
from schemas.records.identity import registration_id
from schemas.records.registration import DOMAIN, EARLIEST, KIND
from schemas.rules.model import Context, Rule

__all__ = ["REGISTRATION_RULES", "broken_registrations"]

_HOUSE = "contract of the project"
_CODE = "GB 32100-2015; 市场主体登记管理条例 第二十七条"
_NATIONAL = "10"
"""Division of an entity that was registered nationally: it implies no province."""

_ONE_NAME = r"^[^|]*[^|\s\x00-\x1f][^|]*\|[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_IS_ONE = pl.col("kind") == KIND


def _elsewhere(_: Context) -> dict[str, pl.Expr]:
    return {}  # it needs a hash, see broken_registrations


def _former_names(context: Context) -> dict[str, pl.Expr]:
    # Same rule as schemas.records.registration.read_former_names on one text; a test compares the two.
    parts = pl.col("registration_former_names").str.split(";")
    one = pl.element()
    days = parts.list.eval(one.str.slice(-10).str.to_date("%Y-%m-%d", strict=False))
    broken = (
        parts.list.eval(~one.str.contains(_ONE_NAME)).list.any()
        | days.list.eval(one.is_null() | (one < EARLIEST)).list.any()
        | days.list.eval(one.diff() <= pl.duration(days=0)).list.any()
        | (days.list.last() > context.today)
        | (days.list.last() >= pl.col("registration_name_since")).fill_null(False)
    )
    return {"registration_former_names": broken}


def _kind_differs(context: Context) -> dict[str, pl.Expr]:
    kind, prefix = pl.col("registration_entity_kind"), pl.col("uscc").str.slice(0, 2)
    differs = [
        (kind == row.kind) & ((pl.col("subject_kind") != row.subject_kind) | ~prefix.is_in(list(row.prefixes)))
        for row in context.catalogue.entity_kinds.values()
    ]
    return {"registration_entity_kind": pl.any_horizontal(differs)}


def _division_differs(context: Context) -> dict[str, pl.Expr]:
    divisions = {key: row.division for key, row in context.catalogue.provinces.items()}
    said = pl.col("uscc").str.slice(2, 2)
    expected = pl.col("province").replace_strict(list(divisions), list(divisions.values()), default=None)
    return {"uscc": pl.col("has_registration") & (said != expected) & (said != _NATIONAL)}


REGISTRATION_RULES: tuple[Rule, ...] = (
    Rule("REGISTRATION_DOMAIN", "refuse", "登记记录的领域须为 registration, 其他记录不得用", "The domain registration is that of registrations, and of nothing else",
         _HOUSE, "行政处罚的领域写作 registration", lambda _: {"domain": (pl.col("domain") == DOMAIN) != _IS_ONE}),
    Rule("REGISTRATION_ID", "refuse", "登记记录的标识须由省份与统一社会信用代码得出", "The id of a registration must follow from province and code",
         _HOUSE, "同一省对同一主体的第二条登记", _elsewhere),
    Rule("REGISTRATION_STATUS", "refuse", "登记记录没有修复; 有误的应更正或撤销", "A registration is corrected or revoked, never repaired", _HOUSE,
         "登记记录的状态为已修复", lambda _: {"status": _IS_ONE & (pl.col("status") == "REPAIRED")}),
    Rule("REGISTERED_NAME", "refuse", "名称含有 | 或 ;", "The name holds | or ;, which part former names", _HOUSE, "名称 = 甲公司;乙公司",
         lambda _: {"subject_name": _IS_ONE & pl.col("subject_name").str.contains("[|;]")}),
    Rule("ENTITY_KIND", "refuse", "经营主体类型未知", "Unknown kind of entity", "专用信用报告 2024 extension of subjects", "经营主体类型 = 公司",
         lambda c: {"registration_entity_kind": ~pl.col("registration_entity_kind").is_in(list(c.catalogue.codes("entity_kind")))}),
    Rule("REGISTERED_IN_FUTURE", "refuse", "登记日期或现名称启用日期晚于今天", "Registered, or renamed, in the future", "date logic", "成立日期 = 明天",
         lambda c: {name: pl.col(name) > c.today for name in ("registration_since", "registration_name_since")}),
    Rule("UNTIL_BEFORE_SINCE", "refuse", "迁出或注销日期早于成立或迁入日期", "It left before it came", "date logic", "注销日期早于成立日期",
         lambda _: {"registration_until": pl.col("registration_until") < pl.col("registration_since")}),
    Rule("FORMER_NAMES", "refuse", "曾用名称须写作 名称|末日;名称|末日, 日期递增, 早于现名称启用日期",
         "Former names are NAME|DAY;NAME|DAY, the days ascending and before the present name", _HOUSE, "甲公司|2020年;乙公司", _former_names),
    Rule("ENTITY_KIND_DIFFERS", "flag", "经营主体类型与相对人类别或代码前两位不符", "The kind of entity fits neither the kind of subject nor the code",
         _CODE, "代码以92开头而类型为企业", _kind_differs),
    Rule("DIVISION_DIFFERS", "flag", "代码中的行政区划不属于登记所在省份(迁入的主体本应如此)",
         "The code's division lies in another province, as it does where an entity has moved in", _CODE, "代码为13…, 在北京登记", _division_differs),
)  # fmt: skip


def broken_registrations(frame: pl.DataFrame, catalogue: Catalogue, today: date) -> Mapping[tuple[str, str], pl.Series]:
    """Return (code of the rule, field) → true if it is broken; nothing if the batch has no registration."""
    concerned = frame.select(_IS_ONE | pl.col("has_registration") | (pl.col("domain") == DOMAIN)).to_series()
    if not concerned.any():
        return {}
    expressions = _expressions(catalogue, today)
    marks = frame.select(expression.fill_null(False).alias("|".join(key)) for key, expression in expressions.items())
    return {key: marks["|".join(key)] for key in expressions} | {("REGISTRATION_ID", "record_id"): _foreign_id(frame)}


@lru_cache(maxsize=8)
def _expressions(catalogue: Catalogue, today: date) -> Mapping[tuple[str, str], pl.Expr]:
    context = Context(catalogue, today)
    return {
        (rule.code, name): expression
        for rule in REGISTRATION_RULES
        for name, expression in rule.breaks(context).items()
    }


def _foreign_id(frame: pl.DataFrame) -> pl.Series:
    # One hash per row, for registrations only; the reader of a file reports its rows without an id.
    ones = frame.filter(_IS_ONE & pl.col("record_id").is_not_null()).select("row", "province", "uscc", "record_id")
    foreign = [row for row, province, uscc, held in ones.iter_rows() if held != registration_id(province, uscc)]
    return frame["row"].is_in(foreign)
