"""`xinliu replay rebuild`: a new generation built from the log, beside the serving one."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.groups import REPLAY, group
from schemas.console.hints import hint
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.servers.connection import Connection
    from streams.replay.rebuild.rebuild import RebuildProgress

__all__ = ["mount"]


def _rebuild(
    ctx: typer.Context,
    replay: Annotated[str | None, typer.Argument(help="Id of a planned rebuild (`xinliu replay plan`).")] = None,
    reason: Annotated[
        str, typer.Option(help="Plan one of everything and carry it out at once; say why: it is kept with every step.")
    ] = "",
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the partitions of accepted.")] = 1,
    rate: Annotated[float | None, typer.Option(min=1, help="Messages a second, at most, of all processes.")] = None,
    full_speed: Annotated[
        bool, typer.Option("--full-speed", help="Do not make way for the live view: readers may feel it.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Messages in a transaction, at most.",
            show_default="10000 at full speed, else 2500",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: how far it is, then the result.")
    ] = False,
    crash_at: Annotated[str | None, typer.Option("--crash-at", metavar="POINT[:PASSING]", hidden=True)] = None,
) -> int:
    """Fill a new generation from accepted by today's rules, and leave it READY; run again, it resumes where it was.

    Nothing changes for readers: compare it with `xinliu replay diff`, then `xinliu replay promote`.
    """
    # Several lanes work already; polars' own threads would only pass small batches to and fro.
    os.environ.setdefault("POLARS_MAX_THREADS", "2")
    if not full_speed:
        # The imports alone keep a processor busy for two seconds: readers would feel that, too.
        os.nice(19)
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator
    from schemas.store.database import connect as open_store
    from streams.kafka.scope import REBUILD, ReplayScope
    from streams.replay.plan.approval import operations_of, require_approved
    from streams.replay.plan.ledger import Ledger
    from streams.replay.rebuild.rebuild import Rebuild
    from streams.replay.rebuild.throttle import Pace
    from streams.runtime.crash_points import arm

    if (replay is None) == (not reason):
        raise UsageError("name a planned rebuild, or say with --reason why one of everything is needed: one of the two")
    if crash_at:
        arm(crash_at)
    get: Callable[[], Connection] = ctx.obj
    person = get()  # the steps name the person, not the owner
    connection = person.acting("admin")
    with (
        Registry(connection.registry) as registry,
        open_store(connection.database.get_secret_value(), autocommit=True) as store,
    ):
        ledger = Ledger(
            store,
            OperationsWriter(person.kafka, registry),
            by=operator(person.kafka),
            said=lambda: operations_of(person),
        )
        chosen = ledger.get(replay).replay if replay else ledger.plan(REBUILD, ReplayScope(), reason, {})
        require_approved(person, ledger.get(chosen), step="rebuild")
        with _Shown(as_json) as shown:
            generation = Rebuild(
                connection,
                ledger,
                processes=processes,
                pace=Pace(rate, not full_speed),
                batch=batch or (10_000 if full_speed else 2_500),
                tell=shown.tell,
                crash_at=crash_at,
            ).run(chosen)
        done = ledger.get(chosen)
    if as_json:
        print(
            json.dumps({"replay": done.replay, "generation": generation, "state": "READY", "progress": done.progress})
        )
    else:
        print(
            hint(
                f"generation {generation} is READY (replay {done.replay}): see `xinliu replay diff`, then"
                f" `xinliu replay promote {done.replay}`"
            )
        )
    return 0


class _Shown:
    """Progress of a rebuild: a bar on a terminal, lines of JSON with --json, else nothing."""

    def __init__(self, as_json: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from schemas.console.terminal import Console

        self._json = as_json
        self._last = ("", -1)
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[rate]:,.0f}/s"), TimeRemainingColumn(), console=console,
            disable=as_json or not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("fill", total=1, rate=0.0)

    def tell(self, state: RebuildProgress) -> None:
        """Show a state of the rebuild."""
        if self._json and (state.phase, state.folded) != self._last:
            self._last = (state.phase, state.folded)
            print(json.dumps(asdict(state)), flush=True)
        self._bar.update(
            self._task, description=state.phase, completed=state.folded, total=max(1, state.total), rate=state.rate
        )

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        sys.stderr.flush()


def mount(app: typer.Typer) -> None:
    """Add the command to the group `xinliu replay`."""
    group(app, "replay", REPLAY).command("rebuild")(_rebuild)
