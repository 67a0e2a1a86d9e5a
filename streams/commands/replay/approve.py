"""`xinliu replay approve`: the second person's approval of a replay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.groups import REPLAY, group
from schemas.console.options import Json
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.servers.connection import Connection

__all__ = ["mount"]


def _approve(
    ctx: typer.Context,
    replay: Annotated[
        str, typer.Argument(help="Id of a replay, as `xinliu replay list` shows it; its beginning will do.")
    ],
    reason: Annotated[str, typer.Option(help="Why it may be done; kept with the approval.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be approved, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Approve another operator's plan; or, once that is carried out, the promotion of its result.

    It covers exactly this plan, or this result, and is valid for a time (XINLIU_APPROVAL_HOURS).
    """

    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator, person, require_reason
    from schemas.operations.two_people import acting_as, is_another
    from schemas.store.database import connect
    from streams.replay.plan.approval import RUN, operations_of, replay_standing
    from streams.replay.plan.ledger import Ledger

    require_reason(reason)
    get: Callable[[], Connection] = ctx.obj
    connection = get()
    by = acting_as(connection.kafka)
    operations = operations_of(connection)
    ids = {str(one.detail.get("replay")) for one in operations if one.kind == "REPLAY_PLANNED"}
    chosen = sorted(one for one in ids if one.startswith(replay)) if replay else []
    if len(chosen) != 1:
        raise UsageError(f"{'more than one' if chosen else 'no'} replay is called {replay!r}: see `xinliu replay list`")
    known = replay_standing(operations, chosen[0])
    assert known is not None
    if known.ended is not None:
        raise UsageError(
            f"{chosen[0]} has ended ({known.ended.kind.removeprefix('REPLAY_')}): there is nothing to approve"
        )
    if person(by) == person(known.planned.by):
        raise UsageError(
            f"{known.planned.by} has planned {chosen[0]}: another operator must approve it, and you are {by}"
        )
    if not is_another(connection.kafka, known.planned):
        raise UsageError(
            f"{known.planned.by} has planned {chosen[0]} and you are {by}, which may be one person: plan and approve with the"
            " principals of two people (XINLIU_OPERATORS)"
        )
    detail = known.to_detail()
    if not dry_run:
        with (
            Registry(connection.registry) as registry,
            connect(connection.database.get_secret_value(), autocommit=True) as store,
        ):
            ledger = Ledger(store, OperationsWriter(connection.kafka, registry), by=operator(connection.kafka))
            ledger.step("REPLAY_APPROVED", chosen[0], reason, **detail)
    if as_json:
        print(json.dumps({"replay": chosen[0], "by": by, "dry_run": dry_run, **detail}, ensure_ascii=False))
        return
    what = "that it is run" if known.covers == RUN else "that what came of it is promoted"
    print(
        f"{chosen[0]}, planned by {known.planned.by}: {'would be approved' if dry_run else 'approved'} by {by}: {what}"
    )


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "replay", REPLAY).command("approve")(_approve)
