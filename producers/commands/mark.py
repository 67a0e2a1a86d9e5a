"""`xinliu mark`: a department vouches for its data on a day without news; for a timer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from producers.publisher import Publisher, PublisherConfig
from schemas.calendar.clock import TIME_HELP, read_time, time_text
from schemas.catalogue import load
from schemas.console.options import Json
from schemas.console.typed_text import department_typed

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["mark", "mount"]


def mark(
    ctx: typer.Context,
    department: Annotated[
        str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
    ],
    as_of: Annotated[
        str | None,
        typer.Option(help=f"数据截至: up to when everything has been published; now by default. {TIME_HELP}"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Vouch that everything has been published, with nothing new to publish: readers see a silent source as 未归集."""
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    chosen = load().department(connection.province, department)
    time = read_time(as_of, "--as-of") or datetime.now(UTC)
    with Publisher(PublisherConfig(connection.kafka, connection.registry, department)) as publisher:
        places = publisher.mark(time)
    if as_json:
        print(json.dumps({"department": department, "as_of": time.isoformat(), "markers": places}))
    else:
        print(f"{chosen.name_zh} vouches for its data up to {time_text(time)}")


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(mark)
