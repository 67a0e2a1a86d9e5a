"""`xinliu worker steward` and `xinliu replay carry-out`: the process with the owner's rights, and requests to it."""

from __future__ import annotations

import signal
import sys
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.console.groups import REPLAY, WORKER, group
from schemas.console.options import LogJson, log_to_stderr
from schemas.errors import Retryable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.operations.event import Operation
    from schemas.servers.connection import Connection

__all__ = ["mount"]


def _steward(ctx: typer.Context, log_json: LogJson = False) -> None:
    """Carry out approved replays with the owner's rights, so that no person needs them. One steward is enough."""
    from schemas.operations.topics import STEWARD, asks
    from streams.workers.steward import Steward

    log_to_stderr(log_json)
    get: Callable[[], Connection] = ctx.obj
    connection = get().acting(STEWARD)
    if not asks(connection.kafka):
        raise UsageError("this Kafka asks nobody who he is: here whoever plans a replay carries it out himself")
    commands = typer.Typer()
    _mount_steps(commands)

    def runs(words: Sequence[str]) -> int:
        try:
            done = commands(list(words), standalone_mode=False, obj=lambda: connection)
        except typer.Abort:
            return 2
        finally:
            log_to_stderr(log_json)  # some commands set up logging otherwise while they run
        return done if isinstance(done, int) else 0

    steward = Steward(connection, runs)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: steward.stop())
    steward.run()


def _mount_steps(app: typer.Typer) -> None:
    from streams.commands.redrive import mount as mount_redrive
    from streams.commands.replay.correct import mount as mount_correct
    from streams.commands.replay.generations import mount as mount_generations
    from streams.commands.replay.rebuild import mount as mount_rebuild

    for mount_one in (mount_correct, mount_rebuild, mount_redrive, mount_generations):
        mount_one(app)


def _carry_out(
    ctx: typer.Context,
    replay: Annotated[str | None, typer.Argument(help="Id of an approved replay, or its beginning.")] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the generation before, as proposed and approved.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the event.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds without news of the steward.", min=1)] = 3600.0,
) -> int:
    """Ask the steward for the next step of a replay. It has the rights, and checks the approvals in the log itself.

    Prints the step's output; the exit code is the step's.
    """
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsReader, OperationsWriter
    from schemas.operations.operators import operator_event, require_reason
    from streams.workers.steward import REQUESTED

    if (replay is None) != rollback:
        raise UsageError("name a replay, or say --rollback: one of the two")
    # The steward hands it on as a word of a command line: one that begins as an option does would be one there.
    require_reason("" if reason.startswith("-") else reason)
    get: Callable[[], Connection] = ctx.obj
    connection = get()
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        try:
            detail = {"step": "ROLL_BACK"} if replay is None else _next(reader.held(), replay)
            request = operator_event(connection.kafka, REQUESTED, reason, detail)
            if rollback:
                reader.held()
            OperationsWriter(connection.kafka, registry).write(request)
            answer = _answer(reader, request.id, timeout)
        finally:
            reader.close()
    print(answer.detail.get("output") or "", end="")
    if error := answer.detail.get("error"):
        print(f"xinliu: the steward: {error}", file=sys.stderr)
    return int(answer.detail.get("exit_code") or 0)


def _next(operations: Sequence[Operation], name: str) -> dict[str, Any]:
    from streams.replay.plan.approval import replay_standing

    ids = {str(one.detail.get("replay")) for one in operations if one.kind == "REPLAY_PLANNED"}
    chosen = [one for one in ids if one.startswith(name)] if name else []
    if len(chosen) != 1:
        raise UsageError(f"{'more than one' if chosen else 'no'} replay is called {name!r}: see `xinliu replay list`")
    known = replay_standing(operations, chosen[0])
    assert known is not None
    kind = str(known.planned.detail.get("kind"))
    return {"step": "PROMOTE" if kind == "REBUILD" and known.done is not None else kind, "replay": chosen[0]}


def _answer(reader: Any, request: str, timeout: float) -> Operation:
    from schemas.operations.topics import REQUEST_DONE

    deadline = monotonic() + timeout
    while monotonic() < deadline:
        for one in reader.read(0.5):
            if one.kind == REQUEST_DONE and one.detail.get("request") == request:
                return one  # type: ignore[no-any-return]
    raise Retryable(
        f"no steward has answered after {timeout:.0f} s: is one running (`xinliu worker steward`)? The request stands,"
        " and `xinliu replay show` tells what comes of it",
        server="kafka",
    )


def mount(app: typer.Typer) -> None:
    """Add the worker to `xinliu worker`, and the command to `xinliu replay`."""
    group(app, "worker", WORKER).command("steward")(_steward)
    group(app, "replay", REPLAY).command("carry-out")(_carry_out)
