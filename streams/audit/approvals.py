"""Check of approvals: steps, decisions and proposals that nobody else had approved before they were carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.operations.event import Operation
from schemas.operations.two_people import DECISIONS_OF_TWO, PROPOSED, TwoPeople, two_people
from streams.replay.plan.approval import approval_of, replay_standing

__all__ = ["Unapproved", "unapproved"]

_STEPS = {"REPLAY_RUNNING": False, "REPLAY_PROMOTED": True}
"""Steps of a replay → whether they need an approval of the replay's result."""
_PROPOSALS = {
    "REPLAY_ROLLED_BACK": ("ROLL_BACK", ("replay",)),
    "POSITION_LOSS_ACCEPTED": ("ACCEPT_LOSS", ("topic", "topic_id", "partition", "begin", "goes_on_at")),
    "KEY_RETIRED": ("CUT_OFF_KEY", ("province", "key_id", "compromised")),
}
"""Kind of an event that carries out a proposal → the proposal's step, and the fields that must agree in both."""


@dataclass(frozen=True, slots=True)
class Unapproved:
    """An event that nobody else had approved when the broker received it."""

    operation: Operation
    text: str


def unapproved(operations: Sequence[Operation], people: TwoPeople) -> list[Unapproved]:
    """Return the events of one person alone that required two, in the order of the events.

    `operations` are all events, in the broker's order, and `people` has followed them.
    """
    by_id: dict[str, Operation] = {}
    for one in operations:
        by_id.setdefault(one.id, one)
    found = []
    for number, one in enumerate(operations):
        if not people.rule(one.when).required:
            continue
        why = _why(one, number, operations, by_id, people)
        if why is not None:
            found.append(Unapproved(one, why))
    return found


def _why(
    one: Operation, number: int, operations: Sequence[Operation], by_id: Mapping[str, Operation], people: TwoPeople
) -> str | None:
    if one.kind in _STEPS:
        return _step(one, operations[:number], promote=_STEPS[one.kind])
    if one.kind in _PROPOSALS:
        return _proposed(one, by_id, people)
    if one.kind == "QUARANTINE_DONE":
        decision = by_id.get(str(one.detail.get("decision")))
        if decision is None or decision.kind not in DECISIONS_OF_TWO or not one.detail.get("outcomes"):
            return None
        if people.rule(decision.when).required and people.approval(decision, before=one.when) is None:
            return f"the {decision.kind} {decision.id[:12]} of {decision.by} was carried out, and no other person had approved it"
    return None


def _step(one: Operation, so_far: Sequence[Operation], *, promote: bool) -> str | None:
    replay = str(one.detail.get("replay"))
    known = replay_standing(so_far, replay)
    if known is None:
        return f"{one.kind} of {replay}, which nobody had planned"
    if approval_of(known, promote=promote) is None:
        what = "what came of it" if promote else "its plan"
        return f"{one.kind} of {replay}, planned by {known.planned.by}: no other person had approved {what}"
    return None


def _proposed(one: Operation, by_id: Mapping[str, Operation], people: TwoPeople) -> str | None:
    step, names = _PROPOSALS[one.kind]
    proposal = by_id.get(str(one.detail.get("proposal")))
    about: Any = proposal.detail.get("about") if proposal is not None else None
    fits = (
        proposal is not None
        and proposal.kind == PROPOSED
        and proposal.detail.get("step") == step
        and isinstance(about, dict)
        and all(about.get(name) == one.detail.get(name) for name in names)
    )
    if proposal is None or not fits:
        return f"{one.kind} by {one.by}: no proposal of exactly this stands behind it"
    approval = people.approval(proposal, before=one.when)
    if approval is None or not two_people(approval, proposal):
        return f"{one.kind} by {one.by}: no other person had approved the proposal of {proposal.by}"
    return None
