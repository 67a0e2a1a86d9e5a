"""`xinliu quality`: the mirror of what departments send, for a person, as JSON or as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from consumers.quality import Indicators, indicators
from schemas.catalogue import load
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.connection import Connection

__all__ = ["quality"]

CHINA = ZoneInfo("Asia/Shanghai")

_TITLES = {
    "department": "部门",
    "period_from": "期间",
    "received": "归集",
    "accepted": "入库",
    "refused": "退回",
    "compliance_rate": "合规率",
    "published": "首报",
    "late": "迟报",
    "late_rate": "迟报率",
    "corrected": "更正",
    "conflicts": "冲突",
    "visible_p50": "可见 p50",
    "visible_p99": "可见 p99",
}


class By(StrEnum):
    """Length of a period."""

    day = "day"
    month = "month"


def quality(
    ctx: typer.Context,
    department: Annotated[str | None, typer.Option(help="Key of one department; all of them by default.")] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of receipt; that of this month.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of receipt; today.")
    ] = None,
    by: Annotated[By, typer.Option(help="Length of a period.")] = By.month,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: JSON on stdout.")] = False,
    file: Annotated[Path | None, typer.Option("--csv", help="Write the figures to this file, for Excel.")] = None,
) -> None:
    """Show what departments are measured by: 归集, 入库, 合规率, 迟报率, corrections, conflicts, time to visible."""
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    if department is not None:
        load().department(connection.province, department)
    window = _window(first, last)
    database = (connection.reader_database or connection.database).get_secret_value()
    found = indicators(database, by.value, window, department=department)
    if file is not None:
        _write(file, found)
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1, default=_plain))
    elif file is None:
        _print(found, window)
    else:
        print(f"{file}: {len(found)} rows")


def _window(first: datetime | None, last: datetime | None) -> tuple[date, date]:
    end = last.date() if last else datetime.now(CHINA).date()
    begin = first.date() if first else end.replace(day=1)
    if begin > end:
        raise UsageError(f"--from {begin} lies behind --to {end}")
    if end - begin > timedelta(days=3660):
        raise UsageError("at most ten years are shown at once")
    return begin, end


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no place among the figures")


def _write(file: Path, found: Sequence[Indicators]) -> None:
    names = [field.name for field in fields(Indicators)]
    try:
        with file.open("w", encoding="utf-8-sig", newline="") as target:
            writer = csv.DictWriter(target, names)
            writer.writeheader()
            writer.writerows(asdict(one) for one in found)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def _print(found: Sequence[Indicators], window: tuple[date, date]) -> None:
    console = Console()
    console.print(
        f"{window[0]} 至 {window[1]},按接收日期(北京时间); 迟报: 处罚决定后第7个工作日之后接收", highlight=False
    )
    if not found:
        console.print("期间内没有接收任何声明")
        return
    table = Table(show_edge=False, pad_edge=False)
    for name, title in _TITLES.items():
        table.add_column(title, justify="left" if name in ("department", "period_from") else "right")
    for one in found:
        table.add_row(*(_cell(name, getattr(one, name)) for name in _TITLES))
    console.print(table)
    unknown = sum(one.not_judged for one in found)
    if unknown:
        console.print(f"[yellow]{unknown} 条首报不在工作日历范围内,未计入迟报率[/yellow]")


def _cell(name: str, value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, Decimal):
        return f"{value:.2%}"
    if name.startswith("visible"):
        return f"≤ {value:g} s"
    return str(value)
