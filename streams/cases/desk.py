"""The desk of a province's operator: its cases, and the events that he may write about them next."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from psycopg.rows import dict_row

from schemas.calendar.periods import china_day
from schemas.cases.fold import OUTCOMES, PROCEDURES, Case, CaseEvent, fold_all, in_milliseconds, new_case_id
from schemas.cases.terms import Facts, Step
from schemas.catalogue import load
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.operations.operators import operator
from schemas.records.identity import digest_hex
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.cases.docket import facts_of, terms_of
from streams.cases.log import CaseReader, CaseWriter
from streams.exchange.carried.cases import events_of, refusal

__all__ = ["GUARDS", "Desk", "Seen"]

_SETTLES = 15.0
"""Seconds in which a running view worker takes over a new event."""

GUARDS: Mapping[str, tuple[frozenset[str], str]] = {
    "ACCEPTED": (frozenset({"OPENED"}), "only a case that has just been opened is accepted"),
    "DECLINED": (frozenset({"OPENED"}), "only a case that has not been accepted is declined"),
    "FORWARDED": (frozenset({"ACCEPTED"}), "a case is forwarded once, after it was accepted"),
    "ANSWERED": (frozenset({"FORWARDED", "ANSWERED"}), "a case is answered after it was forwarded, until it is closed"),
    "EXTENDED": (frozenset({"FORWARDED"}), "a term is extended between forwarding and answer"),
    "CLOSED": (frozenset({"ANSWERED"}), "a case is closed after it was answered"),
    "CANCELLED": (frozenset({"OPENED", "ACCEPTED", "FORWARDED", "ANSWERED"}), "the case has ended"),
    "NOTED": (frozenset({"OPENED", "ACCEPTED", "FORWARDED", "ANSWERED"}), "the case has ended"),
}
"""The states in which each kind of event may be written. docs/cases.md has them as a table; a test compares the two."""

_CHANGE = {"CORRECTED": "correct", "REVOKED": "revoke", "REPAIRED": "repair", "REMOVED": "remove"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A case with its record's state here (columns of case_standing), its steps, and the step that is due first."""

    case: Case
    standing: Mapping[str, Any]
    steps: tuple[Step, ...]
    next_step: Step | None

    @property
    def late(self) -> bool:
        """Whether a step is overdue by today's date in China."""
        today = china_day(datetime.now(UTC))
        return any(step.late_by(today) for step in self.steps)


class Desk:
    """The cases of a province's operator; use it as a context.

    His newest events count at once: those that the view has not taken over yet are read from the topic itself.
    """

    def __init__(self, connection: Connection) -> None:
        self.province = connection.province
        self._settings = connection
        self._catalogue = load()
        self._terms = terms_of(self._catalogue)
        self._by = operator(connection.kafka)
        self._open = ExitStack()

    def __enter__(self) -> Desk:
        with ExitStack() as opened:
            settings = self._settings
            self._store = opened.enter_context(connect(settings.database.get_secret_value(), autocommit=True))
            self._registry = opened.enter_context(Registry(settings.registry))
            reader = opened.enter_context(CaseReader(settings.kafka, self._registry, principal="operator"))
            row = self._store.execute("SELECT next_offset FROM xinliu.case_position").fetchone()
            reader.seek(int(str(row[0])) if row else 0)
            now = datetime.now(UTC)
            self._said = [
                one.event
                for one in reader.rest()
                if refusal(one.event, self._catalogue, said_by=self.province, partition=None, received_at=now) is None
            ]
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def seen(self, *, ended: bool = False, limit: int = 1_000) -> list[Seen]:
        """Return the open cases, and with `ended` the closed ones too; the case that is due first comes first."""
        rows = self._store.execute(sql("cases/ids"), {"ended": ended, "limit": limit}).fetchall()
        found = self._seen({str(row[0]) for row in rows} | {event.case_id for event in self._said})
        kept = [one for one in found.values() if ended or one.case.ended is None]
        return sorted(kept, key=_urgency)

    def named(self, case_id: str) -> Seen:
        """Return a case. Raises UsageError if no case with that id is known here."""
        found = self._seen({case_id})
        if case_id not in found:
            raise UsageError(f"no case {case_id!r} is known here: `xinliu cases list --all` names them")
        return found[case_id]

    def acknowledged(self, one: Seen) -> list[dict[str, Any]]:
        """Return the provinces that must apply the repair or revocation that answered a case about our record.

        Each row has province, state (ACKNOWLEDGED, OPEN or OVERDUE), published_at, due_at, acknowledged_at. Empty for
        any other case.
        """
        of, answer = one.case.opened, one.case.answer
        if answer is None or of.record_province != self.province:
            return []
        of_it = {"record_id": of.record_id, "department": of.department, "version": answer.version}
        with self._store.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql("cases/acknowledged"), of_it).fetchall()

    def opening(
        self, record_id: str, procedure: str, reason: str, *, province: str | None = None, department: str | None = None
    ) -> CaseEvent:
        """Return the event that opens a case about a record. Raises UsageError if the case cannot be opened here."""
        if procedure not in PROCEDURES:
            raise UsageError(f"--procedure {procedure.lower()}: one of {', '.join(PROCEDURES).lower()}")
        record = self._record(record_id, province, department)
        record_id = record["record_id"].hex
        where = record["registered_in"]
        if where != self.province:
            raise UsageError(
                f"{record['uscc']} is registered in {where or 'none of the four provinces'}: a case of its records is opened"
                f" {'there' if where else 'nowhere else than where it is'}, not in {self.province}"
            )
        if record["status"] in ("REVOKED", "WITHDRAWN") or (record["status"], procedure) == ("REPAIRED", "REPAIR"):
            raise UsageError(f"the record is {record['status']}: there is nothing left to ask for")
        same = [
            one.case.case_id
            for one in self.seen()
            if one.case.opened.record_id == record_id
            and one.case.opened.department == record["department"]
            and one.case.opened.procedure == procedure
        ]
        if same:
            raise UsageError(f"{same[0]} is open about this record already: `xinliu cases show {same[0]}`")
        now = datetime.now(UTC)
        made = self._event(
            case_id=new_case_id(self.province, china_day(now), uuid.uuid4().bytes),
            kind="OPENED",
            procedure=procedure,
            uscc=record["uscc"],
            record_id=record_id,
            record_province=record["province"],
            department=record["department"],
            version=record["version"],
            reason=reason,
        )
        if self._seen({made.case_id}):
            raise Retryable(f"another case has the id {made.case_id} by chance: try again")
        return made

    def next_event(self, case_id: str, kind: str, reason: str = "", **more: Any) -> CaseEvent:
        """Return the next event of a case. Raises UsageError if this province may not write it, or not in this
        state."""
        one = self.named(case_id)
        case, of = one.case, one.case.opened
        if one.standing.get("led_rightly") is False and kind in ("ANSWERED", "EXTENDED"):
            raise UsageError(
                f"{of.uscc} was registered in {one.standing['registered_in']} on the day of the case, which {case.lead} must"
                " not lead: have it opened there"
            )
        states, why = GUARDS[kind]
        if case.state not in states:
            raise UsageError(f"{case_id} is {case.state}: {why}")
        about = {
            name: getattr(of, name) for name in ("procedure", "uscc", "record_id", "record_province", "department")
        }
        return self._event(case_id=case_id, kind=kind, reason=reason, **about, **more)

    def answer(self, case_id: str, outcome: str, reason: str, *, version: int | None = None) -> CaseEvent:
        """Return the event that answers a case by a statement of the record's department, by default its newest.

        Raises UsageError if the statement is not of that outcome, or the department has not published any.
        """
        if outcome not in OUTCOMES:
            raise UsageError(f"--outcome {outcome.lower()}: one of {', '.join(OUTCOMES).lower()}")
        of = self.named(case_id).case.opened
        with self._store.cursor(row_factory=dict_row) as cursor:
            held = cursor.execute(
                sql("cases/statements"),
                {"record_id": of.record_id, "province": of.record_province, "department": of.department},
            ).fetchall()
        chosen = next((row for row in held if version in (None, row["version"])), None)
        if chosen is None:
            raise UsageError(f"no statement {version or ''} of the record is held here: is it published, and visible?")
        _must_come_of(outcome, chosen, newest=held[0], opened=of)
        return self.next_event(
            case_id, "ANSWERED", reason, outcome=outcome, version=chosen["version"],
            digest=digest_hex(chosen["digest_hi"], chosen["digest_lo"]),
        )  # fmt: skip

    def closing(self, case_id: str, reason: str) -> CaseEvent:
        """Return the event that closes a case with its answer.

        Raises UsageError if the answer's statement has not arrived here; Retryable if the view worker has not taken the
        answer over.
        """
        case = self.named(case_id).case
        made = self.next_event(case_id, "CLOSED", reason, answer=case.answer.event_id if case.answer else None)
        assert case.answer is not None
        deadline = monotonic() + _SETTLES
        while True:
            row = self._store.execute(
                "SELECT answered_at, arrived_at FROM case_standing WHERE case_id = %s", (case_id,)
            ).fetchone()
            if row is not None and row[0] == case.answer.at:
                break
            if monotonic() > deadline:
                raise Retryable("the view worker has not taken the answer over: see `xinliu status`", server="postgres")
            sleep(0.2)
        if row[1] is None:
            raise UsageError(
                f"{case_id} was answered by version {case.answer.version} of the record, which has not arrived here: a case is"
                " closed when it has"
            )
        return made

    def write(self, *events: CaseEvent) -> None:
        """Write events to `cases`. Raises Retryable if Kafka does not take them."""
        CaseWriter(self._settings.kafka, self._registry).write(*events)

    def _event(self, **fields: Any) -> CaseEvent:
        now = datetime.now(UTC)
        made = CaseEvent(
            event_id=uuid.uuid4().hex, province=self.province, by=self._by, at=in_milliseconds(now), **fields
        )
        why = refusal(made, self._catalogue, said_by=self.province, partition=None, received_at=now)
        if why is not None:
            raise UsageError(why)
        return made

    def _seen(self, cases: set[str]) -> dict[str, Seen]:
        said = [event for event in self._said if event.case_id in cases]
        standing = facts_of(self._store, sorted(cases))
        found = {}
        for case_id, case in fold_all([*events_of(self._store, sorted(cases)), *said]).items():
            held = standing.get(case_id, {})
            facts = Facts(held.get("marked_at"), held.get("arrived_at"))
            found[case_id] = Seen(case, held, self._terms.steps(case, facts), self._terms.next_step(case, facts))
        return found

    def _record(self, record_id: str, province: str | None, department: str | None) -> dict[str, Any]:
        try:
            key = uuid.UUID(record_id)
        except ValueError:
            raise UsageError(f"{record_id[:80]!r} is no record id: `xinliu show USCC --json` names them") from None
        with self._store.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(sql("cases/record"), {"record_id": key}).fetchall()
        fitting = [
            row for row in rows if province in (None, row["province"]) and department in (None, row["department"])
        ]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise UsageError(f"no record {record_id} is held here: `xinliu show USCC --json` names an entity's records")
        whose = "; ".join(f"--province {row['province']} --department {row['department']}" for row in fitting)
        raise UsageError(f"several departments have a record of that id: name one of {whose}")


def _urgency(one: Seen) -> tuple[Any, ...]:
    step = one.next_step
    if step is None:
        return 2, -one.case.opened.at.timestamp(), one.case.case_id
    # A step without a known term comes first.
    return 0 if step.due is None else 1, step.due or step.begun, one.case.case_id


def _must_come_of(outcome: str, chosen: Mapping[str, Any], *, newest: Mapping[str, Any], opened: CaseEvent) -> None:
    if outcome == "UPHELD":
        if chosen["version"] != newest["version"]:
            raise UsageError(f"version {chosen['version']} does not stand any more: {newest['version']} does")
        if chosen["disputed"]:
            raise UsageError(
                "the record bears the mark still: the department lifts it first (`xinliu change uphold`), which is the answer"
            )
        if chosen["status"] != "IN_FORCE":
            raise UsageError(f"the record is {chosen['status']}: nothing is upheld")
        return
    name, reasons = OUTCOMES[outcome]
    if chosen["reason"] not in reasons or chosen["version"] <= (opened.version or 0):
        raise UsageError(
            f"version {chosen['version']} of the record was stated as {chosen['reason']}, which is no {outcome} ({name}) of"
            f" version {opened.version}: the department publishes it first (`xinliu change {_CHANGE[outcome]}`)"
        )
