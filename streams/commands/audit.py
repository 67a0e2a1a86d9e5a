"""`xinliu audit`: the operators' actions, and the check that none of them was changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress

from schemas.calendar.clock import TIME_HELP, read_time, time_text
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console

if TYPE_CHECKING:
    from schemas.servers.connection import Connection
    from streams.audit.chain import AuditEntry
    from streams.audit.verification import AuditVerdict

__all__ = ["mount"]

audit = typer.Typer(
    help="审计: what was done, by whom, when and why; and whether that is still what was said.", no_args_is_help=True
)


def _plain(entry: AuditEntry) -> dict[str, Any]:
    told = entry.to_row()
    parsed = {
        name: json.loads(told[name]) if told[name] is not None else None for name in ("detail", "before", "after")
    }
    return {**told, **parsed}


@audit.command("list")
def _list(
    ctx: typer.Context,
    since: Annotated[str | None, typer.Option(help=f"From then on: {TIME_HELP}")] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of event: QUARANTINE_REDRIVE, REPLAY_PROMOTED…")] = None,
    by: Annotated[str | None, typer.Option(help="Who: a name, or name@host.")] = None,
    replay: Annotated[str | None, typer.Option(help="Steps of this replay.")] = None,
    heads: Annotated[bool, typer.Option("--heads", help="The anchored heads of the audit itself, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many of the last ones are shown.")] = 50,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List actions in the order in which they were written: who, when, what, why, before and after."""
    from streams.audit.reader import entries

    connect: Callable[[], Connection] = ctx.obj
    found = entries(
        connect().database.get_secret_value(),
        since=read_time(since, "--since"),
        kind=kind.upper() if kind else None,
        by=by,
        replay=replay,
        heads=heads,
    )
    if len({one.topic for one in found}) > 1:
        found.sort(
            key=lambda one: one.event.at
        )  # each topic has its own order; only the time orders events of different topics
    shown = found[-limit:]
    if as_json:
        print(json.dumps({"entries_in_all": len(found), "entries": [_plain(one) for one in shown]}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if not found:
        console.print("nothing of that kind was done")
        return
    rows = [
        (
            str(one.sequence),
            time_text(datetime.fromisoformat(one.event.at)),
            escape(one.event.by),
            one.event.kind,
            escape(_about(one.event.department, json.loads(one.event.detail))),
            escape(one.event.reason),
        )
        for one in shown
    ]
    titles = ("no.", "when", "who", "what", "about", "why")
    print_table(console, titles, rows, least=("about", "no.", "who"), text=("about", "why"), wide=wide)
    if len(found) > len(shown):
        console.print(f"… and {len(found) - len(shown)} before them (--limit)")


def _about(department: str | None, detail: dict[str, Any]) -> str:
    known = [department] if department else []
    for name in ("replay", "generation", "decision", "topic", "partition", "peer", "records", "sequence"):
        if detail.get(name) is not None:
            known.append(f"{name} {str(detail[name])[:40]}")
    if isinstance(entries := detail.get("entries"), list):
        known.append(f"{len(entries)} entries")
    for name in ("before", "after"):
        if detail.get(name) is not None:
            known.append(f"{name} {json.dumps(detail[name], ensure_ascii=False)[:60]}")
    return ", ".join(known)


@audit.command("verify")
def _verify(ctx: typer.Context, as_json: Json = False) -> int:
    """Compute each topic's chain anew, compare it with the topic and its anchored heads, and check approvals.

    Exit code 1 if an entry was changed, removed, inserted, moved or is missing: the first one of its topic is named.
    Also if something was done that no second person had approved (UNAPPROVED).
    """
    from schemas.operations.log import TOPIC

    connect: Callable[[], Connection] = ctx.obj
    verdict = _verified(connect())
    if as_json:
        print(
            json.dumps({**asdict(verdict), "findings": [asdict(one) for one in verdict.findings]}, ensure_ascii=False)
        )
        return 1 if verdict.findings else 0
    for one in verdict.findings:
        print(f"{one.what}: {one.text}{'' if one.topic == TOPIC else f' [{one.topic}]'}")
    if verdict.disbelieved:
        print(
            f"{verdict.disbelieved} events say what their author may not say: they have no effect (`xinliu audit list`)"
        )
    waiting = f"; {verdict.waiting} events wait to be taken over" if verdict.waiting else ""
    ends = "not as it was written" if verdict.findings else "as it was written"
    print(
        f"{ends}: {verdict.entries} entries, {verdict.heads} anchored heads, the last of entry {verdict.anchored}{waiting}"
    )
    return 1 if verdict.findings else 0


def _verified(connection: Connection) -> AuditVerdict:
    from streams.audit.reader import examined

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading operations", total=None)
        return examined(connection, lambda read, end: bar.update(task, completed=read, total=end))


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(audit, name="audit")
