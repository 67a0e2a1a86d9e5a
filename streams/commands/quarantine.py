"""`xinliu quarantine`: refused messages, and the decisions about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.calendar.clock import TIME_HELP, read_time, time_text
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import code_typed, department_typed, entry_typed
from schemas.errors import UsageError
from streams.commands.quarantine_decisions import counted, decisions

if TYPE_CHECKING:
    from schemas.servers.connection import Connection
    from streams.quarantine.decisions import DecisionResult
    from streams.quarantine.reader import Choice, EntryState

__all__ = ["mount"]

quarantine = typer.Typer(help="What was refused, and deciding what becomes of it.", no_args_is_help=True)

Department = Annotated[
    str | None, typer.Option(help="Key of a department, or its name in Chinese.", callback=department_typed)
]
Code = Annotated[str | None, typer.Option(help="Reason code: `xinliu rules` lists them.")]
Domain = Annotated[str | None, typer.Option(help="Key of a domain.")]
Since = Annotated[str | None, typer.Option(help=f"Received since then: {TIME_HELP}")]
Entries = Annotated[
    list[str], typer.Argument(help="department/partition/offset, as `list` names them.", callback=entry_typed)
]
SomeEntries = Annotated[
    list[str] | None, typer.Argument(help="department/partition/offset, as `list` names them.", callback=entry_typed)
]
Reason = Annotated[str, typer.Option(help="Why; kept with the event, and told to the department.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be decided, and change nothing.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return once intake has carried it out, and say what came of it.")]
Timeout = Annotated[float, typer.Option(help="Seconds that --wait waits at most.", min=1)]

_STYLE = {"OPEN": "yellow", "OVERRIDDEN": "green", "REDRIVEN": "green", "SUPERSEDED": "green", "DISCARDED": "dim"}


def _choice(
    department: str | None,
    code: str | None,
    domain: str | None = None,
    entity: str | None = None,
    state: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Choice:
    from streams.quarantine.entries import STATES
    from streams.quarantine.reader import Choice

    chosen = state.upper() if state else None
    if chosen is not None and chosen not in STATES:
        raise UsageError(f"--state {state}: one of {', '.join(STATES)}")
    return Choice(
        department,
        code.upper() if code else None,
        domain,
        entity,
        chosen,
        read_time(since, "--since"),
        read_time(until, "--until"),
    )


@quarantine.command("list")
def _list(
    ctx: typer.Context,
    department: Department = None,
    code: Code = None,
    domain: Domain = None,
    entity: Annotated[str | None, typer.Option(help="统一社会信用代码 of an entity.", callback=code_typed)] = None,
    state: Annotated[
        str, typer.Option(help="OPEN, SUPERSEDED, DISCARDED, REDRIVEN, OVERRIDDEN, or ALL of them.")
    ] = "OPEN",
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="How many entries are shown; the counts are of all.")] = 50,
    wide: Wide = False,
    as_json: Json = False,
) -> int:
    """List the quarantine: counts by reason, then entries, newest first. Exit code 1 if one of them is open."""
    from streams.quarantine.reader import QuarantineReader

    connect: Callable[[], Connection] = ctx.obj
    choice = _choice(department, code, domain, entity, None if state.upper() == "ALL" else state, since)
    with QuarantineReader(connect().database.get_secret_value()) as reader:
        count, codes, entries = reader.count(choice), reader.codes(choice), reader.entries(choice, limit=limit)
    if as_json:
        told = [{"code": name, "text": text, "entries": n} for name, text, n in codes]
        print(
            json.dumps(
                {"entries_in_all": count, "codes": told, "entries": [_plain(one) for one in entries]},
                ensure_ascii=False,
            )
        )
    else:
        _print(count, codes, entries, wide=wide)
    return 1 if any(one.state == "OPEN" for one in entries) else 0


def _plain(one: EntryState) -> dict[str, Any]:
    return {
        "entry": one.name,
        "state": one.state,
        "received_at": one.received_at.isoformat(),
        "department": one.entry.origin.department,
        "domain": one.domain,
        "uscc": one.uscc,
        "record_id": one.record_id,
        "version": one.version,
        "masked": one.masked,
        "findings": list(one.findings),
    }


def _print(count: int, codes: list[tuple[str, str, int]], entries: list[EntryState], *, wide: bool) -> None:
    console = Console()
    if not count:
        console.print("no such entries")
        return
    counts = [(str(n), name, escape(text)) for name, text, n in codes]
    print_table(console, ("entries", "code", "reason"), counts, text=("reason",), wide=wide)
    rows = []
    for one in entries:
        reasons = ", ".join(dict.fromkeys(finding["code"] for finding in one.findings))
        rows.append(
            (
                one.name,
                time_text(one.received_at),
                f"[{_STYLE[one.state]}]{one.state}[/]",
                escape(one.domain or "—"),
                escape(one.uscc or "—"),
                reasons + (" (masked)" if one.masked else ""),
            )
        )
    titles = ("entry", "received", "state", "domain", "entity", "reasons")
    title, least = f"\n{count} entries, newest first", ("domain", "received", "state")
    print_table(console, titles, rows, least=least, text=("reasons",), wide=wide, title=title)
    if count > len(entries):
        console.print(f"… and {count - len(entries)} more (--limit)", highlight=False)


@quarantine.command("show")
def _show(
    ctx: typer.Context,
    entry: Annotated[
        str, typer.Argument(help="department/partition/offset, as `list` names it.", callback=entry_typed)
    ],
    as_json: Json = False,
) -> None:
    """Show an entry: its origin, its findings, its content and the decisions about it."""
    from schemas.contracts.registry import Registry
    from streams.quarantine.reader import QuarantineReader, readable

    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    with QuarantineReader(connection.database.get_secret_value()) as reader:
        one = reader.named(entry)
        value, outcomes = reader.value(one.entry), reader.outcomes(one.entry)
    with Registry(connection.registry) as registry:
        held = readable(value, one.uscc, registry)
    if as_json:
        plain = {**_plain(one), "origin": one.entry.to_detail(), "message": held, "outcomes": outcomes}
        print(json.dumps(plain, ensure_ascii=False, default=str))
        return
    console = Console(highlight=False)
    origin = one.entry.origin
    console.print(
        f"[bold]{one.name}[/bold]  [{_STYLE[one.state]}]{one.state}[/]  received {time_text(one.received_at)}"
    )
    console.print(f"  from {origin.topic}/{origin.partition}@{origin.offset} (topic id {origin.topic_id})")
    console.print(
        escape(
            f"  entity {one.uscc or '—'}  domain {one.domain or '—'}  record {one.record_id or '—'}"
            f"  version {one.version or '—'}"
        )
    )
    for finding in one.findings:
        where = f"{finding['field']}: " if finding["field"] else ""
        console.print(f"  {escape(where + finding['message'])} [dim]{finding['code']}[/dim]")
    if one.masked:
        console.print("  [yellow]covered: it cannot be examined again, the department must send it again[/yellow]")
    for outcome in outcomes:
        why = ", ".join(finding["code"] for finding in outcome["findings"])
        console.print(
            escape(
                f"  {time_text(outcome['decided_at'])}  {outcome['kind']} by {outcome['decided_by']}: {outcome['reason']}"
                f" → {outcome['outcome']} {why}"
            )
        )
    if "value" in held:
        console.print(f"\n{held['record']}, {held['bytes']} bytes")
        console.print(escape(json.dumps(held["value"], ensure_ascii=False, indent=2, default=str)))
    else:
        console.print(escape(f"\n{held['why']}\n{held['bytes']} bytes, beginning with {held['head']}"))


def _told(decided: DecisionResult, as_json: bool) -> int:
    if as_json:
        plain = {
            "kind": decided.kind,
            "dry_run": decided.dry_run,
            "by": decided.by,
            "reason": decided.reason,
            "entries": [one.name for one in decided.going],
            "left_out": [{"entry": one.name, "code": "VALUE_MASKED"} for one in decided.left_out],
            "decisions": [event.id for event in decided.events],
            "outcomes": decided.outcomes,
            **({"waits_for_approval": True} if decided.waits else {}),
        }
        print(json.dumps(plain, ensure_ascii=False))
        return decided.exit_code
    verb = decided.kind.removeprefix("QUARANTINE_").lower()
    print(f"{verb}: {len(decided.going)} entries" + (" (dry run: nothing was written)" if decided.dry_run else ""))
    for one in decided.left_out:
        print(
            f"  {one.name} left out: what may be a resident identity number was covered when it was quarantined, so that the"
            " original is gone; have the department send it again, and discard this entry"
        )
    if decided.outcomes is not None:
        print(f"  {'by the rules and catalogue here: ' if decided.dry_run else ''}{counted(decided.outcomes)}")
    elif decided.waits:
        for event in decided.events:
            print(hint(f"  waits until another operator says `xinliu approve {event.id[:12]} --reason …`"))
    elif decided.events:
        print(hint("  written to operations; intake carries it out: `xinliu quarantine decisions` says when it has"))
    return decided.exit_code


@quarantine.command("override")
def _override(
    ctx: typer.Context,
    entries: Entries,
    reason: Reason,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Accept exactly these messages although a code refuses them. Codes that can be waived: USCC_CHECK_DIGIT.

    If two people are required, it waits for the other one's `xinliu approve` (exit code 1).
    """
    from streams.quarantine.decisions import DecisionWriter, overridden
    from streams.quarantine.entries import OVERRIDE

    with DecisionWriter(ctx.obj(), reason, OVERRIDE) as deciding:
        chosen = overridden([deciding.named(name) for name in entries])
        return _told(deciding.decide(chosen, wait=timeout if wait else None, dry_run=dry_run), as_json)


@quarantine.command("redrive")
def _redrive(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; kept with the event, and told to the department.")] = "",
    entries: SomeEntries = None,
    department: Department = None,
    code: Code = None,
    domain: Domain = None,
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="Received before then.")] = None,
    rate: Annotated[
        str | None, typer.Option(help="Entries a second at most, as 50/s: the command stays until all is done.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on with a run at a pace that was cut off; nothing is done twice."),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Examine entries again by today's rules and catalogue: the named ones, or all open ones that match the
    conditions."""
    from streams.commands.redrive import paced, print_result, resumed
    from streams.quarantine.decisions import DecisionWriter
    from streams.quarantine.entries import REDRIVE
    from streams.quarantine.redrive_run import rate_of

    conditions = any((department, code, domain, since, until))
    pace = rate_of(rate) if rate is not None else None
    if resume is not None:
        if entries or conditions or dry_run:
            raise UsageError("--resume goes on with the entries of that run: name no others")
        choice, why = resumed(ctx.obj(), resume)
        return print_result(
            paced(ctx.obj(), choice, reason or why, rate=pace or 200.0, timeout=timeout, run=resume), as_json
        )
    if bool(entries) == conditions:
        raise UsageError(
            "name entries, or conditions (--department, --code, --domain, --since, --until): one of the two"
        )
    choice = _choice(department, code, domain, None, "OPEN", since, until)
    if pace is not None and not dry_run:
        if entries:
            raise UsageError("--rate is for conditions: entries that are named are few")
        return print_result(paced(ctx.obj(), choice, reason, rate=pace, timeout=timeout), as_json)
    with DecisionWriter(ctx.obj(), reason, REDRIVE) as deciding:
        chosen = [deciding.named(name) for name in entries] if entries else deciding.reader.entries(choice)
        return _told(deciding.decide(chosen, wait=timeout if wait else None, dry_run=dry_run), as_json)


@quarantine.command("discard")
def _discard(
    ctx: typer.Context,
    entries: Entries,
    reason: Reason,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Decide that entries are wrong and stay out: they no longer make 待核 or hold back their source.

    If two people are required, it waits for the other one's `xinliu approve` (exit code 1).
    """
    from streams.quarantine.decisions import DecisionWriter
    from streams.quarantine.entries import DISCARD

    with DecisionWriter(ctx.obj(), reason, DISCARD) as deciding:
        chosen = [deciding.named(name) for name in entries]
        return _told(deciding.decide(chosen, wait=timeout if wait else None, dry_run=dry_run), as_json)


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    quarantine.command("decisions")(decisions)
    app.add_typer(quarantine, name="quarantine")
