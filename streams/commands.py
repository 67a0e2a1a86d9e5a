"""`xinliu worker`: the stream processors, one process each."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.options import LogJson, MetricsHost, MetricsPort, log_to_stderr

if TYPE_CHECKING:
    from schemas.connection import Connection
    from streams.endpoint import Shown

__all__ = [
    "CrashAt",
    "Instance",
    "mount",
    "shown_at",
    "workers",
]

workers = typer.Typer(
    help="Run a stream processor until it is stopped (SIGTERM); logs go to stderr.", no_args_is_help=True
)

Instance = Annotated[
    str | None,
    typer.Option(
        help="A lasting name of this worker, one of its own in its group: started again under it within 15 s, it goes on"
        " at once, where another would first be waited for."
    ),
]
CrashAt = Annotated[
    str | None,
    typer.Option(
        "--crash-at",
        metavar="POINT[:PASSING]",
        help="For tests: kill this process with SIGKILL there; a wrong name lists the points.",
    ),
]


@workers.command()
def intake(
    ctx: typer.Context,
    instance: Instance = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    crash_at: CrashAt = None,
    log_json: LogJson = False,
) -> None:
    """Examine what departments publish: records.* → accepted, quarantine."""
    from streams.app import run
    from streams.crashing import arm
    from streams.endpoint import Outside
    from streams.workers import INTAKE_SERVERS, intake_worker

    log_to_stderr(log_json)
    if crash_at:
        arm(crash_at)
    connect: Callable[[], Connection] = ctx.obj
    outside = Outside("intake", INTAKE_SERVERS)
    with shown_at(outside, metrics_host, metrics_port):
        run(intake_worker(connect().acting("intake"), outside=outside, instance=instance))


@workers.command()
def view(
    ctx: typer.Context,
    generation: Annotated[
        int | None,
        typer.Option(
            help="Generation to fold into, whatever serves; by default the one that serves, and what is promoted then."
        ),
    ] = None,
    instance: Instance = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    crash_at: CrashAt = None,
    log_json: LogJson = False,
) -> None:
    """Fold accepted into the credit view in PostgreSQL, and publish receipts and changes."""
    # Batches are worked on side by side already; polars' own threads would only pass small ones to and fro.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from streams.app import run
    from streams.crashing import arm
    from streams.endpoint import Outside
    from streams.workers import VIEW_SERVERS, view_worker

    log_to_stderr(log_json)
    if crash_at:
        arm(crash_at)
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting("view")
    outside = Outside("view", VIEW_SERVERS)
    with shown_at(outside, metrics_host, metrics_port):
        run(view_worker(connection, generation=generation, outside=outside, instance=instance))


def shown_at(outside: Shown, host: str, port: int | None) -> AbstractContextManager[Any]:
    """Serve what a worker shows while the context lasts; nowhere where no port is given."""
    from streams.endpoint import serving

    return nullcontext() if port is None else serving(outside, port, host=host)


def mount(app: typer.Typer, only: str | None = None) -> None:
    """Add this room's commands to the command `xinliu`; with `only`, no others than those that begin with it."""
    app.add_typer(workers, name="worker")
    if only in (None, "worker"):
        from streams.steward_command import mount_worker

        mount_worker(workers)
    if only in (None, "positions"):
        from streams.positions_command import mount as mount_positions

        mount_positions(app)
    if only in (None, "intake"):
        from streams.intake_command import mount as mount_intake

        mount_intake(app)
    if only in (None, "quarantine"):
        from streams.quarantine_command import mount as mount_quarantine

        mount_quarantine(app)
    if only in (None, "exchange"):
        from streams.exchange.contested_command import mount as mount_contested
        from streams.exchange.repush_command import mount as mount_repush

        mount_contested(app)
        mount_repush(app)
    if only in (None, "cases"):
        from streams.cases_command import mount as mount_cases

        mount_cases(app)
    if only in (None, "replay"):
        _mount_replay(app)
    if only in (None, "approve"):
        from streams.approve_command import mount as mount_approve

        mount_approve(app)
    if only in (None, "audit"):
        from streams.audit.command import mount as mount_audit

        mount_audit(app)


def _mount_replay(app: typer.Typer) -> None:
    from streams.redrive_command import mount as mount_redrive
    from streams.replay.approve_command import mount as mount_approve
    from streams.replay.correct_command import mount as mount_correct
    from streams.replay.diff_command import mount as mount_diff
    from streams.replay.generations_command import mount as mount_generations
    from streams.replay.plan_command import mount as mount_plan
    from streams.replay.rebuild_command import mount as mount_rebuild
    from streams.steward_command import mount as mount_steward

    for mount_one in (
        mount_generations, mount_rebuild, mount_plan, mount_diff, mount_correct, mount_approve, mount_redrive, mount_steward,
    ):  # fmt: skip
        mount_one(app)
