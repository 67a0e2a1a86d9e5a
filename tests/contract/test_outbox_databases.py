"""The outbox on each database that a department may have: the same tests on SQLite, PostgreSQL and MySQL or MariaDB.

MySQL or MariaDB: XINLIU_TEST_MYSQL=mysql://user:password@host:port/database names an empty database of yours, and
`pip install 'xinliu[mysql]'` the driver.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import MetaData, inspect, text

from producers.outbox import told
from producers.outbox.database import database_url
from producers.outbox.relay import RelaySettings
from producers.outbox.tables import RowState, Tables, ddl
from schemas.contracts.codec import encode
from schemas.records.identity import digest, digest_hex
from tests.outboxes import Crash, Database, MemoryTopic, database, fresh, statement_of
from tests.relays import url_of
from tests.statements import penalty, state

MYSQL = os.environ.get("XINLIU_TEST_MYSQL")
NO_MYSQL = "no MySQL or MariaDB here: set XINLIU_TEST_MYSQL=mysql://user:password@host/database, and install PyMySQL"
mysql = pytest.param(
    "mysql", marks=pytest.mark.skipif(not MYSQL or importlib.util.find_spec("pymysql") is None, reason=NO_MYSQL)
)
postgresql = pytest.param("postgresql", marks=pytest.mark.servers)
EVERY = pytest.mark.parametrize("tax", ["sqlite", postgresql, mysql], indirect=True)
CONCURRENT = pytest.mark.parametrize("tax", [postgresql, mysql], indirect=True)
"""Databases that take two writers at once; SQLite takes one, so that ids become visible in their order there."""


@pytest.fixture
def tax(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An outbox with tables of its own."""
    name = f"outbox_{uuid.uuid4().hex[:8]}"
    url = {
        "sqlite": lambda: f"sqlite:///{tmp_path}/outbox.db",
        "postgresql": lambda: url_of(request.getfixturevalue("stack")),
        "mysql": lambda: database_url(MYSQL or ""),
    }[request.param]()
    made = database(url, name)
    try:
        yield made
    finally:
        made.outbox.table(metadata := MetaData())
        metadata.drop_all(made.engine)
        made.close()


def numbers(topic: MemoryTopic) -> list[str]:
    """Document numbers, in the order of telling."""
    return [statement_of(body)["penalty"]["document_number"] for body in topic.bodies]


@EVERY
def test_only_what_was_committed_is_told_as_it_was_said(tax: Database) -> None:
    said = [penalty(f"税{number}号", entity=number, facts="案" * 50_000) for number in range(3)]
    said.append(state(said[0], "REVOKED", version=2))
    tax.add(*said)
    with tax.engine.connect() as connection:
        tax.outbox.add(connection, penalty("退回1号"))
        connection.rollback()
    topic, before = MemoryTopic(), fresh()
    tax.relay(topic).drain()
    assert topic.bodies == [encode("xinliu.Statement", one) for one in said]
    assert before - timedelta(seconds=1) <= topic.markers[0] <= fresh()
    assert tax.lease().state().as_of == topic.markers[0], "times keep their zone and their microseconds"
    with tax.engine.connect() as connection:
        found = list(told(connection, "tax", domain="tax", since=before, until=fresh(), table_name=tax.table_name))
        assert [one.digest for one in found] == [digest_hex(*digest(body)) for body in topic.bodies]
        assert [(one.partition, one.offset) for one in found] == [(0, 1), (0, 2), (0, 3), (0, 4)]
        assert list(told(connection, "tax", until=before, table_name=tax.table_name)) == []
        assert list(told(connection, "tax", domain="water", table_name=tax.table_name)) == []


@CONCURRENT
def test_a_lower_id_that_is_committed_later_is_not_lost(tax: Database) -> None:
    topic = MemoryTopic()
    relay = tax.relay(topic)
    with tax.engine.connect() as first, tax.engine.connect() as second:
        tax.outbox.add(first, penalty("先1号"))
        tax.outbox.add(second, penalty("后1号"))
        second.commit()
        relay.round()
        assert numbers(topic) == ["后1号"]
        vouched = topic.markers[-1]
        committing = fresh()
        first.commit()
    assert vouched <= committing, "what is still open was not vouched for"
    relay.round()
    assert numbers(topic) == ["后1号", "先1号"]
    assert [id for id, _ in tax.states()] == [1, 2], "the later one has the lower id"


@CONCURRENT
def test_a_department_and_the_relay_do_not_wait_for_each_other(tax: Database) -> None:
    tax.add(*(penalty(f"税{number}号") for number in range(50)))
    topic = MemoryTopic()
    with tax.engine.connect() as theirs:
        tax.outbox.add(theirs, penalty("未交1号"))
        began = monotonic()
        tax.relay(topic, RelaySettings(batch=20, mark_every=0, keep=timedelta(0))).drain()
        tax.outbox.add(theirs, penalty("未交2号"))
        assert monotonic() - began < 20, "nobody waited for a lock"
        theirs.commit()
    assert len(topic.bodies) == 50
    tax.relay(topic).drain()
    assert len(topic.bodies) == 52


@CONCURRENT
def test_many_departments_programs_write_while_relays_crash(tax: Database) -> None:
    topic, done = MemoryTopic(), threading.Event()

    def write(program: int) -> None:
        for number in range(40):
            with tax.engine.connect() as connection:
                tax.outbox.add_many(connection, [penalty(f"税{program}-{number}-{part}号") for part in range(3)])
                if number % 4 == 3:
                    connection.rollback()
                else:
                    connection.commit()

    writers = [threading.Thread(target=write, args=(program,)) for program in range(4)]
    for writer in writers:
        writer.start()
    watcher = threading.Thread(target=lambda: ([writer.join() for writer in writers], done.set()))
    watcher.start()
    settings, rounds = RelaySettings(batch=10, mark_every=0.000_001, report_every=1e9, keep=None), 0
    relay = tax.relay(topic, settings)
    while not done.is_set():
        rounds += 1
        if rounds % 3 == 0:
            topic.crash_after = 4
        try:
            relay.round()
        except Crash:
            relay = tax.relay(topic, settings)
        topic.crash_after = None
    watcher.join()
    relay.drain()
    assert len(set(topic.bodies)) == 4 * 30 * 3
    assert set(numbers(topic)) == {
        f"税{program}-{number}-{part}号"
        for program in range(4)
        for number in range(40)
        for part in range(3)
        if number % 4 != 3
    }
    assert {told for _, told in tax.states()} == {RowState.SENT}


@EVERY
def test_failed_rows_are_settled(tax: Database) -> None:
    topic = MemoryTopic()
    topic.refuses = lambda row: True
    tax.add(*(penalty(f"大{number}号") for number in range(3)))
    tax.relay(topic).drain()
    topic.refuses = lambda row: False
    (first, *_) = tax.store.failed(10)
    assert tax.store.backlog().failed == 3
    assert tax.store.retry([first.id]) == 1
    tax.add(penalty("大1号", version=2))
    tax.relay(topic).drain()
    assert tax.store.backlog().failed == 1, "one was tried again, one is outranked"
    assert tax.store.discard([row.id for row in tax.store.failed(10)], "误录") == 1
    assert topic.markers == []
    tax.relay(topic).drain()
    assert len(topic.markers) == 1


@EVERY
def test_sent_rows_are_pruned(tax: Database) -> None:
    tax.add(*(penalty(f"税{number}号") for number in range(5)))
    tax.relay(MemoryTopic()).drain()
    assert tax.store.prune(fresh() - timedelta(seconds=60)) == 0
    assert tax.store.prune(fresh() + timedelta(seconds=1)) == 5
    tax.add(penalty("新1号"))
    ((id, _),) = tax.states()
    assert id == 6, "no id is given again"


@EVERY
def test_of_many_relays_that_begin_at_once_one_leads(tax: Database) -> None:
    leases = [tax.lease() for _ in range(6)]
    led: list[bool] = []
    barrier = threading.Barrier(len(leases))

    def begin(number: int) -> None:
        barrier.wait()
        led.append(leases[number].held())

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(len(leases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led) == [False] * 5 + [True]


@EVERY
def test_the_printed_statements_make_the_same_tables(tax: Database) -> None:
    name = f"{tax.table_name}_ddl"
    tables = Tables(MetaData(), name)
    with tax.engine.begin() as connection:
        for statement in ddl(tables, tax.engine.dialect):
            connection.execute(text(statement))
    try:
        found = inspect(tax.engine)
        for ours, theirs in ((name, tax.table_name), (f"{name}_relay", f"{tax.table_name}_relay")):
            assert [column["name"] for column in found.get_columns(ours)] == [
                column["name"] for column in found.get_columns(theirs)
            ]
            assert len(found.get_indexes(ours)) == len(found.get_indexes(theirs))
        again = Database(tax.engine, name)
        again.add(penalty("税1号"))
        again.relay(MemoryTopic()).drain()
    finally:
        tables.rows.metadata.drop_all(tax.engine)
