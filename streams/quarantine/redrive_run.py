"""A redrive of many entries at a pace: a run, which follows from `operations` and may be killed and resumed at any point.

Each event of a run bears the run's id and decides about a second's worth of entries. Which entries a run has decided about
is what its events say, and which of them are done what intake's say: nothing else is kept, and nothing is done again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from time import monotonic
from typing import Any

from schemas.errors import Retryable, UsageError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader
from streams.quarantine.decisions import DecisionWriter
from streams.quarantine.entries import DONE, REDRIVE, QuarantineEntry, entries_of
from streams.quarantine.reader import Choice, EntryState

__all__ = ["Ran", "choice_from", "choice_to", "first_of", "rate_of", "redrive"]

_AHEAD = 2
"""So many events may wait for intake: it never stands still, and a run that is stopped leaves little behind."""


@dataclass(slots=True)
class Ran:
    """What a run has decided about so far, this time and before, and what came of it."""

    run: str
    before: int = 0
    """Entries that earlier runs of the command under this id had decided about."""
    decided: int = 0
    """And this one."""
    left_out: list[EntryState] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "run": self.run,
            "decided_before": self.before,
            "decided": self.decided,
            "left_out": [{"entry": one.name, "code": "VALUE_MASKED"} for one in self.left_out],
            "decisions": self.decisions,
            "outcomes": dict(self.outcomes),
            "seconds": round(self.seconds, 1),
        }


def rate_of(text: str) -> float:
    """Return entries a second: 50, 50/s or 0.5/s. Raises UsageError where it is no rate."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(?:/s)?", text.strip())
    rate = float(found[1]) if found else 0.0
    if rate <= 0:
        raise UsageError(f"--rate {text!r} is no rate: write entries a second, as 50/s")
    return rate


def choice_to(choice: Choice) -> dict[str, Any]:
    """Return a choice as the events of a run name it."""
    told = {one.name: getattr(choice, one.name) for one in fields(choice)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
        for name, value in told.items()
        if value
    }


def choice_from(detail: Mapping[str, Any]) -> Choice:
    """Read `choice_to` back. Raises UsageError where it is none."""
    try:
        times = {name: datetime.fromisoformat(detail[name]) for name in ("since", "until") if name in detail}
        return Choice(**{**detail, **times})
    except (TypeError, ValueError) as error:
        raise UsageError(f"the events of that run do not say which entries it is about: {error}") from None


def first_of(operations: Iterable[Operation], run: str) -> Operation:
    """Return the first event of a run. Raises UsageError where there is none."""
    for one in operations:
        if one.kind == REDRIVE and run and one.detail.get("run") == run:
            return one
    raise UsageError(f"operations knows no run {run!r}: `xinliu quarantine decisions` names them")


def redrive(
    deciding: DecisionWriter,
    choose: Callable[[], Sequence[EntryState]],
    *,
    run: str,
    rate: float,
    patience: float,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Ran:
    """Decide about the entries that `choose` names, but for those that the run has decided about, at most `rate` a second.

    Returns once intake has carried out all of it. `tell` hears how many entries are done, and of how many. Raises Retryable
    where intake does nothing for `patience` seconds: the run may be resumed under its id.
    """
    reader, ran, began = deciding.followed(), Ran(run), monotonic()
    try:
        follow = _Following(run, reader)
        known = follow.entries
        ran.before = len(known)
        chosen = list({one.entry: one for one in choose() if one.entry not in known}.values())
        ran.left_out = [one for one in chosen if one.masked]
        events = deciding.events([one for one in chosen if not one.masked], most=int(rate))
        total = ran.before + sum(len(event.detail["entries"]) for event in events)
        writer, at = deciding.writer(), monotonic()
        for event in events:
            follow.until(lambda: len(follow.waiting) < _AHEAD, not_before=at, patience=patience)
            tell(follow.done, total)
            writer.write(event)
            count = len(event.detail["entries"])
            follow.wrote(event, count)
            ran.decided += count
            # From now on: what an intake that was away did not take is not made good by a flood.
            at = max(at, monotonic()) + count / rate
        while follow.waiting:
            left = len(follow.waiting)
            follow.until(lambda left=left: len(follow.waiting) < left, not_before=0.0, patience=patience)  # type: ignore[misc]
            tell(follow.done, total)
        ran.decisions, ran.outcomes = list(follow.decisions), follow.outcomes
    finally:
        reader.close()
    ran.seconds = monotonic() - began
    return ran


class _Following:
    """What `operations` says of one run: what it has decided about, what waits for intake, and what came of the rest."""

    def __init__(self, run: str, reader: OperationsReader) -> None:
        self._run, self._reader = run, reader
        self.decisions: dict[str, int] = {}
        self.waiting: set[str] = set()
        self.entries: set[QuarantineEntry] = set()
        self.outcomes = Counter[str]()
        self.done = 0
        for one in reader.held():
            self._take(one)

    def wrote(self, event: Operation, count: int) -> None:
        """Take over an event that was just written, before it is read."""
        self.decisions[event.id] = count
        self.waiting.add(event.id)

    def until(self, met: Callable[[], bool], *, not_before: float, patience: float) -> None:
        """Follow until that is so, and that time has come. Raises Retryable where intake does nothing for too long."""
        deadline = monotonic() + patience
        while not met() or monotonic() < not_before:
            waiting = len(self.waiting)
            pause = min(0.5, max(0.01, not_before - monotonic())) if met() else 0.5
            for told in self._reader.read(pause):
                self._take(told)
            if len(self.waiting) < waiting or met():
                deadline = monotonic() + patience
            elif monotonic() > deadline:
                raise Retryable(
                    f"intake has carried out nothing for {patience:.0f} s, {waiting} decisions wait: see `xinliu status`;"
                    f" what is written will be done, and --resume {self._run} goes on with the rest",
                    server="kafka",
                )

    def _take(self, told: Operation) -> None:
        if told.kind == REDRIVE and told.detail.get("run") == self._run:
            if told.id not in self.decisions:
                entries = entries_of(told)
                self.entries.update(entries)
                self.wrote(told, len(entries))
        elif told.kind == DONE and told.detail.get("decision") in self.waiting:
            decision = str(told.detail["decision"])
            self.waiting.discard(decision)
            self.done += self.decisions[decision]
            self.outcomes.update(told.detail.get("outcomes") or {"NOT_A_DECISION": 1})
