"""`xinliu heartbeat`: a department vouches for its data at a fixed interval, as a service."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from producers.heartbeat import PATIENCE, Beat, Heartbeat
from producers.publisher import Publisher, PublisherConfig
from schemas.calendar.clock import time_text
from schemas.catalogue import load
from schemas.console.typed_text import department_typed

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["heartbeat", "mount"]


def heartbeat(
    ctx: typer.Context,
    department: Annotated[
        str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
    ],
    every: Annotated[float, typer.Option(min=1.0, help="Seconds between two beats.")] = 60.0,
    behind: Annotated[
        float, typer.Option(min=0.0, help="Seconds that a change may need to be published: vouch up to so long ago.")
    ] = 0.0,
    once: Annotated[bool, typer.Option("--once", help="One beat, as `xinliu mark`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a beat.")] = False,
) -> None:
    """Vouch every minute that everything has been published; only for a source that publishes each change at once.

    Runs until SIGTERM. While Kafka is away it waits, and later sends no marker for a time that has passed. A source
    that publishes in batches must not use it: it marks at the end of each batch (`xinliu publish` does, or `xinliu
    mark`).
    """
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    chosen = load().department(connection.province, department)
    config = PublisherConfig(connection.kafka, connection.registry, department, timeout=PATIENCE)
    beats = _Told(chosen.name_zh, as_json)
    if once:
        with Publisher(config) as publisher:
            as_of = datetime.now(UTC) - timedelta(seconds=behind)
            beats(Beat(as_of, len(publisher.mark(as_of))))
        return
    beating = Heartbeat(lambda: Publisher(config), every=every, behind=behind, tell=beats)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: beating.stop())
    beating.run()


class _Told:
    """Prints each beat as JSON; for a person, changes only."""

    def __init__(self, name: str, as_json: bool) -> None:
        self._name, self._as_json = name, as_json
        self._well: bool | None = None

    def __call__(self, beat: Beat) -> None:
        well = beat.failure is None
        if self._as_json:
            plain = {"as_of": beat.as_of.isoformat(), "markers": beat.markers, "failure": beat.failure}
            print(json.dumps(plain, ensure_ascii=False), flush=True)
        elif well is not self._well:
            text = (
                f"vouches for its data, up to {time_text(beat.as_of)} and on"
                if well
                else f"cannot vouch, and waits: {beat.failure}"
            )
            print(f"{self._name} {text}", flush=True)
        self._well = well


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(heartbeat)
