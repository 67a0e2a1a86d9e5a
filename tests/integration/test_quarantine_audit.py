"""The quarantine is what its topic says: an entry that somebody takes away, closes,
changes or makes up is found and set right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from streams.integrity.quarantine_audit import QuarantineAudit
from streams.integrity.table_audit import TableAudit
from streams.kafka.headers import DECISION, DISCARDED, FINDINGS, ORIGIN, REFUSED, Origin
from streams.kafka.records import Record
from streams.projection.batch import Projection
from streams.quarantine.entries import DISCARD, REDRIVE
from streams.quarantine.projection import project_refusal
from streams.quarantine.settlement import Settlement
from tests.damage import MemoryLog, emptied, fold
from tests.statements import penalty
from tests.viewstore import Store, opened

GENERATION = 934


class Topic:
    """The topic `quarantine`, with one partition."""

    def __init__(self, messages: list[Any]) -> None:
        self.messages_, self.begins = messages, 0

    def first(self, partition: int) -> int:
        assert partition == 0
        return self.begins

    def messages(self, partition: int, since: int, upto: int) -> Iterator[Record]:
        assert partition == 0
        return iter([one for one in self.messages_ if max(since, self.begins) <= one.offset < upto])

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """Tables of our own."""
    with opened(stack, GENERATION) as connection:
        yield connection


def message(offset: int, entry: int, decided: tuple[str, str] | None = None) -> ConsumerRecord:
    """Return a message about an entry of a penalty that was refused, or what came of a decision about it."""
    statement = penalty(f"Q{entry}", entity=entry)
    known = {
        "received_at": 1_763_000_000_000, "uscc": statement["subject"]["uscc"], "domain": statement["domain"],
        "record_id": statement["record_id"], "version": statement["version"],
        "findings": [{"code": "CATEGORY", "field": None, "message": "处罚类别未知"}],
    }  # fmt: skip
    headers = [(ORIGIN, Origin("records.tax", "id", 0, entry - 1).to_bytes()), (FINDINGS, json.dumps(known).encode())]
    if decided is not None:
        kind, outcome = decided
        told = {"decision": f"d{offset}", "kind": kind, "outcome": outcome, "by": "甲", "at": 0, "reason": "复核"}
        headers.append((DECISION, json.dumps(told).encode()))
    return ConsumerRecord("quarantine", 0, offset, 1_763_000_000_000, 1, None, b"", None, 0, 0, tuple(headers))


STANDING = (
    "SELECT * FROM quarantine ORDER BY quarantine_offset",
    "SELECT topic, decision, outcome, kind, findings FROM quarantine_outcome ORDER BY quarantine_offset",
)


def standing(store: Store) -> list[Any]:
    return [store.execute(query).fetchall() for query in STANDING]


def projected(store: Store) -> Topic:
    """Fold three entries, one of which is discarded and one refused again, and settle them."""
    emptied(store)
    store.execute("TRUNCATE quarantine, quarantine_outcome")
    said = [
        message(0, 1),
        message(1, 2),
        message(2, 3),
        message(3, 2, (DISCARD, DISCARDED)),
        message(4, 3, (REDRIVE, REFUSED)),
    ]
    projection = Projection(store)
    for one in said:
        project_refusal(projection, one)
    store.execute("INSERT INTO position VALUES ('quarantine', 'id', 0, %s)", (len(said),))
    return Topic(said)


def settled(store: Store, settling: Settlement) -> list[Any]:
    """Return what stands once it is settled; a worker of another test may hold the lock for a moment."""

    def done() -> bool:
        settling.settle_some()
        return [row[12] for row in standing(store)[0]] == ["OPEN", "DISCARDED", "OPEN"]

    assert wait_until(done, seconds=20)
    return standing(store)


DAMAGE = {
    "an entry that is gone": "DELETE FROM quarantine WHERE quarantine_offset = 0",
    "all that is gone": "DELETE FROM quarantine; DELETE FROM quarantine_outcome",
    "closed by nobody": "UPDATE quarantine SET state = 'DISCARDED' WHERE quarantine_offset = 0",
    "closed though it was refused again": "UPDATE quarantine SET state = 'OVERRIDDEN' WHERE quarantine_offset = 2",
    "about somebody else": "UPDATE quarantine SET uscc = NULL, domain = 'health' WHERE quarantine_offset = 0",
    "a decision that nobody took": "INSERT INTO quarantine_outcome SELECT (o).* FROM (SELECT jsonb_populate_record(o, jsonb_build_object("
    "'offset', 0, 'decision', 'x', 'quarantine_offset', 1)) AS o FROM quarantine_outcome o WHERE decision = 'd3') x",
    "a decision that is gone": "DELETE FROM quarantine_outcome WHERE decision = 'd4'",
    "another decision": "UPDATE quarantine_outcome SET reason = '重复', kind = 'QUARANTINE_OVERRIDE' WHERE decision = 'd3'",
    "an entry that nobody refused": "INSERT INTO quarantine SELECT (q).* FROM (SELECT jsonb_populate_record(q, jsonb_build_object("
    "'offset', 77)) AS q FROM quarantine q WHERE quarantine_offset = 0) x",
}


@pytest.mark.parametrize("done", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_was_done_to_it_is_undone(stack: Connection, store: Store, done: str) -> None:
    topic, database = projected(store), stack.database.get_secret_value()
    settling = Settlement(database, generation=GENERATION)
    before = settled(store, settling)
    made = TableAudit(
        database, MemoryLog(), own="beijing", partitions=1, generation=GENERATION,
        quarantine=QuarantineAudit(database, topic, generation=GENERATION),
    )  # fmt: skip
    try:
        assert made.pass_through() == 0
        store.execute(done)  # type: ignore[call-overload]
        assert standing(store) != before
        assert made.pass_through() > 0
        assert settled(store, settling) == before
        assert made.pass_through() == 0
    finally:
        made.close()
        settling.close()
    assert store.execute("SELECT count(*) FROM row_difference WHERE mended_at IS NULL").fetchone() == (0,)


def test_what_the_topic_no_longer_holds_stays(stack: Connection, store: Store) -> None:
    topic, database = projected(store), stack.database.get_secret_value()
    before = standing(store)
    audit = QuarantineAudit(database, topic, generation=GENERATION)
    topic.begins = 2
    try:
        assert audit.look() == ((), 0)
        topic.begins = 4
        assert audit.look() == ((), 0)
    finally:
        audit.close()
    assert standing(store) == before


def test_what_was_revoked_since_comes_back_without_its_content(stack: Connection, store: Store) -> None:
    topic, database = projected(store), stack.database.get_secret_value()
    audit = QuarantineAudit(database, topic, generation=GENERATION)
    try:
        assert audit.look() == ((), 0)
        revoked = penalty("Q1", entity=1, version=9) | {"status": "REVOKED", "reason": "REVOKED"}
        fold(store, MemoryLog(), [revoked | {"penalty": None}])
        store.execute("DELETE FROM quarantine WHERE quarantine_offset = 0")
        differences, _ = audit.look()
        assert [one.difference for one in differences] == ["MISSING"]
        assert store.execute("SELECT value FROM quarantine WHERE quarantine_offset = 0").fetchone() == (None,)
    finally:
        audit.close()
