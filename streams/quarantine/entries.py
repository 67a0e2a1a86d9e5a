"""Quarantine entries, the decisions that people may take about them, and the state of an entry after them.

A decision is an event on `operations`. Intake carries it out: it examines the untouched value again, forwards it to
`accepted` under its original origin, and writes the outcome to `quarantine`. The view projects the outcome. The state
of an entry is a maximum over all that is known of it, so neither order nor repetition of these messages matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.records.refused_row import LOG, PARTITION
from streams.kafka.headers import ACCEPTED, DISCARDED, Origin

__all__ = [
    "DECISIONS",
    "DISCARD",
    "DONE",
    "OPEN",
    "OVERRIDE",
    "REDRIVE",
    "STATES",
    "QuarantineEntry",
    "entries_of",
    "parse_name",
    "state_of",
    "undone",
]

OVERRIDE, REDRIVE, DISCARD = "QUARANTINE_OVERRIDE", "QUARANTINE_REDRIVE", "QUARANTINE_DISCARD"
DECISIONS = frozenset({OVERRIDE, REDRIVE, DISCARD})
DONE = "QUARANTINE_DONE"
"""Kind of the event by which intake reports a decision as done. Its detail names the decision and counts the
outcomes."""

OPEN = "OPEN"
STATES = (OPEN, "SUPERSEDED", "DISCARDED", "REDRIVEN", "OVERRIDDEN")
"""States of an entry, lowest first: an entry never goes back from a later state to an earlier one."""

_NAME = re.compile(r"(?P<department>[a-z0-9-]+)/(?P<partition>\d{1,9}|-1)/(?P<offset>\d{1,18})")


_Partition = Annotated[int, Field(ge=0, lt=1 << 31)]
_Offset = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Detail(BaseModel):
    """The detail of an event that names an entry."""

    topic: Annotated[str, Field(pattern=r"^records\.[a-z0-9-]{1,200}$")]
    topic_id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    partition: Annotated[int, Field(ge=PARTITION, lt=1 << 31)]
    offset: _Offset
    stored: tuple[_Partition, _Offset] | None

    @model_validator(mode="after")
    def _stands_somewhere(self) -> Self:
        # Only a row that a department itself refused has no partition.
        if (self.partition == PARTITION) != (self.topic_id == LOG):
            raise ValueError("partition and topic id do not go together")
        return self


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A refused message: its place in the department's topic, and the place of its value in the topic `quarantine`.

    `stored` is None if only the department's topic has the value: intake had accepted it, and PostgreSQL could not
    store it.
    """

    origin: Origin
    stored: tuple[int, int] | None

    @property
    def name(self) -> str:
        """The entry's name for people: department/partition/offset."""
        return f"{self.origin.department}/{self.origin.partition}/{self.origin.offset}"

    def to_detail(self) -> dict[str, Any]:
        """Return the entry as an event on `operations` names it."""
        where = self.origin
        return {
            "topic": where.topic,
            "topic_id": where.topic_id,
            "partition": where.partition,
            "offset": where.offset,
            "stored": list(self.stored) if self.stored else None,
        }

    @classmethod
    def from_detail(cls, detail: Mapping[str, Any]) -> QuarantineEntry:
        """Read `to_detail` back. Raises ValueError if the detail names no entry."""
        # Every field is checked: this becomes a header that the view must be able to read.
        try:
            found = _Detail.model_validate(detail)
        except ValidationError as error:
            raise ValueError(f"the event names no quarantine entry: {error.errors()[0]['msg']}") from None
        return cls(Origin(found.topic, found.topic_id, found.partition, found.offset), found.stored)


def parse_name(name: str) -> tuple[str, int, int]:
    """Return department, partition and offset of an entry's name. Raises UsageError if it is no such name."""
    found = _NAME.fullmatch(name.strip())
    if found is None:
        raise UsageError(
            f"{name!r} names no entry: write department/partition/offset, as `xinliu quarantine list` does"
        )
    return found["department"], int(found["partition"]), int(found["offset"])


def entries_of(decision: Operation) -> tuple[QuarantineEntry, ...]:
    """Return the entries of a decision. Raises ValueError if the event is not whole."""
    entries = decision.detail.get("entries")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError("the event names no entries")
    return tuple(QuarantineEntry.from_detail(entry) for entry in entries)


def undone(operations: Iterable[Operation]) -> dict[str, Operation]:
    """Return the decisions, by id, that no intake has reported as carried out, in their order."""
    known = list(operations)
    # In any order: a decision and intake's report of it stand in topics of two authors.
    done = {str(one.detail.get("decision")) for one in known if one.kind == DONE}
    waiting: dict[str, Operation] = {}
    for one in known:
        if one.kind in DECISIONS and one.id not in done:
            waiting.setdefault(one.id, one)  # the first event with the id counts: no later one takes its place
    return waiting


def state_of(outcomes: Iterable[tuple[str, str]], *, held: bool) -> str:
    """Return the state of an entry after these outcomes: pairs of the decision's kind and its outcome, in any order.

    `held` says whether the view has the entry's record at the entry's version or a later one. Without it no outcome
    counts as accepted, whatever intake reports: an entry never closes before its record is visible. A refusal changes
    no state. A decision to discard does not outweigh an acceptance.
    """
    known = set(outcomes)
    if held and (OVERRIDE, ACCEPTED) in known:
        return "OVERRIDDEN"
    if held and (REDRIVE, ACCEPTED) in known:
        return "REDRIVEN"
    if any(outcome == DISCARDED for _, outcome in known):
        return "DISCARDED"
    return "SUPERSEDED" if held else OPEN
