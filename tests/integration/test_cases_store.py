"""Cases against the real tables: any writer, any order, and what the records say of them."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from psycopg.rows import dict_row

from schemas.cases.fold import CONTRACT, CaseEvent, fold
from schemas.cases.terms import Facts
from schemas.catalogue import load
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import encode
from schemas.records.identity import digest, digest_hex
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.cases.docket import Docket, facts_of, terms_of
from streams.exchange.carried.cases import (
    Arrival,
    CaseSharing,
    case_key,
    events_of,
    partition_of,
    project,
    refold,
    refusal,
)
from streams.projection.batch import Projection
from streams.projection.positions import load_catalogue
from streams.projection.staging import staged
from tests.case_events import CASE, DIGEST, OPENED_AT, event, life
from tests.statements import Statement, penalty, registration, state
from tests.viewstore import Store, decoded, opened, take

GENERATION = 994
TABLES = ("xinliu.case_event", "xinliu.case_state", "xinliu.case_position", "record", "record_history")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def tables(stack: Connection) -> Iterator[Store]:
    """A generation of our own, the catalogue loaded."""
    with opened(stack, GENERATION) as connection:
        load_catalogue(connection, load(), "beijing")
        yield connection
        connection.execute("TRUNCATE xinliu.case_event, xinliu.case_state, xinliu.case_position")


@pytest.fixture
def store(tables: Store) -> Store:
    """The same, empty."""
    tables.execute(f"TRUNCATE {', '.join(TABLES)}, outbox, credit_view, former_entity, xinliu.shared_record")
    return tables


def arrivals(*events: CaseEvent, own: bool = False) -> list[Arrival]:
    """Return events as they come from another province, or of our own as they stand in `cases`."""
    body: Any = CaseEvent.body if own else (lambda _: None)
    mark = fingerprint(source(CONTRACT)) if own else None
    return [Arrival(one, one.at + timedelta(seconds=1), body(one), mark) for one in events]


def projected(store: Store, *events: CaseEvent, own: bool = False) -> None:
    """Project events in one transaction."""
    with store.transaction():
        project(store, arrivals(*events, own=own))


def standing(store: Store, case_id: str = CASE) -> dict[str, Any]:
    """Return the row of the view."""
    with store.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute("SELECT * FROM case_standing WHERE case_id = %s", (case_id,)).fetchall()
    return row


def states(store: Store) -> list[tuple[Any, ...]]:
    """Return what the cases have come to, without when it was written."""
    with store.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM xinliu.case_state ORDER BY case_id").fetchall()
    return [tuple(value for name, value in row.items() if name != "changed_at") for row in rows]


def test_any_order_in_any_batches_is_the_fold_of_the_set(store: Store) -> None:
    events = [
        *life().values(),
        event("NOTED", hours=1),
        event("EXTENDED", hours=2),
        event("CLOSED", hours=9, answer="0" * 32),
    ]
    events += [replace(one, case_id=CASE[:-1] + "2") for one in events[:3]]
    found = set()
    for seed in range(12):
        rng = random.Random(seed)  # no secret
        store.execute("TRUNCATE xinliu.case_event, xinliu.case_state")
        order = [*events, *rng.sample(events, 4)]
        rng.shuffle(order)
        while order:
            projected(store, *[order.pop() for _ in range(min(len(order), rng.randint(1, 4)))])
        found.add(str(states(store)))
        assert sorted(map(str, events_of(store, [CASE]))) == sorted(map(str, events[:8]))
    assert len(found) == 1
    (first, second) = states(store)
    assert first[7] == "CLOSED"
    assert second[7] == "FORWARDED"
    assert (first[-2], first[-1]) == (8, 0)


def test_two_writers_of_one_case_never_fold_less_than_is_there(stack: Connection, store: Store) -> None:
    database = stack.database.get_secret_value()
    events = [event("NOTED", hours=n, province=who) for n in range(40) for who in ("hebei", "beijing")]
    parts = [[event("OPENED"), *events[place::4]] for place in range(4)]

    def write(part: list[CaseEvent]) -> None:
        with connect(database, generation=GENERATION, autocommit=True) as session:
            for one in part:
                with session.transaction():
                    project(session, arrivals(one))

    threads = [threading.Thread(target=write, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    row = standing(store)
    assert row["events"] == len(events) + 1 == len(events_of(store, [CASE]))


def test_folding_anew_gives_what_is_there(store: Store) -> None:
    other = CASE[:-1] + "2"
    projected(store, *life().values(), *life(case=other).values())
    projected(store, *list(life(case=CASE[:-1] + "3").values())[:4])
    before = states(store)
    store.execute("UPDATE xinliu.case_state SET state = 'OPENED', void = 9 WHERE ended_at IS NULL")
    store.execute("DELETE FROM xinliu.case_state WHERE case_id = %s", (other,))
    assert refold(store) == 2, "what has ended stands"
    assert states(store) == before


def about(statement: Statement, **fields: Any) -> dict[str, Any]:
    """Return the fields of events about this record."""
    return {"record_id": statement["record_id"], "uscc": statement["subject"]["uscc"], "department": "tax"} | fields


def place(statement: Statement) -> dict[str, Any]:
    """Return what an answer names of a statement."""
    return {"version": statement["version"], "digest": digest_hex(*digest(encode("xinliu.Statement", statement)))}


def test_the_mark_and_the_answering_statement_are_seen_when_they_arrive(store: Store) -> None:
    first = penalty("案1号")
    disputed = {**first, "version": first["version"] + 1, "reason": "DISPUTED", "disputed_since": date(2026, 9, 2)}
    corrected = {**first, "version": first["version"] + 2, "reason": "CORRECTED"}
    events = life(**about(first))
    answered = replace(events["ANSWERED"], **place(corrected))
    take(store, [[first]])
    projected(store, replace(events["OPENED"], version=first["version"]), events["ACCEPTED"], events["FORWARDED"])
    row = standing(store)
    assert (row["record_status"], row["marked_at"], row["arrived_at"]) == ("IN_FORCE", None, None)
    take_more(store, [disputed], 10)
    assert standing(store)["marked_at"] is not None
    projected(store, answered)
    row = standing(store)
    assert (row["state"], row["outcome"], row["arrived_at"]) == ("ANSWERED", "CORRECTED", None)
    take_more(store, [corrected], 20)
    row = standing(store)
    assert row["arrived_at"] is not None
    assert row["marked_at"] is not None, "that it was marked stays known"
    assert row["disputed_since"] is None


def take_more(store: Store, statements: list[Statement], offset: int) -> None:
    """Fold further statements into what is held."""
    with store.transaction():
        Projection(store).fold(staged(decoded(statements, offset))[0])


@pytest.mark.parametrize("how", ["REVOKED", "REPAIRED"])
def test_a_statement_without_content_arrives_like_any_other(store: Store, how: str) -> None:
    first = penalty("案2号")
    bare = state(first, how, version=5)
    events = life(**about(first))
    take(store, [[first]])
    projected(store, *(events[kind] for kind in ("OPENED", "ACCEPTED", "FORWARDED")))
    projected(store, replace(events["ANSWERED"], outcome=how, **place(bare)))
    assert standing(store)["arrived_at"] is None
    take_more(store, [bare], 10)
    assert standing(store)["arrived_at"] is not None


def test_a_later_statement_or_a_withdrawal_counts_as_arrived_another_content_does_not(store: Store) -> None:
    first = penalty("案3号")
    second, third = ({**first, "version": first["version"] + n, "reason": "CORRECTED"} for n in (1, 2))
    other = {**second, "authority": "11110000000000000X"}
    events = life(**about(first))
    take(store, [[first, other]])
    projected(store, *(events[kind] for kind in ("OPENED", "ACCEPTED", "FORWARDED")))
    projected(store, replace(events["ANSWERED"], **place(second)))
    assert standing(store)["arrived_at"] is None, "the same version with another content is another statement"
    take_more(store, [third], 10)
    assert standing(store)["arrived_at"] is not None
    store.execute("TRUNCATE record, record_history")
    take(store, [[first]])
    assert standing(store)["arrived_at"] is None
    store.execute("UPDATE record SET status = 'WITHDRAWN'")
    assert standing(store)["arrived_at"] is not None, "nothing more is to be expected"


def test_who_leads_rightly_follows_from_the_registration_of_that_day_whenever_it_arrives(store: Store) -> None:
    first = penalty("案4号", entity=77)
    projected(store, event("OPENED", **about(first)))
    assert (standing(store)["registered_in"], standing(store)["led_rightly"]) == ("beijing", False), "by its code"
    here = registration(entity=77, since=date(2020, 1, 1))
    moved = registration(entity=77, province="hebei", since=date(2026, 9, 1)) | {"department": "market-regulation"}
    take(store, [[here]])
    assert standing(store)["led_rightly"] is False
    take_more(store, [moved], 10)
    row = standing(store)
    assert (row["registered_in"], row["led_rightly"]) == ("hebei", True)
    later = {**moved, "version": moved["version"] + 1}
    later["registration"] = {**moved["registration"], "since": date(2026, 9, 2)}
    take_more(store, [later], 20)
    assert standing(store)["led_rightly"] is False, "it moved the day after"


def sent(messages: list[Any]) -> list[str]:
    """Return the keys."""
    return [message.key for message in messages]


def test_our_own_events_of_others_cases_are_shared_once_and_again_until_it_is_noted(store: Store) -> None:
    sharing = CaseSharing()
    events = list(life().values())
    projected(store, *(one for one in events if one.province == "hebei"))  # theirs
    assert sharing.due(store) == []
    answered = events[3]
    projected(store, answered, own=True)
    due = sharing.due(store)
    assert sent(due) == [case_key(answered)] == sent(sharing.due(store))
    (message,) = due
    assert (message.partition, message.name) == (partition_of(answered.uscc), CONTRACT)
    assert (message.fingerprint, message.body) == (fingerprint(source(CONTRACT)), answered.body())
    with store.transaction():
        sharing.sent(store, due)
    assert sharing.due(store) == []
    projected(store, answered, own=True)
    assert sharing.due(store) == [], "projected again, it is not told again"


def test_a_case_among_ourselves_is_shared_as_soon_as_its_record_is(store: Store) -> None:
    ours = event("OPENED", case="beijing-20260901-00000009")
    assert ours.record_province == "beijing"
    projected(store, ours, own=True)
    assert CaseSharing().due(store) == []
    store.execute(
        "INSERT INTO xinliu.shared_record (record_id, department, partition, epoch, state, kind, domain, uscc, version,"
        " digest_hi, digest_lo, status) VALUES (%s, 'tax', 0, 1, 'SHARED', 'PENALTY', 'tax', %s, 1, 0, 0, 'IN_FORCE')",
        (uuid.UUID(ours.record_id), ours.uscc),
    )
    assert sent(CaseSharing().due(store)) == [case_key(ours)]


def test_what_another_province_may_not_say(store: Store) -> None:
    known = life()

    def refused(one: CaseEvent, said_by: str | None = None, partition: int | None = None) -> str | None:
        where = partition_of(one.uscc) if partition is None else partition
        return refusal(one, load(), said_by=said_by or one.province, partition=where, received_at=NOW)

    assert [refused(one) for one in known.values()] == [None] * 5
    assert refused(event("UNKNOWN", province="hebei")) is None, "a kind of a later version is kept"
    hostile = {
        "speaks as": refused(known["ANSWERED"], said_by="tianjin"),
        "to say": refused(replace(known["ANSWERED"], province="hebei")),
        "hebei to say": refused(replace(known["CLOSED"], province="beijing")),
        "not for shanxi": refused(event("NOTED", province="shanxi")),
        "no case id": refused(replace(known["OPENED"], case_id="hebei-1")),
        "stands in partition": refused(known["OPENED"], partition=(partition_of(known["OPENED"].uscc) + 1) % 4),
        "not in the catalogue": refused(event("OPENED", record_province="gansu", case=CASE)),
        "no procedure": refused(replace(known["OPENED"], procedure="REVENGE")),
        "code is none": refused(replace(known["OPENED"], uscc="91110000M00000000")),
        "hexadecimal": refused(replace(known["OPENED"], event_id="x")),
        "is dated": refused(replace(known["OPENED"], at=NOW + timedelta(days=2))),
        "longer than": refused(replace(known["OPENED"], reason="长" * 1_001)),
        "CONTROL_CHARACTER": refused(replace(known["ANSWERED"], outcome="A\x00")),
        "PERSONAL_IDENTIFIER": refused(replace(known["OPENED"], reason="身份证 11010119900307123X 持有人")),
        "extends a term": refused(replace(event("EXTENDED"), working_days=9_999)),
    }
    assert {expected: why for expected, why in hostile.items() if expected not in (why or "")} == {}


def test_reminders_and_escalations_of_what_is_led_here_follow_the_clock(stack: Connection, store: Store) -> None:
    mine, theirs = "beijing-20260901-00000001", CASE
    for case_id in (mine, theirs):
        projected(store, event("OPENED", case=case_id), event("ACCEPTED", hours=1, case=case_id))
    docket = Docket(
        stack.database.get_secret_value(), load(), province="beijing", generation=GENERATION, topic_id="t",
        reader=lambda: pytest.fail("it reads nothing here"), writer=lambda: pytest.fail("it writes nothing here"),
    )  # fmt: skip
    written: list[tuple[str, str, str | None]] = []
    for hours in range(0, 24 * 6, 6):
        now = OPENED_AT + timedelta(hours=2 + hours)
        for _ in range(2):
            due = docket.due(store, now)
            projected(store, *due, own=True)
            written += [(one.case_id, one.kind, one.step) for one in due]
    assert written == [
        (mine, "REMINDED", "MARK"), (mine, "REMINDED", "FORWARD"), (mine, "ESCALATED", "MARK"), (mine, "ESCALATED", "FORWARD"),
    ]  # fmt: skip
    row = facts_of(store, [mine])[mine]
    case = fold(events_of(store, [mine]))
    assert case is not None
    assert terms_of(load()).calls(case, Facts(row["marked_at"], row["arrived_at"]), date(2026, 9, 30)) == ()


def test_the_digest_of_an_answer_that_is_none_voids_it(store: Store) -> None:
    known = life()
    projected(
        store, known["OPENED"], replace(known["ANSWERED"], digest="zz"), replace(known["ANSWERED"], event_id="a" * 32)
    )
    row = standing(store)
    assert (row["state"], row["events"], row["void"]) == ("ANSWERED", 2, 1)
    assert known["ANSWERED"].digest == DIGEST
