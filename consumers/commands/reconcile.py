"""`xinliu reconcile status`: departments' manifests and the open differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import psycopg
import typer
from psycopg.rows import dict_row

from schemas.calendar.clock import time_text
from schemas.console.groups import RECONCILE, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import department_typed
from schemas.errors import Retryable

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["mount", "status"]

_STATES = {
    "EQUAL": "[green]一致[/]",
    "DIFFERS": "[red]不一致[/]",
    "WAITING": "[yellow]待比对[/]",
    "REFUSED": "[red]清单有误[/]",
}
_KINDS = ("missing", "content", "refused", "older_here", "newer_here", "unknown")

_MANIFESTS = "SELECT * FROM report.reconciliation WHERE (%(department)s::text IS NULL OR department = %(department)s) ORDER BY 1, 2, 3"
_DIFFERENCES = """
SELECT * FROM report.record_difference
WHERE (%(department)s::text IS NULL OR department = %(department)s) AND (closed_at IS NULL OR %(closed)s)
ORDER BY department, domain, kind, opened_at, record_id LIMIT %(limit)s
"""


def status(
    ctx: typer.Context,
    department: Annotated[str | None, typer.Option(help="One department alone.", callback=department_typed)] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Differences that were mended, too.")] = False,
    limit: Annotated[int, typer.Option(help="Differences that are listed, at most.", min=0)] = 100,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show the last manifest of each department, domain and kind of record, and the open differences.

    Exit code 1 while any is open, or a manifest was refused.
    """
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    database = (connection.reader_database or connection.database).get_secret_value()
    values = {"department": department, "closed": closed, "limit": limit}
    try:
        with psycopg.connect(database, connect_timeout=10, row_factory=dict_row) as session:
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            manifests = session.execute(_MANIFESTS, values).fetchall()
            differences = session.execute(_DIFFERENCES, values).fetchall()
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error
    if as_json:
        told = {"manifests": manifests, "differences": differences}
        print(json.dumps(told, ensure_ascii=False, indent=2, default=_text))
    else:
        _print(manifests, differences, wide=wide)
    if any(row["state"] in ("DIFFERS", "REFUSED") or any(row[kind] for kind in _KINDS) for row in manifests):
        raise typer.Exit(1)


def _print(manifests: list[dict[str, Any]], differences: list[dict[str, Any]], *, wide: bool) -> None:
    console = Console()
    if not manifests:
        console.print(hint("no department has stated a manifest yet: `xinliu reconcile manifest` does"))
        return
    titles = (
        "部门",
        "领域",
        "类别",
        "月份",
        "清单时间",
        "归集",
        "入库",
        "结果",
        "漏报",
        "错报",
        "未入库",
        "较旧",
        "较新",
        "未列",
        "自",
        "最近闭合",
    )
    rows = [
        (
            row["department"],
            row["domain"],
            row["kind"],
            f"{row['first_period'] or '最早'}…{row['last_period'] or '今'}",
            time_text(row["made_at"]),
            str(row["stated"]),
            "—" if row["held"] is None else str(row["held"]),
            _STATES.get(row["state"], row["state"]),
            *(str(row[kind] or "") for kind in _KINDS),
            time_text(row["open_since"], missing=""),
            time_text(row["last_closed"], missing=""),
        )
        for row in manifests
    ]
    least = ("最近闭合", "自", "清单时间", "月份", "较新", "较旧", "未列", "类别", "未入库")
    print_table(console, titles, rows, least=least, right=titles[5:7] + titles[8:14], wide=wide)
    for row in manifests:
        if row["message"]:
            console.print(f"{row['department']} {row['domain']}: {row['message']}", highlight=False)
        if row["wanted"]:
            console.print(
                f"{row['department']} {row['domain']} {row['kind']}: {row['wanted']} buckets differ and their records are not"
                + hint(" named yet; `xinliu reconcile manifest --wait` names them"),
                highlight=False,
            )
    for row in differences:
        until = f", 闭合于 {time_text(row['closed_at'])}" if row["closed_at"] else ""
        console.print(
            f"{row['difference_zh']}  {row['department']}  {row['record_id'].hex}  部门 {row['stated_version'] or '—'}"
            f"  平台 {row['held_version'] or '—'}  自 {time_text(row['opened_at'])}{until}  {'; '.join(row['reasons'])}",
            highlight=False,
        )


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return value.hex
    raise TypeError(f"{type(value).__name__} has no place in the answer")


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "reconcile", RECONCILE).command()(status)
