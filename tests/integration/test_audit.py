"""The audit on real servers: it is what the topic says, nobody can change it unseen, and whoever does is named the entry."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from deploy.backup.backup import back_up, restore
from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.operations.event import Operation
from schemas.operations.log import OperationsWriter
from schemas.servers.connection import Connection
from schemas.store.sql_files import sql
from streams.audit.chain import BEGINNING, AuditEntry, AuditEvent
from streams.audit.projector import AuditProjector
from streams.audit.reader import entries as entries_of
from streams.audit.reader import examined
from streams.audit.verification import AuditVerdict
from streams.monitoring.instruments import Instruments
from tests import warm
from tests.workers import Worker, environment

EVENTS = 30
Store = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own: nobody else writes operations."""
    return own_stack


def write(connection: Connection, *operations: Operation) -> None:
    """Write events to the topic."""
    with Registry(connection.registry) as registry:
        writer = OperationsWriter(connection.kafka, registry)
        for operation in operations:
            writer.write(operation)


def event(number: int, **detail: Any) -> Operation:
    """Return an event of an operator."""
    at = datetime(2026, 11, 23, 2, 0, number % 60, tzinfo=UTC)
    return Operation("INTAKE_RESUMED", "tax", at, f"user{number}@desk", f"第{number}次", {"n": number, **detail})


def caught_up(auditor: AuditProjector, store: Store) -> None:
    """Let the auditor work until it has taken over everything and anchored it."""

    def anchored() -> bool:
        auditor.step(wait=0.5)
        last = store.execute("SELECT kind FROM xinliu.audit ORDER BY sequence DESC LIMIT 1").fetchone()
        return last == ("AUDIT_HEAD",)

    assert wait_until(anchored, seconds=60)


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """The owner of the tables."""
    with psycopg.connect(stack.database.get_secret_value(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def written(stack: Connection, store: Store) -> Connection:
    """Events written, one message among them that is none, taken over and anchored more than once; no worker runs."""
    write(stack, *(event(number) for number in range(EVENTS // 2)))
    auditor = AuditProjector(stack, every=10, seconds=0.0)
    caught_up(auditor, store)
    producer = Producer(stack.kafka.client({}))
    producer.produce("operations", b"\x00 no event \xff")
    assert producer.flush(30) == 0
    write(
        stack, *(event(number, before={"a": number}, after={"a": number + 1}) for number in range(EVENTS // 2, EVENTS))
    )
    caught_up(auditor, store)
    auditor.close()
    return stack


def verified(connection: Connection) -> AuditVerdict:
    """Return what comes of verifying."""
    return examined(connection)


def command(connection: Connection, expect: int) -> Any:
    """Run `xinliu audit verify` and return what it says."""
    words = [sys.executable, "-m", "xinliu", "audit", "verify", "--json"]
    ran = warm.run(words, env=environment(connection), capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == expect, (ran.stdout, ran.stderr)
    return json.loads(ran.stdout)


@contextmanager
def tampered(store: Store) -> Iterator[Store]:
    """Switch the guard off, as an owner or superuser can, and put everything back afterwards."""
    store.execute("CREATE TABLE public.kept AS TABLE xinliu.audit")
    store.execute("ALTER TABLE xinliu.audit DISABLE TRIGGER ALL")
    try:
        yield store
    finally:
        store.execute("DELETE FROM xinliu.audit")
        store.execute("INSERT INTO xinliu.audit SELECT * FROM public.kept")
        store.execute("ALTER TABLE xinliu.audit ENABLE TRIGGER ALL")
        store.execute("DROP TABLE public.kept")


def entries(connection: Connection) -> list[AuditEntry]:
    """Return the entries of the table."""
    return entries_of(connection.database.get_secret_value())


def chained(store: Store, events: list[AuditEvent], beginning: str = BEGINNING) -> None:
    """Write the table anew from these events, with a chain that holds in itself."""
    store.execute("DELETE FROM xinliu.audit")
    previous, rows = beginning, []
    for sequence, one in enumerate(events, 1):
        entry = AuditEntry.following(sequence, previous, one)
        previous = entry.hash
        rows.append(entry.to_row())
    with store.cursor() as cursor:
        cursor.executemany(sql("audit/add"), rows)


def test_what_was_written_stands_in_the_audit_and_holds(written: Connection, store: Store) -> None:
    said = command(written, expect=0)
    assert said["findings"] == []
    assert said["entries"] == len(entries(written)) >= EVENTS + 3
    assert said["heads"] >= 2
    assert said["anchored"] >= EVENTS
    kinds = [entry.event.kind for entry in entries(written)]
    assert kinds.count("UNREADABLE") == 1, "nothing is passed over"
    last = next(entry.event for entry in reversed(entries(written)) if entry.event.kind == "INTAKE_RESUMED")
    assert (last.before, last.after, last.by) == ('{"a":29}', '{"a":30}', "user29@desk")


@pytest.mark.parametrize(
    ("change", "what", "sequence"),
    [
        ("UPDATE xinliu.audit SET reason = '别的理由' WHERE sequence = 5", "CHANGED", 5),
        ("UPDATE xinliu.audit SET by = 'somebody@else' WHERE sequence = 5", "CHANGED", 5),
        ("UPDATE xinliu.audit SET at = at + interval '1 microsecond' WHERE sequence = 6", "CHANGED", 6),
        ("UPDATE xinliu.audit SET after = '{\"a\": 30}' WHERE sequence = 25", "CHANGED", 25),
        ("UPDATE xinliu.audit SET hash = repeat('0', 64) WHERE sequence = 7", "CHANGED", 7),
        ("DELETE FROM xinliu.audit WHERE sequence = 8", "REMOVED", 8),
        ("DELETE FROM xinliu.audit WHERE sequence = 1", "REMOVED", 1),
        (
            "UPDATE xinliu.audit SET sequence = -sequence + 1000 WHERE sequence IN (9, 10);"
            " UPDATE xinliu.audit SET sequence = CASE sequence WHEN 991 THEN 10 ELSE 9 END WHERE sequence IN (990, 991)",
            "REORDERED",
            9,
        ),
        (
            'INSERT INTO xinliu.audit SELECT sequence + 1, topic_id, "offset" + 1000000, event_id, kind, department, by, at,'
            " reason, detail, before, after, message, hash, hash FROM xinliu.audit ORDER BY sequence DESC LIMIT 1",
            "INSERTED",
            None,
        ),
        ("DELETE FROM xinliu.audit WHERE sequence > 20", "MISSING", 21),
        ("DELETE FROM xinliu.audit", "MISSING", 1),
    ],
)
def test_whoever_changes_the_table_is_named_the_first_entry(
    written: Connection, store: Store, change: str, what: str, sequence: int | None
) -> None:
    whole = len(entries(written))
    with tampered(store):
        store.execute(change)
        (first, *_) = verified(written).findings
        assert (first.what, first.sequence) == (what, sequence or whole + 1), first
    assert verified(written).findings == []


@pytest.mark.parametrize("how", ["removed", "inserted", "reordered", "changed", "began otherwise"])
def test_a_table_rebuilt_with_a_chain_that_holds_in_itself_is_found(
    written: Connection, store: Store, how: str
) -> None:
    events, beginning = [entry.event for entry in entries(written)], BEGINNING
    expected = {
        "inserted": ("INSERTED", 4),
        "reordered": ("REORDERED", 4),
        "removed": ("REMOVED", 4),
        "changed": ("CHANGED", 4),
    }
    with tampered(store):
        if how == "removed":
            del events[3]
        elif how == "inserted":
            events.insert(3, replace(events[3], offset=9_000_000, reason="从未有过"))
        elif how == "reordered":
            events[3], events[4] = events[4], events[3]
        elif how == "changed":
            events[3] = replace(events[3], by="nobody@desk")
        else:
            beginning = "1" * 64
        chained(store, events, beginning)
        (found, *_) = verified(written).findings
        assert (found.what, found.sequence) == expected.get(how, ("CHANGED", 1)), found


def test_the_table_is_only_added_to(written: Connection, store: Store) -> None:
    for change in ("UPDATE xinliu.audit SET reason = ''", "DELETE FROM xinliu.audit", "TRUNCATE xinliu.audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only added to"):
            store.execute(change)


def audited(shown: Instruments) -> float | None:
    """Return when a worker shows that it had read everything; None where it shows nothing."""
    name = b"xinliu_operations_audited_timestamp_seconds "
    lines = [line for line in shown.exposition()[0].splitlines() if line.startswith(name)]
    return float(lines[0].split()[1]) if lines else None


def test_the_worker_that_audits_shows_when_it_had_read_everything(written: Connection, store: Store) -> None:
    ours, others = Instruments("view"), Instruments("view")
    auditor, standby = AuditProjector(written, shown=ours), AuditProjector(written, shown=others)
    began = audited(ours)
    assert began is not None, "one that never gets to read is seen, too"
    try:
        assert wait_until(lambda: auditor.step(wait=0.5) and (audited(ours) or 0) > began, seconds=60)
        assert not standby.step()
        assert audited(others) is None
    finally:
        auditor.close()
        standby.close()


def test_a_restored_database_says_so_and_catches_up_to_the_same_chain(
    written: Connection, store: Store, tmp_path: Path
) -> None:
    database = written.database.get_secret_value()
    back_up(database, tmp_path / "saved", of="beijing", tell=lambda _: None)
    write(written, *(event(number) for number in range(100, 105)))
    auditor = AuditProjector(written, every=10, seconds=0.0)
    caught_up(auditor, store)
    auditor.close()
    before = entries(written)
    store.close()
    restore(database, tmp_path / "saved", of="beijing", tell=lambda _: None)
    (found,) = verified(written).findings
    assert found.what == "MISSING"
    with psycopg.connect(database, autocommit=True) as again:
        caught_up(auditor, again)
        auditor.close()
        assert entries(written)[: len(before)] == before
    assert verified(written).findings == []


def test_a_forged_head_is_named(written: Connection) -> None:
    forged = Operation(
        "AUDIT_HEAD", None, datetime.now(UTC), "mallory@desk", "", {"sequence": 3, "hash": "f" * 64, "offset": 2}
    )
    write(written, forged)
    (found,) = verified(written).findings
    assert (found.what, found.sequence) == ("HEAD_DIFFERS", 3)
    assert "mallory@desk" in found.text


def test_two_view_workers_project_once_and_a_killed_one_is_followed(written: Connection, tmp_path: Path) -> None:
    def held() -> int:
        with psycopg.connect(written.database.get_secret_value()) as connection:
            row = connection.execute("SELECT count(*) FROM xinliu.audit WHERE by = 'late@desk'").fetchone()
            assert row is not None
            return int(row[0])

    def late(number: int) -> Operation:
        return Operation("NOTE", None, datetime.now(UTC), "late@desk", str(number), {})

    first, second = (Worker(written, "view", tmp_path, "--instance", name) for name in ("one", "two"))
    try:
        write(written, late(1))
        assert wait_until(lambda: held() == 1, seconds=60), first.log[-2000:]
        first.kill()
        write(written, late(2))
        assert wait_until(lambda: held() == 2, seconds=60), second.log[-2000:]
    finally:
        for worker in (first, second):
            if worker.runs:
                assert worker.stop() == 0
    assert [f["what"] for f in command(written, expect=1)["findings"]] == ["HEAD_DIFFERS"], "the forged head alone"
