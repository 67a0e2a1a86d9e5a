"""Carrying decisions out: what is forwarded, what is told, and that any step may be done again."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from schemas.contracts.codec import encode, frame
from schemas.errors import Retryable
from schemas.identifiers.uscc import generate
from schemas.operations.event import Operation
from schemas.operations.two_people import APPROVED, TwoPeople, digest
from schemas.records.refused_row import LOG
from schemas.servers.connection import Approval
from schemas.servers.kafka import Cluster
from streams.kafka.headers import DECISION, FINDINGS, ORIGIN, RECEIVED, Origin
from streams.kafka.single_messages import Place
from streams.quarantine.entries import DISCARD, DONE, OVERRIDE, REDRIVE, QuarantineEntry
from streams.quarantine.redriver import Decisions, Redriver
from tests.examples import examples
from tests.fuzz.choices import Consumed, Drawn
from tests.fuzz.hostile import Writers, marker, message
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.statements import penalty

FAILS_ITS_CHECK = "91350211M0000XUF47"
"""Only its check digit is wrong, and no reviewed exception lets it through."""


@dataclass(frozen=True)
class _Message:
    """A message of Kafka, as a consumer hands it out."""

    held: bytes
    known: Sequence[tuple[str, bytes]] = ()

    def value(self) -> bytes:
        """The value."""
        return self.held

    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The headers."""
        return self.known


class House:
    """Intake with its quarantine in memory: `recorder` holds what it wrote, and is read from as the topic would be."""

    def __init__(self, writers: Writers | None = None) -> None:
        self.writers = writers or Writers(Consumed(b""))
        self.recorder = Recorder()
        self.stage = stage_of(self.writers.registry, self.recorder)
        self.later = Recorder()
        self.redriver = Redriver(stage_of(self.writers.registry, self.later), self, self.later, {"records.tax": "id"})  # type: ignore[arg-type]

    def read(self, places: Iterable[Place]) -> dict[Place, _Message]:
        """The topic `quarantine`."""
        stored = {("quarantine", 0, at): _Message(*kept) for at, kept in enumerate(self.recorder.quarantined)}
        return {place: stored[place] for place in places if place in stored}

    def refuse(self, *values: bytes | None) -> list[QuarantineEntry]:
        """Let intake examine these and return the entries that come of it."""
        self.stage([records_of("records.tax", values)])
        return [
            QuarantineEntry(Origin.from_bytes(dict(headers)[ORIGIN]), (0, at))
            for at, (_, headers) in enumerate(self.recorder.quarantined)
        ]

    def statement(self, number: str, **changes: Any) -> bytes:
        """Return a statement's message; `uscc` is its subject."""
        value = penalty(number, entity=9)
        value["subject"] = {**value["subject"], "uscc": changes.pop("uscc", value["subject"]["uscc"])}
        value["penalty"] |= changes
        return frame(self.writers.statement, encode("xinliu.Statement", value))

    @property
    def told(self) -> list[tuple[str, str, list[str]]]:
        """Entry, outcome and codes of what was told of decisions."""
        found = []
        for value, headers in self.later.quarantined:
            known = dict(headers)
            assert value == b"", "the value stays where it is"
            outcome = json.loads(known[DECISION])["outcome"]
            codes = [finding["code"] for finding in json.loads(known[FINDINGS])["findings"]]
            found.append((QuarantineEntry(Origin.from_bytes(known[ORIGIN]), None).name, outcome, codes))
        return found


def decision(kind: str, entries: Sequence[QuarantineEntry], codes: Sequence[str] = ("USCC_CHECK_DIGIT",)) -> Operation:
    """Return a decision about entries."""
    named: list[dict[str, Any]] = [entry.to_detail() for entry in entries]
    if kind == OVERRIDE:
        named = [{**one, "codes": list(codes)} for one in named]
    return Operation(kind, "tax", datetime(2026, 1, 1, tzinfo=UTC), "somebody", "复核", {"entries": named})


def test_an_override_accepts_the_very_message_under_its_origin_and_says_what_was_waived() -> None:
    house = House()
    value = house.statement("放1", uscc=FAILS_ITS_CHECK)
    (entry,) = house.refuse(value)
    assert house.recorder.accepted == []
    assert house.redriver.carry_out(decision(OVERRIDE, [entry])) == {"ACCEPTED": 1}
    ((_, key, forwarded, headers),) = house.later.accepted
    known = dict(headers)
    assert forwarded == value
    assert Origin.from_bytes(known[ORIGIN]) == entry.origin
    assert known[RECEIVED] == b"0", "the time in the quarantine is no latency"
    assert [finding["code"] for finding in json.loads(known[FINDINGS])] == ["USCC_CHECK_DIGIT"]
    assert headers[-1][0] == FINDINGS, "where the view looks for it"
    assert house.told == [("tax/0/0", "ACCEPTED", ["USCC_CHECK_DIGIT"])]
    told = json.loads(dict(house.later.quarantined[0][1])[FINDINGS])
    assert key.decode().startswith(f"{told['record_id']}|{told['version']}|")


def test_an_override_waives_nothing_else_and_no_other_entry() -> None:
    house = House()
    both = house.statement("放2", uscc=FAILS_ITS_CHECK, categories="批评教育")
    entries = house.refuse(both, house.statement("放3", uscc=FAILS_ITS_CHECK))
    assert house.redriver.carry_out(decision(OVERRIDE, entries[:1])) == {"REFUSED": 1}
    assert house.redriver.carry_out(decision(REDRIVE, entries[1:])) == {"REFUSED": 1}
    assert house.redriver.carry_out(decision(OVERRIDE, entries[:1], ["CATEGORY", "USCC_CHECK_DIGIT"])) == {"REFUSED": 1}
    assert house.later.accepted == []
    assert house.told[0][2] == ["CATEGORY", "FINE_UNEXPECTED", "USCC_CHECK_DIGIT"]


def test_what_is_done_twice_forwards_the_same_statement_and_tells_the_same_outcome() -> None:
    house = House()
    same = decision(OVERRIDE, house.refuse(house.statement("放4", uscc=FAILS_ITS_CHECK)))
    for _ in range(2):
        house.redriver.carry_out(same)
    for first, second in (house.later.accepted, house.later.quarantined):
        assert first == second


def test_what_cannot_be_examined_is_said_and_its_neighbours_are() -> None:
    house = House()
    person = house.statement("放5", remark="经办人 362322198709086409")
    late = marker("finance", house.writers.marker)
    good = house.statement("放6", uscc=FAILS_ITS_CHECK)
    masked, damaged, wrong, passing = house.refuse(person, b"damaged", late, good)
    gone, other = (QuarantineEntry(passing.origin, (0, offset)) for offset in (99, 0))
    foreign = QuarantineEntry(Origin("records.dissolved", "id", 0, 0), (0, 3))
    entries = [masked, damaged, wrong, gone, other, foreign, passing]
    assert house.redriver.carry_out(decision(OVERRIDE, entries)) == {"IMPOSSIBLE": 4, "REFUSED": 2, "ACCEPTED": 1}
    assert [value for _, _, value, _ in house.later.accepted] == [good]
    codes = [(outcome, told) for _, outcome, told in house.told]
    for code, times in (("VALUE_GONE", 2), ("VALUE_MASKED", 1), ("NO_DEPARTMENT", 1)):
        assert codes.count(("IMPOSSIBLE", [code])) == times
    assert ("REFUSED", ["NOT_AVRO"]) in codes


def test_a_marker_that_was_refused_vouches_for_nothing_later() -> None:
    house = House()
    entry = QuarantineEntry(Origin("records.tax", "id", 0, 0), (0, 0))
    house.recorder.quarantine(marker("tax", house.writers.marker), [(ORIGIN, entry.origin.to_bytes())])
    assert house.redriver.carry_out(decision(REDRIVE, [entry])) == {"IMPOSSIBLE": 1}
    assert house.told == [("tax/0/0", "IMPOSSIBLE", ["MARKER_LATE"])]
    assert (house.later.accepted, house.later.vectors) == ([], [])


def test_what_only_the_departments_topic_holds_is_taken_from_there_unless_it_was_made_anew() -> None:
    house = House()
    value = house.statement("原1")
    places: list[Place] = []

    def read(wanted: Iterable[Place]) -> dict[Place, _Message]:
        places.extend(wanted)
        return {place: _Message(value) for place in places}

    house.read = read  # type: ignore[method-assign]
    now, before = (QuarantineEntry(Origin("records.tax", topic_id, 0, 7), None) for topic_id in ("id", "another"))
    assert house.redriver.carry_out(decision(REDRIVE, [now, before])) == {"ACCEPTED": 1, "IMPOSSIBLE": 1}
    assert set(places) == {("records.tax", 0, 7)}


def test_discarding_needs_no_value() -> None:
    house = House()
    entry = QuarantineEntry(Origin("records.dissolved", "id", 0, 7), (0, 99))
    assert house.redriver.carry_out(decision(DISCARD, [entry])) == {"DISCARDED": 1}
    assert house.told == [("dissolved/0/7", "DISCARDED", ["DISCARDED"])]


@examples(60, HealthCheck.data_too_large)
@given(data=st.data())
def test_by_the_same_rules_nothing_that_is_redriven_gets_through_or_becomes_a_new_entry(data: st.DataObject) -> None:
    choose = Drawn(data)
    house = House(Writers(choose))
    entries = house.refuse(*(message(choose, house.writers) for _ in range(choose.integer(1, 6))))
    counts = house.redriver.carry_out(decision(REDRIVE, entries))
    assert counts.total() == len(entries)
    assert set(counts) <= {"REFUSED", "IMPOSSIBLE"}
    assert house.later.accepted == []
    assert all(DECISION in dict(headers) for _, headers in house.later.quarantined)
    for value, headers in house.recorder.quarantined:
        found = [finding["code"] for finding in json.loads(dict(headers)[FINDINGS])["findings"]]
        assert (
            value == b"" or found or Origin.from_bytes(dict(headers)[ORIGIN]).topic_id == LOG
        )  # which says why or not


class _Carries:
    """A redriver that only notes, and fails as often as it is told to."""

    def __init__(self, fails: int = 0, *, wrong: bool = False) -> None:
        self.done: list[str] = []
        self.tries = 0
        self._fails, self._wrong = fails, wrong

    def carry_out(self, one: Operation) -> dict[str, int]:
        """Note it."""
        self.tries += 1
        if self.tries <= self._fails:
            raise Retryable("Kafka is away", server="kafka")
        if self._wrong:
            raise ValueError("no entries")
        self.done.append(one.id)
        return {"ACCEPTED": 1}


def carried(
    redriver: _Carries, feed: Callable[[Decisions], None], until: int, people: TwoPeople | None = None
) -> list[Operation]:
    """Run until so many events were written, and return them."""
    written: list[Operation] = []
    decisions: Decisions

    def write(event: Operation) -> None:
        written.append(event)
        decisions.follow(event)  # it comes back by the topic
        if len(written) == until:
            decisions.stop()

    decisions = Decisions(redriver, write, by="intake@test", people=people)  # type: ignore[arg-type]
    feed(decisions)
    thread = threading.Thread(target=decisions.run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    return written


def test_what_was_left_undone_is_done_at_the_start_and_in_order_and_nothing_else() -> None:
    events = [decision(REDRIVE, []) for _ in range(4)]
    done = Operation(DONE, "tax", events[0].at, "intake@a", "", {"decision": events[1].id})
    redriver = _Carries()
    written = carried(redriver, lambda it: it.held([*events, done]), 3)
    assert redriver.done == [events[0].id, events[2].id, events[3].id]
    assert [one.detail for one in written] == [{"decision": id, "outcomes": {"ACCEPTED": 1}} for id in redriver.done]


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("kind", [DISCARD, OVERRIDE])
def test_what_takes_two_waits_for_another_person_and_nothing_waits_behind_it(kind: str, at_start: bool) -> None:
    def vouched(one: Operation, by: str) -> Operation:
        return replace(one, by=by, received=one.at, vouched=True)

    first, alone, behind = (decision(what, []) for what in (kind, kind, REDRIVE))
    first, alone, behind = (vouched(one, "operator-zhang@desk") for one in (first, alone, behind))

    def approval(of: Operation, by: str) -> Operation:
        detail = {"of": of.id, "digest": digest(of)}
        return vouched(Operation(APPROVED, None, of.at, by, "", detail), by)

    own, other = approval(alone, "operator-zhang@other"), approval(first, "operator-li@desk")
    same_id = replace(first, by="operator-li@desk", detail={"entries": [], "more": 1})
    events = [first, same_id, alone, own, behind, other]
    redriver = _Carries()
    asks: Any = {"security.protocol": "SASL_SSL", "sasl.username": "intake"}
    people = TwoPeople(Cluster(servers="h:1", security=asks), Approval(required=False))

    def feed(it: Decisions) -> None:
        if at_start:
            it.held(events)
        else:
            for one in events:
                it.follow(one)

    carried(redriver, feed, 2, people)
    assert redriver.done == [first.id, behind.id]


def test_what_another_worker_has_done_is_left_alone() -> None:
    first, second = decision(REDRIVE, []), decision(DISCARD, [])
    redriver = _Carries()

    def feed(it: Decisions) -> None:
        for one in (first, second, Operation(DONE, "tax", first.at, "intake@b", "", {"decision": first.id})):
            it.follow(one)

    carried(redriver, feed, 1)
    assert redriver.done == [second.id]


def test_a_server_that_is_away_is_waited_for_and_nothing_is_told_before() -> None:
    redriver = _Carries(fails=2)
    one = decision(REDRIVE, [])
    written = carried(redriver, lambda it: it.follow(one), 1)
    assert (redriver.tries, redriver.done) == (3, [one.id])
    assert [event.kind for event in written] == [DONE]


def test_an_event_that_is_none_neither_stops_intake_nor_is_tried_again() -> None:
    redriver = _Carries(wrong=True)
    (event,) = carried(redriver, lambda it: it.follow(decision(REDRIVE, [])), 1)
    assert event.detail["error"] == "no entries"
    assert redriver.tries == 1


@pytest.mark.parametrize("detail", [{"entries": [{"topic": 1}]}, {"entries": {}}, {"codes": ["CATEGORY"]}])
def test_a_hostile_event_is_an_error_of_the_event(detail: dict[str, Any]) -> None:
    event = Operation(OVERRIDE, "tax", datetime(2026, 1, 1, tzinfo=UTC), "somebody", "", detail)
    with pytest.raises(ValueError, match=r"entry|entries"):
        House().redriver.carry_out(event)


def test_the_code_that_the_tests_rest_on_fails_its_check_digit_alone() -> None:
    house = House()
    house.refuse(house.statement("放7", uscc=FAILS_ITS_CHECK))
    ((_, headers),) = house.recorder.quarantined
    assert [one["code"] for one in json.loads(dict(headers)[FINDINGS])["findings"]] == ["USCC_CHECK_DIGIT"]
    assert generate(9) != FAILS_ITS_CHECK


def long_statement(house: House, number: str, **changes: Any) -> bytes:
    """Return a statement of more than 64 KiB, as one with its check digit wrong and a long remark is."""
    return house.statement(number, uscc=FAILS_ITS_CHECK, remark="长" * 30_000, **changes)


def from_its_topic(house: House, *values: bytes) -> None:
    """Let the department's topic be read, too: these values from its beginning."""
    quarantine = house.read

    def read(places: Iterable[Place]) -> dict[Place, _Message]:
        wanted = list(places)
        own = {("records.tax", 0, at): _Message(value) for at, value in enumerate(values)}
        return quarantine(wanted) | {place: own[place] for place in wanted if place in own}

    house.read = read  # type: ignore[method-assign]


def test_of_a_long_message_the_beginning_is_kept_and_what_it_was() -> None:
    house = House()
    value = b"\xff" * (1 << 20)
    house.refuse(value)
    ((stored, headers),) = house.recorder.quarantined
    assert stored == value[:4096]
    known = json.loads(dict(headers)[FINDINGS])
    assert known["cut"] == {"sha256": hashlib.sha256(value).hexdigest()}
    assert [one["code"] for one in known["findings"]] == ["NOT_AVRO", "KEPT_IN_PART"]
    assert sum(len(part) for _, part in headers) < 2_000


@pytest.mark.parametrize("place", range(4_000, 4_120, 7))
def test_no_identity_number_is_kept_across_the_end_of_what_is_kept(place: int) -> None:
    house = House()
    value = b"x" * place + b"362322198709086409" + b"x" * (64 << 10)
    house.refuse(value)
    ((stored, _),) = house.recorder.quarantined
    assert b"19870908" not in stored
    assert stored[place + 6 : place + 17].strip(b"*") == b""


@pytest.mark.parametrize(
    ("there", "outcome"),
    [
        ("the same", "REFUSED"),
        ("another", "IMPOSSIBLE"),
        ("nothing", "IMPOSSIBLE"),
        ("with a number", "IMPOSSIBLE"),
    ],
)
def test_a_long_message_is_examined_again_as_long_as_its_own_topic_has_it(there: str, outcome: str) -> None:
    house = House()
    facts = "经办人 362322198709086409" if there == "with a number" else "事实"
    value = long_statement(house, "长1", facts=facts)
    (entry,) = house.refuse(value)
    held = {"another": value.replace("长".encode(), "短".encode()), "nothing": b""}.get(there, value)
    from_its_topic(house, *([held] if held else []))
    assert house.redriver.carry_out(decision(OVERRIDE, [entry])) == {outcome: 1}
    ((_, _, codes),) = house.told
    assert (
        codes
        == {
            "the same": codes,  # what its rules say today
            "another": ["VALUE_GONE"],
            "nothing": ["VALUE_GONE"],
            "with a number": ["VALUE_MASKED"],
        }[there]
    )
    assert "KEPT_IN_PART" not in codes, "it was examined whole"
