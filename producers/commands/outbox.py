"""`xinliu outbox`: a department's outbox in its own database: its tables, its relay, and the state of its rows."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.calendar.clock import time_text
from schemas.console.hints import hint
from schemas.console.options import Json, LogJson, log_to_stderr
from schemas.console.typed_text import department_typed
from schemas.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from producers.outbox.relay import Relay
    from producers.outbox.store import Store
    from schemas.servers.connection import Connection

__all__ = ["mount"]

outbox = typer.Typer(
    help="The outbox in a department's own database: events in its own transactions, told later (docs/outbox.md).",
    no_args_is_help=True,
)

Url = Annotated[
    str,
    typer.Option(
        envvar="XINLIU_OUTBOX_URL",
        help="Database of the outbox: postgresql://…, mysql://… or sqlite:///file. Every user of the machine sees a"
        " password that stands here: set the variable instead.",
    ),
]
Department = Annotated[
    str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
]
TableName = Annotated[str, typer.Option("--table", help="Name of the table, with its schema where it has one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Ids = Annotated[list[int] | None, typer.Argument(help="Ids of failed rows, as `status` names them.")]

_TABLE = "xinliu_outbox"
_SHOWN = 20


@outbox.command("create")
def _create(
    url: Url,
    table: TableName = _TABLE,
    as_sql: Annotated[bool, typer.Option("--sql", help="Print the statements, and connect to nothing.")] = False,
) -> None:
    """Create the outbox's tables if they are missing. Nothing of yours is touched."""
    from sqlalchemy import MetaData

    from producers.outbox.database import database_url
    from producers.outbox.tables import Tables, ddl

    if as_sql:
        schema, _, name = table.rpartition(".")
        statements = ddl(Tables(MetaData(), name, schema or None), database_url(url).get_dialect()())
        print(";\n\n".join(statements) + ";")
        return
    with _store(url, "", table, checked=False) as (store, _):
        store.create()
    print(f"{table} and {table}_relay are there")


@outbox.command("relay")
def _relay(
    ctx: typer.Context,
    url: Url,
    department: Department,
    table: TableName = _TABLE,
    once: Annotated[bool, typer.Option("--once", help="Tell what waits, vouch, and end; for a timer.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows a round.")] = 1_000,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks while nothing waits.")] = 0.5,
    mark_every: Annotated[
        float, typer.Option(min=0, help="Vouch (数据截至) every so many seconds; 0: never, somebody else does.")
    ] = 60.0,
    keep: Annotated[
        float | None, typer.Option(min=0, help="Days for which sent rows are kept.", show_default="90")
    ] = None,
    keep_forever: Annotated[bool, typer.Option("--keep-forever", help="Delete no sent rows.")] = False,
    lease: Annotated[
        float, typer.Option(min=1, help="Seconds of silence after which another relay takes over.")
    ] = 20.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Serve /metrics there, on loopback; 0 takes a free port, which the log names."
        ),
    ] = None,
    log_json: LogJson = False,
) -> int:
    """Publish the rows that the department's transactions left in its outbox, until stopped (SIGTERM); log to stderr.

    Exit codes: 0 stopped; 1 stopped, and rows have failed that a person must settle; 2 a mistake, or a server refuses;
    3 with --once, a server did not answer.
    """
    from producers.outbox.lease import Lease
    from producers.outbox.metrics import serving
    from producers.outbox.relay import Relay, RelaySettings
    from producers.outbox.sender import KafkaSender
    from schemas.catalogue import load

    if keep is not None and keep_forever:
        raise UsageError("--keep and --keep-forever contradict each other: choose one")
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    load().department(connection.province, department)
    log_to_stderr(log_json)
    settings = RelaySettings(
        batch=batch,
        poll=poll,
        mark_every=mark_every,
        keep=None if keep_forever else timedelta(days=90.0 if keep is None else keep),
    )
    with _store(url, department, table, checked=False) as (store, engine), ExitStack() as stack:
        sender = KafkaSender(connection.kafka, connection.registry, department)
        relay = Relay(store, sender, Lease(engine, department, seconds=lease, **_named(table)), settings)
        if metrics_port is not None:
            port = stack.enter_context(serving(relay.progress, department, metrics_port))
            _log().info("metrics.serving", address=f"http://127.0.0.1:{port}/metrics")
        _until_stopped(relay)
        _log().info("outbox.begins", department=department, database=repr(engine.url), relay=relay.owner)
        (relay.drain if once else relay.run)()
        known = relay.progress.backlog
        return 1 if known is not None and known.failed else 0


@outbox.command("status")
def _status(url: Url, department: Department, table: TableName = _TABLE, as_json: Json = False) -> int:
    """Show how far behind the relay is, whether one is at work, and which rows have failed. Exit code 1 if any has."""
    from producers.outbox.lease import Lease

    with _store(url, department, table) as (store, engine):
        backlog, failed, last = store.backlog(), store.failed(_SHOWN), store.last_sent()
        relay = Lease(engine, department, seconds=0, **_named(table)).state()
    age = None if backlog.oldest is None else (datetime.now(UTC) - backlog.oldest).total_seconds()
    told: dict[str, Any] = {
        "department": department,
        "waiting": backlog.waiting,
        "oldest_seconds": None if age is None else round(max(age, 0.0), 1),
        "last_sent_at": last and last.isoformat(),
        "data_as_of": relay.as_of and relay.as_of.isoformat(),
        "relay": relay.owner,
        "relay_seen_at": relay.beat_at and relay.beat_at.isoformat(),
        "failed": backlog.failed,
        "failed_rows": [
            {"id": row.id, "record_id": row.record_id, "version": row.version, "reason": row.reason} for row in failed
        ],
    }
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        _print(told)
    return 1 if backlog.failed else 0


@outbox.command("retry")
def _retry(
    url: Url, department: Department, ids: Ids = None, table: TableName = _TABLE, dry_run: DryRun = False
) -> None:
    """Let failed rows (all, or those named) be tried again, once their cause is mended."""
    with _store(url, department, table) as (store, _):
        count = store.failed_among(ids) if dry_run else store.retry(ids)
    print(f"{count} {'would' if dry_run else 'will'} be tried again")


@outbox.command("discard")
def _discard(
    url: Url,
    department: Department,
    ids: Annotated[list[int], typer.Argument(help="Ids of failed rows, as `status` names them.")],
    reason: Annotated[str, typer.Option(help="Why these are not to be told; kept with the rows.")],
    table: TableName = _TABLE,
    dry_run: DryRun = False,
) -> None:
    """Decide that failed rows are not to be published. They stay in the table, with the reason."""
    if not reason.strip():
        raise UsageError("--reason must say why these are not to be told")
    with _store(url, department, table) as (store, _):
        count = store.failed_among(ids) if dry_run else store.discard(ids, reason)
    print(f"{count} {'would not' if dry_run else 'will not'} be told")


def _print(told: dict[str, Any]) -> None:
    behind = f", the oldest for {told['oldest_seconds']:.1f} s" if told["waiting"] else ""
    print(f"{told['department']}: {told['waiting']} rows wait{behind}; last sent {_time(told['last_sent_at'])}")
    print(f"数据截至 {_time(told['data_as_of'])}")
    if told["relay"] is None:
        print(hint("no relay is at work: start `xinliu outbox relay`"))
    else:
        print(f"relay {told['relay']}, last seen {_time(told['relay_seen_at'])}")
    for row in told["failed_rows"]:
        print(f"failed: row {row['id']}, record {row['record_id']} version {row['version']}: {row['reason']}")
    if told["failed"]:
        print(
            hint(
                f"{told['failed']} rows have failed, and nothing is vouched for until they are settled: add a mended version"
                " of the record, or `xinliu outbox retry` or `discard`"
            )
        )


def _time(text: str | None) -> str:
    return time_text(datetime.fromisoformat(text) if text else None)


def _named(table: str) -> dict[str, Any]:
    schema, _, name = table.rpartition(".")
    return {"table_name": name, "schema": schema or None}


@contextmanager
def _store(url: str, department: str, table: str, *, checked: bool = True) -> Iterator[tuple[Store, Engine]]:
    from producers.outbox.database import database_url, open_engine
    from producers.outbox.store import Store

    engine = open_engine(database_url(url))
    store = Store(engine, department, **_named(table))
    try:
        if checked:
            store.check()
        yield store, engine
    finally:
        engine.dispose()


def _until_stopped(relay: Relay) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())


def _log() -> Any:
    import structlog

    return structlog.get_logger()


def mount(app: typer.Typer) -> None:
    """Add `outbox` to the command `xinliu`."""
    app.add_typer(outbox, name="outbox")
