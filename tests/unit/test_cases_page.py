"""docs/cases.md, cell by cell: what the page says of states, words and terms is what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.calendar.workdays import deadline
from schemas.cases.fold import KINDS, OUTCOMES, PROCEDURES, STATES, CaseEvent, fold, speakers
from schemas.cases.terms import REMIND, STEPS
from schemas.catalogue import load
from streams.cases.desk import GUARDS
from tests.case_events import OPENED_AT, event, life

PAGE = Path(__file__).parents[2] / "docs" / "cases.md"
SAID = ("ACCEPTED", "DECLINED", "FORWARDED", "ANSWERED", "EXTENDED", "CLOSED", "CANCELLED", "NOTED")


def table(heading: str) -> dict[str, dict[str, str]]:
    """Return the table under a heading: first cell of a row → header → cell."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    headers, _, *rows = lines
    return {row[0]: dict(zip(headers[1:], row[1:], strict=True)) for row in rows}


LIFE = table("What may be said when")
WHO = table("Who says what")
TERMS = table("Terms")


def held(state: str) -> list[CaseEvent]:
    """Return the events that make a state."""
    known = life()
    if state in ("DECLINED", "CANCELLED"):
        return [known["OPENED"], event(state, hours=1)]
    names = ("OPENED", "ACCEPTED", "FORWARDED", "ANSWERED", "CLOSED")
    return [known[name] for name in names[: names.index(state) + 1]]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", SAID)
def test_what_may_be_said_when(state: str, kind: str) -> None:
    cell = LIFE[f"{STATES[state]} {state}"][kind]
    events = held(state)
    answers = [one.event_id for one in events if one.kind == "ANSWERED"]
    said = event(kind, hours=9, answer=answers[0] if kind == "CLOSED" and answers else None)
    for order in ([*events, said], [said, *reversed(events)]):
        case = fold(order)
        assert case is not None
        assert case.state == cell.split(" · ")[0]
    by_command = state in GUARDS[kind][0]
    assert cell.endswith(" · not by command") != by_command


def test_the_page_has_every_state_every_word_and_whose_each_is() -> None:
    assert [row.split(" ")[1] for row in LIFE] == list(STATES)
    assert set(GUARDS) == set(SAID)
    assert list(WHO) == [f"{name} {kind}" for kind, (_, name) in KINDS.items()]
    for kind, row in zip(KINDS, WHO.values(), strict=True):
        who = {"hebei": "leads", "beijing": "made the record"}
        assert row["province that"] == " or ".join(who[one] for one in sorted(speakers(event(kind)), reverse=True))


def test_the_terms_are_those_of_the_catalogue_for_every_procedure() -> None:
    rows, day = load().time.deadlines, OPENED_AT.date()
    assert list(TERMS) == [*(f"{how.name_zh} {key}" for key, how in PROCEDURES.items()), f"提醒 {REMIND}"]
    for key, how in PROCEDURES.items():
        told = TERMS[f"{how.name_zh} {key}"]
        terms = {"ACCEPT": how.accept, "FORWARD": how.forward, "ANSWER": how.answer, "CLOSE": how.close}
        terms |= {"MARK": how.mark} if how.marks else {}
        for step, name in STEPS.items():
            cell = told[f"{name} {step}"]
            if step not in terms:
                assert cell == "—"
                continue
            days = [deadline(rows, terms[step], "hebei", day).working_days]
            if step == "ANSWER" and how.answer_own != how.answer:
                days.append(deadline(rows, how.answer_own, "hebei", day).working_days)
            assert cell.split(" ")[0].split("/") == [str(one) for one in days]


def test_every_answer_is_explained() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {name} `{outcome.lower()}` |" in page for outcome, (name, _) in OUTCOMES.items())
