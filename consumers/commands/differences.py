"""`xinliu exchange differences`: wrong rows in this province's tables, and differences from the other provinces."""

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
from schemas.console.groups import EXCHANGE, group
from schemas.console.options import Json
from schemas.console.terminal import Console
from schemas.errors import Retryable

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["differences", "mount"]

_QUERIES = {
    "unequal": "SELECT * FROM report.exchange_unequal ORDER BY province, domain, partition",
    "exchange": "SELECT * FROM report.exchange_difference WHERE closed_at IS NULL OR NOT %(open)s"
    " ORDER BY closed_at IS NOT NULL, opened_at DESC, province, domain, record_id LIMIT %(limit)s",
    "rows": "SELECT * FROM report.row_difference WHERE mended_at IS NULL OR NOT %(open)s"
    " ORDER BY mended_at IS NOT NULL, found_at DESC, relation, record_id LIMIT %(limit)s",
}


def differences(
    ctx: typer.Context,
    open_only: Annotated[bool, typer.Option("--open", help="Only what is not mended yet.")] = False,
    limit: Annotated[int, typer.Option(help="Differences of each kind that are listed, at most.", min=0)] = 100,
    as_json: Json = False,
) -> None:
    """Show differences: from the other provinces' shared records, and between our own tables and the log.

    Exit code 1 while any is open.
    """
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    database = (connection.reader_database or connection.database).get_secret_value()
    values = {"open": open_only, "limit": limit}
    try:
        with psycopg.connect(database, connect_timeout=10, row_factory=dict_row) as session:
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = {name: session.execute(query, values).fetchall() for name, query in _QUERIES.items()}
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2, default=_text))
    else:
        _print(found)
    open_rows = [row for row in found["rows"] if row["mended_at"] is None]
    if found["unequal"] or open_rows or any(row["closed_at"] is None for row in found["exchange"]):
        raise typer.Exit(1)


def _print(found: dict[str, list[dict[str, Any]]]) -> None:
    console = Console()
    for row in found["unequal"]:
        console.print(
            f"[red]不一致[/]  {row['province']}  {row['domain']}  分区 {row['partition']}  对方 {row['records']} 条, 本地"
            f" {row['held_records']} 条  检查点 {time_text(row['made_at'])}  已请求重推 {row['tries']} 次",
            highlight=False,
        )
    for row in found["exchange"]:
        console.print(
            f"{row['difference_zh']}  {row['province']}  {row['domain']}  {row['department']}  {row['record_id'].hex}  对方"
            f" {row['shared_version'] or '—'}  本地 {row['held_version'] or '—'}  {_since(row['opened_at'], row['closed_at'])}",
            highlight=False,
        )
    for row in found["rows"]:
        what = row["record_id"].hex if row["record_id"] else row["uscc"] or ""
        place = "  ".join(
            str(row[name]) for name in ("province", "department", "domain", "partition") if row[name] is not None
        )
        fields = f"  字段 {', '.join(row['fields'])}" if row["fields"] else ""
        console.print(
            f"{row['difference_zh']}  {row['relation']}  {what}  {place}{fields}  {_since(row['found_at'], row['mended_at'])}"
            f"  {row['how_zh'] or ''}",
            highlight=False,
        )
    if not any(found.values()):
        console.print("[green]一致[/]: nothing differs, and nothing that was found is kept")


def _since(opened: datetime, closed: datetime | None) -> str:
    return f"自 {time_text(opened)}" + (f", 已修复于 {time_text(closed)}" if closed else " [red]未修复[/]")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return value.hex
    raise TypeError(f"{type(value).__name__} has no place in the answer")


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "exchange", EXCHANGE).command()(differences)
