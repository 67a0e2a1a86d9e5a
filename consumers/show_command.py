"""`xinliu show`: one entity's credit view, for a person or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from consumers.heading import heading
from consumers.reading import CreditView, read
from consumers.token import Moment
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.connection import Connection

__all__ = ["show"]

CHINA = ZoneInfo("Asia/Shanghai")
WINDOW_YEARS = 5
"""涵盖时间范围不超过5年 (notice of 2025-08-19); its anchor is unknown, ours is 处罚决定日期 and any overlap of a listing."""

_STYLE = {"有": "bold red", "待核": "yellow", "未归集": "magenta", "无": "green"}


def show(
    ctx: typer.Context,
    uscc: Annotated[str, typer.Argument(help="统一社会信用代码 of the entity.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="What was known then: 2026-11-23T10:00 (China time unless it has a zone)."),
    ] = None,
    token: Annotated[str | None, typer.Option(help="Give the answer again that carried this token.")] = None,
    window_from: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the window; 5 years ago.")
    ] = None,
    window_to: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of the window; today.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole view as JSON.")] = False,
) -> None:
    """Show an entity: 有 / 无 / 待核 / 未归集 for each domain, what is in force, and how fresh each source is."""
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    database = (connection.reader_database or connection.database).get_secret_value()
    view = read(
        database,
        uscc.strip().upper(),
        _window(window_from, window_to),
        as_of=_time(as_of) if as_of else None,
        moment=Moment.from_token(token) if token else None,
    )
    if as_json:
        print(json.dumps(_plain(view), ensure_ascii=False, indent=2, default=_text))
    else:
        _print(view)


def _window(first: datetime | None, last: datetime | None) -> tuple[date, date]:
    end = last.date() if last else datetime.now(CHINA).date()
    if first is None:
        # 29 February has no counterpart in most years; the day before it keeps the window within five years.
        day = min(end.day, 28) if end.month == 2 else end.day
        return end.replace(year=end.year - WINDOW_YEARS, day=day), end
    if first.date() > end:
        raise UsageError(f"--from {first.date()} lies behind --to {end}")
    return first.date(), end


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text!r} is no time: write 2026-11-23T10:00 or 2026-11-23T10:00:00+08:00") from None
    return time if time.tzinfo else time.replace(tzinfo=CHINA)


def _plain(view: CreditView) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(view).items() if key != "moment"}
    return plain | {
        "token": view.moment.to_token(),
        "generation": view.moment.generation,
        "read_at": view.moment.read_at,
    }


def _text(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in the answer")


def _local(time: datetime | None) -> str:
    return time.astimezone(CHINA).strftime("%Y-%m-%d %H:%M") if time else "—"


def _print(view: CreditView) -> None:
    console = Console()
    first, last = view.window
    for line in heading(view.uscc, view.registered):
        console.print(line, highlight=False)
    console.print(
        f"{first} 至 {last}(处罚按决定日期,名单按列入至移出期间)  读取于 {_local(view.moment.read_at)}", highlight=False
    )
    if view.erased:
        console.print(f"[yellow]{view.erased} 条当时有效的记录此后被撤销,内容已删除[/yellow]")
    _domains(console, view)
    for penalty in view.penalties:
        _penalty(console, penalty)
    for listing in view.listings:
        _listing(console, listing)
    console.print(f"\n[dim]token {view.moment.to_token()}[/dim]", soft_wrap=True, highlight=False)


def _domains(console: Console, view: CreditView) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for title in ("领域", "结果", "处罚", "名单", "待核", "数据截至"):
        table.add_column(title, justify="right" if title in ("处罚", "名单") else "left")
    quiet: dict[str, list[str]] = {}
    for line in view.domains:
        if line.state in ("无", "未归集"):
            quiet.setdefault(line.state, []).append(line.name_zh)
            continue
        table.add_row(
            line.display_label,
            f"[{_STYLE[line.state]}]{line.state}[/]",
            str(line.penalties or ""),
            str(line.listings or ""),
            str(line.pending or ""),
            _local(line.data_as_of),
        )
    if table.row_count:
        console.print(table)
    for state, names in quiet.items():
        oldest = [line.data_as_of for line in view.domains if line.state == state and line.data_as_of]
        until = f"(数据截至最早 {_local(min(oldest))})" if state == "无" and oldest else ""
        console.print(f"[{_STYLE[state]}]{state}[/]  {len(names)} 个领域{until}: {'、'.join(names)}", highlight=False)


def _penalty(console: Console, row: dict[str, Any]) -> None:
    console.print(
        f"\n[bold]行政处罚[/bold] {row['document_number']}  {row['decided_on']}  {row['authority_name']}",
        highlight=False,
    )
    money = f"  罚款 {row['fine'].normalize():f} 万元" if row["fine"] is not None else ""
    console.print(f"  {row['categories']}{money}  {row['content']}", highlight=False)
    console.print(f"  [dim]{row['violation_type']}: {row['facts']}[/dim]", highlight=False)


def _listing(console: Console, row: dict[str, Any]) -> None:
    removed = f"  已移出 {row['removed_on']}({row['removal_reason']})" if row["removed_on"] else ""
    console.print(
        f"\n[bold]严重失信主体名单[/bold] {row['list']} {row['entry_id']}  列入 {row['listed_on']}  {row['authority_name']}{removed}",
        highlight=False,
    )
    console.print(f"  [dim]{row['grounds']}[/dim]", highlight=False)
