"""Life rules: which status, reason, mark and removal go together in one statement.

They check one statement alone. A fault that only earlier statements could prove is a flag, never a refusal.
"""

from __future__ import annotations

import polars as pl

from schemas.rules.model import Context, Rule

__all__ = ["LIFE_RULES"]

_OBJECTION = "notice of 2025-08-19 (异议处理)"
_LISTS = "instruments of the seven lists"
_MARKED = pl.col("disputed_since").is_not_null()
_REASON, _REMOVED_ON = pl.col("reason"), pl.col("listing_removed_on")


def _marked_and_gone(_: Context) -> dict[str, pl.Expr]:
    return {"disputed_since": _MARKED & (pl.col("status") != "IN_FORCE")}


def _disputed_without_day(_: Context) -> dict[str, pl.Expr]:
    return {"disputed_since": (_REASON == "DISPUTED") & ~_MARKED}


def _upheld_and_marked(_: Context) -> dict[str, pl.Expr]:
    return {"disputed_since": (_REASON == "UPHELD") & _MARKED}


def _disputed_in_future(context: Context) -> dict[str, pl.Expr]:
    return {"disputed_since": pl.col("disputed_since") > context.today}


def _removed_without_day(_: Context) -> dict[str, pl.Expr]:
    return {"listing_removed_on": (_REASON == "REMOVED") & _REMOVED_ON.is_null()}


def _relisted_and_removed(_: Context) -> dict[str, pl.Expr]:
    return {"listing_removed_on": (_REASON == "RELISTED") & _REMOVED_ON.is_not_null()}


LIFE_RULES = (
    Rule("DISPUTED_STATUS", "refuse", "只有有效的记录可带异议标注日期", "Only a record in force bears the mark of an objection",
         _OBJECTION, "已修复而仍带异议标注日期", _marked_and_gone),
    Rule("DISPUTED_DAY", "refuse", "变更原因是异议标注, 但没有异议标注日期", "Marked as disputed without the day", _OBJECTION,
         "原因异议标注, 日期为空", _disputed_without_day),
    Rule("UPHELD_MARKED", "refuse", "异议核查后维持, 异议标注日期须为空", "Upheld after an objection, and still marked", _OBJECTION,
         "原因异议核查后维持, 仍有日期", _upheld_and_marked),
    Rule("DISPUTED_IN_FUTURE", "refuse", "异议标注日期晚于今天", "Marked as disputed in the future", "date logic",
         "异议标注日期 = 明天", _disputed_in_future),
    Rule("REMOVED_DAY", "refuse", "变更原因是移出, 但没有移出日期", "Removed without the day of removal", _LISTS,
         "原因移出, 移出日期为空", _removed_without_day),
    Rule("RELISTED_REMOVED", "refuse", "恢复列入的条目不得再有移出日期", "Relisted, and still removed",
         "严重失信主体名单 (应急管理部令第11号)", "原因恢复列入, 仍有移出日期", _relisted_and_removed),
)  # fmt: skip
