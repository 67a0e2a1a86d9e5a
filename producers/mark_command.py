"""`xinliu mark`: a department vouches for its data on a day without news; for a timer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from producers.importing.values import CellRefused, as_time
from producers.publisher import Publisher, PublisherConfig
from schemas.catalogue import load
from schemas.errors import UsageError
from schemas.options import Json

if TYPE_CHECKING:
    from schemas.connection import Connection

__all__ = ["mark"]


def mark(
    ctx: typer.Context,
    department: Annotated[str, typer.Option(help="Key of the department.")],
    as_of: Annotated[
        str | None, typer.Option(help="数据截至: up to when everything has been published; now by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Vouch that everything has been published, with nothing new to publish: a source that is silent is shown as 未归集."""
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    chosen = load().department(connection.province, department)
    try:
        time = as_time(as_of) or datetime.now(UTC)
    except CellRefused:
        raise UsageError(
            f"--as-of {as_of!r} is no time: write 2026-11-23T10:00 (China time unless it has a zone)"
        ) from None
    with Publisher(PublisherConfig(connection.kafka, connection.registry, department)) as publisher:
        places = publisher.mark(time)
    if as_json:
        print(json.dumps({"department": department, "as_of": time.isoformat(), "markers": places}))
    else:
        print(f"{chosen.name_zh} vouches for its data up to {time.astimezone().strftime('%Y-%m-%d %H:%M')}")
