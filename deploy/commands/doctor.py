"""Command `xinliu doctor --security`: drift from the declared security."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from deploy.cluster import access
from deploy.doctor import drifts
from deploy.people import people_here
from deploy.settings import settings
from schemas.calendar.clock import CHINA
from schemas.catalogue import load
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["doctor", "mount"]


def doctor(
    ctx: typer.Context,
    security: Annotated[
        bool, typer.Option("--security", help="Rights, grants, topics, modes of files, versions of the servers.")
    ] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show what has drifted from what is declared; nothing is changed. Exit code 1 if something has.

    It asks as admin, like `xinliu access plan`, whose differences it shows with those of `xinliu topics plan`.
    """
    if not security:
        raise UsageError("say what to look at: --security")
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(access.ADMIN)
    known = settings()
    named = people_here(known, ctx.find_root().params.get("stack"))
    found = drifts(connection, load(), named, known.home_folder, datetime.now(CHINA).date())
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False))
    elif found:
        rows = [(one.area, escape(one.what)) for one in found]
        print_table(Console(), ("where", "what"), rows, text=("what",), wide=wide)
    else:
        print("nothing has drifted")
    if found:
        raise typer.Exit(1)


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(doctor)
