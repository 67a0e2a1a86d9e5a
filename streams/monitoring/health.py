"""Health of a worker (its loops go round) and readiness (all partitions are read, and its servers answer).

A restart must be able to mend an unhealthy worker: a server that does not answer makes it unready, not unhealthy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

__all__ = ["Answer", "Probe"]

_PULSE_SECONDS = {"events": 30.0, "relay": 180.0, "exchange": 300.0, "watch": 180.0}
"""Longest time between two rounds of each loop. Relay, publisher of the exchange and watch wait for servers, within
their time limits."""

_CALL_SECONDS = 600.0
"""Longest time of one try of the work. The longest real one, 20,000 messages into a slow database, takes seconds."""

_LONG_CALL = 5.0
"""Seconds after which a try of the work counts as waiting for a server."""

_ANSWER_SECONDS = 60.0
"""Seconds for which a server's answer counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's last answer, and why it did not answer the last question."""

    at: float | None
    """By the probe's clock."""
    asked: float | None
    """Unix time of the last question that the server answered."""
    why_not: str | None


class Probe:
    """State that a worker's loops report; the endpoint's threads read it."""

    def __init__(self, servers: Sequence[str], *, clock: Callable[[], float] = monotonic) -> None:
        self._servers = tuple(servers)
        self._clock = clock
        self._lock = threading.Lock()
        self._pulses: dict[str, float] = {}
        self._answers: dict[str, Answer] = {}
        self._call_since: dict[str, float] = {}
        self._waits_for: dict[str, str] = {}
        self._assigned = 0
        self._unread: Mapping[str, float] = {}
        self._found: Mapping[str, tuple[str, ...]] = {}

    def beat(self, loop: str) -> None:
        """Report a round of a loop; from its first beat on the loop is watched."""
        with self._lock:
            self._pulses[loop] = self._clock()

    def ended(self, loop: str) -> None:
        """Report the orderly end of a loop: it is not watched any more."""
        with self._lock:
            self._pulses.pop(loop, None)

    def call_begins(self, step: str) -> None:
        """Report the begin of a try of this step of the work; steps may overlap."""
        with self._lock:
            self._call_since[step] = self._clock()

    def call_ends(self, step: str, waits_for: str | None = None) -> None:
        """Report the end of a try, and the reason to wait if it must be repeated."""
        with self._lock:
            self._call_since.pop(step, None)
            self._waits_for.pop(step, None)
            if waits_for is not None:
                self._waits_for[step] = waits_for

    def assigned(self, partitions: int) -> None:
        """Report the number of partitions that the worker has."""
        self._assigned = partitions

    def unread(self, partitions: Mapping[str, float]) -> None:
        """Report the partitions that nobody reads, and for how many seconds."""
        self._unread = dict(partitions)

    def found(self, by: str, reasons: Iterable[str]) -> None:
        """Report why the check `by` finds the worker not ready. Replaces its earlier reasons; no reason clears them."""
        with self._lock:
            self._found = {**self._found, by: tuple(reasons)}

    def waits(self) -> bool:
        """Return whether the work waits for a server, or one batch takes longer than batches do."""
        now = self._clock()
        with self._lock:
            return bool(self._waits_for) or any(now - since > _LONG_CALL for since in self._call_since.values())

    def answered(self, server: str, *, asked: float) -> None:
        """Report a server's answer to a question of this Unix time."""
        with self._lock:
            self._answers[server] = Answer(self._clock(), asked, None)

    def silent(self, server: str, why: str) -> None:
        """Report that a server did not answer."""
        with self._lock:
            held = self._answers.get(server, Answer(None, None, None))
            self._answers[server] = Answer(held.at, held.asked, " ".join(why.split()) or "no answer")

    def answers(self) -> dict[str, Answer]:
        """Return the last answer of each server that was asked."""
        with self._lock:
            return dict(self._answers)

    def stuck(self) -> list[str]:
        """Return the stuck parts in words; empty if the worker is healthy."""
        now = self._clock()
        with self._lock:
            pulses, calls = dict(self._pulses), dict(self._call_since)
        found = [
            f"the loop {loop!r} has not come round for {now - at:.0f} s"
            for loop, at in pulses.items()
            if now - at > _PULSE_SECONDS[loop]
        ]
        found += [
            f"one batch has been worked on for {now - since:.0f} s ({step})"
            for step, since in calls.items()
            if now - since > _CALL_SECONDS
        ]
        return found

    def unready(self) -> list[str]:
        """Return why the worker is not ready, in words; empty if it is."""
        now, answers = self._clock(), self.answers()
        with self._lock:
            waits = set(self._waits_for.values())
        found = self.stuck()
        if not self._assigned:
            found.append("no partitions are assigned to it")
        found += [f"{name}: nobody has read it for {seconds:.0f} s" for name, seconds in self._unread.items()]
        for server in self._servers:
            answer = answers.get(server)
            if answer is None:
                found.append(f"{server}: not asked yet")
            elif answer.why_not is not None:
                found.append(f"{server}: {answer.why_not}")
            elif answer.at is not None and now - answer.at > _ANSWER_SECONDS:
                found.append(f"{server}: last answered {now - answer.at:.0f} s ago")
        found += [f"the work waits: {why}" for why in sorted(waits)]
        found += [why for reasons in self._found.values() for why in reasons]
        return found
