"""Throttled redrive: `xinliu quarantine redrive --rate`, and `xinliu replay redrive` for an approved plan."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.console.groups import REPLAY, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.servers.connection import Connection
    from streams.quarantine.reader import Choice
    from streams.quarantine.redrive_run import Ran
    from streams.replay.plan.ledger import Replay

__all__ = ["mount", "paced", "print_result", "resumed"]


def resumed(connection: Connection, run: str) -> tuple[Choice, str]:
    """Return a run's choice of entries and its reason, from its events. Raises UsageError if there is no such run."""
    from streams.quarantine.redrive_run import choice_from, first_of
    from streams.replay.plan.approval import operations_of

    first = first_of(operations_of(connection), run)
    if "choice" not in first.detail:
        raise UsageError(f"{run} is a planned replay: `xinliu replay redrive {run}` goes on with it")
    return choice_from(first.detail["choice"]), first.reason


def paced(
    connection: Connection, choice: Choice, reason: str, *, rate: float, timeout: float, run: str | None = None
) -> Ran:
    """Redrive the open entries of a choice, throttled, with a bar on a terminal. Entries of a later time stay out."""
    from streams.quarantine.redrive_run import choice_to

    fixed = replace(choice, until=choice.until or datetime.now(UTC))
    run = run or uuid.uuid4().hex[:12]
    return _ran(connection, fixed, reason, {"run": run, "choice": choice_to(fixed), "rate": rate}, rate, timeout)


def _ran(connection: Connection, choice: Choice, reason: str, mark: dict[str, Any], rate: float, timeout: float) -> Ran:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from schemas.console.terminal import Console
    from streams.quarantine.decisions import DecisionWriter
    from streams.quarantine.entries import REDRIVE
    from streams.quarantine.redrive_run import redrive

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        DecisionWriter(connection, reason, REDRIVE, mark=mark) as deciding,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(f"redrive {mark['run']}", total=None)
        return redrive(
            deciding,
            lambda: deciding.reader.entries(choice),
            run=mark["run"],
            rate=rate,
            patience=timeout,
            tell=lambda done, total: bar.update(task, completed=done, total=total),
        )


def print_result(ran: Ran, as_json: bool) -> int:
    """Print the result of a run; return the exit code: 1 if an entry was left out or is not accepted."""
    wrong = bool(ran.left_out) or bool(set(ran.outcomes) - {"ACCEPTED"})
    if as_json:
        print(json.dumps(ran.to_plain(), ensure_ascii=False))
        return int(wrong)
    outcomes = ", ".join(f"{outcome} {n}" for outcome, n in sorted(ran.outcomes.items())) or "nothing to do"
    earlier = f" and {ran.before} before" if ran.before else ""
    print(f"redrive {ran.run}: {ran.decided} entries in {ran.seconds:.1f} s{earlier}: {outcomes}")
    for one in ran.left_out:
        print(
            f"  {one.name} left out: its value was covered; have the department send it again, and discard this entry"
        )
    if ran.decisions:
        print(hint(f"  what came of each: xinliu quarantine decisions --run {ran.run}"))
    return int(wrong)


def _redrive(
    ctx: typer.Context,
    replay: Annotated[str, typer.Argument(help="Id of a replay of kind REDRIVE, as `xinliu replay list` shows it.")],
    rate: Annotated[str, typer.Option(help="Entries a second at most: 50, 50/s.")] = "200/s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of the entries, and write nothing.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds without news of intake after which it is given up.", min=1)
    ] = 60.0,
    as_json: Json = False,
) -> int:
    """Examine the quarantine entries of a plan again, by today's rules; killed and run again, it resumes where it was.

    Exit code 1 if an entry was left out, or refused again.
    """
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.store.database import connect
    from streams.kafka.scope import REDRIVE
    from streams.quarantine.decisions import DecisionWriter
    from streams.quarantine.entries import REDRIVE as EVENT
    from streams.quarantine.redrive_run import rate_of
    from streams.replay.plan.approval import operations_of, replay_standing, require_approved
    from streams.replay.plan.ledger import Ledger

    get: Callable[[], Connection] = ctx.obj
    connection, pace = get(), rate_of(rate)
    # Only the owner may write the ledger's table; the events are the operator's.
    database = connection.acting("admin").database.get_secret_value()
    with Registry(connection.registry) as registry, connect(database, autocommit=True) as store:
        from schemas.operations.operators import operator

        ledger = Ledger(store, OperationsWriter(connection.kafka, registry), by=operator(connection.kafka))
        operations = operations_of(connection)
        ledger.catch_up(operations)
        known = ledger.get(replay)
        if known.kind != REDRIVE:
            raise UsageError(f"{known.replay} is a plan to {known.kind}: only one of the quarantine is redriven")
        choice = _choice(known)
        if dry_run:
            with DecisionWriter(connection, known.reason, EVENT) as deciding:
                foreseen = deciding.decide(deciding.reader.entries(choice), wait=None, dry_run=True)
            plain = {
                "replay": known.replay,
                "dry_run": True,
                "entries": len(foreseen.going),
                "outcomes": foreseen.outcomes,
            }
            print(
                json.dumps(plain)
                if as_json
                else f"{known.replay}: {len(foreseen.going)} entries, {dict(foreseen.outcomes or {})}"
            )
            return 0
        if known.state not in ("PLANNED", "APPROVED", "RUNNING"):
            raise UsageError(f"{known.replay} is {known.state}: nothing of it is left to be done")
        require_approved(connection, known, step="redrive")
        said = replay_standing(operations, known.replay)
        if known.state != "RUNNING" or said is None or said.running is None:
            before = {"open": _open(connection, choice)}
            ledger.step("REPLAY_RUNNING", known.replay, known.reason, rate=pace, before=before)
        else:  # resumed after an interruption
            before = said.running.detail["before"]
        ran = _ran(connection, choice, known.reason, {"run": known.replay, "replay": known.replay}, pace, timeout)
        ledger.step(
            "REPLAY_DONE", known.replay, known.reason, before=before,
            after={"entries": ran.before + ran.decided, "outcomes": dict(ran.outcomes), "left_out": len(ran.left_out)},
        )  # fmt: skip
    return print_result(ran, as_json)


def _choice(known: Replay) -> Choice:
    from streams.kafka.scope import ReplayScope
    from streams.quarantine.entries import OPEN
    from streams.quarantine.reader import Choice

    scope = ReplayScope.from_detail(known.scope)
    if scope.offsets or scope.province:
        raise UsageError(
            f"{known.replay} names offsets or a province, which the quarantine does not know: make another plan"
        )
    return Choice(
        state=OPEN,
        since=scope.since,
        until=scope.until or known.planned_at,  # entries refused after the plan are not in it
        departments=scope.departments,
        domains=scope.domains,
        entities=scope.entities,
        codes=scope.codes,
    )


def _open(connection: Connection, choice: Choice) -> int:
    from streams.quarantine.reader import QuarantineReader

    with QuarantineReader(connection.database.get_secret_value()) as reader:
        return reader.count(choice)


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "replay", REPLAY).command("redrive")(_redrive)
