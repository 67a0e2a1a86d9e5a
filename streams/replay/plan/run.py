"""The run of a saved plan: whether it may run, and its steps in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from schemas.errors import UsageError
from streams.kafka.scope import ReplayScope
from streams.replay.plan.ledger import Ledger, Replay

__all__ = ["ReplayRun", "plan_to_run", "running"]

_COMMANDS = {"REBUILD": "rebuild", "CORRECT": "correct", "REPUSH": "repush", "REDRIVE": "redrive"}
_OPEN = ("PLANNED", "APPROVED", "RUNNING")


@dataclass(slots=True)
class ReplayRun:
    """A run under way: the detail for its last step."""

    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)


def plan_to_run(book: Ledger, name: str, kind: str) -> tuple[Replay, ReplayScope]:
    """Return a saved plan of that kind that is not done yet. Raises UsageError if there is none of that id."""
    one = book.get(name)
    if one.kind != kind:
        raise UsageError(
            f"{one.replay} is a {one.kind}: `xinliu replay {_COMMANDS[one.kind]} {one.replay}` carries it out"
        )
    if one.state not in _OPEN:
        raise UsageError(
            f"{one.replay} is {one.state}: what is to be done again is planned anew (`xinliu replay plan`)"
        )
    return one, ReplayScope.from_detail(one.scope)


@contextmanager
def running(book: Ledger, owner: psycopg.Connection[Any], one: Replay, *, generation: int) -> Iterator[ReplayRun]:
    """Write the step RUNNING of a replay and, if nothing fails, the step DONE with its changes.

    An interrupted run stays RUNNING; the same command runs it again, which is idempotent.
    """
    book.step("REPLAY_RUNNING", one.replay, one.reason, serving=generation)
    run = ReplayRun()
    yield run
    book.step("REPLAY_DONE", one.replay, one.reason, before=run.before, after=run.after, changed=run.changed)
    if run.rates:
        owner.execute(
            "UPDATE xinliu.replay SET progress = %s WHERE replay = %s", (Jsonb({"rates": run.rates}), one.replay)
        )
