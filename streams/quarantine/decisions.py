"""Decisions about quarantine entries: checks a person's request and writes the events to `operations`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from rich.progress import Progress

from schemas.catalogue import load
from schemas.console.terminal import Console
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.identifiers.persons import cover_persons
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader, OperationsWriter, held_operations
from schemas.operations.operators import operator
from schemas.operations.topics import asks
from schemas.operations.two_people import DECISIONS_OF_TWO, TwoPeople, must_be_a_person
from schemas.rules.model import OVERRIDABLE
from schemas.servers.connection import Connection
from streams.forwarding.forwarder import Nowhere
from streams.intake.schema_ids import Meanings
from streams.intake.stage import IntakeStage
from streams.kafka.headers import ACCEPTED, DISCARDED
from streams.kafka.ranges import Logs
from streams.kafka.single_messages import StoredMessages
from streams.quarantine.entries import DISCARD, DONE, OPEN, OVERRIDE
from streams.quarantine.reader import EntryState, QuarantineReader
from streams.quarantine.redriver import Redriver

__all__ = ["DecisionResult", "DecisionWriter", "overridden"]

_LONGEST_REASON = 1_000
_ENTRIES_AN_EVENT = 500
"""Keeps an event far below the broker's size limit; intake carries one out in a second or two."""


def overridden(chosen: Sequence[EntryState]) -> Sequence[EntryState]:
    """Return the entries. Raises UsageError if one of them has a refusal that no person can waive."""
    for one in chosen:
        firm = sorted(one.refusing - OVERRIDABLE.keys())
        if firm:
            raise UsageError(
                f"{one.name} is refused by {', '.join(firm)}, which cannot be waived (only {', '.join(OVERRIDABLE)} can):"
                " have the department mend it, or mend the catalogue and redrive it"
            )
    return chosen


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """A decision: its entries, entries left out because their value is masked, its events, and their outcomes.

    `outcomes` is None if nobody waited for them. In a dry run they are those that this process's rules predict.
    """

    kind: str
    by: str
    reason: str
    dry_run: bool
    going: Sequence[EntryState]
    left_out: Sequence[EntryState]
    events: Sequence[Operation]
    outcomes: Counter[str] | None
    waits: bool = False
    """Whether the decision has no effect until another person has approved it."""

    @property
    def exit_code(self) -> int:
        """1 if an entry was left out, has another outcome than the decided one, or waits for another person; else 0."""
        wanted = DISCARDED if self.kind == DISCARD else ACCEPTED
        other = self.outcomes is not None and set(self.outcomes) - {wanted}
        return 1 if self.left_out or self.waits or other else 0


class DecisionWriter:
    """Writes one decision of the person who runs this process, with its reason. Use it as a context.

    `mark` is added to the detail of each event and names the run that the event belongs to.
    """

    def __init__(
        self, connection: Connection, reason: str, kind: str, *, mark: Mapping[str, Any] | None = None
    ) -> None:
        if not reason.strip():
            raise UsageError("--reason must say why: it is kept with the decision and told to the department")
        if len(reason.strip()) > _LONGEST_REASON:
            raise UsageError(f"--reason has {len(reason.strip())} characters; {_LONGEST_REASON} are kept")
        self._connection = connection
        self._kafka, self._province = connection.kafka, connection.province
        self.reason, self.kind = cover_persons(reason.strip()), kind
        self._mark = dict(mark or {})
        self.by = operator(connection.kafka)
        self.reader = QuarantineReader(connection.database.get_secret_value())
        self._registry = Registry(connection.registry)

    def __enter__(self) -> DecisionWriter:
        self.reader.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.__exit__()
        self._registry.close()

    def named(self, name: str) -> EntryState:
        """Return the entry of that name. Raises UsageError if there is none, or it is closed for good."""
        one = self.reader.named(name)
        # A discarded entry may be examined again, if the department turns out to have been right.
        if one.state != OPEN and not (one.state == DISCARDED and self.kind != DISCARD):
            raise UsageError(f"{name} is closed: {one.state}; see `xinliu quarantine show {name}`")
        return one

    def decide(self, chosen: Sequence[EntryState], *, wait: float | None, dry_run: bool) -> DecisionResult:
        """Write the events. With `wait` (seconds) return once intake has carried them out, unless they need approval.

        Raises UsageError if two people are required and this process has no person's principal; Retryable if Kafka does
        not answer, or intake has not carried the decision out in time: the decision is valid all the same.
        """
        unique = list({one.entry: one for one in chosen}.values())
        left_out = [one for one in unique if one.masked and self.kind != DISCARD]
        going = [one for one in unique if one not in left_out]
        if dry_run:
            # The operator may not read a value that only the department's topic has.
            foreseen = self._foreseen(self.events([one for one in going if one.entry.stored is not None]))
            return DecisionResult(self.kind, self.by, self.reason, dry_run, going, left_out, [], foreseen)
        events = self.events(going)
        waits = bool(events) and self._needs_two()
        reader = self.followed() if events and wait and not waits else None
        try:
            if events:
                writer = self.writer()
                for event in events:
                    writer.write(event)
            outcomes = self._await(reader, events, wait or 0.0) if reader is not None else None
        finally:
            if reader is not None:
                reader.close()
        return DecisionResult(self.kind, self.by, self.reason, dry_run, going, left_out, events, outcomes, waits)

    def _needs_two(self) -> bool:
        if self.kind not in DECISIONS_OF_TWO:
            return False
        if not asks(self._kafka):
            return self._connection.approval.required
        known = TwoPeople.of(self._connection, held_operations(self._kafka, self._registry))
        if not known.rule().required:
            return False
        must_be_a_person(self._kafka)
        return True

    def _foreseen(self, events: Sequence[Operation]) -> Counter[str]:
        # By this process's rules and catalogue: intake may have been started with others.
        catalogue = load()
        departments = {one.records_topic: one for one in catalogue.departments(self._province)}
        facts = Logs(self._kafka).describe(departments)
        stored = StoredMessages(self._kafka, principal="operator")
        meanings = Meanings()
        for operation in held_operations(self._kafka, self._registry):
            meanings.follow(operation)
        stage = IntakeStage(self._registry, catalogue, departments, facts, Nowhere(), meanings=meanings)
        redriver = Redriver(stage, stored, Nowhere(), {topic: known.topic_id for topic, known in facts.items()})
        foreseen = Counter[str]()
        try:
            for event in events:
                foreseen.update(redriver.foresee(event))
        finally:
            stored.close()
        return foreseen

    def followed(self) -> OperationsReader:
        """Return a reader of `operations`, from its beginning."""
        return OperationsReader(self._kafka, self._registry, principal="operator")

    def writer(self) -> OperationsWriter:
        """Return the writer of the events."""
        return OperationsWriter(self._kafka, self._registry)

    def events(self, going: Iterable[EntryState], *, most: int = _ENTRIES_AN_EVENT) -> list[Operation]:
        """Return the events of a decision about these entries, at most `most` entries in each. Writes nothing."""
        most = max(1, min(most, _ENTRIES_AN_EVENT))
        by_department: dict[str, list[EntryState]] = {}
        for one in sorted(going, key=lambda one: one.entry.stored or (-1, -1)):
            by_department.setdefault(one.entry.origin.department, []).append(one)
        return [
            self._event(department, part[begin : begin + most])
            for department, part in sorted(by_department.items())
            for begin in range(0, len(part), most)
        ]

    def _event(self, department: str, part: Sequence[EntryState]) -> Operation:
        entries: list[dict[str, Any]] = [one.entry.to_detail() for one in part]
        if self.kind == OVERRIDE:
            # Waives only the codes that the person has seen, for this entry, and no finding of a later rule.
            entries = [{**known, "codes": sorted(one.refusing)} for known, one in zip(entries, part, strict=True)]
        return Operation(
            self.kind, department, datetime.now(UTC), self.by, self.reason, {**self._mark, "entries": entries}
        )

    def _await(self, reader: OperationsReader, events: Sequence[Operation], seconds: float) -> Counter[str]:
        waiting, outcomes, deadline = {event.id for event in events}, Counter[str](), monotonic() + seconds
        console = Console(stderr=True)
        reader.held()
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("waiting for intake", total=len(waiting))
            while waiting:
                for told in reader.read(0.5):
                    if told.kind == DONE and told.detail.get("decision") in waiting:
                        waiting.discard(str(told.detail["decision"]))
                        outcomes.update(told.detail.get("outcomes") or {"NOT_A_DECISION": 1})
                        bar.advance(task)
                if monotonic() > deadline and waiting:
                    raise Retryable(
                        f"intake has not carried out {len(waiting)} of {len(events)} decisions after {seconds:.0f} s; they"
                        " are written and will be: see `xinliu status`, and `xinliu quarantine decisions --waiting`",
                        server="kafka",
                    )
        return outcomes
