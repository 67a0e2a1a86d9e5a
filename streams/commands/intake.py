"""`xinliu intake`: departments whose intake is stopped, and the command to resume it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.calendar.clock import time_text
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.typed_text import department_typed
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.contracts.registry import Registry
    from schemas.operations.event import Operation
    from schemas.servers.connection import Connection

__all__ = ["mount"]

intake = typer.Typer(help="Which departments' intake is stopped, and letting one go on.", no_args_is_help=True)


def _stopped(connection: Connection, registry: Registry) -> dict[str, Operation]:
    from schemas.operations.log import held_operations
    from streams.intake.stops import stopped_departments

    return stopped_departments(held_operations(connection.kafka, registry))


def _plain(stop: Operation) -> dict[str, Any]:
    return {
        "department": stop.department,
        "stopped_at": stop.at.isoformat(),
        "by": stop.by,
        "reason": stop.reason,
        **stop.detail,
    }


@intake.command("status")
def _status(ctx: typer.Context, as_json: Json = False) -> int:
    """List departments whose intake is stopped, since when and why. Exit code 1 if there is one."""
    from schemas.contracts.registry import Registry

    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    with Registry(connection.registry) as registry:
        stopped = _stopped(connection, registry)
    if as_json:
        limits = connection.intake_limits.model_dump()
        print(
            json.dumps({"stopped": [_plain(stop) for stop in stopped.values()], "limits": limits}, ensure_ascii=False)
        )
        return 1 if stopped else 0
    for stop in stopped.values():
        codes = ", ".join(f"{code} {count}" for code, count in stop.detail.get("codes", {}).items())
        since = time_text(stop.at)
        print(
            f"{stop.department}: stopped since {since} by {stop.by}: {stop.reason}" + (f" ({codes})" if codes else "")
        )
        print(hint(f"  once its source is mended: xinliu intake resume --department {stop.department} --reason …"))
    if not stopped:
        print("every department's intake goes on")
    return 1 if stopped else 0


@intake.command("resume")
def _resume(
    ctx: typer.Context,
    department: Annotated[
        str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
    ],
    reason: Annotated[str, typer.Option(help="What was mended; kept with the event.")] = "",
    tolerate: Annotated[
        int,
        typer.Option(
            min=0, help="Messages that may all be refused before the limits count: the bad ones still waiting."
        ),
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go on, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Resume a stopped department's intake, from the record at which it stopped; the limits count anew."""
    from schemas.catalogue import load
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator_event
    from streams.intake.stops import RESUMED

    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    load().department(connection.province, department)
    with Registry(connection.registry) as registry:
        stop = _stopped(connection, registry).get(department)
        if stop is None:
            raise UsageError(f"the intake of {department} is not stopped: `xinliu intake status` names those that are")
        detail = {"stopped_at": stop.at.isoformat(), "tolerate": tolerate}
        event = operator_event(connection.kafka, RESUMED, reason, detail, department=department)
        if not dry_run:
            OperationsWriter(connection.kafka, registry).write(event)
    if as_json:
        print(json.dumps({"resumed": department, "dry_run": dry_run, "stop": _plain(stop)}, ensure_ascii=False))
    else:
        what = "would go on" if dry_run else "goes on"
        print(f"{department}: intake {what}; it was stopped because {stop.reason}")


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(intake, name="intake")
