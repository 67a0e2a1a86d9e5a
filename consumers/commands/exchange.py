"""`xinliu exchange status | duties`: how far each province has applied the others' changes, and duties towards us."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import psycopg
import typer
from psycopg.rows import dict_row
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from schemas.calendar.clock import CHINA, time_text
from schemas.console.groups import EXCHANGE, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import print_table
from schemas.console.terminal import Console
from schemas.errors import Retryable, UsageError

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["duties", "mount", "status"]

_EVERY = 1.0
_QUERIES = (
    "SELECT * FROM report.exchange_heard ORDER BY NOT own, division",
    "SELECT * FROM report.exchange_matrix ORDER BY origin, province",
)
_DOMAINS_SHOWN = 3

_STATES = {
    "EQUAL": ("一致", "green"),
    "BEHIND": ("落后", "yellow"),
    "DIFFERS": ("不一致", "red"),
    "NOT_APPLIED": ("未应用", "yellow"),
    "ORIGIN_SILENT": ("来源静默", "magenta"),
    "SILENT": ("静默", "magenta"),
}
_DUTIES = {"OPEN": ("待落实", "yellow"), "OVERDUE": ("逾期", "red"), "ACKNOWLEDGED": ("已落实", "green")}
_STATUSES = {"REPAIRED": "修复", "REVOKED": "撤销", "WITHDRAWN": "撤回"}

Rows = list[dict[str, Any]]


def status(
    ctx: typer.Context,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until interrupted.")] = False,
) -> None:
    """Show who has applied whose changes, as every province reports of itself: the origin's row, the other's column.

    Exit code 1 if a province is silent, or differs for longer than its limit, or a repair or revocation is overdue.
    """
    if as_json and watch:
        raise UsageError("--json answers once: leave out --watch, or ask again and again")
    console = Console()
    if watch:
        _watch(ctx, console)
        return
    heard, matrix = _read(ctx, *_QUERIES)
    wrong = _wrong(heard, matrix)
    if as_json:
        print(
            json.dumps(
                {"provinces": heard, "cells": matrix, "wrong": wrong}, ensure_ascii=False, indent=2, default=_text
            )
        )
    else:
        console.print(_shown(heard, matrix, wrong))
    if wrong:
        raise typer.Exit(1)


def duties(
    ctx: typer.Context,
    only_open: Annotated[bool, typer.Option("--open", help="Only what is not acknowledged.")] = False,
    province: Annotated[str | None, typer.Option(help="What one province must apply.")] = None,
    limit: Annotated[int, typer.Option(help="Lines, at most; those that are due first come first.", min=1)] = 200,
    as_json: Json = False,
) -> None:
    """Show the repairs, revocations and withdrawals of ours that others must apply, and when each did.

    Exit code 1 if one is overdue, whatever is shown.
    """
    values = {"open": only_open, "province": province, "limit": limit}
    found, counts = _read(
        ctx,
        "SELECT * FROM report.exchange_duty WHERE (state <> 'ACKNOWLEDGED' OR NOT %(open)s)"
        " AND (province = %(province)s OR %(province)s::text IS NULL)"
        " ORDER BY acknowledged_at IS NOT NULL, due_at NULLS FIRST, acknowledged_at DESC, record_id, province LIMIT %(limit)s",
        "SELECT province, state, count(*) AS n FROM report.exchange_duty"
        " WHERE province = %(province)s OR %(province)s::text IS NULL GROUP BY 1, 2 ORDER BY 1, 2",
        **values,
    )
    if as_json:
        print(json.dumps({"duties": found, "counts": counts}, ensure_ascii=False, indent=2, default=_text))
    else:
        _print_duties(found, counts)
    if any(row["state"] == "OVERDUE" for row in counts):
        raise typer.Exit(1)


def _read(ctx: typer.Context, *queries: str, **values: Any) -> list[Rows]:
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    database = (connection.reader_database or connection.database).get_secret_value()
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE or XINLIU_READER_DATABASE")
    try:
        with psycopg.connect(database, connect_timeout=10, row_factory=dict_row) as session:
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return [session.execute(query, values).fetchall() for query in queries]
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error


def _watch(ctx: typer.Context, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                heard, matrix = _read(
                    ctx, "SELECT * FROM report.exchange_heard", "SELECT * FROM report.exchange_matrix"
                )
                shown = _shown(heard, matrix, _wrong(heard, matrix))
            except Retryable as error:
                shown = Text(
                    f"{time_text(datetime.now(UTC))}  {error}", style="red"
                )  # an old matrix would look like a current one
            live.update(shown, refresh=True)
            sleep(_EVERY)


def _wrong(heard: Rows, matrix: Rows) -> list[str]:
    """Return the reasons for exit code 1, one a line."""
    lines = []
    for row in heard:
        if row["received_at"] is None:
            lines.append(f"静默: {row['name_zh']}: 从未收到其状态")
        elif row["silent"]:
            lines.append(f"静默: {row['name_zh']}: 已有 {_span(row['silent_seconds'])} 未收到其状态")
        elif row["stalled"]:
            lines.append(f"静默: {row['name_zh']}: 有状态,但其检查点不再前进 (最近 {time_text(row['checkpoint_at'])})")
    names = {row["province"]: row["name_zh"] for row in heard}
    for cell in matrix:
        pair = f"{names[cell['origin']]} → {names[cell['province']]}"
        if cell["differs_too_long"]:
            lines.append(f"不一致: {pair}: {', '.join(cell['differs'])}, 自 {time_text(cell['differs_since'])}")
        if cell["overdue"]:
            lines.append(
                hint(f"逾期: {pair}: {cell['overdue']} 条修复、撤销或撤回未按期落实 (xinliu exchange duties --open)")
            )
    return lines


def _shown(heard: Rows, matrix: Rows, wrong: Sequence[str]) -> RenderableType:
    if not heard:
        return Text("this database belongs to no province yet: start a view worker with the setting `exchange`")
    cells = {(cell["origin"], cell["province"]): cell for cell in matrix}
    table = Table(
        title="来源(行)的变更,由各省(列)落实到何处(时刻为北京时间)",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        show_lines=True,
    )
    table.add_column("来源", no_wrap=True)
    for row in heard:
        table.add_column(row["name_zh"], overflow="fold", ratio=1)
    for origin in heard:
        table.add_row(
            Text(origin["name_zh"]),
            *(_published(origin) if to is origin else _cell(cells[origin["province"], to["province"]]) for to in heard),
        )
    lines: list[RenderableType] = [table]
    lines += [
        Text(
            f"被拒状态: {row['name_zh']}: 共 {row['refusals']} 条, 最近 {time_text(row['refused_at'])}: {row['refusal']}",
            style="yellow",
        )
        for row in heard
        if row["refusals"]
    ]
    lines += [Text(line, style="red") for line in wrong]
    return Group(*lines)


def _published(row: dict[str, Any]) -> Text:
    text = Text()
    if row["silent"] or row["stalled"]:
        text.append("静默", style="magenta")
    else:
        text.append("发布中", style="green")
    text.append(f"\n检查点 {_clock(row['checkpoint_at'])}\n状态 {_clock(row['received_at'])}", style="dim")
    return text


def _cell(cell: dict[str, Any]) -> Text:
    name, style = _STATES[cell["state"]]
    text = Text(name, style=style)
    if cell["lag_records"] is not None:
        text.append(f"\n差 {cell['lag_records']:,} 条 {_span(cell['lag_seconds'])}", style="default")
    elif cell["published"]:
        text.append(f"\n分区 {cell['applied']}/{cell['published']}", style="default")
    if cell["differs"]:
        more = "…" if len(cell["differs"]) > _DOMAINS_SHOWN else ""
        text.append(f"\n{', '.join(cell['differs'][:_DOMAINS_SHOWN])}{more}", style="red")
    text.append(f"\n落实 {_clock(cell['acknowledged_at'])}", style="dim")
    if cell["open"] or cell["overdue"]:
        text.append(f"\n待 {cell['open']} 逾期 {cell['overdue']}", style="red" if cell["overdue"] else "yellow")
    return text


def _print_duties(found: Rows, counts: Rows) -> None:
    console = Console()
    rows: list[tuple[str | Text, ...]] = []
    for row in found:
        name, style = _DUTIES[row["state"]]
        times = [
            f"须于 {time_text(row['due_at'])} 前" if row["due_at"] else "无日历或期限",
            f"发布 {time_text(row['published_at'])}",
        ]
        if row["acknowledged_at"]:
            times.append(f"落实 {time_text(row['acknowledged_at'])}")
        rows.append(
            (
                row["province"],
                Text.assemble((name, style), f"\n{_STATUSES.get(row['status'], row['status'])}"),
                f"{row['record_id'].hex}\n{row['department']} 版本 {row['version']}",
                "\n".join(times),
            )
        )
    if found:
        print_table(console, ("省", "状态", "记录", "时间"), rows, text=("时间",))
    for row in counts:
        console.print(f"{row['province']} {_DUTIES[row['state']][0]} {row['n']:,}", highlight=False)
    if not counts:
        console.print("nothing that others must apply has been published yet")


def _span(seconds: float) -> str:
    for unit, name in ((86_400, "天"), (3_600, "时"), (60, "分")):
        if seconds >= unit:
            return f"{seconds / unit:.1f}{name}"
    return f"{seconds:.1f}秒"


def _clock(time: datetime | None) -> str:
    return time.astimezone(CHINA).strftime("%H:%M:%S") if time else "从未"


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    raise TypeError(f"{type(value).__name__} has no place in the answer")


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    for command in (status, duties):
        group(app, "exchange", EXCHANGE).command()(command)
