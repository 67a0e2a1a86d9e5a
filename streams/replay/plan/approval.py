"""Approval of a replay by a second person, before it is run and before its result is promoted.

It follows from events on `operations` alone, never from a table: write access to a row approves nothing. The
administrator's events there decide whether approval is required, and the broker vouches for the author of each event
(schemas/operations/two_people.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.operations.log import held_operations
from schemas.operations.topics import asks
from schemas.operations.two_people import TwoPeople, two_people
from schemas.servers.connection import Connection
from streams.replay.plan.ledger import Replay

__all__ = ["PROMOTE", "RUN", "ReplayStanding", "approval_of", "operations_of", "replay_standing", "require_approved"]

RUN, PROMOTE = "RUN", "PROMOTE"
"""What an approval covers: running the plan; promoting its result."""

_ENDED = ("REPLAY_PROMOTED", "REPLAY_ROLLED_BACK", "REPLAY_ABANDONED")


@dataclass(frozen=True, slots=True)
class ReplayStanding:
    """The state of one replay from its events: its plan, last steps and approvals."""

    planned: Operation
    plan: str
    """SHA-256 of the plan, hexadecimal: an approval is of exactly this plan."""
    done: Operation | None
    running: Operation | None
    ended: Operation | None
    approvals: Sequence[Operation]

    @property
    def covers(self) -> str:
        """What an approval would cover now."""
        return PROMOTE if self.done is not None else RUN

    def to_detail(self) -> dict[str, Any]:
        """Return the detail of an approval given now, beside the replay."""
        return {"covers": self.covers, "plan": self.plan, "result": self.done.id if self.done is not None else None}


def operations_of(connection: Connection) -> list[Operation]:
    """Return every event of `operations`. Raises Retryable if a server does not answer."""
    with Registry(connection.registry) as registry:
        return held_operations(connection.kafka, registry)


def replay_standing(operations: Iterable[Operation], replay: str) -> ReplayStanding | None:
    """Return the state of a replay from the events; None if it was never planned."""
    planned = done = running = ended = None
    approvals: list[Operation] = []
    for one in operations:
        if one.detail.get("replay") != replay:
            continue
        if one.kind == "REPLAY_PLANNED":
            planned = planned or one  # as in the ledger: a second plan with the same id does not count
        elif one.kind == "REPLAY_APPROVED":
            approvals.append(one)
        elif one.kind == "REPLAY_RUNNING":
            running = one
        elif one.kind == "REPLAY_DONE":
            done = one
        elif one.kind in _ENDED:
            ended = one
    if planned is None:
        return None
    return ReplayStanding(planned, _hash(planned), done, running, ended, approvals)


def require_approved(connection: Connection, replay: Replay, *, step: str) -> None:
    """Return if this step (rebuild, correct, redrive, promote…) of a replay may begin.

    Raises UsageError, with the remedy, if no other operator than the planner has approved exactly this plan (and, to
    promote, exactly this result) within the time that an approval is valid, or if the plan in the table differs from
    that in the topic.
    """
    if not asks(connection.kafka) and not connection.approval.required:
        return
    operations = operations_of(connection)
    rule = TwoPeople.of(connection, operations).rule()
    if not rule.required:
        return
    known = replay_standing(operations, replay.replay)
    why = refusal(known, replay, promote=step == "promote", hours=rule.hours, now=datetime.now(UTC))
    if why is not None:
        raise UsageError(f"{step} of {replay.replay}: {why}")


def refusal(known: ReplayStanding | None, replay: Replay, *, promote: bool, hours: float, now: datetime) -> str | None:
    """Return the reason why a step may not begin; None if it may."""
    if known is None:
        return "operations holds no such plan: make a new one with `xinliu replay plan`"
    told = known.planned.detail
    if (replay.kind, replay.scope, replay.plan) != (told.get("kind"), told.get("scope"), told.get("plan")):
        return "xinliu.replay holds another plan than was written to operations (see `xinliu audit verify`): make a new plan"
    ask = f"another operator than {known.planned.by} must say `xinliu replay approve {replay.replay} --reason …`"
    if promote and known.done is None:
        return "it is not done yet"
    last = approval_of(known, promote=promote)
    if last is None:
        what = "what came of it" if promote else "it"
        return f"nobody has approved {what}: {ask}"
    # A run that began in time may be resumed later.
    began = known.running.when if known.running is not None and not promote and known.running.when >= last.when else now
    if began - last.when > timedelta(hours=hours):
        return f"the approval of {last.when:%Y-%m-%d %H:%M} UTC by {last.by} held for {hours:g} hours: {ask}"
    return None


def approval_of(known: ReplayStanding, *, promote: bool) -> Operation | None:
    """Return the last approval by another person of exactly this plan or, to promote, of its result; None if there is
    none."""
    result = known.done.id if promote and known.done is not None else None
    covering = [
        one for one in known.approvals
        if one.detail.get("plan") == known.plan
        and (one.detail.get("covers"), one.detail.get("result")) == ((PROMOTE, result) if promote else (RUN, None))
        and two_people(one, known.planned)
    ]  # fmt: skip
    return covering[-1] if covering else None


def _hash(planned: Operation) -> str:
    told = [planned.by, planned.reason, *(planned.detail.get(name) for name in ("replay", "kind", "scope", "plan"))]
    return hashlib.sha256(json.dumps(told, ensure_ascii=True, sort_keys=True).encode("ascii")).hexdigest()
