"""`xinliu worker`: the stream processors, one process each."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.console.groups import WORKER, group
from schemas.console.options import LogJson, MetricsHost, MetricsPort, log_to_stderr

if TYPE_CHECKING:
    from schemas.servers.connection import Connection
    from streams.monitoring.endpoint import Shown

__all__ = [
    "CrashAt",
    "Instance",
    "mount",
    "shown_at",
]


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


def intake(
    ctx: typer.Context,
    instance: Instance = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    crash_at: CrashAt = None,
    log_json: LogJson = False,
) -> None:
    """Examine the departments' messages: records.* → accepted, quarantine."""
    from streams.monitoring.endpoint import Outside
    from streams.runtime.app import run
    from streams.runtime.crash_points import arm
    from streams.workers.assembly import INTAKE_SERVERS, intake_worker

    log_to_stderr(log_json)
    if crash_at:
        arm(crash_at)
    connect: Callable[[], Connection] = ctx.obj
    outside = Outside("intake", INTAKE_SERVERS)
    with shown_at(outside, metrics_host, metrics_port):
        run(intake_worker(connect().acting("intake"), outside=outside, instance=instance))


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
    # Several threads work on batches already; polars' own threads would only pass small ones to and fro.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from streams.monitoring.endpoint import Outside
    from streams.runtime.app import run
    from streams.runtime.crash_points import arm
    from streams.workers.assembly import VIEW_SERVERS, view_worker

    log_to_stderr(log_json)
    if crash_at:
        arm(crash_at)
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting("view")
    outside = Outside("view", VIEW_SERVERS)
    with shown_at(outside, metrics_host, metrics_port):
        run(view_worker(connection, generation=generation, outside=outside, instance=instance))


def shown_at(outside: Shown, host: str, port: int | None) -> AbstractContextManager[Any]:
    """Serve a worker's endpoint while the context lasts; without a port, serve nothing."""
    from streams.monitoring.endpoint import serving

    return nullcontext() if port is None else serving(outside, port, host=host)


def mount(app: typer.Typer) -> None:
    """Add the workers of this room to `xinliu worker`."""
    for command in (intake, view):
        group(app, "worker", WORKER).command()(command)
