"""`xinliu replay generations`, `promote`, `rollback` and `drop`: generations and the switch of the serving one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.calendar.clock import time_text
from schemas.console.groups import REPLAY, group
from schemas.console.options import Json, log_to_stderr
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.servers.connection import Connection
    from streams.replay.generations.promotion import Promoted

__all__ = ["mount"]

Reason = Annotated[str, typer.Option(help="Why; kept with the event, for whoever reads the audit.")]
CrashAt = Annotated[
    str | None,
    typer.Option(
        "--crash-at", metavar="POINT", help="For tests: kill this process there; a wrong name lists the points."
    ),
]
_STYLE = {"SERVING": "green", "READY": "cyan", "BUILDING": "yellow", "RETIRED": "dim", "DROPPED": "dim"}


def _owner(ctx: typer.Context) -> Connection:
    connect: Callable[[], Connection] = ctx.obj
    return connect().acting("admin")  # only the owner may make, change and drop tables


def _by(ctx: typer.Context) -> str:
    from schemas.operations.operators import operator

    connect: Callable[[], Connection] = ctx.obj
    return operator(connect().kafka)  # the person's principal, not the owner's


def _generations(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """List generations: state, approximate number of records, disk, and offsets still missing to the end of the
    logs."""
    found = _known(_owner(ctx))
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    rows = []
    for one in found:
        style = _STYLE[one["state"]]
        size = "-" if one["bytes"] is None else f"{one['bytes'] / (1 << 20):,.0f} MiB"
        records = "-" if one["records"] is None else f"{one['records']:,}"
        behind = "-" if one["behind"] is None else f"{one['behind']:,}"
        made = time_text(datetime.fromisoformat(one["created_at"]))
        state = f"[{style}]{one['state']}[/]"
        rows.append((str(one["generation"]), state, records, size, behind, made, one["replay"] or "-"))
    titles = ("generation", "state", "records", "disk", "behind", "made", "replay")
    print_table(Console(), titles, rows, least=("disk", "made", "records"), wide=wide)


def _known(connection: Connection) -> list[dict[str, Any]]:
    from schemas.store.database import connect
    from schemas.store.generations import generations
    from schemas.store.sql_files import sql
    from streams.kafka.ranges import Logs
    from streams.projection.positions import PROJECTED

    logs = Logs(connection.kafka)
    facts = logs.describe(PROJECTED)
    ends = logs.ends([(topic, p) for topic in PROJECTED for p in range(facts[topic].partitions)])
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        sizes = {str(schema): (records, size) for schema, records, size in store.execute(sql("replay/plan/sizes"))}
        found = []
        for one in generations(store):
            behind = None
            if one.schema in sizes:
                rows = store.execute(f"SELECT topic, partition, next_offset FROM {one.schema}.position")
                stands = {(str(topic), int(str(p))): int(str(offset)) for topic, p, offset in rows}
                behind = sum(max(0, end - stands.get(place, 0)) for place, end in ends.items())
            records, size = sizes.get(one.schema, (None, None))
            found.append(
                {"generation": one.number, "state": one.state, "records": records, "bytes": size, "behind": behind,
                 "created_at": one.created_at.isoformat(), "replay": one.replay}
            )  # fmt: skip
    return found


def _promote(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Id of a rebuild, or number of its generation.", metavar="ID|GENERATION")],
    reason: Reason,
    as_json: Json = False,
    crash_at: CrashAt = None,
) -> None:
    """Let a rebuilt generation serve: it catches up, then one transaction switches. Readers see the old or the new.

    Workers follow. If it is cut off at any point, give the same command again to go on.
    """
    from streams.replay.generations.promotion import Promotion

    _begin(crash_at)
    with Promotion(_owner(ctx), by=_by(ctx), person=ctx.obj()) as promoting, _bar() as told:
        done = promoting.promote(name, reason, told)
    _tell(done, as_json)


def _rollback(ctx: typer.Context, reason: Reason, as_json: Json = False, crash_at: CrashAt = None) -> None:
    """Let the previous generation serve again: it first catches up, so that nothing that arrived since is lost."""
    from streams.replay.generations.promotion import Promotion

    _begin(crash_at)
    with Promotion(_owner(ctx), by=_by(ctx), person=ctx.obj()) as promoting, _bar() as told:
        done = promoting.rollback(reason, told)
    _tell(done, as_json)


def _drop(
    ctx: typer.Context,
    generation: Annotated[int, typer.Argument(help="Number of a generation that does not serve.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: what it holds is gone, and cannot be rolled back to.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete a generation. The readers' views lose it first; its number is never used again."""
    from schemas.store.database import connect
    from schemas.store.generations import drop

    connection = _owner(ctx)
    one = next((one for one in _known(connection) if one["generation"] == generation), None)
    if one is None or one["bytes"] is None:
        raise UsageError(f"there is no generation {generation}: see `xinliu replay generations`")
    if one["state"] == "SERVING":
        raise UsageError(f"generation {generation} serves: promote another one first")
    if not yes and not typer.confirm(
        f"delete generation {generation} ({one['state']}, about {one['records']:,} records, {one['bytes'] / (1 << 20):,.0f} MiB)?",
        err=True,
    ):
        raise UsageError("nothing was deleted")
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        # Withdrawals are published with codes that only the generation that contained the records knows.
        waits = store.execute(
            "SELECT FROM outbox WHERE kind = 'EXCHANGE' AND payload #>> '{}' LIKE '%WITHDRAW|%' LIMIT 1"
        ).fetchone()
        if waits is not None:
            raise UsageError(
                "the other provinces have not been told yet what leaves the exchange: wait for the publisher"
            )
        drop(store, generation)
    print(json.dumps({"generation": generation, "state": "DROPPED"}) if as_json else f"generation {generation} is gone")


def _begin(crash_at: str | None) -> None:
    log_to_stderr(as_json=False)
    if crash_at:
        from streams.runtime.crash_points import arm

        arm(crash_at)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("checks", total=None)
        yield lambda phase, done, of: progress.update(task, description=phase, completed=done, total=of)


def _tell(done: Promoted, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(done)))
        return
    what = "rolled back" if done.kind == "REPLAY_ROLLED_BACK" else "promoted"
    if done.old == done.new:
        print(f"generation {done.new} serves already")
        return
    print(
        f"{what}: generation {done.new} serves, {done.old} is kept for a rollback; the view stood still for {done.held_seconds} s,"
        f" {done.moved} waiting rows moved along, {done.withdrawn} records leave the exchange, {done.announced} entities changed"
    )


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu replay`."""
    replay = group(app, "replay", REPLAY)
    for name, command in (
        ("generations", _generations), ("promote", _promote), ("rollback", _rollback), ("drop", _drop),
    ):  # fmt: skip
        replay.command(name)(command)
