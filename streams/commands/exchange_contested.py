"""`xinliu exchange contested` and `settle`: registrations that provinces contest, and an operator's decision on
them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.calendar.clock import time_text
from schemas.console.groups import EXCHANGE, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import code_typed
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.servers.connection import Connection

__all__ = ["SETTLED", "mount"]

SETTLED = "REGISTRATION_SETTLED"
"""Kind of the event: its detail has uscc and province. The decision in force is read from the audit, which follows from
`operations` alone."""


def _contested(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> int:
    """List entities that another province claims though they are registered elsewhere. Exit code 1 if there are any."""
    connect: Callable[[], Connection] = ctx.obj
    found = _read(connect(), "exchange/contested/contested")
    if as_json:
        print(json.dumps(found, ensure_ascii=False, default=str))
    elif not found:
        print("no registration is contested")
    else:
        rows = [
            (
                one["uscc"],
                *(
                    escape(f"{one[f'{whose}_by']}, {one[f'{whose}_since']}: {one[f'{whose}_name']}")
                    for whose in ("held", "claimed")
                ),
                time_text(one["known_at"]),
            )
            for one in found
        ]
        print_table(
            Console(), ("entity", "held by", "claimed by", "known"), rows, text=("held by", "claimed by"), wide=wide
        )
        print(hint("ours ends by what our registry says, or `xinliu exchange settle USCC --for PROVINCE --reason …`"))
    return 1 if found else 0


def _settle(
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="USCC", help="Whose registration.", callback=code_typed)],
    province: Annotated[str, typer.Option("--for", help="Where it is registered.")],
    reason: Annotated[str, typer.Option(help="Why: what both registries said. Kept with the event.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be decided.")] = False,
) -> None:
    """Decide where an entity is registered if provinces contest it.

    The decision applies here while that province's registration stands open. The other province decides for itself; a
    later decision replaces an earlier one.
    """
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator_event, require_reason

    if not dry_run:
        require_reason(reason)
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    said = _read(connection, "exchange/contested/claims", entity)
    between = [one["province"] for one in said if one["open"]]
    if len(said) < 2:
        raise UsageError(
            f"no two provinces say where {entity} is registered: `xinliu exchange contested` names those that are contested"
        )
    if province not in between:
        raise UsageError(
            f"in {province} no registration of {entity} stands open: one does in {', '.join(between) or 'none'}"
        )
    if dry_run:
        print(f"{entity} would be registered in {province}")
        return
    detail = {"uscc": entity, "province": province, "said": json.loads(json.dumps(said, default=str))}
    with Registry(connection.registry) as registry:
        event = operator_event(connection.kafka, SETTLED, reason, detail)
        OperationsWriter(connection.kafka, registry).write(event)
    print(f"{entity} is registered in {province}, as readers will see within seconds")


def _read(connection: Connection, query: str, *values: str) -> Sequence[dict[str, Any]]:
    from psycopg.rows import dict_row

    from schemas.store.database import connect
    from schemas.store.sql_files import sql

    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        return store.cursor(row_factory=dict_row).execute(sql(query), values).fetchall()


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    exchange = group(app, "exchange", EXCHANGE)
    exchange.command("contested")(_contested)
    exchange.command("settle")(_settle)
