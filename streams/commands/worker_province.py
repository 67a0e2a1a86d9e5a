"""`xinliu worker province`: all workers of a province in one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from schemas.console.groups import WORKER, group
from schemas.console.options import LogJson, MetricsHost, MetricsPort, log_to_stderr
from streams.commands.worker import CrashAt, Instance, shown_at

if TYPE_CHECKING:
    from schemas.servers.connection import Connection
    from streams.monitoring.endpoint import Shown
    from streams.runtime.service import Thread

__all__ = ["Besides", "mount"]

Besides = Callable[["Connection"], tuple[Sequence[tuple[str, "Thread"]], Sequence["Shown"]]]
"""Returns, for a connection, the threads to run beside intake and view, and their metrics. The caller of `mount` passes
it: they belong to a room that this one does not know."""


def mount(app: typer.Typer, beside: Besides) -> None:
    """Add the command to `xinliu worker`."""

    @group(app, "worker", WORKER).command()
    def province(
        ctx: typer.Context,
        instance: Instance = None,
        metrics_port: MetricsPort = None,
        metrics_host: MetricsHost = "127.0.0.1",
        crash_at: CrashAt = None,
        log_json: LogJson = False,
    ) -> None:
        """Run intake, view and the push links in one process: for provinces that share a machine."""
        # Several threads work on batches already; polars' own threads would only pass small ones to and fro.
        os.environ.setdefault("POLARS_MAX_THREADS", "1")
        from streams.runtime.crash_points import arm
        from streams.workers.province import Province

        log_to_stderr(log_json)
        if crash_at:
            arm(crash_at)
        connect: Callable[[], Connection] = ctx.obj
        connection = connect()
        works, shown = beside(connection)
        worker = Province(connection.acting, beside=works, shown=shown, instance=instance)
        with shown_at(worker.outside, metrics_host, metrics_port):
            worker.run()
