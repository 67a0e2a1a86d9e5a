"""`xinliu replay diff`: the changes that promoting a generation would make, down to entities, records and fields."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.groups import REPLAY, group
from schemas.console.tables import Wide
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.servers.connection import Connection

__all__ = ["SHOWN", "Format", "mount"]


class Format(StrEnum):
    """Output format of differences."""

    table = "table"
    json = "json"
    csv = "csv"
    page = "page"


SHOWN = {Format.table: 50, Format.page: 1_000}
"""Default number of entities and records shown to a person."""


def _diff(
    ctx: typer.Context,
    generations: Annotated[
        list[int] | None,
        typer.Argument(
            help="OLD and NEW, or NEW alone against the one that serves; by default that and the newest READY one.",
            metavar="[OLD] [NEW]",
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare every column, and history, not only what is stated of a record now.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="RECORD", help="All events behind this record, from both generations.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="page is one HTML file that a person reads.", show_default="table")
    ] = Format.table,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="So many entities and records at most.", show_default="50; 1,000 on a page; else all"),
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> int:
    """Compare two generations; entities whose 有 becomes 无 come first. Exit code 1 if something differs.

    Digests are compared first, and entities, records and fields only where digests differ. Writes nothing.
    """
    from schemas.store.database import connect as open_store
    from streams.replay.diff.comparison import (
        GenerationComparison,
        generations_to_compare,
        record_changes,
        state_changes,
    )
    from streams.replay.diff.report import tell

    named = tuple(generations or ())
    if len(named) > 2:
        raise UsageError("two generations are compared at most: OLD NEW")
    form = Format.json if as_json else form
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    with open_store(connection.database.get_secret_value(), autocommit=True) as store:
        old, new = generations_to_compare(store, named)
        if explain is not None:
            from streams.commands.replay.explain import explain_record

            return explain_record(store, connection, old, new, explain, as_json=form is Format.json)
        with GenerationComparison(store, old, new, deep=deep).snapshot() as compared:
            shown = SHOWN.get(form) if limit is None else limit
            tell(compared, state_changes(store, limit=shown), record_changes(store, limit=shown), form, wide=wide)
    return 0 if compared.equal else 1


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "replay", REPLAY).command("diff")(_diff)
