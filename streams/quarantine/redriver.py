"""The redriver: intake's second way into `accepted`, which carries out people's decisions about quarantine entries.

It examines an entry's untouched value by today's rules and catalogue. A value that passes is forwarded verbatim under
its original origin. One that does not stays the same entry with its newest findings: a redrive never makes a new entry,
so nothing can go in circles. Every step may be done twice, by several workers or after a crash: the fold drops a
repeated statement, and an outcome is identified by decision and entry. A decision counts as carried out once its DONE
event is written.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from confluent_kafka import Message

from schemas.contracts.avro import named_by
from schemas.errors import Retryable
from schemas.operations.event import Operation
from schemas.operations.two_people import TwoPeople
from schemas.records.refused_row import LOG
from schemas.rules.model import OVERRIDABLE
from streams.forwarding.findings import Finding, finding, shown
from streams.forwarding.forwarder import Forwards, Outgoing
from streams.forwarding.kept_values import Cut, cut_of
from streams.forwarding.masking import is_masked
from streams.intake.stage import Examined, IntakeStage
from streams.kafka.headers import ACCEPTED, DECISION, DISCARDED, FINDINGS, IMPOSSIBLE, ORIGIN, REFUSED, SCHEMA, Origin
from streams.kafka.records import Fetched, Run
from streams.kafka.single_messages import Place
from streams.quarantine.entries import DECISIONS, DISCARD, DONE, OVERRIDE, QuarantineEntry, entries_of, undone
from streams.runtime.crash_points import crash_point
from streams.runtime.service import Service

__all__ = ["Decisions", "Redriver", "Stored", "waived_by"]

log = structlog.get_logger()

_LONGEST_REASON = 1_000


class Stored(Protocol):
    """The store of the entries' values."""

    def read(self, places: Iterable[Place], /) -> Mapping[Place, Message]:
        """Return the messages at these places; those that are gone are missing from the result."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of one entry."""

    entry: QuarantineEntry
    outcome: str
    findings: Sequence[Finding]
    record_id: str | None = None
    version: int | None = None


def waived_by(decision: Operation) -> list[frozenset[str]]:
    """Return the waived codes for each entry of a decision: those that it names, as far as anybody can waive them."""
    entries = decision.detail["entries"]
    if decision.kind != OVERRIDE:
        return [frozenset()] * len(entries)
    named = [entry.get("codes") for entry in entries]
    return [frozenset(map(str, codes if isinstance(codes, list) else ())) & OVERRIDABLE.keys() for codes in named]


class Redriver:
    """Carries out one decision at a time. `stage` examines; it must belong to this object alone, and no topic feeds it.

    `topics` maps the topics of the departments in today's catalogue to their ids.
    """

    def __init__(self, stage: IntakeStage, stored: Stored, forwards: Forwards, topics: Mapping[str, str]) -> None:
        self._stage, self._stored, self._forwards, self._topics = stage, stored, forwards, topics

    def carry_out(self, decision: Operation) -> Counter[str]:
        """Carry a decision out and return the number of entries with each outcome. Idempotent.

        Raises Retryable if a server does not answer, ValueError if the event is not whole.
        """
        examined, whole, outcomes = self._examined(decision)
        outgoing = self._outgoing(examined, whole) if examined is not None else []
        crash_point("redrive.examined")
        self._forwards.accept(outgoing)
        self._forwards.flush()  # before any outcome says that the message is accepted
        crash_point("redrive.forwarded")
        for outcome in outcomes:
            self._forwards.quarantine(b"", _headers(decision, outcome))
        self._forwards.flush()
        crash_point("redrive.told")
        return Counter(outcome.outcome for outcome in outcomes)

    def foresee(self, decision: Operation) -> Counter[str]:
        """Return the number of entries with each outcome by this process's rules and catalogue. Writes nothing."""
        return Counter(outcome.outcome for outcome in self._examined(decision)[-1])

    def _examined(
        self, decision: Operation
    ) -> tuple[Examined | None, Sequence[tuple[QuarantineEntry, Message]], Sequence[_Outcome]]:
        entries = entries_of(decision)
        if decision.kind == DISCARD:
            told = [finding("DISCARDED", detail=decision.reason or None)]
            return None, (), [_Outcome(entry, DISCARDED, told) for entry in entries]
        found = self._stored.read(_place(entry) for entry in entries)
        cuts = self._cuts(entries, found)
        originals = self._stored.read(_sent(entry) for entry in cuts)
        outcomes, whole, waivers = (
            list[_Outcome](),
            list[tuple[QuarantineEntry, Message]](),
            dict[int, frozenset[str]](),
        )
        for entry, codes in zip(entries, waived_by(decision), strict=True):
            message = found.get(_place(entry))
            why = self._impossible(entry, message)
            if not why and entry in cuts:
                message = originals.get(_sent(entry))
                why = _unfit(cuts[entry], message)
            if why:
                outcomes.append(_Outcome(entry, IMPOSSIBLE, [finding(why)]))
            elif message is not None:
                waivers[len(whole)] = codes
                whole.append((entry, message))
        if not whole:
            return None, (), outcomes
        examined = self._stage.prepare([_run(entry, message) for entry, message in whole], waived=waivers)
        good = {row: (record_id, version) for row, _, record_id, version in examined.good.rows()}
        for row, (entry, _) in enumerate(whole):
            verdict = examined.verdicts.get(row)
            findings = verdict.findings if verdict else []
            if row in good:
                outcomes.append(_Outcome(entry, ACCEPTED, findings, *good[row]))
            elif verdict is not None and verdict.refused:
                outcomes.append(_Outcome(entry, REFUSED, findings))
            else:  # it would vouch for a time long past, behind records that have gone on without it
                outcomes.append(_Outcome(entry, IMPOSSIBLE, [finding("MARKER_LATE")]))
        return examined, whole, outcomes

    def _cuts(self, entries: Iterable[QuarantineEntry], found: Mapping[Place, Message]) -> dict[QuarantineEntry, Cut]:
        """Return the entries of which the quarantine has only the beginning."""
        there = {
            entry: found[_place(entry)] for entry in entries if _place(entry) in found and entry.stored is not None
        }
        told = {entry: cut_of(message.headers()) for entry, message in there.items()}
        return {entry: cut for entry, cut in told.items() if cut is not None}

    def _outgoing(self, examined: Examined, whole: Sequence[tuple[QuarantineEntry, Message]]) -> list[Outgoing]:
        return [
            (partition, key, value, _under(whole[row][0].origin, headers))
            for row, (partition, key, value, headers) in zip(
                examined.good["row"].to_list(), self._stage.outgoing(examined), strict=True
            )
        ]

    def _impossible(self, entry: QuarantineEntry, message: Message | None) -> str | None:
        if entry.origin.topic not in self._topics:
            return "NO_DEPARTMENT"
        if entry.origin.topic_id == LOG:
            return "ROW_NOT_SENT"
        if message is None:
            return "VALUE_GONE"
        # A topic that was made anew has another message at this offset now.
        if entry.stored is None and self._topics[entry.origin.topic] != entry.origin.topic_id:
            return "VALUE_GONE"
        if entry.stored is not None and dict(message.headers() or ()).get(ORIGIN) != entry.origin.to_bytes():
            return "VALUE_GONE"
        return "VALUE_MASKED" if is_masked(message.value() or b"") else None


def _unfit(cut: Cut, message: Message | None) -> str | None:
    # By the digest, not the topic's id: a topic that was made anew has another message at this offset.
    value = (message.value() or b"") if message is not None else b""
    if not cut.is_whole(value):
        return "VALUE_GONE"
    return "VALUE_MASKED" if cut.hides(value) else None


def _sent(entry: QuarantineEntry) -> Place:
    return entry.origin.topic, entry.origin.partition, entry.origin.offset


def _place(entry: QuarantineEntry) -> Place:
    if entry.stored is None:
        return _sent(entry)
    return "quarantine", *entry.stored


def _run(entry: QuarantineEntry, message: Message) -> Run:
    where, named = entry.origin, named_by(message.headers())
    headers = () if named is None else ((SCHEMA, named),)
    # Without a time of receipt: a metric must not count the time in the quarantine as delay to the view.
    record = Fetched(where.topic, where.partition, where.offset, 0, None, message.value() or b"", headers)
    return Run(where.topic, where.partition, where.offset, (record,))


def _under(origin: Origin, headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    # The stage knows today's topic; an entry may be from one that was since deleted and made anew.
    return [(name, origin.to_bytes() if name == ORIGIN else value) for name, value in headers]


def _headers(decision: Operation, outcome: _Outcome) -> list[tuple[str, bytes]]:
    told: dict[str, Any] = {
        "decision": shown(decision.id),
        "kind": decision.kind,
        "by": shown(decision.by),
        "at": round(decision.at.timestamp() * 1000),
        "reason": shown(decision.reason, _LONGEST_REASON),
        "outcome": outcome.outcome,
    }
    known: dict[str, Any] = {
        "received_at": 0,
        "uscc": None,
        "domain": None,
        "record_id": outcome.record_id,
        "version": outcome.version,
        "findings": list(outcome.findings),
    }
    return [
        (ORIGIN, outcome.entry.origin.to_bytes()),
        (DECISION, json.dumps(told, ensure_ascii=False).encode()),
        (FINDINGS, json.dumps(known, ensure_ascii=False).encode()),
    ]


class Decisions(Service):
    """Queue of decisions to be carried out, and the thread's loop that does so, one after the other.

    `follow` may be called from any thread; `write` writes an event to operations. A decision that needs a second person
    waits until one has approved exactly that decision (`people` knows); decisions behind it do not wait.
    """

    waits = "quarantine.waits"
    transient = (Retryable,)
    longest = 5.0

    def __init__(
        self, redriver: Redriver, write: Callable[[Operation], None], *, by: str, people: TwoPeople | None = None
    ) -> None:
        super().__init__()
        self._redriver, self._write, self._by, self._people = redriver, write, by, people
        self._done: set[str] = set()
        self._lock = threading.Lock()
        self._waiting: dict[str, Operation] = {}

    def held(self, operations: Iterable[Operation]) -> None:
        """Take over the events that existed at the start: decisions that nobody has carried out are due now."""
        known = list(operations)
        with self._lock:
            for one in known:
                if self._people is not None:
                    self._people.follow(one)
            self._done = {str(one.detail.get("decision")) for one in known if one.kind == DONE}
            self._waiting = undone(known)

    def follow(self, operation: Operation) -> None:
        """Take over an event of operations."""
        with self._lock:
            if self._people is not None:
                self._people.follow(operation)
            if operation.kind in DECISIONS:
                if operation.id not in self._done:
                    self._waiting.setdefault(operation.id, operation)
            elif operation.kind == DONE:  # another worker was first
                self._done.add(str(operation.detail.get("decision")))
                self._waiting.pop(str(operation.detail.get("decision")), None)
        self.wake()

    def _round(self) -> float:
        self._woken.clear()  # before the look: a decision that comes after it ends the wait
        decision = self._ready()
        if decision is not None:
            self._carry_out(decision)
        elif not self._stopped.is_set():
            self._woken.wait()
        return 0.0

    def _ready(self) -> Operation | None:
        people = self._people
        with self._lock:
            return next((one for one in self._waiting.values() if people is None or not people.lacks(one)), None)

    def _carry_out(self, decision: Operation) -> None:
        detail: dict[str, Any] = {"decision": decision.id}
        try:
            counts = self._redriver.carry_out(decision)
        except ValueError as error:
            # Not written by our command. It must neither stop intake nor be tried for ever.
            log.error("quarantine.not_a_decision", id=decision.id, why=str(error))
            detail["error"] = str(error)[:300]
        else:
            detail["outcomes"] = dict(counts)
            log.info("quarantine.carried_out", kind=decision.kind, by=decision.by, outcomes=dict(counts))
        self._write(Operation(DONE, decision.department, datetime.now(UTC), self._by, decision.reason, detail))
        with self._lock:
            self._done.add(decision.id)
            self._waiting.pop(decision.id, None)
