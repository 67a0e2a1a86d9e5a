"""`xinliu quality`: the mirror of departments' data quality, for a person, as JSON or as a file."""

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

import typer

from consumers.report.quality import Indicators, indicators
from schemas.calendar.clock import CHINA
from schemas.catalogue import load
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import department_typed
from schemas.errors import UsageError
from schemas.files.outputs import Outputs
from schemas.texts.spreadsheets import cell_written

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["mount", "quality"]

_TITLES = ("部门", "期间", "归集", "入库", "退回", "合规率", "迟报率", "更正", "冲突", "可见 p50/p99")


class By(StrEnum):
    """Length of a period."""

    day = "day"
    month = "month"


def quality(
    ctx: typer.Context,
    department: Annotated[
        str | None,
        typer.Option(help="Key or name of one department; all of them by default.", callback=department_typed),
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of receipt; that of this month.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of receipt; today.")
    ] = None,
    by: Annotated[By, typer.Option(help="Length of a period.")] = By.month,
    wide: Wide = False,
    as_json: Json = False,
    file: Annotated[Path | None, typer.Option("--csv", help="Write the figures to this file, for Excel.")] = None,
) -> None:
    """Show the departments' indicators: 归集, 入库, 合规率, 迟报率, corrections, conflicts, time to visible."""
    outputs = ctx.with_resource(Outputs({"--csv": file}))
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    if department is not None:
        load().department(connection.province, department)
    window = _window(first, last)
    database = (connection.reader_database or connection.database).get_secret_value()
    found = indicators(database, by.value, window, department=department)
    if file is not None:
        _write(outputs.part(file), found)
        outputs.keep()
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1, default=_plain))
    elif file is None:
        _print(found, window, by, wide=wide)
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
            writer.writerows({name: cell_written(cell) for name, cell in asdict(one).items()} for one in found)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def _print(found: Sequence[Indicators], window: tuple[date, date], by: By, *, wide: bool) -> None:
    console = Console()
    console.print(f"{window[0]} 至 {window[1]},按接收日期; 迟报: 第7个工作日之后接收", highlight=False)
    if not found:
        console.print("期间内没有接收任何声明")
        return
    rows = [
        (
            one.department,
            str(one.period_from) if by is By.day else f"{one.period_from:%Y-%m}",
            *(str(n) for n in (one.received, one.accepted, one.refused)),
            _rate(one.compliance_rate),
            _rate(one.late_rate),
            str(one.corrected),
            str(one.conflicts),
            f"{_seconds(one.visible_p50)}/{_seconds(one.visible_p99)} s" if one.accepted else "—",
        )
        for one in found
    ]
    print_table(console, _TITLES, rows, least=("冲突", "更正", "迟报率"), right=_TITLES[2:], wide=wide)
    unknown = sum(one.not_judged for one in found)
    if unknown:
        console.print(f"[yellow]{unknown} 条首报不在工作日历范围内,未计入迟报率[/yellow]")


def _rate(rate: Decimal | None) -> str:
    return "—" if rate is None else f"{rate:.1%}"


def _seconds(bound: float | None) -> str:
    return "> 86400" if bound is None else f"{bound:g}"


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(quality)
