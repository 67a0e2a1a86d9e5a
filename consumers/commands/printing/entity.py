"""Heading of `xinliu show`: the entity, its registration and since when, its former names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from rich.markup import escape

from consumers.report.registration import NATIONAL, Registered
from schemas.catalogue import load

__all__ = ["heading"]


def heading(uscc: str, who: Registered) -> Iterator[str]:
    """Yield the lines in rich's markup."""
    kind = f"  {escape(who.kind)}" if who.kind else ""
    yield f"[bold]{escape(who.name or '(未见任何记录)')}[/bold]  {uscc}{kind}"
    yield f"登记地  {_place(uscc, who)}"
    if who.moves:
        claims = {row["province"] for row in who.contested}
        stays = sorted(
            (row for row in who.registrations if row["province"] not in claims), key=lambda row: row["since"]
        )
        yield f"迁移    {' → '.join(_stay(row) for row in stays)}"
    if who.former_names:
        names = "、".join(f"{escape(one.name)}(至 {one.last_day})" for one in who.former_names)
        since = f";现名称 {who.name_since} 起" if who.name_since else ""
        yield f"曾用名  {names}{since}"
    elif who.name_since:
        yield f"名称    {who.name_since} 起用现名称"
    if who.division_differs:
        yield f"[yellow]提示    代码中的行政区划({uscc[2:8]})不属于登记地{_name(who.province)}:代码自首次登记起不变,以登记为准[/yellow]"
    for row in who.contested:
        claimed = f"{_name(row['province'])}称自 {row['since']} 起在该地登记(名称:{escape(row['name'])})"
        yield f"[yellow]待核    登记地有争议:{claimed},而{_name(who.province)}的登记未终止;裁定前以{_name(who.province)}为准[/yellow]"
    if who.waiting:
        yield f"[yellow]待核    另有 {who.waiting} 条登记记录被退回,尚待处理[/yellow]"


def _place(uscc: str, who: Registered) -> str:
    if who.province_source == "CODE":
        first = f"首次登记地 {_name(who.province)}" if who.province else "首次登记地不在京津冀晋"
        national = "代码由国家登记,不指明省份" if uscc[2:4] == NATIONAL else f"{first}(由代码推定)"
        return f"[dim]未见登记记录;{national}[/dim]"
    present = who.registrations[0]
    ended = f";{who.until} 起不在此登记(迁出或注销)" if who.until else ""
    return f"{_name(who.province)},{who.since} 起({escape(present['authority_name'])}){ended}"


def _stay(row: dict[str, Any]) -> str:
    until: date | None = row["until"]
    return f"{_name(row['province'])}({row['since']} 起{f',{until} 迁出' if until else ''})"


def _name(province: str | None) -> str:
    known = load().provinces
    return known[province].name_zh if province and province in known else str(province)
