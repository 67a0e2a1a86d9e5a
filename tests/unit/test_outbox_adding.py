"""The outbox on SQLite, without a broker: what is written, what is told, in which order, and what is vouched for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.orm import Session

from producers import StatementRejected
from producers.outbox import Outbox, told
from producers.outbox.database import database_url, open_engine
from producers.outbox.relay import RelaySettings
from producers.outbox.tables import RowState, Tables, ddl
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, encode
from schemas.errors import Retryable, UsageError
from tests.outboxes import Crash, Database, MemoryTopic, database, fresh, statement_of
from tests.statements import penalty, state


@pytest.fixture
def tax(tmp_path: Path) -> Iterator[Database]:
    """An outbox in a file."""
    made = database(f"sqlite:///{tmp_path}/outbox.db")
    yield made
    made.close()


def numbers(topic: MemoryTopic) -> list[str]:
    """Document numbers, in the order of telling."""
    return [statement_of(body)["penalty"]["document_number"] for body in topic.bodies]


def test_what_is_rolled_back_is_never_told(tax: Database) -> None:
    topic = MemoryTopic()
    with pytest.raises(KeyError, match="theirs"), tax.engine.begin() as connection:
        tax.outbox.add(connection, penalty("税1号"))
        raise KeyError("theirs")
    with tax.engine.connect() as connection:
        tax.outbox.add(connection, penalty("税2号"))
        assert tax.store.waiting(10) == []  # not committed: nobody else can see it
        connection.rollback()
    tax.relay(topic).drain()
    assert topic.bodies == []


def test_add_never_commits(tax: Database) -> None:
    with tax.engine.connect() as connection:
        tax.outbox.add(connection, penalty("税1号"))
        assert connection.in_transaction()
    assert tax.states() == []


def test_a_session_of_the_orm_does_as_well(tax: Database) -> None:
    topic = MemoryTopic()
    with Session(tax.engine) as session, session.begin():
        tax.outbox.add(session, penalty("税1号"))
    tax.relay(topic).drain()
    assert numbers(topic) == ["税1号"]


def test_what_is_told_is_the_statement_byte_for_byte_in_order(tax: Database) -> None:
    said = [penalty(f"税{number}号", entity=number) for number in range(25)]
    said += [state(said[0], "REVOKED", version=2), penalty("税1号", version=2, entity=1)]
    tax.add(*said)
    topic = MemoryTopic()
    relay = tax.relay(topic, RelaySettings(batch=7, mark_every=0, keep=None))
    relay.drain()
    assert topic.bodies == [encode("xinliu.Statement", one) for one in said]
    assert relay.progress.sent == len(said)
    assert {told for _, told in tax.states()} == {RowState.SENT}


def changed(**changes: Any) -> dict[str, Any]:
    return {**penalty("税1号"), **changes}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (changed(subject={"uscc": "", "name": "甲", "kind": "法人及非法人组织"}), "no unified social credit code"),
        (changed(subject={"uscc": "110101199003074514", "name": "甲", "kind": "自然人"}), "natural persons"),
        (changed(subject={"uscc": "9" * 30, "name": "甲", "kind": "法人及非法人组织"}), "18 ASCII"),
        (changed(subject={"uscc": "9111\x00", "name": "甲", "kind": "法人及非法人组织"}), "18 ASCII"),
        (changed(record_id="0" * 33), "32 ASCII"),
        (changed(domain="税" * 3), "64 ASCII"),
        (changed(department="court"), "'court'"),
        (changed(version="1"), "version"),
        (changed(surplus=1), "surplus"),
        (changed(reason="x" * 1_100_000), "bytes long"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_is_refused_and_spoils_no_transaction(
    tax: Database, statement: dict[str, Any], why: str
) -> None:
    with tax.engine.begin() as connection:
        tax.outbox.add(connection, penalty("税0号"))
        with pytest.raises(StatementRejected, match=why):
            tax.outbox.add(connection, statement)
    topic = MemoryTopic()
    tax.relay(topic).drain()
    good, refused = topic.bodies
    assert statement_of(good)["penalty"]["document_number"] == "税0号"
    row = decode(parsed("xinliu.RefusedRow"), refused)
    assert (row["outcome"], row["department"]) == ("REFUSED", "tax")
    assert topic.told.index(refused) < topic.told.index(topic.markers[0]), "told before anything is vouched for"
    assert row["uscc"] in (None, statement.get("subject", {}).get("uscc"))
    assert told_records(tax) == [statement_of(good)["record_id"]], "a refusal is no statement that was told"


def told_records(outbox: Database) -> list[str]:
    """Return the records that reconciliation takes for told."""
    with outbox.engine.connect() as connection:
        return [one.record_id for one in told(connection, outbox.department)]


def test_with_the_catalogue_the_rules_are_held_against_it(tmp_path: Path) -> None:
    tax = database(f"sqlite:///{tmp_path}/outbox.db", catalogue=load())
    tax.add(penalty("税1号"))
    with pytest.raises(StatementRejected, match="WRONG_DOMAIN"):
        tax.add(penalty("税2号") | {"domain": "water"})
    with pytest.raises(StatementRejected, match=r"document_number.*\["):
        tax.add(penalty("税3号"), penalty(""))  # all or none
    assert len(tax.states()) == 1
    tax.close()


def test_a_crash_between_telling_and_noting_tells_the_same_bytes_again(tax: Database) -> None:
    tax.add(*(penalty(f"税{number}号") for number in range(5)))
    topic = MemoryTopic()
    topic.crash_after = 2
    with pytest.raises(Crash):
        tax.relay(topic).round()
    tax.relay(topic).drain()
    assert numbers(topic) == ["税0号", "税1号", "税2号", *(f"税{number}号" for number in range(5))]
    assert len(set(topic.bodies)) == 5


def test_what_was_confirmed_before_a_failure_is_not_told_again(tax: Database) -> None:
    tax.add(*(penalty(f"税{number}号") for number in range(5)))
    topic = MemoryTopic()
    topic.fail_after = 3
    relay = tax.relay(topic)
    with pytest.raises(Retryable):
        relay.round()
    assert topic.markers == []
    relay.round()
    assert numbers(topic) == [f"税{number}号" for number in range(5)]
    assert len(topic.markers) == 1


def test_markers_stand_behind_all_that_was_committed_when_they_speak_of(tax: Database) -> None:
    topic = MemoryTopic()
    tax.add(*(penalty(f"税{number}号") for number in range(10)))
    relay = tax.relay(topic, RelaySettings(batch=3, mark_every=0.000_001, keep=None))
    began = fresh()
    assert relay.round()
    tax.add(*(penalty(f"后{number}号") for number in range(10)))  # a department that never stops
    assert topic.markers == []
    for _ in range(3):
        relay.round()
    (marker,) = topic.markers
    place = topic.told.index(marker)
    assert place >= 10, "everything that waited when it was promised stands before it"
    assert began <= marker
    assert [state for _, state in tax.states()].count(RowState.WAITING) > 0, "later ones need not"


def test_an_empty_outbox_is_vouched_for_by_itself(tax: Database) -> None:
    topic, before = MemoryTopic(), fresh()
    relay = tax.relay(topic)
    relay.round()
    relay.round()
    assert len(topic.markers) == 2
    assert before <= topic.markers[0] <= topic.markers[1] <= fresh()
    assert relay.progress.as_of == topic.markers[1]


def test_what_is_committed_just_after_the_look_is_not_vouched_for(tax: Database) -> None:
    topic = MemoryTopic()
    committed = []
    looking = tax.store.last_unsettled

    def committed_meanwhile() -> int | None:
        last = looking()
        committed.append(fresh())
        tax.add(penalty("税1号"))
        return last

    tax.store.last_unsettled = committed_meanwhile  # type: ignore[method-assign]
    tax.relay(topic, RelaySettings(mark_every=1e9, keep=None)).round()
    (marker,) = topic.markers
    assert marker <= committed[0]


def test_nothing_is_vouched_for_while_a_row_has_failed(tax: Database) -> None:
    topic = MemoryTopic()
    topic.refuses = lambda row: "大" in statement_of(row.body)["penalty"]["document_number"]
    tax.add(penalty("税1号"), penalty("大1号"), penalty("税2号"))
    relay = tax.relay(topic)
    relay.drain()
    assert numbers(topic) == ["税1号", "税2号"], "the others go on"
    assert topic.markers == []
    assert [told for _, told in tax.states()] == [RowState.SENT, RowState.FAILED, RowState.SENT]
    (failed,) = tax.store.failed(10)
    assert (failed.id, failed.reason) == (2, "too large")


@pytest.mark.parametrize("way", ["retry", "discard", "later version"])
def test_a_failed_row_is_settled_by_a_person_or_by_a_later_version(tax: Database, way: str) -> None:
    topic = MemoryTopic()
    topic.refuses = lambda row: True
    tax.add(penalty("大1号"))
    tax.relay(topic).drain()
    topic.refuses = lambda row: False
    if way == "retry":
        assert tax.store.retry([99]) == 0
        assert tax.store.retry() == 1
    elif way == "discard":
        assert tax.store.discard([1], "entered by mistake") == 1
    else:
        tax.add(penalty("大1号", version=2))
    tax.relay(topic).drain()
    assert len(topic.markers) == 1
    assert len(topic.bodies) == (0 if way == "discard" else 1)
    assert tax.states()[0][1] == (RowState.SENT if way == "retry" else RowState.DISCARDED)


def test_an_earlier_version_settles_nothing(tax: Database) -> None:
    topic = MemoryTopic()
    topic.refuses = lambda row: statement_of(row.body)["version"] % 10 == 3
    tax.add(penalty("大1号", version=3))
    tax.relay(topic).drain()
    tax.add(penalty("大1号", version=2), penalty("另1号", version=4))
    tax.relay(topic).drain()
    assert (topic.markers, tax.store.backlog().failed) == ([], 1)


def test_a_row_that_is_tried_again_while_a_relay_looks_is_waited_for(tax: Database) -> None:
    topic = MemoryTopic()
    topic.refuses = lambda row: True
    tax.add(penalty("大1号"))
    relay = tax.relay(topic)
    relay.round()
    sending = topic.send

    def retried_meanwhile(batch: Any) -> Any:
        tax.store.retry()
        return sending(batch)

    topic.send = retried_meanwhile  # type: ignore[method-assign]
    tax.add(penalty("税1号"))
    topic.refuses = lambda row: False
    relay.round()
    assert topic.markers == [], "it waits again, and was not told"
    relay.round()
    assert len(topic.markers) == 1


def test_two_relays_at_once_harm_nothing(tax: Database) -> None:
    tax.add(*(penalty(f"税{number}号") for number in range(6)))
    topic = MemoryTopic()
    first, second = tax.relay(topic, RelaySettings(batch=2, mark_every=0.000_001, keep=None)), tax.relay(topic)
    frozen = tax.store.waiting(2)
    first.round()
    second.drain()
    assert len(topic.bodies) == 6
    noted = tax.states()
    delivery = topic.send(frozen)  # a relay that slept with a batch in its hands
    tax.store.confirm({id: (9, 9) for id in delivery.confirmed}, fresh())
    assert tax.states() == noted
    with tax.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM xinliu_outbox WHERE sent_partition = 9")).scalar() == 0
    assert set(topic.bodies[6:]) <= set(topic.bodies[:6]), "the same bytes once more"


def test_a_second_relay_stands_by_until_the_first_goes_quiet(tax: Database) -> None:
    time = [0.0]
    mine, other = (tax.lease(20.0, clock=lambda: time[0]) for _ in range(2))
    assert mine.held()
    assert not other.held()
    for now in (10.0, 19.0, 30.0):
        time[0] = now
        assert mine.held()
        assert not other.held()
    time[0] = 51.0  # the owner was killed at 30
    assert other.held()
    assert not mine.held(), "one that was only frozen notices"
    other.release()
    assert mine.held()
    assert mine.state().owner == mine.owner


def test_a_relay_knows_itself_where_the_answer_to_its_beat_was_lost(tax: Database) -> None:
    time = [0.0]
    mine = tax.lease(20.0, clock=lambda: time[0])
    assert mine.held()
    with tax.engine.begin() as connection:  # committed, and the server died before it could say so
        connection.execute(text("UPDATE xinliu_outbox_relay SET beats = beats + 1"))
    time[0] = 6.0
    assert mine.held()
    assert not tax.lease(20.0).held()


def test_only_rows_of_the_department_are_told(tax: Database) -> None:
    court = Outbox("court")
    with tax.engine.begin() as connection:
        court.add(connection, penalty("院1号", key="court"))
    topic = MemoryTopic()
    tax.relay(topic).drain()
    assert topic.bodies == []


def test_sent_rows_are_pruned_and_others_never(tax: Database) -> None:
    topic = MemoryTopic()
    topic.refuses = lambda row: row.id == 2
    tax.add(*(penalty(f"税{number}号") for number in range(3)))
    tax.relay(topic).drain()
    tax.add(penalty("新1号"))
    assert tax.store.prune(fresh() - timedelta(days=1)) == 0
    assert tax.store.prune(fresh() + timedelta(seconds=1)) == 2
    assert tax.states() == [(2, RowState.FAILED), (4, RowState.WAITING)]
    relay = tax.relay(topic, RelaySettings(mark_every=0, keep=timedelta(0)))
    relay.drain()
    assert tax.states() == [(2, RowState.FAILED)]


def test_a_database_without_tables_is_one_clear_line(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/empty.db")
    empty = Database(engine, "xinliu_outbox")
    with pytest.raises(UsageError, match="outbox create"):
        empty.relay(MemoryTopic()).run()
    empty.store.create()
    empty.store.create()
    empty.relay(MemoryTopic()).drain()
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://x/y", {"BYTEA", "BIGSERIAL", "TIMESTAMP WITH TIME ZONE"}),
        ("mysql://x/y", {"MEDIUMBLOB", "DATETIME(6)", "ENGINE=InnoDB", "CHARSET=utf8mb4", "AUTO_INCREMENT"}),
        ("mariadb://x/y", {"MEDIUMBLOB", "DATETIME(6)", "ENGINE=InnoDB", "CHARSET=utf8mb4", "AUTO_INCREMENT"}),
        ("sqlite:///x", {"AUTOINCREMENT"}),
    ],
)
def test_the_statements_for_each_database_need_no_driver(url: str, words: set[str]) -> None:
    printed = "\n".join(ddl(Tables(MetaData(), "told", "dept"), database_url(url).get_dialect()()))
    assert {word for word in words if word not in printed} == set(), printed
    assert printed.count("CREATE INDEX") == 3
    assert "dept.told_relay" in printed


@pytest.mark.parametrize("url", ["", "nonsense", "postgres//x", "oracle+nothing://x/y"])
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--url"):
        open_engine(database_url(url))
