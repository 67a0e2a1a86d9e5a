"""The terms of a case: data, working days, whose turn it is, and what is written once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from schemas.calendar.workdays import Workdays, deadline
from schemas.cases.fold import PROCEDURES, Case, CaseEvent, fold
from schemas.cases.terms import STEPS, Facts, Terms
from schemas.catalogue import load
from schemas.errors import UsageError
from streams.cases.docket import reminder
from tests.case_events import event, life

ROWS = load().time.deadlines
CALENDAR = Workdays(load().time.holidays)
TERMS = Terms(CALENDAR, ROWS)
TUESDAY = date(2026, 9, 1)


def case_of(*kinds: str, **fields: str) -> Case:
    """Return the case that these events of a whole life make."""
    known = life(**fields)
    case = fold(known[kind] for kind in ("OPENED", *kinds))
    assert case is not None
    return case


def open_steps(case: Case, facts: Facts = Facts()) -> dict[str, tuple[str, date | None]]:  # noqa: B008  # frozen
    """Return whose turn each open step is, and its last day."""
    return {one.step: (one.province, one.due) for one in TERMS.steps(case, facts) if one.done_at is None}


def test_every_step_is_due_by_the_table_and_the_calendar() -> None:
    assert open_steps(case_of()) == {"ACCEPT": ("hebei", date(2026, 9, 4))}
    accepted = case_of("ACCEPTED")
    assert open_steps(accepted) == {"MARK": ("beijing", date(2026, 9, 2)), "FORWARD": ("hebei", date(2026, 9, 3))}
    marked = Facts(marked_at=datetime(2026, 9, 2, tzinfo=UTC))
    assert open_steps(case_of("ACCEPTED", "FORWARDED"), marked) == {"ANSWER": ("beijing", date(2026, 9, 10))}
    assert open_steps(case_of("ACCEPTED", "FORWARDED", "ANSWERED")) == {"CLOSE": ("hebei", date(2026, 9, 3))}
    assert open_steps(case_of("ACCEPTED", "FORWARDED", "ANSWERED", "CLOSED")) == {}


def test_holidays_and_worked_weekends_are_in_the_terms() -> None:
    late = [replace(one, at=one.at + timedelta(days=29)) for one in life().values() if one.kind != "ANSWERED"]
    case = fold(one for one in late if one.kind in ("OPENED", "ACCEPTED", "FORWARDED"))
    assert case is not None
    # 30 September; the National Day holidays go to 7 October, Saturday the 10th is worked.
    assert open_steps(case)["ANSWER"] == ("beijing", date(2026, 10, 15))
    assert open_steps(case)["MARK"] == ("beijing", date(2026, 10, 8))


def test_a_province_leading_its_own_record_has_the_shorter_term_and_a_repair_its_own() -> None:
    own = case_of("ACCEPTED", "FORWARDED", record_province="hebei")
    assert open_steps(own)["ANSWER"] == ("hebei", date(2026, 9, 4))
    repair = case_of("ACCEPTED", procedure="REPAIR")
    assert open_steps(repair) == {"FORWARD": ("hebei", date(2026, 9, 3)), "ANSWER": ("beijing", date(2026, 9, 15))}
    assert "MARK" not in open_steps(case_of("ACCEPTED", procedure="UPDATE"))


def test_an_extension_moves_the_day_and_is_reminded_of_anew() -> None:
    known = life()
    opened = [known[kind] for kind in ("OPENED", "ACCEPTED", "FORWARDED")]
    case = fold([*opened, event("EXTENDED", hours=5, working_days=3)])
    assert case is not None
    assert open_steps(case)["ANSWER"] == ("beijing", date(2026, 9, 15))
    told = fold([*case.events, event("REMINDED", hours=6, step="ANSWER", due=date(2026, 9, 10))])
    assert told is not None
    marked = Facts(marked_at=datetime(2026, 9, 2, tzinfo=UTC))
    assert [(c.kind, c.step.step) for c in TERMS.calls(told, marked, date(2026, 9, 14))] == [("REMINDED", "ANSWER")]


def days_of(case: Case, facts: Facts, first: date, days: int) -> list[tuple[date, str, str]]:
    """Go from day to day, write what is due, and return what was written when."""
    written, events = [], list[CaseEvent](case.events)
    for day in (first + timedelta(days=n) for n in range(days)):
        for _ in range(2):  # a second look on the same day writes nothing
            now = fold(events)
            assert now is not None
            for call in TERMS.calls(now, facts, day):
                written.append((day, call.kind, call.step.step))
                at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=4)
                events.append(reminder(now, call, by="cases@test", at=at))
    return written


def test_each_is_written_once_before_the_limit_and_once_after_it() -> None:
    written = days_of(case_of("ACCEPTED", "FORWARDED"), Facts(), TUESDAY, 20)
    assert written == [
        (date(2026, 9, 1), "REMINDED", "MARK"),
        (date(2026, 9, 3), "ESCALATED", "MARK"),
        (date(2026, 9, 9), "REMINDED", "ANSWER"),
        (date(2026, 9, 11), "ESCALATED", "ANSWER"),
    ]


def test_a_worker_that_was_away_escalates_without_reminding() -> None:
    assert days_of(case_of(), Facts(), date(2026, 9, 20), 3) == [(date(2026, 9, 20), "ESCALATED", "ACCEPT")]


def test_nothing_is_written_of_what_is_done_or_has_ended() -> None:
    ended = fold([*case_of().events, event("CANCELLED", hours=1)])
    assert ended is not None
    assert days_of(ended, Facts(), TUESDAY, 60) == []
    assert days_of(case_of("ACCEPTED", "FORWARDED", "ANSWERED", "CLOSED"), Facts(), TUESDAY, 60) == []


def test_a_year_without_a_calendar_is_said_and_hides_no_other_step() -> None:
    late = [
        replace(one, at=datetime(2026, 12, 30, tzinfo=UTC) + (one.at - life()["OPENED"].at)) for one in life().values()
    ]
    case = fold(one for one in late if one.kind in ("OPENED", "ACCEPTED", "FORWARDED"))
    assert case is not None
    steps = {one.step: one for one in TERMS.steps(case, Facts())}
    assert steps["MARK"].due == date(2026, 12, 31)
    assert steps["ANSWER"].due is None
    assert "2027" in (steps["ANSWER"].trouble or "")
    assert [(c.kind, c.step.step) for c in TERMS.calls(case, Facts(), date(2026, 12, 30))] == [("REMINDED", "MARK")]
    first = TERMS.next_step(case, Facts())
    assert first is not None
    assert first.step == "MARK"


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_every_procedure_has_all_its_terms_in_every_province(procedure: str) -> None:
    how = PROCEDURES[procedure]
    for province in load().provinces:
        for key in (how.accept, how.forward, how.answer, how.answer_own, how.close, how.mark, "case-remind"):
            assert deadline(ROWS, key, province, TUESDAY).working_days >= 1


def test_terms_that_are_missing_are_said() -> None:
    bare = Terms(CALENDAR, [row for row in ROWS if row.deadline != "objection-source"])
    steps = {one.step: one for one in bare.steps(case_of("ACCEPTED", "FORWARDED"), Facts())}
    assert "objection-source" in (steps["ANSWER"].trouble or "")
    with pytest.raises(UsageError, match="case-remind"):
        Terms(CALENDAR, [row for row in ROWS if row.deadline != "case-remind"]).calls(case_of(), Facts(), TUESDAY)


def test_the_steps_are_named() -> None:
    seen = {step.step for step in TERMS.steps(case_of("ACCEPTED", "FORWARDED", "ANSWERED", "CLOSED"), Facts())}
    assert seen == set(STEPS)
