"""Damage by hand, of any row and column: found by the audit, mended from history or the log, and the tables are the fold again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from psycopg.errors import UniqueViolation

from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from streams.integrity.table_audit import TableAudit
from streams.monitoring.instruments import Instruments
from tests.damage import MemoryLog, emptied, fold, nobody_audits, standing
from tests.examples import examples
from tests.statements import Statement, listing, penalty, registration, state
from tests.viewstore import Store, opened

GENERATION = 930


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """Tables of our own."""
    with opened(stack, GENERATION) as connection:
        yield connection


@pytest.fixture
def log(store: Store) -> MemoryLog:
    """The log, empty as the tables are."""
    emptied(store)
    return MemoryLog()


def auditor(stack: Connection, log: MemoryLog, shown: Instruments | None = None) -> TableAudit:
    database = stack.database.get_secret_value()
    nobody_audits(database, GENERATION)
    return TableAudit(database, log, own="beijing", partitions=1, generation=GENERATION, instruments=shown)


def audited(stack: Connection, log: MemoryLog) -> int:
    """Go through once, and once more: what the first pass leaves, the second would find."""
    made = auditor(stack, log)
    try:
        found = made.pass_through()
        assert made.pass_through() == 0
        return found
    finally:
        made.close()


SAID: list[Statement] = [
    *(penalty(f"M{n}", entity=n) for n in range(6)),
    penalty("M1", version=2, entity=1, content="改"),
    penalty("M2", version=2, entity=4, original_entity=2),
    listing("ML", entity=3),
    registration(entity=1),
    registration(entity=2, province="hebei"),
    state(penalty("M5", entity=5), "REVOKED", version=3),
    state(penalty("M4", entity=4), "REPAIRED", version=3),
]
NUMBERS = st.integers(0, 10**6)


def test_nothing_is_found_where_nothing_was_done(stack: Connection, store: Store, log: MemoryLog) -> None:
    fold(store, log, SAID)
    audited(stack, log)
    before = standing(store)
    assert audited(stack, log) == 0
    assert standing(store) == before


OTHER = generate(77)
DAMAGE: dict[str, str] = {
    "row deleted": "DELETE FROM record WHERE penalty_document_number = 'M1'",
    "all rows deleted": "DELETE FROM record",
    "content changed": "UPDATE record SET penalty_content = '无' WHERE penalty_document_number = 'M0'",
    "status changed": "UPDATE record SET status = 'REVOKED', penalty_facts = NULL WHERE penalty_document_number = 'M0'",
    "entity changed": f"UPDATE record SET uscc = '{OTHER}' WHERE penalty_document_number = 'M0'",
    "version raised": "UPDATE record SET version = version + 1000 WHERE penalty_document_number = 'M0'",
    "version lowered": "UPDATE record SET version = version - 1000 WHERE penalty_document_number = 'M0'",
    "digest changed": "UPDATE record SET digest_hi = 1 WHERE penalty_document_number = 'M0'",
    "known earlier": "UPDATE record SET known_at = '2020-01-01' WHERE penalty_document_number = 'M0'",
    "row added": 'INSERT INTO record SELECT (r).* FROM (SELECT jsonb_populate_record(r, \'{"record_id": '
    '"00000000-0000-0000-0000-000000000000"}\') AS r FROM record r LIMIT 1) x',
    "history lost the newest": "DELETE FROM record_history WHERE version = (SELECT max(version) FROM record_history)",
    "history lost it all": "DELETE FROM record_history",
    "history lost its content": "UPDATE record_history SET statement = NULL WHERE status = 'IN_FORCE'",
    "history's content changed": "UPDATE record_history SET statement = statement || '\\x00'",
    "history's time changed": "UPDATE record_history SET known_at = '2020-01-01'",
    "history's entity changed": f"UPDATE record_history SET uscc = '{OTHER}' WHERE statement IS NOT NULL",
    "a statement forged": 'INSERT INTO record_history SELECT (h).* FROM (SELECT jsonb_populate_record(h, \'{"version": '
    '9999999999999, "accepted_offset": 3}\') AS h FROM record_history h LIMIT 1) x',
    "counts changed": "UPDATE credit_view SET penalties = 0, records = 7",
    "counts deleted": "DELETE FROM credit_view",
    "counts added": f"INSERT INTO credit_view VALUES ('{OTHER}', 'beijing', 'tax', 1, 1, 0, 1, 1, now())",
    "a record deleted with its history and its counts": "WITH gone AS (DELETE FROM record WHERE penalty_document_number = 'M0'"
    " RETURNING *), told AS (DELETE FROM record_history h USING gone g WHERE h.record_id = g.record_id)"
    " DELETE FROM credit_view v USING gone g WHERE v.uscc = g.uscc",
    "all deleted of all tables": "WITH a AS (DELETE FROM record), b AS (DELETE FROM record_history) DELETE FROM credit_view",
    "an older statement deleted": "DELETE FROM record_history h WHERE EXISTS (SELECT FROM record r WHERE r.record_id = h.record_id"
    " AND r.version > h.version AND h.statement IS NOT NULL)",
    "digest kept wrong": "INSERT INTO foreign_digest VALUES ('hebei', 0, 'tax', 3, 4, 5)",
}


@pytest.mark.parametrize("done", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_was_done_by_hand_is_undone(stack: Connection, store: Store, log: MemoryLog, done: str) -> None:
    fold(store, log, SAID)
    audited(stack, log)
    before = standing(store)
    assert store.execute(done).rowcount > 0
    assert standing(store) != before
    assert audited(stack, log) > 0
    assert standing(store) == before
    assert store.execute("SELECT count(*) FROM row_difference WHERE mended_at IS NULL").fetchone() == (0,)


def test_nothing_is_struck_out_because_the_log_lost_its_beginning(
    stack: Connection, store: Store, log: MemoryLog
) -> None:
    fold(store, log, SAID)
    audited(stack, log)
    before = standing(store)
    log.first = 3
    log.messages = {partition: told[3:] for partition, told in log.messages.items()}
    log.entries = log.entries[3:]
    assert audited(stack, log) == 0
    assert standing(store) == before


def test_a_tombstone_of_nothing_that_is_revoked_takes_nothing_out(
    stack: Connection, store: Store, log: MemoryLog
) -> None:
    fold(store, log, SAID)
    audited(stack, log)
    before = standing(store)
    shown = Instruments("view")
    made = auditor(stack, log, shown)
    try:
        assert made.pass_through() == 0
        log.erase({(0, log.messages[0][0][1])})  # by whoever may write to accepted
        log.messages[0].append((len(SAID), log.messages[0][0][1], False))
        store.execute("UPDATE position SET next_offset = next_offset + 1")
        assert made.pass_through() == 0
        assert b"xinliu_audit_unfounded_tombstones 1.0" in shown.exposition()[0]
    finally:
        made.close()
    assert standing(store) == before


COLUMNS = (
    ("record", "penalty_content", "'甲'"), ("record", "kind", "'LISTING'"), ("record", "uscc", f"'{OTHER}'"),
    ("record", "version", "version + 1"), ("record", "version", "version - 1"), ("record", "digest_lo", "7"),
    ("record", "epoch", "5"), ("record", "known_at", "known_at + '1 s'"), ("record", "status", "'REPAIRED'"),
    ("record", "content_key", "content_key + 1"), ("record", "listing_list", "NULL"), ("record", "domain", "'customs'"),
    ("record_history", "statement", "NULL"), ("record_history", "statement", "statement || '\\x00'"),
    ("record_history", "version", "version + 1"), ("record_history", "epoch", "5"), ("record_history", "digest_hi", "7"),
    ("record_history", "status", "'REPAIRED'"), ("record_history", "accepted_offset", "accepted_offset + 1"),
    ("credit_view", "records", "records + 1"), ("credit_view", "digest_hi", "0"), ("credit_view", "domain", "'customs'"),
)  # fmt: skip


@given(data=st.data())
@examples(40, HealthCheck.function_scoped_fixture, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_any_damage_is_undone(stack: Connection, store: Store, data: st.DataObject) -> None:
    emptied(store)
    log = MemoryLog()
    fold(store, log, data.draw(st.permutations(SAID)))
    audited(stack, log)
    before = standing(store)
    for _ in range(data.draw(st.integers(1, 6))):
        damage(store, data)
    made = auditor(stack, log)
    try:
        for _ in range(3):  # a history that was forged twice over may need a second look
            if made.pass_through() == 0:
                break
    finally:
        made.close()
    # An older statement, and place and time of any, are looked at only where something else is wrong.
    assert standing(store)[:2] == before[:2]
    assert newest_of(standing(store)[2]) == newest_of(before[2])
    assert store.execute("SELECT count(*) FROM row_difference WHERE mended_at IS NULL").fetchone() == (0,)


def newest_of(history: list[tuple[Any, ...]]) -> dict[Any, bytes]:
    """Return the newest statement of each record; rows come by rank."""
    return {row[0]: row[10] for row in history}


def damage(store: Store, data: st.DataObject) -> None:
    """Delete, change or add one row, or all, of one of the tables."""
    what = data.draw(st.sampled_from(["delete", "change", "change", "add"]))
    table, column, value = data.draw(st.sampled_from(COLUMNS))
    number = data.draw(NUMBERS)
    some = f"ctid = (SELECT ctid FROM {table} ORDER BY ctid OFFSET {number} % GREATEST((SELECT count(*) FROM {table}), 1) LIMIT 1)"
    if table == "record_history":
        # What was erased has left nothing but these rows: nobody could say what they were.
        some += " AND statement IS NOT NULL"
    with store.transaction():
        if what == "delete":
            store.execute(f"DELETE FROM {table} WHERE {some}")
        elif what == "change" or table == "credit_view":
            store.execute("SAVEPOINT before")
            try:
                store.execute(f"UPDATE {table} SET {column} = {value} WHERE {some}")
            except UniqueViolation:
                store.execute("ROLLBACK TO before")
        else:
            store.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(r, jsonb_build_object('record_id', gen_random_uuid()))).*"
                f" FROM {table} r WHERE {some}"
            )
