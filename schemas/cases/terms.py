"""Terms of cases: which step is due on which day, which province must act, and which reminders and escalations are due.

Terms are data (deadlines.csv): working days of the province that must act, counted from the day (China) on which the
step before was done. Pure: the caller passes today, the calendar and the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from schemas.calendar.periods import china_day
from schemas.calendar.workdays import NoCalendar, Workdays, deadline
from schemas.cases.fold import Case
from schemas.catalogue.time_rows import DeadlineRow
from schemas.errors import UsageError

__all__ = ["REMIND", "STEPS", "Call", "Facts", "Step", "Terms"]

STEPS = {"ACCEPT": "受理", "MARK": "异议标注", "FORWARD": "转办", "ANSWER": "答复", "CLOSE": "办结"}
"""The steps of a case, in order."""

REMIND = "case-remind"
"""Row of deadlines.csv with the number of working days before the end of a term from which reminders are due."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Two times that the records of this province show for a case; None if it has not happened.

    `marked_at`: when the record was marked. `arrived_at`: when the statement that the answer names (or a later one) was
    stored.
    """

    marked_at: datetime | None = None
    arrived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has begun: the province that must act, the last day of its term, and when it was done (None: it is
    open).

    `due` is None, and `trouble` gives the reason, if the calendar or the terms do not reach that far.
    """

    step: str
    province: str
    begun: date
    due: date | None
    done_at: datetime | None
    trouble: str | None = None

    def late_by(self, today: date) -> bool:
        """Return whether the step is open although its term is over."""
        return self.done_at is None and self.due is not None and today > self.due


@dataclass(frozen=True, slots=True)
class Call:
    """An event to write about a step today: REMINDED or ESCALATED."""

    kind: str
    step: Step


class Terms:
    """Terms of all cases, by one calendar and one table of deadlines."""

    def __init__(self, workdays: Workdays, rows: Sequence[DeadlineRow]) -> None:
        self._workdays, self._rows = workdays, rows

    def steps(self, case: Case, facts: Facts) -> tuple[Step, ...]:
        """Return the steps that have begun, in order; for an ended case only those that were done."""
        begun = list(self._begun(case, facts))
        return tuple(one for one in begun if case.ended is None or one.done_at is not None)

    def next_step(self, case: Case, facts: Facts) -> Step | None:
        """Return the open step that is due first; None if the case has ended."""
        left = [one for one in self.steps(case, facts) if one.done_at is None]
        return min(left, key=lambda one: (one.due is None, one.due or one.begun), default=None)

    def calls(self, case: Case, facts: Facts, today: date) -> tuple[Call, ...]:
        """Return the reminders and escalations of the case that are due on this day (China) and not written yet."""
        found = []
        for step in self.steps(case, facts):
            if step.done_at is not None or step.due is None:
                continue
            said = (step.step, step.due)
            if today > step.due:
                if said not in case.escalated:
                    found.append(Call("ESCALATED", step))
            elif said not in case.reminded and self._near(case.lead, today, step.due):
                found.append(Call("REMINDED", step))
        return tuple(found)

    def _near(self, province: str, today: date, due: date) -> bool:
        return self._workdays.between(today, due) <= deadline(self._rows, REMIND, province, today).working_days

    def _begun(self, case: Case, facts: Facts) -> Iterator[Step]:
        how, source = case.procedure, case.opened.record_province
        accepted, forwarded, answer = case.accepted, case.forwarded, case.answer
        answered = answer.at if answer else None
        yield self._step("ACCEPT", case.lead, how.accept, case.opened.at, accepted.at if accepted else answered)
        if accepted is None:
            return
        if how.marks:
            # Once it is answered there is nothing left to mark.
            yield self._step("MARK", source, how.mark, accepted.at, facts.marked_at or answered)
        yield self._step("FORWARD", case.lead, how.forward, accepted.at, forwarded.at if forwarded else answered)
        since = accepted if how.answer_from == "ACCEPT" else forwarded
        if since is not None:
            key = how.answer_own if source == case.lead else how.answer
            yield self._step("ANSWER", source, key, since.at, answered, extended=case.extended)
        if answered is not None:
            closed = case.ended if case.ended is not None and case.ended.kind == "CLOSED" else None
            yield self._step("CLOSE", case.lead, how.close, answered, closed.at if closed else None)

    def _step(
        self, step: str, province: str, key: str, since: datetime, done_at: datetime | None, *, extended: int = 0
    ) -> Step:
        begun = china_day(since)
        try:
            days = deadline(self._rows, key, province, begun).working_days + extended
            return Step(step, province, begun, self._workdays.add(begun, days), done_at)
        except (NoCalendar, UsageError) as error:
            return Step(step, province, begun, None, done_at, str(error))
