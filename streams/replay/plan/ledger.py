"""The ledger of replays: each step is an event on `operations` first, and then a state in xinliu.replay.

After a restore of an older backup, `catch_up` brings the table up to date from the events.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsWriter, covered
from schemas.operations.operators import require_reason
from streams.kafka.scope import CORRECT, REBUILD, REDRIVE, REPUSH, ReplayScope

__all__ = ["STEPS", "Ledger", "Replay", "project"]

Store = psycopg.Connection[Any]

STEPS = {
    "REPLAY_PLANNED": "PLANNED",
    "REPLAY_APPROVED": "APPROVED",
    "REPLAY_RUNNING": "RUNNING",
    "REPLAY_DONE": "DONE",
    "REPLAY_PROMOTED": "PROMOTED",
    "REPLAY_ROLLED_BACK": "ROLLED_BACK",
    "REPLAY_ABANDONED": "ABANDONED",
}
"""Kinds of events on `operations`, each with the resulting state of the replay. detail.replay is its id; PLANNED
carries kind, scope and plan; RUNNING the generation; each may carry `before` and `after`, the figures that it
changed."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One row of xinliu.replay; times in UTC."""

    replay: str
    kind: str
    scope: Mapping[str, Any]
    reason: str
    plan: Mapping[str, Any]
    planned_by: str
    planned_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    state: str
    generation: int | None
    progress: Mapping[str, Any]
    changed_at: datetime


class Ledger:
    """Writer and reader of steps. `store` is the owner's connection in autocommit; `by` the operator (user@host).

    `said` returns the events of `operations`, from which a plan is entered that its planner's role could not enter.
    """

    def __init__(
        self,
        store: Store,
        writer: OperationsWriter,
        *,
        by: str,
        said: Callable[[], Iterable[Operation]] | None = None,
    ) -> None:
        self._store, self._writer, self._by, self._said = store, writer, by, said

    def plan(self, kind: str, scope: ReplayScope, reason: str, figures: Mapping[str, Any]) -> str:
        """Enter a plan; return the id of the replay. Raises UsageError if no reason is given."""
        replay = uuid.uuid4().hex[:12]
        self.step("REPLAY_PLANNED", replay, reason, kind=kind, scope=scope.to_detail(), plan=dict(figures))
        return replay

    def step(self, event: str, replay: str, reason: str, **detail: Any) -> Operation:
        """Write the event of a step (a key of STEPS), and project it.

        Raises Retryable if Kafka does not take it: then nothing was done.
        """
        require_reason(reason)
        operation = covered(
            Operation(event, None, datetime.now(UTC), self._by, reason.strip(), {"replay": replay, **detail})
        )
        self._writer.write(operation)
        self.catch_up([operation])
        return operation

    def catch_up(self, operations: Iterable[Operation]) -> None:
        """Project every event that is not in the table yet; stored steps stay as they are.

        An operator may only read tables: his events are on `operations` nevertheless, and the next role with the right
        to write the table projects them.
        """
        with suppress(psycopg.errors.InsufficientPrivilege):
            project(self._store, operations)

    def get(self, replay: str) -> Replay:
        """Return a replay by its id or an unambiguous prefix. Raises UsageError if there is none, or more than one."""
        found = self._found(replay)
        if not found and self._said is not None:
            self.catch_up(self._said())
            found = self._found(replay)
        if len(found) != 1 or not replay:
            raise UsageError(
                f"{'more than one' if found else 'no'} replay is called {replay!r}: see `xinliu replay list`"
            )
        return found[0]

    def _found(self, replay: str) -> list[Replay]:
        with self._store.cursor(row_factory=class_row(Replay)) as cursor:
            return cursor.execute(
                "SELECT * FROM xinliu.replay WHERE starts_with(replay, %s) LIMIT 2", (replay,)
            ).fetchall()

    def all(self) -> list[Replay]:
        """Return all replays, the newest first."""
        with self._store.cursor(row_factory=class_row(Replay)) as cursor:
            return cursor.execute("SELECT * FROM xinliu.replay ORDER BY planned_at DESC, replay").fetchall()


def _whole(one: Operation) -> bool:
    """Return whether an event of a replay has all its fields: one that lacks some must not block the others."""
    detail = one.detail
    if one.kind == "REPLAY_PLANNED":
        parts = (detail.get("kind"), str), (detail.get("scope"), Mapping), (detail.get("plan"), Mapping)
        if not all(isinstance(value, kind) for value, kind in parts) or detail["kind"] not in (
            REBUILD,
            CORRECT,
            REPUSH,
            REDRIVE,
        ):
            return False
    return isinstance(detail.get("replay"), str) and bool(detail["replay"])


def project(store: Store, operations: Iterable[Operation]) -> None:
    """Project these events into xinliu.replay, in order; other kinds of events and old ones change nothing."""
    with store.transaction():
        for one in operations:
            state = STEPS.get(one.kind)
            if state is None:
                continue
            detail = one.detail
            if not _whole(one):
                continue
            if one.kind == "REPLAY_PLANNED":
                store.execute(
                    "INSERT INTO xinliu.replay (replay, kind, scope, reason, plan, planned_by, planned_at, state, changed_at)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, 'PLANNED', %s) ON CONFLICT DO NOTHING",
                    (detail["replay"], detail["kind"], Jsonb(detail["scope"]), one.reason, Jsonb(detail["plan"]), one.by,
                     one.at, one.at),
                )  # fmt: skip
                continue
            store.execute(
                # An approval of the result leaves the replay DONE.
                "UPDATE xinliu.replay SET changed_at = %(at)s,"
                " state = CASE WHEN %(state)s = 'APPROVED' AND state <> 'PLANNED' THEN state ELSE %(state)s END,"
                " approved_by = CASE WHEN %(state)s = 'APPROVED' THEN %(by)s ELSE approved_by END,"
                " approved_at = CASE WHEN %(state)s = 'APPROVED' THEN %(at)s ELSE approved_at END,"
                " generation = COALESCE((SELECT generation FROM xinliu.generation WHERE generation = %(generation)s), generation)"
                " WHERE replay = %(replay)s AND changed_at < %(at)s",
                {"state": state, "at": one.at, "by": one.by, "replay": detail["replay"],
                 "generation": detail.get("generation")},
            )  # fmt: skip
