"""Content rules on a statement; each names its source."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import polars as pl

from schemas.catalogue.time_rows import LevelRow
from schemas.contracts.flat_frame import FLAT
from schemas.records.registration import DOMAIN
from schemas.rules.limits import TEXT_LIMITS
from schemas.rules.model import LATEST, Context, Rule

__all__ = ["CONTENT_RULES", "outside_level"]

_FORM = "双公示 form (发改办财金〔2018〕424号), as observed"
_HOUSE = "contract of the project"
_LISTS = "instruments of the seven lists"
_LEVELS = "国办发〔2025〕22号; 信用修复管理办法 (2025)"

BODIES = ("penalty", "listing", "registration")
_DATES = [name for name, kind in FLAT.items() if kind == pl.Date()]
_REQUIRED = (
    "uscc", "subject_name", "authority", "penalty_document_number", "penalty_violation_type", "penalty_facts",
    "penalty_basis", "penalty_categories", "penalty_content", "penalty_authority_name", "penalty_source_unit",
    "penalty_source_unit_code", "listing_list", "listing_entry_id", "listing_grounds", "listing_basis",
    "listing_authority_name", "registration_entity_kind", "registration_authority_name",
)  # fmt: skip
_SAYS_SOMETHING = r"[^\s\u200b\u2060\ufeff]"
_FIRST_MILLISECONDS = 946_684_800_000
"""2000-01-01: a version from here on is a time in milliseconds, a smaller one a plain number."""


def outside_level(levels: Iterable[LevelRow], on: date) -> pl.Expr:
    """Return an expression that is true if publish_until lies outside its level's bounds, by the rules of a day.

    Null, so kept, if no level or no 公示截止期 is stated, or no rule on the level applies on that day. Adds months as
    schemas.calendar.periods.add_months does, at month ends too.
    """
    holding = {row.level: row for row in levels if row.holds(on)}
    until, level, decided = pl.col("penalty_publish_until"), pl.col("penalty_level"), pl.col("penalty_decided_on")
    # Most statements give neither, so the arithmetic on months runs only for those that do.
    stated = pl.when(until.is_not_null() & level.is_not_null()).then(decided)
    outside = pl.lit(None, dtype=pl.Boolean)
    for name, row in holding.items():
        begins = pl.when(level == name).then(stated)
        bounds = (begins.dt.offset_by(f"{row.min_months}mo"), begins.dt.offset_by(f"{row.max_months}mo"))
        outside = pl.coalesce((until < bounds[0]) | (until > bounds[1]), outside)
    return outside


def _col(name: str) -> pl.Expr:
    return pl.col(name)


def _unknown(table: str, name: str) -> object:
    def breaks(context: Context) -> dict[str, pl.Expr]:
        return {name: ~_col(name).is_in(list(context.catalogue.codes(table)))}

    return breaks


def _rule(code: str, severity: str, text_zh: str, text_en: str, source: str, example: str, breaks: object) -> Rule:
    return Rule(code, severity, text_zh, text_en, source, example, breaks)  # type: ignore[arg-type]


def _in_force(context: Context) -> list[str]:
    return [*(row.key for row in context.catalogue.domains(context.today)), DOMAIN]


def _body_wrong(_: Context) -> dict[str, pl.Expr]:
    in_force = _col("status") == "IN_FORCE"

    def wrong(body: str) -> pl.Expr:
        of_kind, present = _col("kind") == body.upper(), _col(f"has_{body}")
        return (in_force & of_kind & ~present) | (present & ~of_kind)

    return {body: wrong(body) for body in BODIES}


def _body_left(_: Context) -> dict[str, pl.Expr]:
    has = [_col(f"has_{body}") for body in BODIES]
    return {"status": _col("status").is_in(["REPAIRED", "REVOKED"]) & pl.any_horizontal(has)}


def _reason_wrong(_: Context) -> dict[str, pl.Expr]:
    status, reason = _col("status"), _col("reason")
    return {
        "reason": (status.is_in(["REPAIRED", "REVOKED"]) & (reason != status))
        | ((status == "IN_FORCE") & reason.is_in(["REPAIRED", "REVOKED"]))
    }


def _too_long(_: Context) -> dict[str, pl.Expr]:
    return {name: _col(name).str.len_chars() > limit for name, limit in TEXT_LIMITS.items()}


def _domain_of_list(context: Context) -> dict[str, pl.Expr]:
    pairs = {key: row.domain for key, row in context.catalogue.lists.items()}
    expected = _col("listing_list").replace_strict(list(pairs), list(pairs.values()), default=None)
    return {"domain": expected != _col("domain")}  # LIST reports an unknown list


CONTENT_RULES: tuple[Rule, ...] = (
    _rule("REQUIRED", "refuse", "必填项为空", "A mandatory field is blank", _FORM, "违法事实为空",
          lambda _: {name: ~_col(name).str.contains(_SAYS_SOMETHING) for name in _REQUIRED}),
    _rule("RECORD_ID", "refuse", "记录标识不是32位小写十六进制数字", "record_id is not 32 lower-case hexadecimal digits",
          _HOUSE, "record_id = ABC", lambda _: {"record_id": ~_col("record_id").str.contains(r"^[0-9a-f]{32}$")}),
    _rule("VERSION", "refuse", "版本号须大于0", "version must be above 0", _HOUSE, "version = 0",
          lambda _: {"version": _col("version") <= 0}),
    _rule("VERSION_AHEAD", "refuse", "版本时间超前当前时间10分钟以上", "version or stated_at is more than 10 minutes ahead of the clock",
          _HOUSE, "stated_at = 明天",
          lambda c: {
              "version": (_col("version") >= _FIRST_MILLISECONDS)
              & (_col("version") > _col(LATEST)),
              "stated_at": _col("stated_at").dt.epoch("ms") > _col(LATEST),
          }),
    _rule("KIND", "refuse", "记录种类未知", "Unknown kind of record", _HOUSE, "kind = PERMIT", _unknown("kind", "kind")),
    _rule("STATUS", "refuse", "状态未知", "Unknown status", _HOUSE, "status = CLOSED", _unknown("status", "status")),
    _rule("REASON", "refuse", "变更原因未知", "Unknown reason", _HOUSE, "reason = OTHER", _unknown("reason", "reason")),
    _rule("REASON_STATUS", "refuse", "变更原因与状态不符", "Reason and status contradict each other", _HOUSE,
          "状态有效而原因为撤销", _reason_wrong),
    _rule("BODY", "refuse", "内容与记录种类不符或缺失", "The body does not belong to the kind, or is missing", _HOUSE,
          "行政处罚没有处罚内容", _body_wrong),
    _rule("BODY_LEFT", "refuse", "已修复或已撤销的记录不得再带内容", "A repaired or revoked record must not carry content",
          "信用修复管理办法 (2025) 第三条; 行政处罚法 (2021) 第四十八条", "撤销时仍附处罚内容", _body_left),
    _rule("PROVINCE", "refuse", "省份不在目录内", "Province is not in the catalogue", "notice of 2025-08-19", "province = shanghai",
          lambda c: {"province": ~_col("province").is_in(list(c.catalogue.provinces))}),
    _rule("DOMAIN", "refuse", "领域不在目录内或未生效", "Domain is not in force in the catalogue", "notice of 2025-08-19", "domain = taxx",
          lambda c: {"domain": ~_col("domain").is_in(_in_force(c))}),
    _rule("LIST", "refuse", "名单不在目录内", "List is not in the catalogue", _LISTS, "list = BLACK",
          lambda c: {"listing_list": ~_col("listing_list").is_in(list(c.catalogue.lists))}),
    _rule("LIST_DOMAIN", "refuse", "名单不属于该领域", "The list does not belong to the domain", "notice of 2025-08-19",
          "税务名单写作统计领域", _domain_of_list),
    _rule("NATURAL_PERSON", "refuse", "相对人是自然人, 不在归集范围", "The subject is a natural person",
          "notice of 2025-08-19 (经营主体); PIPL", "类别 = 自然人",
          lambda _: {"subject_kind": _col("subject_kind").str.contains("自然人")}),
    _rule("SUBJECT_KIND", "refuse", "行政相对人类别未知", "Unknown kind of subject", _FORM, "类别 = 其他",
          lambda c: {"subject_kind": ~_col("subject_kind").str.contains("自然人")
                     & ~_col("subject_kind").is_in(list(c.catalogue.codes("subject_kind")))}),
    _rule("TEXT_TOO_LONG", "refuse", "文字超过长度上限", "Text is longer than its field allows", _FORM + "; limits are ours",
          "文号超过128字", _too_long),
    _rule("DATE_RANGE", "refuse", "日期早于1900年或晚于2999年", "Date before 1900 or after 2999", _HOUSE, "处罚有效期 = 9999-12-31",
          lambda _: {name: (_col(name) < date(1900, 1, 1)) | (_col(name) > date(2999, 12, 31)) for name in _DATES}),
    _rule("DECIDED_IN_FUTURE", "refuse", "决定日期晚于今天", "Decided in the future", "date logic", "处罚决定日期 = 明天",
          lambda c: {"penalty_decided_on": _col("penalty_decided_on") > c.today, "listing_listed_on": _col("listing_listed_on") > c.today}),
    _rule("VALID_BEFORE_DECIDED", "refuse", "有效期早于决定日期", "Valid until a day before the decision", "date logic",
          "处罚有效期早于处罚决定日期",
          lambda _: {
              "penalty_valid_until": _col("penalty_valid_until") < _col("penalty_decided_on"),
              "listing_valid_until": _col("listing_valid_until") < _col("listing_listed_on"),
          }),
    _rule("PUBLISH_BEFORE_DECIDED", "refuse", "公示截止期早于决定日期", "Published until a day before the decision", "date logic",
          "公示截止期早于处罚决定日期",
          lambda _: {"penalty_publish_until": _col("penalty_publish_until") < _col("penalty_decided_on")}),
    _rule("LEVEL", "refuse", "失信程度未知", "Unknown level", _LEVELS, "失信程度 = 特别严重", _unknown("level", "penalty_level")),
    _rule("PUBLISH_OUT_OF_BOUNDS", "flag", "公示截止期不在该失信程度的公示期限内", "Published for a shorter or longer time than the level allows",
          _LEVELS, "一般失信, 公示截止期在决定日期两年后", lambda c: {"penalty_publish_until": outside_level(c.catalogue.time.levels, c.today)}),
    _rule("REMOVED_BEFORE_LISTED", "refuse", "移出日期早于列入日期", "Removed before it was listed", "date logic", "移出日期早于列入日期",
          lambda _: {"listing_removed_on": _col("listing_removed_on") < _col("listing_listed_on")}),
    _rule("REMOVAL_REASON", "refuse", "移出日期与移出事由须同时填写", "Removal date and removal reason go together", _LISTS,
          "有移出日期而无事由",
          lambda _: {"listing_removal_reason": _col("listing_removed_on").is_null() != _col("listing_removal_reason").is_null()}),
    _rule("REMOVAL_CODE", "refuse", "移出事由未知", "Unknown removal reason", _LISTS, "移出事由 = 其他",
          lambda c: {"listing_removal_reason": ~_col("listing_removal_reason").is_in(list(c.catalogue.codes("removal_reason")))}),
    _rule("NEGATIVE_AMOUNT", "refuse", "金额为负", "Negative amount", "arithmetic", "罚款金额 = -0.2",
          lambda _: {name: _col(name).cast(pl.Float64) < 0 for name in ("penalty_fine", "penalty_confiscated")}),
)  # fmt: skip
