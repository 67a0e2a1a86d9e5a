"""Throttled redrive of many entries: a run whose state follows from `operations`; it may be killed and resumed.

Each event of a run bears the run's id and decides about the entries of one second. The run's events say which entries
it has decided about, and intake's events say which of them are done. Nothing else is stored, and nothing is done twice.
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
"""Number of events that may wait for intake: it never stands still, and a stopped run leaves little behind."""


@dataclass(slots=True)
class Ran:
    """Progress of a run: entries decided about by this process and by earlier ones, and their outcomes."""

    run: str
    before: int = 0
    """Entries decided about by earlier processes of this run."""
    decided: int = 0
    """Entries decided about by this process."""
    left_out: list[EntryState] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
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
    """Return the rate in entries a second from a text such as 50, 50/s or 0.5/s. Raises UsageError if it is no rate."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(?:/s)?", text.strip())
    rate = float(found[1]) if found else 0.0
    if rate <= 0:
        raise UsageError(f"--rate {text!r} is no rate: write entries a second, as 50/s")
    return rate


def choice_to(choice: Choice) -> dict[str, Any]:
    """Return a choice as an event's detail."""
    told = {one.name: getattr(choice, one.name) for one in fields(choice)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
        for name, value in told.items()
        if value
    }


def choice_from(detail: Mapping[str, Any]) -> Choice:
    """Read `choice_to` back. Raises UsageError if the detail is no choice."""
    try:
        times = {name: datetime.fromisoformat(detail[name]) for name in ("since", "until") if name in detail}
        return Choice(**{**detail, **times})
    except (TypeError, ValueError) as error:
        raise UsageError(f"the events of that run do not say which entries it is about: {error}") from None


def first_of(operations: Iterable[Operation], run: str) -> Operation:
    """Return the first event of a run. Raises UsageError if there is none."""
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
    """Decide about the entries that `choose` returns, except those the run has decided about, at most `rate` a second.

    Returns once intake has carried out all of them. Calls `tell` with the number of entries done and their total.
    Raises Retryable if intake does nothing for `patience` seconds; the run may be resumed under its id.
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
            # Counted from now on: after an intake outage the missed seconds must not become a flood.
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
    """The state of one run by `operations`: entries decided about, events that wait for intake, and outcomes."""

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
        """Take over an event that was just written, before the reader returns it."""
        self.decisions[event.id] = count
        self.waiting.add(event.id)

    def until(self, met: Callable[[], bool], *, not_before: float, patience: float) -> None:
        """Read on until the condition is met and the time has come. Raises Retryable if intake stalls for `patience`
        s."""
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
