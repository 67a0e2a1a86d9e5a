"""Approval by two people: one person's decision takes effect once another person has approved exactly that.

All of it follows from the events of operations, whose authors the broker vouches for. Whether approval is required is
an event, too, which the administrator writes: no process decides it for itself. On a cluster without authentication a
process's own setting counts, and names are as credible as the process's user (docs/audit.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsWriter, held_operations
from schemas.operations.operators import PERSONAL, another, operator, operator_event, person
from schemas.operations.topics import INSTALLATION, asks, author, topic_of
from schemas.servers.connection import Approval, Connection
from schemas.servers.kafka import Cluster

__all__ = [
    "APPROVED",
    "DECISIONS_OF_TWO",
    "PROPOSED",
    "TwoPeople",
    "acting_as",
    "digest",
    "is_another",
    "must_be_a_person",
    "require_two",
    "two_people",
]

APPROVED = "APPROVED"
"""Another person's approval: detail.of is the id of the approved event, detail.digest its digest."""
PROPOSED = "PROPOSED"
"""One person's proposal: detail.step (ROLL_BACK, ACCEPT_LOSS, CUT_OFF_KEY) and detail.about, its exact subject."""
DECISIONS_OF_TWO = frozenset({"QUARANTINE_DISCARD", "QUARANTINE_OVERRIDE"})
"""Decisions that turn 待核 into another state: intake carries them out after the approval, and no sooner."""


def two_people(first: Operation, second: Operation) -> bool:
    """Return whether these events are certainly two people's: a shared principal's or a worker's event is nobody's."""
    if first.vouched or second.vouched:
        both = first.vouched and second.vouched and all(one.by.startswith(PERSONAL) for one in (first, second))
        return both and person(first.by) != person(second.by)
    return another(first.by, second.by)


def digest(operation: Operation) -> str:
    """Return the digest to approve: SHA-256 of the event's content, hexadecimal."""
    told = [operation.id, operation.kind, operation.department, operation.by, operation.reason, operation.detail]
    return hashlib.sha256(json.dumps(told, ensure_ascii=True, sort_keys=True).encode("ascii")).hexdigest()


def acting_as(kafka: Cluster) -> str:
    """Return the author that readers will see in events of this process: the principal on a cluster with
    authentication, else the process's own claim.
    """
    said = operator(kafka)
    return author(topic_of(kafka), said) if asks(kafka) else said


def is_another(kafka: Cluster, one: Operation) -> bool:
    """Return whether an event of this process would certainly be another person's than that event."""
    mine = Operation(APPROVED, None, datetime.now(UTC), acting_as(kafka), "", {}, vouched=asks(kafka))
    return two_people(mine, one)


def must_be_a_person(kafka: Cluster) -> None:
    """Raise UsageError if the broker would not vouch for this process as a person."""
    me = acting_as(kafka)
    if asks(kafka) and not me.startswith(PERSONAL):
        raise UsageError(
            "two people must want this: one says it and another approves it, each by a principal of his own, and"
            f" {person(me)} is no person's; say it with such a principal first (XINLIU_OPERATORS, docs/audit.md)"
        )


class TwoPeople:
    """The approval rule and the approvals, folded from the followed events. One instance belongs to one thread."""

    def __init__(self, kafka: Cluster, own: Approval) -> None:
        self._asks, self._own = asks(kafka), own
        self._rules: list[tuple[datetime, Approval]] = []
        self._approvals: dict[str, list[Operation]] = {}

    @classmethod
    def of(cls, connection: Connection, operations: Iterable[Operation]) -> TwoPeople:
        """Return the state after these events."""
        found = cls(connection.kafka, connection.approval)
        for one in operations:
            found.follow(one)
        return found

    def follow(self, operation: Operation) -> None:
        """Apply an event."""
        if operation.kind == APPROVED:
            self._approvals.setdefault(str(operation.detail.get("of")), []).append(operation)
        elif operation.kind == INSTALLATION and operation.vouched:
            try:
                rule = Approval.model_validate(operation.detail.get("approval"))
            except ValidationError:  # not written by our command: the earlier rule stays
                return
            self._rules = sorted([*self._rules, (operation.when, rule)], key=lambda known: known[0])

    def rule(self, moment: datetime | None = None) -> Approval:
        """Return the rule at a time, now by default. Without an administrator's rule it requires two people."""
        if not self._asks:
            return self._own
        said = [rule for since, rule in self._rules if moment is None or since <= moment]
        return said[-1] if said else Approval()

    def approval(self, operation: Operation, *, before: datetime | None = None) -> Operation | None:
        """Return the last approval of exactly this event by another person; None if there is none (before then)."""
        said = digest(operation)
        covering = [
            one for one in self._approvals.get(operation.id, ())
            if one.detail.get("digest") == said and two_people(one, operation) and (before is None or one.when <= before)
        ]  # fmt: skip
        return covering[-1] if covering else None

    def lacks(self, operation: Operation) -> bool:
        """Return whether this decision waits for another person."""
        needs = operation.kind in DECISIONS_OF_TWO and self.rule(operation.when).required
        return needs and self.approval(operation) is None


def require_two(connection: Connection, step: str, about: Mapping[str, Any], reason: str) -> str | None:
    """Return the id of the proposal that permits this step now, None if two people are not required.

    If there is none yet, this person's proposal is written. Raises UsageError, with the next step, until another person
    has approved exactly this, and if the approval has expired.
    """
    if not asks(connection.kafka) and not connection.approval.required:
        return None
    with Registry(connection.registry) as registry:
        operations = held_operations(connection.kafka, registry)
        known = TwoPeople.of(connection, operations)
        rule = known.rule()
        if not rule.required:
            return None
        asked = [one for one in operations if _is(one, step, about)]
        used = {one.detail.get("proposal") for one in operations}
        fresh = [one for one in asked if one.id not in used]
        for one in reversed(fresh):
            approved = known.approval(one)
            if approved is not None and datetime.now(UTC) - approved.when <= timedelta(hours=rule.hours):
                return one.id
        must_be_a_person(connection.kafka)
        me = acting_as(connection.kafka)
        mine = [one for one in fresh if person(one.by) == person(me) and known.approval(one) is None]
        if mine:
            proposal = mine[-1]
        else:
            detail = {"step": step, "about": dict(about)}
            proposal = operator_event(connection.kafka, PROPOSED, reason, detail)
            OperationsWriter(connection.kafka, registry).write(proposal)
    raise UsageError(
        f"nobody has approved it: it stands as proposal {proposal.id[:12]} by {me}; another operator must say"
        f" `xinliu approve {proposal.id[:12]} --reason …`, then the same command does it"
    )


def _is(one: Operation, step: str, about: Mapping[str, Any]) -> bool:
    same = one.kind == PROPOSED and one.detail.get("step") == step
    return same and one.detail.get("about") == json.loads(json.dumps(dict(about)))
