"""`xinliu approve`: the second person's approval of anything but a replay; without an id, the list of waiting
events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.calendar.clock import time_text
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from schemas.operations.event import Operation
    from schemas.operations.two_people import TwoPeople
    from schemas.servers.connection import Connection

__all__ = ["mount"]


def _approve(
    ctx: typer.Context,
    event: Annotated[str | None, typer.Argument(help="Id of a decision or proposal, or its beginning.")] = None,
    reason: Annotated[str, typer.Option(help="Why it may be done; kept with the approval.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be approved, and write nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Approve exactly what another person has decided or proposed; without an id, list what waits (exit code 1).

    A decision to discard or override is carried out at once. A rollback, an accepted loss and the cut-off of a key are
    carried out when the same command is given again. Replays are approved by `xinliu replay approve`.
    """
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter, held_operations
    from schemas.operations.operators import operator_event, person, require_reason
    from schemas.operations.two_people import APPROVED, TwoPeople, acting_as, digest, is_another

    get: Callable[[], Connection] = ctx.obj
    connection = get()
    with Registry(connection.registry) as registry:
        operations = held_operations(connection.kafka, registry)
        waiting = _waiting(operations, TwoPeople.of(connection, operations))
        if event is None:
            return _show(waiting, as_json)
        require_reason(reason)
        chosen = [one for one in waiting if one.id.startswith(event)]
        if len(chosen) != 1:
            what = "more than one" if chosen else "nothing"
            raise UsageError(f"{what} that waits is called {event!r}: `xinliu approve` names what waits")
        one, by = chosen[0], acting_as(connection.kafka)
        detail = {"of": one.id, "digest": digest(one)}
        said = operator_event(connection.kafka, APPROVED, reason, detail, department=one.department)
        if not is_another(connection.kafka, one):
            raise UsageError(
                f"{one.by} has said it, and you are {by}: {'another person' if person(by) == person(one.by) else 'a person'}"
                " must approve it, each by a principal of his own (XINLIU_OPERATORS, docs/audit.md)"
            )
        if not dry_run:
            OperationsWriter(connection.kafka, registry).write(said)
    if as_json:
        print(json.dumps({**_plain(one), "approved_by": by, "dry_run": dry_run, **detail}, ensure_ascii=False))
    else:
        print(f"{one.id[:12]} ({_about(one)}) by {one.by}: {'would be approved' if dry_run else 'approved'} by {by}")
    return 0


def _waiting(operations: Iterable[Operation], people: TwoPeople) -> list[Operation]:
    from schemas.operations.two_people import PROPOSED
    from streams.quarantine.entries import undone

    known = list(operations)
    used = {one.detail.get("proposal") for one in known}
    proposals = [one for one in known if one.kind == PROPOSED and one.id not in used]
    decisions = [one for one in undone(known).values() if people.lacks(one)]
    return sorted(
        [*decisions, *(one for one in proposals if people.approval(one) is None)], key=lambda one: (one.when, one.id)
    )


def _plain(one: Operation) -> dict[str, Any]:
    return {
        "id": one.id, "kind": one.kind, "by": one.by, "at": one.when.isoformat(), "department": one.department,
        "reason": one.reason, "detail": dict(one.detail),
    }  # fmt: skip


def _about(one: Operation) -> str:
    from streams.quarantine.entries import entries_of

    if "step" in one.detail:
        return f"{one.detail['step']} {json.dumps(one.detail.get('about'), ensure_ascii=False)}"
    try:
        names = [entry.name for entry in entries_of(one)]
    except ValueError as error:
        names = [str(error)]
    return f"{one.kind} {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"


def _show(waiting: list[Operation], as_json: bool) -> int:
    if as_json:
        print(json.dumps({"waiting": [_plain(one) for one in waiting]}, ensure_ascii=False))
        return 1 if waiting else 0
    for one in waiting:
        print(f"{one.id[:12]}  {time_text(one.when)}  {one.by}  {_about(one)}  {one.reason}")
    print(
        hint("another operator than the one named says `xinliu approve ID --reason …`")
        if waiting
        else "nothing waits for a second person"
    )
    return 1 if waiting else 0


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command("approve")(_approve)
