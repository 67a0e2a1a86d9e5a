"""Stops: intake of one department stops if too many of its messages are refused, and the others go on.

A department whose export has gone wrong would otherwise fill the quarantine with an entry for every record, which
nobody reads. Its records stay in its own topic, untouched and not acked, until an operator resumes it: nothing is lost,
its receipts and its *data as of* stand still, and 无 becomes 未归集 in time. The stopped departments follow from
`operations`.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from schemas.operations.event import Operation
from schemas.servers.connection import IntakeLimits
from streams.kafka.records import Run

__all__ = ["RESUMED", "STOPPED", "Stopping", "stopped_departments"]

log = structlog.get_logger()

STOPPED, RESUMED = "INTAKE_STOPPED", "INTAKE_RESUMED"
_CODES_TOLD = 5


@dataclass(slots=True)
class _Tally:
    """Outcomes of a department's last messages."""

    consecutive: int = 0
    batches: deque[tuple[int, int, Counter[str]]] = field(default_factory=deque)
    """Per batch: messages, refused messages, and codes of the refused ones."""
    messages: int = 0
    refused: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    """Refused messages by code. A code that no longer occurs may have a zero here."""
    tolerated: int = 0
    """Number of coming messages that are not counted: an operator knows about them."""
    kept: float = 0.0
    """Entries of the quarantine, less the limit of an hour for every hour since `at`."""
    at: datetime | None = None

    def add(self, outcomes: Sequence[bool], codes: Counter[str], window: int) -> int:
        """Count a batch (true: refused) in its order; return the longest row of refusals that runs through it."""
        longest, refused = self.consecutive, sum(outcomes)
        if refused:
            for bad in outcomes:
                self.consecutive = self.consecutive + 1 if bad else 0
                longest = max(longest, self.consecutive)
        else:
            self.consecutive = 0
        self.batches.append((len(outcomes), refused, codes))
        self.messages += len(outcomes)
        self.refused += refused
        self.codes.update(codes)
        while self.messages - self.batches[0][0] >= window:
            messages, bad_ones, gone = self.batches.popleft()
            self.messages, self.refused = self.messages - messages, self.refused - bad_ones
            self.codes.subtract(gone)
        return longest

    def keep(self, entries: int, per_hour: int, now: datetime) -> float:
        """Count entries of the quarantine; return the department's balance (`kept`)."""
        hours = (now - (self.at or now)).total_seconds() / 3600
        # A clock that is set back lowers no balance.
        self.kept, self.at = max(0.0, self.kept - max(0.0, hours) * per_hour) + entries, now
        return self.kept


class Stopping:
    """Judges batches against the limits and knows the stopped departments. Every method may be called from any thread.

    `departments` maps an input topic to its department's key; `write` writes an event to `operations`.
    """

    def __init__(
        self,
        limits: IntakeLimits,
        departments: Mapping[str, str],
        write: Callable[[Operation], None],
        *,
        by: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._limits, self._departments, self._write, self._by, self._now = limits, departments, write, by, now
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._tallies: dict[str, _Tally] = {}

    def holds(self, topic: str) -> bool:
        """Return whether the intake of this topic's department is stopped."""
        return self._departments.get(topic) in self._stopped

    def follow(self, operation: Operation, *, news: bool = True) -> str | None:
        """Apply an event of `operations`; return the topic that may go on because of it, if any.

        An event that is no news was there when this process began: its messages have been tolerated already.
        """
        department = operation.department or ""
        with self._lock:
            if operation.kind == STOPPED:
                self._stopped.add(department)
            elif operation.kind == RESUMED and department in self._stopped:
                self._stopped.discard(department)
                tolerate = operation.detail.get("tolerate", 0)
                self._tallies[department] = _Tally(tolerated=tolerate if news and isinstance(tolerate, int) else 0)
                return next((topic for topic, key in self._departments.items() if key == department), None)
        return None

    def judge(
        self,
        runs: Sequence[Run],
        refused: Mapping[int, Iterable[str]],
        markers: Collection[int],
        entered: Collection[int] = (),
    ) -> tuple[Operation, ...]:
        """Count a batch and stop each department that exceeds a limit; return the events to be written.

        Rows count through the records of all runs, in order; `refused` holds the codes of each refused row; `markers`
        are rows that say nothing about the quality of a department's records, `entered` those among them that become
        entries of the quarantine all the same.
        """
        outcomes: dict[str, list[bool]] = {}
        rows: dict[str, list[int]] = {}
        kept: Counter[str] = Counter()
        bad, own, begin = sorted(refused), sorted(entered), 0
        for run in runs:
            department, end = self._departments[run.topic], begin + len(run.records)
            here = bad[bisect_left(bad, begin) : bisect_left(bad, end)]
            told = [False] * len(run.records)
            for row in here:
                told[row - begin] = True
            outcomes.setdefault(department, []).extend(
                outcome for row, outcome in enumerate(told, begin) if row not in markers
            )
            rows.setdefault(department, []).extend(here)
            kept[department] += len(here) + bisect_left(own, end) - bisect_left(own, begin)
            begin = end
        with self._lock:
            found = [
                self._exceeded(
                    department,
                    told,
                    Counter(code for row in rows[department] for code in set(refused[row])),
                    kept[department],
                )
                for department, told in outcomes.items()
                if department not in self._stopped
            ]
            stops = tuple(operation for operation in found if operation is not None)
            self._stopped.update(str(operation.department) for operation in stops)
        return stops

    def tell(self, stops: Iterable[Operation]) -> None:
        """Write the events and log each as an error, which alerts. Raises Retryable if Kafka does not take them."""
        for stop in stops:
            self._write(stop)
            log.error(
                "intake.stopped",
                department=stop.department,
                why=stop.reason,
                most_frequent=stop.detail["codes"],
                mend=f"xinliu intake resume --department {stop.department} --reason …",
            )

    def _exceeded(self, department: str, outcomes: Sequence[bool], codes: Counter[str], kept: int) -> Operation | None:
        if not outcomes and not kept:
            return None
        limits, tally = self._limits, self._tallies.setdefault(department, _Tally())
        if tally.tolerated > 0:
            tally.tolerated -= max(len(outcomes), kept)
            return None
        longest = tally.add(outcomes, codes, limits.window) if outcomes else tally.consecutive
        entries = tally.keep(kept, limits.per_hour, self._now())
        if longest >= limits.consecutive:
            reason = f"{longest} messages in a row were refused; the limit is {limits.consecutive}"
        elif tally.messages >= limits.window and tally.refused >= limits.ratio * tally.messages:
            reason = (
                f"{tally.refused} of the last {tally.messages} messages were refused; the limit is {limits.ratio:.0%}"
            )
        elif entries >= limits.per_hour:
            reason = f"{entries:.0f} refused messages are more than an hour may have; the limit is {limits.per_hour}"
        else:
            return None
        detail: dict[str, Any] = {
            "consecutive": longest,
            "messages": tally.messages,
            "refused": tally.refused,
            "codes": dict((+tally.codes).most_common(_CODES_TOLD)),
            "limits": limits.model_dump(),
        }
        return Operation(STOPPED, department, self._now(), self._by, reason, detail)


def stopped_departments(operations: Iterable[Operation]) -> dict[str, Operation]:
    """Return the departments that are stopped after these events, each with the event that stopped it."""
    stopped: dict[str, Operation] = {}
    for operation in operations:
        if operation.kind == STOPPED:
            stopped.setdefault(operation.department or "", operation)
        elif operation.kind == RESUMED:
            stopped.pop(operation.department or "", None)
    return stopped
