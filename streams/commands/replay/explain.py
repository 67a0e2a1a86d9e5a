"""`xinliu replay diff --explain RECORD`: the events behind a record, for a person or a machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from schemas.calendar.clock import time_text
from schemas.console.terminal import Console

if TYPE_CHECKING:
    import psycopg

    from schemas.servers.connection import Connection
    from schemas.store.generations import Generation
    from streams.replay.diff.explanation import Explained, RecordEvent

__all__ = ["explain_record"]


def explain_record(
    store: psycopg.Connection[Any],
    connection: Connection,
    old: Generation,
    new: Generation,
    record: str,
    *,
    as_json: bool,
) -> int:
    """Print the state and history of a record in both generations; return 1 if they differ."""
    from schemas.catalogue import load
    from streams.replay.diff.explanation import explained

    found = explained(store, old, new, record, load(), own=connection.province)
    if as_json:
        told = [{**asdict(one), "record_id": one.record_id.hex, "differs": one.differs} for one in found]
        print(json.dumps({"old": old.schema, "new": new.schema, "records": told}, ensure_ascii=False, default=_text))
    else:
        for one in found:
            _print(one, old.schema, new.schema)
    return 1 if any(one.differs for one in found) else 0


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print(one: Explained, old: str, new: str) -> None:
    console = Console(highlight=False)
    held = "[bold red]held differently[/bold red]" if one.differs else "[green]held alike[/green]"
    console.print(
        f"[bold]{one.record_id.hex}[/bold]  {escape(f'{one.province} {one.department}')}  {held} in {old} and {new}"
    )
    for event in one.events:
        _event(console, event)


def _event(console: Console, event: RecordEvent) -> None:
    at = time_text(event.known_at)
    where = f"accepted/{event.partition}@{event.offset}" if event.offset >= 0 else "taken out here"
    epoch = f" epoch {event.epoch}" if event.epoch else ""
    console.print(
        escape(
            f"  {where}  version {event.version}{epoch}  {event.status} {event.reason or ''}  {event.uscc}  known {at}"
        )
    )
    stands = f", stands in {', '.join(event.stands_in)}" if event.stands_in else ""
    console.print(f"    in the history of {', '.join(event.held_by)}{stands}  [dim]{event.digest}[/dim]")
    for schema, findings in event.refused_by.items():
        codes = ", ".join(f"{one['code']} {one.get('field') or ''}".strip() for one in findings)
        console.print(escape(f"    not folded into {schema}: refused for {codes}"), style="yellow")
    if event.erased:
        console.print("    its content is erased", style="dim")
    elif event.rules:
        for told in event.rules:
            console.print(
                escape(f"    today's rules refuse it: {told['code']} {told['field'] or ''} {told['message']}"),
                style="red",
            )
        if event.let_through:
            console.print("    a person has let it through", style="yellow")
    elif event.rules is not None:
        console.print("    today's rules accept it", style="green")
    for name, (before, value) in event.fields.items():
        console.print(escape(f"    {name}: {_shown(before)} → {_shown(value)}"))


def _shown(value: Any) -> str:
    return "—" if value is None else str(value)
