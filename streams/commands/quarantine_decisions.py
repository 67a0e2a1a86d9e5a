"""`xinliu quarantine decisions`: decisions about the quarantine, who took them, and their outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.calendar.clock import time_text
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["counted", "decisions"]


def decisions(
    ctx: typer.Context,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that intake has not carried out.")] = False,
    run: Annotated[
        str | None, typer.Option(help="Only those of this run, or planned replay, and what came of each entry.")
    ] = None,
    wide: Wide = False,
    as_json: Json = False,
) -> int:
    """List decisions as stored in `operations`, and whether intake has carried them out. Exit code 1 if it has not."""
    from schemas.contracts.registry import Registry
    from schemas.operations.log import held_operations
    from schemas.operations.two_people import TwoPeople
    from streams.quarantine.entries import DECISIONS, DONE, undone

    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    with Registry(connection.registry) as registry:
        operations = held_operations(connection.kafka, registry)
    left = undone(operations)
    people = TwoPeople.of(connection, operations)
    lacking = {one.id for one in left.values() if people.lacks(one)}
    done = {str(one.detail.get("decision")): one for one in operations if one.kind == DONE}
    shown = [
        one
        for one in operations
        if one.kind in DECISIONS and (one.id in left or not waiting) and run in (None, one.detail.get("run"))
    ]
    left = {one: left[one] for one in left if run is None or left[one].detail.get("run") == run}
    fates = _fates(connection, [one.id for one in shown]) if run is not None else []
    plain: list[dict[str, Any]] = [
        {
            "id": one.id,
            "kind": one.kind,
            "at": one.at.isoformat(),
            "by": one.by,
            "reason": one.reason,
            "department": one.department,
            "run": one.detail.get("run"),
            "entries": len(one.detail.get("entries", ())),
            **({"waits_for_approval": True} if one.id in lacking else {}),
            "outcomes": done[one.id].detail.get("outcomes", {}) if one.id in done else None,
            "error": done[one.id].detail.get("error") if one.id in done else None,
        }
        for one in shown
    ]
    if as_json:
        told = {"decisions": plain, "waiting": len(left), **({"fates": fates} if run is not None else {})}
        print(json.dumps(told, ensure_ascii=False, default=str))
        return 1 if left else 0
    console = Console()
    rows = [
        (
            time_text(one.at),
            one.kind,
            one.by,
            one.department or "",
            str(row["entries"]),
            ("waits for approval" if one.id in lacking else "waits for intake")
            if row["outcomes"] is None
            else escape(row["error"] or counted(row["outcomes"])),
            escape(one.reason),
        )
        for row, one in zip(plain, shown, strict=True)
    ]
    titles = ("decided", "kind", "by", "department", "entries", "outcomes", "reason")
    if shown:
        least, text = ("department", "by", "decided", "entries"), ("outcomes", "reason")
        print_table(console, titles, rows, least=least, text=text, wide=wide)
    else:
        console.print("no decisions")
    for fate in fates:
        console.print(f"  {fate['entry']} {fate['outcome']} {', '.join(fate['codes'])}", highlight=False)
    return 1 if left else 0


def _fates(connection: Connection, decisions: list[str]) -> list[dict[str, Any]]:
    from streams.quarantine.reader import QuarantineReader

    with QuarantineReader(connection.database.get_secret_value()) as reader:
        return reader.fates(decisions)


def counted(outcomes: Mapping[str, int]) -> str:
    """Return the number of each outcome as text for a person."""
    return ", ".join(f"{outcome} {n}" for outcome, n in sorted(outcomes.items()))
