"""Common parts of both editions: the question, records with their periods, times in China's zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.markup import escape

from schemas.calendar.clock import time_text
from schemas.console.terminal import Console

if TYPE_CHECKING:
    from consumers.report.credit_view import CreditView
    from consumers.report.mutual import MutualView
    from consumers.report.open_cases import OpenCase

__all__ = ["STYLE", "print_cases", "print_listing", "print_penalty", "question_text", "text_of"]

STYLE = {"有": "bold red", "待核": "yellow", "未归集": "magenta", "无": "green"}
"""Colour of each of the four words."""

_KINDS = {"PENALTY": "处罚", "LISTING": "名单"}
_ANSWERS = {True: "是", False: "否", None: "该日尚无规则"}
_BASIS = {
    "STATED": "记录所载", "LEVEL_MAXIMUM": "失信程度最长期限", "LEVEL_MINIMUM": "失信程度最短期限", "LIST_PERIOD": "名单规定期限",
    "REMOVED": "已移出", "NO_TERM": "未定期限", "NO_RULE": "该日尚无规则",
}  # fmt: skip


def text_of(value: Any) -> str:
    """Return values without a JSON type as text."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in the answer")


def question_text(view: CreditView | MutualView) -> str:
    """Return the question in words: the day or the window with its anchors, and the time it was known until."""
    known = f"截至 {time_text(view.moment.known_until)} 已知的" if view.moment.known_until else "现知"
    if view.window is None:
        what = f"{view.on} 当日有效(处罚: 决定日期至处罚有效期; 名单: 列入日期至有效期至或移出日期前一日)"
    else:
        first, last = view.window
        rules = view.anchors.items()
        anchors = "; ".join(f"{_KINDS[kind]}: {rule['anchor_zh']}" for kind, rule in rules)
        what = (
            f"涵盖时间范围 {first} 至 {last}({anchors}; 最长 {min(rule['max_months'] for _, rule in rules) // 12} 年)"
        )
    return f"{what}  {known}情况  读取于 {time_text(view.moment.read_at)}"


def print_penalty(console: Console, row: dict[str, Any], *, whose: str = "") -> None:
    """Print a penalty; `whose` stands before it."""
    row = _escaped(row)
    console.print(
        f"\n{whose}[bold]行政处罚[/bold] {row['document_number']}  {row['decided_on']}  {row['authority_name']}{_mark(row)}",
        highlight=False,
    )
    money = f"  罚款 {row['fine'].normalize():f} 万元" if row["fine"] is not None else ""
    console.print(f"  {row['categories']}{money}  {row['content']}", highlight=False)
    console.print(f"  [dim]{row['violation_type']}: {row['facts']}[/dim]", highlight=False)
    console.print(f"  失信程度 {row['level'] or '未标明'}{_period(row)}", highlight=False)


def print_listing(console: Console, row: dict[str, Any], *, whose: str = "") -> None:
    """Print a list entry; `whose` stands before it."""
    row = _escaped(row)
    removed = f"  已移出 {row['removed_on']}({row['removal_reason']})" if row["removed_on"] else ""
    console.print(
        f"\n{whose}[bold]严重失信主体名单[/bold] {row['list']} {row['entry_id']}  列入 {row['listed_on']}  {row['authority_name']}{removed}{_mark(row)}",
        highlight=False,
    )
    console.print(f"  [dim]{row['grounds']}[/dim]", highlight=False)
    console.print(f"{_period(row)}", highlight=False)


def print_cases(console: Console, row: dict[str, Any], cases: Sequence[OpenCase]) -> None:
    """Print the open cases about a record."""
    for one in cases:
        if one.key == (row["record_id"], row["province"], row["department"]):
            console.print(f"  [yellow]{one.shown()}[/yellow]", highlight=False)


def _escaped(row: dict[str, Any]) -> dict[str, Any]:
    # A record's value is text, brackets included: the console must not interpret it, nor may it start a line of its
    # own, which would look like one of ours.
    return {
        name: escape(" ⏎ ".join(value.splitlines())) if isinstance(value, str) else value for name, value in row.items()
    }


def _period(row: dict[str, Any]) -> str:
    until = row["publish_to"] or "未定期限"
    web, printed = _ANSWERS[row["publishable"]], _ANSWERS[row["reportable"]]
    repair = f"  可申请修复自 {row['repair_from']}" if row["repair_from"] else ""
    return f"  公示期 {row['publish_from']} 至 {until}({_BASIS[row['publish_basis']]})  可公示: {web}  入报告: {printed}{repair}"


def _mark(row: dict[str, Any]) -> str:
    return f"  [yellow]异议标注 {row['disputed_since']} 起[/yellow]" if row["disputed_since"] else ""
