"""`xinliu refused`: a department's open refusals, and its decision that a row stays out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.typed_text import department_typed
from schemas.errors import UsageError
from schemas.identifiers.persons import cover_persons
from schemas.records.refused_row import MOST, PARTITION, entry_name

if TYPE_CHECKING:
    from producers.refused_records import RefusedRecord
    from schemas.servers.connection import Connection

__all__ = ["mount", "refused"]

refused = typer.Typer(no_args_is_help=True, help="Rows and records of a department that are refused and still are.")

_DEPARTMENT = Annotated[
    str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
]


@refused.command("list")
def _list(ctx: typer.Context, department: _DEPARTMENT, as_json: Json = False) -> None:
    """List what is still refused, as the receipts say: rows that were never sent, and records that intake refused.

    Exit codes: 0 none, 1 some, 2 a mistake in the command, 3 a server did not answer.
    """
    found = _open(ctx, department)
    if as_json:
        print(json.dumps([_plain(one, department) for one in found], ensure_ascii=False))
    else:
        for one in found:
            plain = _plain(one, department)
            why = "; ".join(
                f"{reason['field']}: {reason['message']}" if reason["field"] else reason["message"]
                for reason in plain["findings"]
            )
            print(f"{plain['entry']}  {'not sent' if plain['never_sent'] else 'sent'}  {why}")
        print(
            hint(
                f"{len(found)} refused; mend and publish them, or `xinliu refused discard ENTRY --reason …` what was not sent"
            )
        )
    if found:
        raise typer.Exit(1)


@refused.command("discard")
def _discard(
    ctx: typer.Context,
    entries: Annotated[list[str], typer.Argument(metavar="ENTRY…", help="As `list` and `publish --json` name them.")],
    department: _DEPARTMENT,
    reason: Annotated[str, typer.Option(help="Why the row stays out: kept, and shown to operators.")],
    as_json: Json = False,
) -> None:
    """Decide that rows which this department itself refused stay out: readers see 无 for them, if nothing else is known.

    Records that intake refused are the operator's to decide. Exit codes: 0 done, 2 a mistake, 3 a server did not
    answer.
    """
    from producers.publisher import Publisher, PublisherConfig
    from schemas.operations.operators import operator

    ids = [_id(entry, department) for entry in entries]
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    with Publisher(PublisherConfig(connection.kafka, connection.registry, department)) as publisher:
        for id in ids:
            publisher.discard(id, reason=reason, by=operator(connection.kafka))
    if as_json:
        print(
            json.dumps(
                {"discarded": [entry_name(department, id) for id in ids], "reason": cover_persons(reason)},
                ensure_ascii=False,
            )
        )
    else:
        print(f"{len(ids)} discarded: {cover_persons(reason)}")


def _open(ctx: typer.Context, department: str) -> list[RefusedRecord]:
    from producers.receipts import Receipts
    from producers.refused_records import refused_in

    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    receipts = Receipts(connection.kafka, connection.registry, department, from_beginning=True)
    try:
        return [one for one in refused_in(receipts.held()) if not one.discarded]
    finally:
        receipts.close()


def _plain(one: RefusedRecord, department: str) -> dict[str, Any]:
    return {
        "entry": f"{department}/{one.partition}/{one.offset}",
        "never_sent": one.partition == PARTITION,
        "record_id": one.record_id,
        "version": one.version,
        "findings": [dict(reason) for reason in one.findings],
    }


def _id(entry: str, department: str) -> int:
    key, _, place = entry.strip().partition("/")
    partition, _, number = place.partition("/")
    if key != department or not number.isascii() or not number.isdigit() or int(number) >= MOST:
        raise UsageError(
            f"{entry!r} names no refused row of {department}: `xinliu refused list --department {department}` names them"
        )
    if partition != str(PARTITION):
        raise UsageError(
            f"{entry} was sent, and intake refused it: an operator discards it (`xinliu quarantine discard`)"
        )
    return int(number)


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(refused, name="refused")
