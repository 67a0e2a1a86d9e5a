"""What holds of a quarantine entry, whatever is known of it in whatever order, and what its decisions are called."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.rules import RULES
from schemas.rules.model import OVERRIDABLE
from streams.kafka.headers import ACCEPTED, DISCARDED, IMPOSSIBLE, REFUSED, Origin
from streams.quarantine.entries import (
    DISCARD,
    DONE,
    OPEN,
    OVERRIDE,
    REDRIVE,
    STATES,
    QuarantineEntry,
    entries_of,
    parse_name,
    state_of,
    undone,
)
from streams.quarantine.settlement import receipt_of

OUTCOMES = [
    (OVERRIDE, ACCEPTED), (OVERRIDE, REFUSED), (OVERRIDE, IMPOSSIBLE), (REDRIVE, ACCEPTED), (REDRIVE, REFUSED),
    (REDRIVE, IMPOSSIBLE), (DISCARD, DISCARDED),
]  # fmt: skip
KNOWN = st.lists(st.sampled_from(OUTCOMES), max_size=6)


@given(KNOWN, st.booleans(), st.randoms())
def test_the_order_in_which_outcomes_become_known_does_not_matter(
    outcomes: list[tuple[str, str]], held: bool, chance: Any
) -> None:
    shuffled = [*outcomes, *outcomes[:2]]  # some of them twice
    chance.shuffle(shuffled)
    assert state_of(shuffled, held=held) == state_of(outcomes, held=held)


@given(KNOWN, KNOWN, st.booleans())
def test_more_knowledge_never_takes_a_state_back(
    outcomes: list[tuple[str, str]], more: list[tuple[str, str]], held: bool
) -> None:
    before = STATES.index(state_of(outcomes, held=False))
    assert STATES.index(state_of([*outcomes, *more], held=held)) >= before
    assert STATES.index(state_of(outcomes, held=True)) >= before


@given(KNOWN)
def test_nothing_counts_as_accepted_before_its_record_can_be_seen(outcomes: list[tuple[str, str]]) -> None:
    closed = state_of(outcomes, held=False) != OPEN
    assert closed == ((DISCARD, DISCARDED) in outcomes), "only a person closes what is not held"


@pytest.mark.parametrize(
    ("outcomes", "held", "state"),
    [
        ([], False, OPEN),
        ([], True, "SUPERSEDED"),
        ([(REDRIVE, REFUSED), (OVERRIDE, REFUSED), (OVERRIDE, IMPOSSIBLE)], False, OPEN),
        ([(REDRIVE, ACCEPTED)], False, OPEN),
        ([(REDRIVE, ACCEPTED)], True, "REDRIVEN"),
        ([(OVERRIDE, ACCEPTED), (REDRIVE, ACCEPTED)], True, "OVERRIDDEN"),
        ([(DISCARD, DISCARDED)], False, "DISCARDED"),
        ([(DISCARD, DISCARDED), (REDRIVE, REFUSED)], False, "DISCARDED"),
        ([(DISCARD, DISCARDED), (REDRIVE, ACCEPTED)], False, "DISCARDED"),
        ([(DISCARD, DISCARDED), (REDRIVE, ACCEPTED)], True, "REDRIVEN"),
    ],
)
def test_what_holds_of_an_entry(outcomes: list[tuple[str, str]], held: bool, state: str) -> None:
    for order in permutations(outcomes):
        assert state_of(order, held=held) == state


def told(kind: str, outcome: str, *, settled: bool = False, codes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an outcome as settling reads it."""
    findings = [{"code": code, "field": None, "message": code} for code in codes]
    return {
        "decision": "d",
        "kind": kind,
        "outcome": outcome,
        "reason": "复核",
        "findings": findings,
        "settled": settled,
    }


def test_the_department_is_told_of_every_change_once() -> None:
    outcome, findings = receipt_of(OPEN, "OVERRIDDEN", [told(OVERRIDE, ACCEPTED, codes=("USCC_CHECK_DIGIT",))]) or (
        "",
        [],
    )
    assert outcome == "ACCEPTED"
    assert [finding["code"] for finding in findings] == ["OVERRIDDEN", "USCC_CHECK_DIGIT"]
    assert findings[0]["message"].endswith("复核")
    outcome, findings = receipt_of(OPEN, "SUPERSEDED", []) or ("", [])
    assert (outcome, [finding["code"] for finding in findings]) == ("SUPERSEDED", ["SUPERSEDED"])
    discard = told(DISCARD, DISCARDED, codes=("DISCARDED",))
    outcome, findings = receipt_of(OPEN, "DISCARDED", [discard]) or ("", [])
    assert (outcome, [finding["code"] for finding in findings]) == ("DISCARDED", ["DISCARDED"])
    again = told(REDRIVE, REFUSED, codes=("CATEGORY",))
    assert receipt_of(OPEN, OPEN, [again]) == ("REFUSED", again["findings"])
    assert receipt_of(OPEN, OPEN, [{**again, "settled": True}]) is None
    assert receipt_of("DISCARDED", "DISCARDED", [again]) is None
    assert receipt_of(OPEN, OPEN, [told(REDRIVE, ACCEPTED)]) is None, "not before it can be seen"


@given(
    st.builds(
        QuarantineEntry,
        st.builds(
            Origin,
            st.just("records.tax"),
            st.from_regex(r"[A-Za-z0-9_+/-]{22}", fullmatch=True),
            st.integers(0, 99),
            st.integers(0, 10**18 - 1),
        ),
        st.none() | st.tuples(st.integers(0, 9), st.integers(0, 2**62)),
    )
)
def test_an_entry_is_read_back_from_its_event_and_its_name(entry: QuarantineEntry) -> None:
    assert QuarantineEntry.from_detail(entry.to_detail()) == entry
    assert parse_name(entry.name) == (entry.origin.department, entry.origin.partition, entry.origin.offset)


@pytest.mark.parametrize(
    "name", ["", "tax", "tax/0", "tax/0/x", "tax/0/-1", "tax/0/1/2", "tax//1", "税/0/1", "tax/0/1\n2"]
)
def test_what_names_no_entry_is_a_mistake_of_the_person(name: str) -> None:
    with pytest.raises(UsageError, match="department/partition/offset"):
        parse_name(name)


def event(kind: str, detail: dict[str, Any], number: int = 0) -> Operation:
    """Return an event of `operations`."""
    return Operation(kind, "tax", datetime(2026, 1, 1, tzinfo=UTC), "somebody", "复核", detail, f"{number:032x}")


@pytest.mark.parametrize("detail", [{}, {"entries": "tax/0/1"}, {"entries": [{}]}, {"entries": [None]}, {"entries": 3}])
def test_an_event_that_is_not_whole_is_known_as_such(detail: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"entry|entries"):
        entries_of(event(REDRIVE, detail))


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "records.tax x"}, {"topic": "accepted"}, {"topic": "records.税"}, {"topic_id": ""}, {"topic_id": "a b"},
        {"partition": -1}, {"partition": 1 << 31}, {"offset": 1 << 63}, {"offset": "x"}, {"stored": [0]}, {"stored": [0, -1]},
    ],
)  # fmt: skip
def test_what_would_break_the_view_is_no_entry(change: dict[str, Any]) -> None:
    good = QuarantineEntry(Origin("records.tax", "id", 0, 1), (0, 2)).to_detail()
    assert QuarantineEntry.from_detail(good).stored == (0, 2)
    with pytest.raises(ValueError, match="names no quarantine entry"):
        QuarantineEntry.from_detail(good | change)


def test_what_waits_follows_from_the_events_alone() -> None:
    first, second = event(OVERRIDE, {"entries": []}, 1), event(DISCARD, {"entries": []}, 2)
    done = event(DONE, {"decision": first.id}, 3)
    assert list(undone([first, second, event("INTAKE_STOPPED", {}, 4)])) == [first.id, second.id]
    assert list(undone([first, second, done, done])) == [second.id]
    assert undone([]) == {}


def test_codes_that_may_be_waived_are_rules_that_refuse() -> None:
    refusing = {rule.code for rule in RULES if rule.severity == "refuse"}
    assert set(OVERRIDABLE) <= refusing
    assert {"NATURAL_PERSON", "USCC_RESIDENT_ID", "PERSONAL_IDENTIFIER", "WRONG_DEPARTMENT"}.isdisjoint(OVERRIDABLE)
