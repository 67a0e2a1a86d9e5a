"""`xinliu replay correct`: fold the records of a plan from the log into the serving generation, by today's rules."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.groups import REPLAY, group
from schemas.console.hints import hint
from schemas.console.options import Json, log_to_stderr
from schemas.console.tables import Wide
from streams.commands.replay.diff import SHOWN, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from schemas.servers.connection import Connection
    from streams.kafka.scope import ReplayScope
    from streams.replay.correction.correction import Corrected, Correction
    from streams.replay.plan.run import ReplayRun

__all__ = ["mount"]

PlanId = Annotated[str, typer.Argument(help="Id of a saved plan, or the beginning of it.", metavar="ID")]
CrashAt = Annotated[
    str | None,
    typer.Option("--crash-at", metavar="POINT[:PASSING]", help="For tests: kill this process there.", hidden=True),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it only what it would change is shown.")]


def _correct(
    ctx: typer.Context,
    plan: PlanId,
    yes: Yes = False,
    form: Annotated[
        Format, typer.Option("--format", help="page is one HTML file that a person reads.", show_default="table")
    ] = Format.table,
    limit: Annotated[int | None, typer.Option(min=0, help="So many entities and records at most.")] = None,
    crash_at: CrashAt = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> int:
    """Fold a plan's records again from the log, by today's rules, into the serving generation. A dry run without --yes.

    Differences are shown as by `diff`; history, counts and shared records follow. Statements that today's rules refuse
    leave the tables and wait in the quarantine. Exit code 1 if something differs.
    """
    import structlog

    from schemas.store.database import connect as open_store
    from schemas.store.database import serving_generation
    from schemas.store.sql_files import sql
    from streams.commands.replay.plan import ledger
    from streams.kafka.ranges import Logs
    from streams.kafka.scope import CORRECT
    from streams.replay.diff.report import tell
    from streams.replay.plan.approval import require_approved
    from streams.replay.plan.planner import Planner
    from streams.replay.plan.run import plan_to_run, running
    from streams.runtime.crash_points import arm

    form = Format.json if as_json else form
    if crash_at:
        arm(crash_at)
    connect: Callable[[], Connection] = ctx.obj
    with ExitStack() as opened:
        # Messages of the repair belong in the log, and only the answer on stdout.
        log_to_stderr(as_json=False)
        opened.callback(structlog.reset_defaults)
        book = opened.enter_context(ledger(connect))
        one, scope = plan_to_run(book, plan, CORRECT)
        database = connect().acting("admin").database.get_secret_value()
        owner = opened.enter_context(open_store(database, autocommit=True))
        generation = serving_generation(owner)
        # Checked again, however old the plan is: records lost from the log since would count as never accepted.
        Planner(owner, Logs(connect().kafka), own=connect().province, generation=generation).log(CORRECT, scope)
        correcting = _correcting(connect().acting("view"), scope, generation, opened)
        progress = opened.enter_context(_bar())
        if not yes:
            done = correcting.correct(scope, write=False, told=progress)
        else:
            require_approved(connect(), one, step="correct")
            with running(book, owner, one, generation=generation) as run:
                began = monotonic()
                if scope.cut_off:  # first: nothing may vouch any more for records that this takes out
                    owner.execute(sql("replay/plan/unvouched"), {"province": scope.province})
                done = correcting.correct(scope, write=True, told=progress)
                _note(run, done, correcting, monotonic() - began)
    compared = done.compared(f"g{generation}", dry_run=not yes)
    shown = SHOWN.get(form) if limit is None else limit
    tell(compared, done.turns[:shown], done.changes[:shown], form, wide=wide)
    if form is Format.table:
        print(f"{done.records} records folded again from the log; {done.refused} statements refused by today's rules")
        if done.beyond:
            print(f"{len(done.beyond)} records cannot be proven by the log: {', '.join(done.beyond[:5])}")
        print("dry run: nothing was written; --yes does it" if not yes else f"done, and written down as {one.replay}")
    return 0 if compared.equal else 1


def _note(run: ReplayRun, done: Corrected, correcting: Correction, seconds: float) -> None:
    """Record the changes of the step, and its rates for later plans, in the event that ends it."""
    run.before, run.after = done.before, done.after
    changes = {f"{domain} {department} {change}": n for (domain, department, change), n in done.counted.items()}
    turned = {f"{was}→{becomes}": n for (was, becomes), n in done.turned.items()}
    run.changed = {
        "records": done.records, "changes": changes, "turned": turned, "refused": done.refused, "beyond": done.beyond[:100],
    }  # fmt: skip
    read = sum(correcting.read.values()) * correcting.passes
    if read and done.records:
        run.rates = {
            "offsets": round(read / max(correcting.reading, 0.001)),
            "records": round(done.records / max(seconds - correcting.reading, 0.001)),
        }


def _correcting(connection: Connection, scope: ReplayScope, generation: int, opened: ExitStack) -> Correction:
    from schemas.catalogue import load
    from schemas.contracts.registry import Registry
    from schemas.store.database import connect as open_store
    from streams.exchange.outgoing.sharing import Sharing
    from streams.integrity.accepted import Accepted
    from streams.kafka.ranges import Logs
    from streams.replay.correction.correction import Correction
    from streams.replay.correction.log_evidence import LogEvidence
    from streams.view.current_rules import Rules, overridden_by
    from streams.view.cut_offs import cuts_of

    registry = opened.enter_context(Registry(connection.registry))
    store = opened.enter_context(
        open_store(connection.database.get_secret_value(), generation=generation, autocommit=True)
    )
    accepted = Accepted(connection.kafka, registry)
    opened.callback(accepted.close)
    rules = Rules(load(), connection.province, overridden_by(store), cuts_of(store, beside=(scope,)))
    return Correction(
        store,
        LogEvidence(accepted, rules),
        own=connection.province,
        partitions=Logs(connection.kafka).describe(["accepted"])["accepted"].partitions,
        generation=generation,
        sharing=Sharing(connection.province, generation=generation) if connection.exchange is not None else None,
    )


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr, if that is a terminal."""
    from rich.progress import Progress

    from schemas.console.terminal import Console

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading accepted", total=None)

        def told(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of or None, description="records")

        yield told


def _repush(
    ctx: typer.Context,
    plan: PlanId,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Publish the shared records of a plan again for another province. A dry run without --yes.

    They go through this province's one topic: the others receive them too, and drop those that they have.
    """
    from schemas.errors import UsageError
    from schemas.store.database import connect as open_store
    from schemas.store.database import serving_generation
    from streams.commands.replay.plan import ledger
    from streams.exchange.outgoing.repush import RepushChoice, repush
    from streams.kafka.scope import REPUSH
    from streams.replay.plan.approval import require_approved
    from streams.replay.plan.planner import scope_values
    from streams.replay.plan.run import plan_to_run, running

    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting("view")
    if connection.exchange is None:
        raise UsageError("this province shares nothing with others: it has no XINLIU_EXCHANGE")
    with ExitStack() as opened:
        book = opened.enter_context(ledger(connect))
        one, scope = plan_to_run(book, plan, REPUSH)
        database = connect().acting("admin").database.get_secret_value()
        owner = opened.enter_context(open_store(database, autocommit=True))
        store = opened.enter_context(open_store(connection.database.get_secret_value(), autocommit=True))
        choice = RepushChoice(scope={**scope_values(scope), "own": connection.province})
        if yes:
            require_approved(connect(), one, step="repush")
            with running(book, owner, one, generation=serving_generation(store)) as run:
                began = monotonic()
                with store.transaction():
                    records = repush(store, choice)
                run.changed = {"records": records, "to": scope.province}
                run.rates = {"events": round(max(records, 1) / max(monotonic() - began, 0.001))}
        else:
            with store.transaction():
                records = repush(store, choice, dry_run=True)
    if as_json:
        print(json.dumps({"replay": one.replay, "to": scope.province, "records": records, "dry_run": not yes}))
    elif not yes:
        print(f"{records} records would be told {scope.province} again; --yes does it")
    else:
        print(
            hint(
                f"{records} records will be told again, within a second or so; `xinliu exchange status` shows when"
                f" {scope.province} holds them; the other provinces receive them too, and drop what they hold already"
            )
        )


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    replay = group(app, "replay", REPLAY)
    replay.command("correct")(_correct)
    replay.command("repush")(_repush)
