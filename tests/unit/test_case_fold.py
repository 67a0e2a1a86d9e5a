"""The fold of a case: a function of the set of its events, whoever says what in whatever order."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cases.fold import KINDS, OUTCOMES, PROCEDURES, STATES, Case, CaseEvent, fold, fold_all, leader, new_case_id
from schemas.contracts.avro import source
from schemas.errors import Rejected
from tests.case_events import CASE, OPENED_AT, event, life

PROVINCES = ("beijing", "hebei", "shanxi")


@st.composite
def sets(draw: st.DrawFn) -> list[CaseEvent]:
    """Events of one case, said by anybody of anything, with ids that meet now and then."""
    made = []
    for hours in draw(st.lists(st.integers(0, 6), max_size=9)):
        kind = draw(st.sampled_from([*KINDS, "UNKNOWN"]))
        one = event(kind, hours=hours)
        changes = {
            "province": draw(st.sampled_from([one.province, one.province, *PROVINCES])),
            "event_id": draw(st.sampled_from([one.event_id, "0" * 32, "1" * 32])),
            "record_province": draw(st.sampled_from(["beijing"] * 4 + ["shanxi"])),
            "reason": draw(st.sampled_from(["", "甲"])),
        }
        if kind == "CLOSED":
            changes["answer"] = draw(st.sampled_from(["0" * 32, "1" * 32, event("ANSWERED", hours=3).event_id, None]))
        if kind == "ANSWERED":
            changes |= {"digest": draw(st.sampled_from([one.digest, one.digest, "no digest", None]))}
        made.append(replace(one, **changes))
    return [event("OPENED"), *made] if draw(st.booleans()) else made


def told(case: Case | None) -> object:
    """Return all that a case is, for comparison."""
    return None if case is None else (case, case.events, case.void, case.state)


@given(sets(), st.randoms(use_true_random=False))
def test_order_and_duplication_do_not_matter(events: list[CaseEvent], random: object) -> None:
    once = fold(events)
    again = [*events, *events[::2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert told(fold(again)) == told(once)


@given(sets())
def test_every_event_counts_or_is_void_and_states_are_known(events: list[CaseEvent]) -> None:
    case = fold(events)
    if case is None:
        openings = [one for one in events if one.kind == "OPENED" and one.province == "hebei"]
        ids = [one.event_id for one in events if one.province == "hebei"]
        assert all(ids.count(one.event_id) > 1 for one in openings), (
            "only who opened it can spoil it, by using an id twice"
        )
        return
    assert case.state in STATES
    assert len(case.events) + len(case.void) == len({(one.province, one.event_id) for one in events})
    assert all(one.event.kind != one.why for one in case.void)
    assert (case.ended is None) == (case.state not in ("CLOSED", "DECLINED", "CANCELLED"))
    if case.state == "CLOSED":
        assert case.answer is not None
        assert case.ended is not None
        assert case.ended.answer == case.answer.event_id


@given(sets(), sets())
def test_what_a_third_province_says_changes_nothing(events: list[CaseEvent], others: list[CaseEvent]) -> None:
    case, noise = fold(events), [replace(one, province="shanxi") for one in others if one.record_province == "beijing"]
    after = fold([*(one for one in events if one.province != "shanxi"), *noise])
    before = fold([one for one in events if one.province != "shanxi"])
    assert (after.state if after else None) == (before.state if before else None)
    assert (after.answer if after else None) == (before.answer if before else None)
    assert case is None or case.lead == "hebei"


def test_a_whole_life_in_every_order_and_every_state_on_the_way() -> None:
    events = list(life().values())
    states = [case.state for n in range(1, 6) if (case := fold(events[:n])) is not None]
    assert states == ["OPENED", "ACCEPTED", "FORWARDED", "ANSWERED", "CLOSED"]
    once = told(fold(events))
    assert {str(told(fold(order))) for order in permutations(events)} == {str(once)}


def test_a_case_is_not_closed_by_an_answer_that_is_not_there() -> None:
    known = life()
    answered = known.pop("ANSWERED")
    case = fold(known.values())
    assert case is not None
    assert (case.state, case.ended, case.answer) == ("FORWARDED", None, None)
    case = fold([*known.values(), answered])
    assert case is not None
    assert (case.state, case.answer) == ("CLOSED", answered)


def test_the_last_answer_counts_until_one_is_closed_with() -> None:
    known = life()
    second = event("ANSWERED", hours=3.5, outcome="UPHELD")
    open_case = fold([*(one for one in known.values() if one.kind != "CLOSED"), second])
    assert open_case is not None
    assert open_case.answer == second
    closed = fold([*known.values(), second])
    assert closed is not None
    assert closed.answer == known["ANSWERED"], "what it was closed with"


def test_nobody_takes_the_place_of_anothers_event_by_its_id() -> None:
    known = life()
    forged = replace(known["ANSWERED"], province="shanxi", reason="伪")
    case = fold([forged, *known.values()])
    assert case is not None
    assert case.answer == known["ANSWERED"]
    assert [one.event for one in case.void] == [forged]


def test_a_reminder_that_is_written_twice_is_one() -> None:
    first = event("REMINDED", hours=2, event_id="7" * 32)
    second = replace(first, by="other@machine", at=OPENED_AT)
    cases = [fold([event("OPENED"), *both]) for both in ((first, second), (second, first))]
    assert told(cases[0]) == told(cases[1])
    assert cases[0] is not None
    assert len(cases[0].events) == 2
    assert len(cases[0].reminded) == 1


def test_several_cases_are_parted_and_one_that_nobody_opened_is_none() -> None:
    other = "hebei-20260901-00000002"
    events = [*life().values(), event("OPENED", case=other), event("ACCEPTED", case="tianjin-20260901-00000003")]
    found = fold_all(reversed(events))
    assert {case_id: case.state for case_id, case in found.items()} == {CASE: "CLOSED", other: "OPENED"}


@pytest.mark.parametrize(
    "case_id", ["", "hebei", "hebei-2026-1", "Hebei-20260901-00000001", "hebei-20260901-0000000G", "x" * 99]
)
def test_what_is_no_case_id(case_id: str) -> None:
    with pytest.raises(Rejected, match="no case id"):
        leader(case_id)


def test_ids_begin_with_who_leads() -> None:
    assert leader(new_case_id("inner-mongolia", OPENED_AT.date(), b"x")) == "inner-mongolia"


def test_the_contract_names_every_word_and_the_event_every_field() -> None:
    docs = {field["name"]: field.get("doc", "") for field in source("xinliu.Case")["fields"]}
    assert list(docs) == list(CaseEvent.__slots__)
    assert all(kind in docs["kind"] for kind in KINDS)
    assert all(name in docs["procedure"] for name in PROCEDURES)
    assert all(name in docs["outcome"] for name in OUTCOMES)


def test_an_event_keeps_all_it_says_on_the_wire() -> None:
    from schemas.contracts.avro import parsed
    from schemas.contracts.codec import decode

    for one in (*life().values(), event("REMINDED"), event("EXTENDED")):
        assert CaseEvent.of(decode(parsed("xinliu.Case"), one.body())) == one


def test_what_is_said_within_a_millisecond_is_in_the_order_of_a_case() -> None:
    said = [replace(one, at=OPENED_AT) for one in life().values()]
    case = fold(reversed(said))
    assert case is not None
    assert [one.kind for one in case.events] == ["OPENED", "ACCEPTED", "FORWARDED", "ANSWERED", "CLOSED"]
