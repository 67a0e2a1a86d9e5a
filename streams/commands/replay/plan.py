"""`xinliu replay plan`, `list` and `show`: plans of replays, and their states and steps."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.calendar.clock import TIME_HELP, time_text
from schemas.console.groups import REPLAY, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import code_typed, department_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from schemas.servers.connection import Connection
    from streams.kafka.scope import ReplayScope
    from streams.replay.plan.ledger import Ledger, Replay
    from streams.replay.plan.planner import Plan

__all__ = ["ledger", "mount", "print_figures", "shown_scope"]

_UNITS = {"events": "events", "records": "records", "offsets": "offsets of the log"}


@contextmanager
def ledger(connect: Callable[[], Connection]) -> Iterator[Ledger]:
    """Open the ledger; its steps name the person who runs this process."""
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator
    from schemas.store.database import connect as open_store
    from streams.replay.plan.approval import operations_of
    from streams.replay.plan.ledger import Ledger

    connection = connect()
    database = connection.acting("admin").database.get_secret_value()
    with Registry(connection.registry) as registry, open_store(database, autocommit=True) as store:
        writer = OperationsWriter(connection.kafka, registry)
        yield Ledger(store, writer, by=operator(connection.kafka), said=lambda: operations_of(connection))


def _plan(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Everything, into a new generation.")] = False,
    domain: Annotated[list[str] | None, typer.Option(help="Records of this domain, or `registration`.")] = None,
    department: Annotated[
        list[str] | None, typer.Option(help="What this department has said.", callback=department_typed)
    ] = None,
    entity: Annotated[
        list[str] | None, typer.Option(metavar="USCC", help="Records about this entity.", callback=code_typed)
    ] = None,
    since: Annotated[str | None, typer.Option(help=f"Accepted from then on: {TIME_HELP}")] = None,
    until: Annotated[str | None, typer.Option(help="Accepted before then.")] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(metavar="P:FROM-TO", help="Offsets of accepted, TO left out; also P:FROM- and P for all of it."),
    ] = None,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Open entries of the quarantine.")] = False,
    code: Annotated[list[str] | None, typer.Option(help="With --quarantine: refused for this reason.")] = None,
    province: Annotated[str | None, typer.Option(help="What came by the exchange of this other province.")] = None,
    to: Annotated[
        str | None, typer.Option(metavar="PROVINCE", help="Tell this province again what was shared.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(metavar="N/BITS", help="With --to: one part of the records, as 17/8.")
    ] = None,
    cut_off: Annotated[
        bool,
        typer.Option("--cut-off", help="With --province: what came in that time is not believed, and folded no more."),
    ] = False,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="With --cut-off: only what this key of the province signed.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the plan. Needed with --save.")] = "",
    save: Annotated[
        bool, typer.Option("--save", help="Enter the plan; without it nothing is written anywhere.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the size of a replay: events, entities, time and disk; refused if the log no longer has its records.

    A dry run, unless --save enters it for `approve`, `rebuild`, `correct`, `repush` or `redrive` to carry out.
    """
    from schemas.catalogue import load
    from schemas.operations.operators import require_reason
    from streams.replay.plan.request import ReplayRequest, resolve_request

    asked = ReplayRequest(
        everything, tuple(domain or ()), tuple(department or ()), tuple(entity or ()), since, until, tuple(offsets or ()),
        quarantine, tuple(code or ()), province, to, bucket, cut_off, key,
    )  # fmt: skip
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    kind, scope = resolve_request(asked, load(), connection.province)
    if save:
        require_reason(reason)
    plan = _planned(connection, kind, scope)
    replay = None
    if save:
        with ledger(connect) as book:
            replay = book.plan(kind, scope, reason, plan.figures)
    if as_json:
        told = {
            "replay": replay,
            "kind": kind,
            "scope": scope.to_detail(),
            "figures": plan.figures,
            "dry_run": not save,
        }
        print(json.dumps(told, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{kind}[/bold]  {escape(shown_scope(scope))}")
    print_figures(console, kind, plan.figures)
    console.print(f"saved as {replay}" if replay else "dry run: nothing was written; --save enters it")


def _planned(connection: Connection, kind: str, scope: ReplayScope) -> Plan:
    from schemas.store.database import connect as open_store
    from schemas.store.database import serving_generation
    from streams.kafka.ranges import Logs
    from streams.replay.plan.planner import Planner

    with open_store(connection.database.get_secret_value(), autocommit=True) as store:
        generation = serving_generation(store)
        return Planner(store, Logs(connection.kafka), own=connection.province, generation=generation).plan(kind, scope)


def shown_scope(scope: ReplayScope) -> str:
    """Return a scope in words."""
    told = scope.to_detail()
    if not told:
        return "everything"
    told |= {name: time_text(time) for name in ("since", "until") if (time := getattr(scope, name)) is not None}
    texts = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in told.items()
    ]
    return "; ".join(texts)


def print_figures(console: Console, kind: str, figures: Mapping[str, Any]) -> None:
    """Print the figures of a plan."""
    if not figures:
        console.print("  planned without figures", style="dim")
        return
    what = {"REDRIVE": "entries", "REPUSH": "messages to exchange"}.get(kind, "events")
    more = figures["entities"] - len(figures["first_entities"])
    names = ", ".join(figures["first_entities"]) + (f" and {more} more" if more > 0 else "")
    console.print(f"  {figures['events']:,} {what}, {figures['records']:,} records, {figures['entities']:,} entities")
    if names:
        console.print(f"  entities: {escape(names)}")
    if figures.get("lost"):
        console.print(f"  [bold red]{figures['lost']:,} of them are not in history: run the audit first[/bold red]")
    if figures["log"]:
        spans = "  ".join(f"{partition}: {first}…{end}" for partition, (first, end) in figures["log"].items())
        console.print(f"  reads accepted  {spans}")
    rates = ", ".join(f"{speed:,.0f} {_UNITS[unit]}" for unit, speed in figures["rate"].items())
    console.print(f"  about {_seconds(figures['seconds'])}, at {rates} a second ({figures['rate_from']})")
    free = _bytes(figures["disk_free"]) if figures["disk_free"] is not None else "unknown"
    short = figures["disk_free"] is not None and figures["disk_free"] < figures["disk_needed"]
    console.print(
        f"  disk: about {_bytes(figures['disk_needed'])} needed, {free} free ({figures['disk_free_from']})",
        style="bold red" if short else "",
    )


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _list(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """List every planned replay and its state, newest first."""
    with ledger(ctx.obj) as book:
        replays = book.all()
    if as_json:
        print(json.dumps([_plain(one) for one in replays], ensure_ascii=False))
        return
    if not replays:
        print(hint("no replays: `xinliu replay plan … --save` enters one"))
        return
    rows = [
        (
            one.replay, one.kind, escape(_scope_of(one)), one.state, str(one.generation or ""), time_text(one.planned_at),
            escape(one.planned_by), escape(one.reason),
        )
        for one in replays
    ]  # fmt: skip
    titles = ("replay", "kind", "what", "state", "generation", "planned", "by", "reason")
    least = ("by", "planned", "generation", "reason")
    print_table(Console(), titles, rows, least=least, text=("what", "reason"), wide=wide)


def _show(
    ctx: typer.Context,
    replay: Annotated[str, typer.Argument(help="Id of a replay, or the beginning of it.", metavar="ID")],
    as_json: Json = False,
) -> None:
    """Show one replay: its scope, the figures of its plan, its steps, and who took them."""
    from streams.replay.plan.approval import operations_of
    from streams.replay.plan.ledger import STEPS

    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    with ledger(connect) as book:
        one = book.get(replay)
    steps = [
        step for step in operations_of(connection) if step.kind in STEPS and step.detail.get("replay") == one.replay
    ]
    if as_json:
        told = [
            {"kind": s.kind, "at": s.at.isoformat(), "by": s.by, "reason": s.reason, "detail": dict(s.detail)}
            for s in steps
        ]
        print(json.dumps({**_plain(one), "steps": told}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{one.replay}[/bold]  {one.kind}  [bold]{one.state}[/bold]  {escape(_scope_of(one))}")
    print_figures(console, one.kind, one.plan)
    for step in steps:
        rest = {name: value for name, value in step.detail.items() if name not in ("replay", "kind", "scope", "plan")}
        more = f"  {json.dumps(rest, ensure_ascii=False)}" if rest else ""
        console.print(escape(f"  {time_text(step.at)}  {step.kind}  {step.by}  {step.reason}{more}"))
    if one.progress:
        console.print(escape(f"  progress {json.dumps(dict(one.progress), ensure_ascii=False)}"))


def _scope_of(one: Replay) -> str:
    from streams.kafka.scope import ReplayScope

    return shown_scope(ReplayScope.from_detail(one.scope))


def _plain(one: Replay) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(one).items()}


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    replay = group(app, "replay", REPLAY)
    replay.command("plan")(_plan)
    replay.command("list")(_list)
    replay.command("show")(_show)
