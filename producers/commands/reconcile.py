"""`xinliu reconcile manifest`: compares a department's files with the platform and names the differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from producers.commands.inputs import named_files
from producers.commands.options import Ignored, Mapped, Sheets, file_options
from producers.commands.progress import interruptible
from producers.publisher import Publisher, PublisherConfig
from producers.receipts import Receipts
from producers.reconciliation.dialogue import Reconciled, RecordDifference, reconcile, resend, scopes
from producers.reconciliation.from_files import StatedRecords, from_files
from schemas.calendar.clock import read_time
from schemas.catalogue import Department, load
from schemas.console.groups import RECONCILE, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import department_typed
from schemas.contracts.avro import source
from schemas.contracts.registry import Registry, writer_schema
from schemas.errors import UsageError
from schemas.reconciliation.manifest import PERIOD, ManifestScope, summary, total
from schemas.records.identity import digest_hex

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["manifest", "mount"]

NAMES = {
    "MISSING": "漏报",
    "CONTENT": "错报",
    "REFUSED": "未入库",
    "OLDER_HERE": "平台版本较旧",
    "NEWER_HERE": "平台版本较新",
    "UNKNOWN": "部门未列",
}
"""The departments' words for the differences; docs/reconciliation.md gives the remedy of each."""

_SHOWN = 40


@dataclass
class ReconcileOutcome:
    """The result of the command; as --json prints it."""

    department: str
    sources: list[str]
    records: int
    refused_rows: int
    manifests: list[dict[str, Any]] = field(default_factory=list)
    resent: int = 0
    mended: list[RecordDifference] = field(default_factory=list)
    """With --resend: earlier differences that are gone."""


def manifest(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…|URL",
            help="All files of what is compared, as `xinliu publish` takes them; or the address of the outbox's database.",
        ),
    ],
    department: Annotated[
        str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
    ],
    province: Annotated[
        str | None, typer.Option(help="Province of the department; that of the servers by default.")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="First month (2025-09) of 更新时间; by default that of the files.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Last month, included; by default the files' last one.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="The files are everything that the department ever told, in all its domains.")
    ] = False,
    stated_at: Annotated[
        str | None, typer.Option(help="As `xinliu publish` was given it, for rows without 版本号 or 更新时间.")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="State it to the platform; alone: do not wait.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="State it, and name the records that differ.")] = False,
    send_again: Annotated[
        bool, typer.Option("--resend", help="State it, publish again just what differs, and compare again.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer, at most.", min=1)] = 120.0,
    mapped: Mapped = None,
    ignored: Ignored = None,
    sheets: Sheets = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Sum up the published statements by month: count and digest. With --wait the platform names what differs.

    Without --publish, --wait or --resend nothing is sent and no server is needed. Exit codes: 0 equal, 1 differences
    (or rows that the rules refuse), 2 a mistake in the command or a file, 3 servers or an answer did not come.
    """
    months = _months(first, last, whole)
    online = publish or wait or send_again
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}") if online else None
    where = province or (connection.province if connection else "beijing")
    if connection is not None and where != connection.province:
        raise UsageError(f"these servers are {connection.province}'s, not {where}'s: choose another --stack")
    catalogue = load()
    chosen = catalogue.department(where, department)
    with _spinner("reading", as_json):
        told: StatedRecords
        if any("://" in one for one in sources):
            told = _told_by_outbox(sources, chosen, connection)
        else:
            told = from_files(
                named_files(sources),
                chosen,
                catalogue,
                stated_at=read_time(stated_at, "--stated-at"),
                options=file_options(mapped, ignored, sheets),
            )
    shown = ["outbox" if "://" in one else one for one in sources]  # an address may contain a password
    outcome = ReconcileOutcome(department, shown, told.records.height, told.refused)
    wanted = scopes(told.records, chosen, first=months[0], last=months[1], whole=whole)
    if not wanted:
        raise UsageError(
            "nothing is told there: of a file `xinliu publish --dry-run` says why; --all states that as well"
        )
    differs = told.refused > 0
    if connection is None or not (wait or send_again):
        _state(connection, told, wanted, outcome)
    else:
        with _spinner("comparing", as_json), interruptible(lambda: _UNFINISHED):
            found = _compare(connection, told, wanted, outcome, send_again, timeout)
        outcome.manifests = [asdict(one) for one in found]
        differs |= any(one.state != "EQUAL" for one in found)
    print(json.dumps(asdict(outcome), ensure_ascii=False, indent=2)) if as_json else _print(outcome, wide)
    if differs:
        raise typer.Exit(1)


_UNFINISHED = "the comparison is not finished, and what it has sent vouches for nothing; give the same command again"


def _told_by_outbox(sources: Sequence[str], department: Department, connection: Connection | None) -> StatedRecords:
    if len(sources) > 1:
        raise UsageError("one outbox, or files: not both")
    schemas = [source("xinliu.Statement")]
    if connection is not None:
        with Registry(connection.registry) as registry:
            schemas += registry.versions("xinliu.Statement").values()
    writers = [writer_schema(0, json.dumps(schema)) for schema in schemas]
    from producers.reconciliation.from_outbox import (
        from_outbox,  # imports SQLAlchemy, for which commands on files need not wait
    )

    return from_outbox(sources[0], department.key, {writer.fingerprint: writer for writer in writers})


def _state(
    connection: Connection | None, told: StatedRecords, wanted: Sequence[ManifestScope], outcome: ReconcileOutcome
) -> None:
    made_at = datetime.now(UTC)
    if connection is not None:
        with Publisher(PublisherConfig(connection.kafka, connection.registry, outcome.department)) as publisher:
            _tell_refused(publisher, told)
    for scope in wanted:
        records = told.records.filter(domain=scope.domain, kind=scope.kind)
        made = summary(records, outcome.department, scope, made_at=made_at)
        count, high, low = total(made["buckets"])
        periods = [
            {"period": row["period"], "count": row["count"], "digest": digest_hex(row["digest_hi"], row["digest_lo"])}
            for row in made["periods"]
        ]
        known = {name: made[name] for name in ("domain", "kind", "first_period", "last_period", "manifest_id")}
        outcome.manifests.append({**known, "stated": count, "digest": digest_hex(high, low), "periods": periods})
        if connection is not None:
            config = PublisherConfig(connection.kafka, connection.registry, outcome.department)
            with Publisher(config) as publisher:
                publisher.manifest(made)


def _tell_refused(publisher: Publisher, told: StatedRecords) -> None:
    # Before the manifest: rows that it leaves out because they were refused are not absent.
    for refusal in told.refusals:
        publisher.refuse(refusal)
    publisher.flush()


def _compare(
    connection: Connection,
    told: StatedRecords,
    wanted: Sequence[ManifestScope],
    outcome: ReconcileOutcome,
    send_again: bool,
    seconds: float,
) -> list[Reconciled]:
    receipts = Receipts(connection.kafka, connection.registry, outcome.department)
    try:
        with Publisher(PublisherConfig(connection.kafka, connection.registry, outcome.department)) as publisher:
            _tell_refused(publisher, told)
            found = [reconcile(publisher, receipts, told, scope, seconds=seconds) for scope in wanted]
            if not send_again:
                return found
            for place, (scope, before) in enumerate(zip(wanted, found, strict=True)):
                sent = resend(publisher, told, before.differences)
                if sent:
                    outcome.resent += sent
                    found[place] = reconcile(publisher, receipts, told, scope, seconds=seconds)
                    still = {one.record_id for one in found[place].differences}
                    outcome.mended += [one for one in before.differences if one.record_id not in still]
            return found
    finally:
        receipts.close()


def _months(first: str | None, last: str | None, whole: bool) -> tuple[str | None, str | None]:
    for option, month in (("--from", first), ("--to", last)):
        if month is not None and not PERIOD.fullmatch(month):
            raise UsageError(f"{option} {month!r} is no month: write 2025-09")
    if whole and (first or last):
        raise UsageError("--all is every month: leave --from and --to out")
    if first and last and first > last:
        raise UsageError(f"--from {first} lies behind --to {last}")
    return first, last


def _spinner(what: str, quiet: bool) -> Progress:
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    bar.add_task(what, total=None)
    return bar


def _print(outcome: ReconcileOutcome, wide: bool) -> None:
    console = Console()
    if outcome.refused_rows:
        console.print(
            f"[red]{outcome.refused_rows} rows are refused by the rules[/red] and not compared:"
            + hint(" `xinliu publish --dry-run` says why")
        )
    for made in outcome.manifests:
        months = f"{made['first_period'] or '最早'} 至 {made['last_period'] or '今'}"
        console.print(f"[bold]{made['domain']}[/bold] {made['kind']}  {months}", highlight=False)
        _print_compared(console, made, wide) if "state" in made else _print_sums(console, made)
    if outcome.resent:
        console.print(f"{outcome.resent} published again, [green]{len(outcome.mended)} differences mended[/green]")


def _print_sums(console: Console, made: dict[str, Any]) -> None:
    rows = [(row["period"], str(row["count"]), row["digest"]) for row in made["periods"]]
    rows.append(("合计", str(made["stated"]), made["digest"]))
    print_table(console, ("月份", "条数", "摘要"), rows)


def _print_compared(console: Console, made: dict[str, Any], wide: bool) -> None:
    if made["state"] == "REFUSED":
        console.print(f"[red]the platform cannot compare it:[/red] {escape(made['message'] or '')}")
        return
    verdict = "[green]一致[/green]" if made["state"] == "EQUAL" else f"[red]{_count(made)} 条不一致[/red]"
    console.print(f"归集 {made['stated']} 条, 入库 {made['held']} 条: {verdict}", highlight=False)
    if made["outside"]:
        console.print(f"[yellow]入库另有 {made['outside']} 条不在上述月份内, 未比对[/yellow]", highlight=False)
    if not made["differences"]:
        return
    rows = [
        (
            NAMES.get(one["difference"], one["difference"]),
            one["record_id"],
            str(one["stated_version"] or "—"),
            str(one["held_version"] or "—"),
            escape(one["where"] or "—"),
            escape("; ".join(one["reasons"])),
        )
        for one in made["differences"][:_SHOWN]
    ]
    titles = ("差异", "记录", "部门版本", "平台版本", "所在", "原因")
    print_table(console, titles, rows, least=("部门版本", "平台版本", "原因"), text=("所在", "原因"), wide=wide)
    if len(made["differences"]) > _SHOWN or made["unnamed"]:
        console.print(f"… and {_count(made) - min(_SHOWN, len(made['differences']))} more (--json names what is named)")


def _count(made: dict[str, Any]) -> int:
    return len(made["differences"]) + int(made["unnamed"])


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "reconcile", RECONCILE).command()(manifest)
