"""Entries, outcomes and records may reach the store in any order, in any batches and twice: the same states come of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.kafka.headers import ACCEPTED, DECISION, DISCARDED, FINDINGS, ORIGIN, REFUSED, Origin
from streams.projection.batch import Projection
from streams.projection.staging import staged
from streams.quarantine.entries import DISCARD, OVERRIDE, REDRIVE, state_of
from streams.quarantine.projection import project_refusal
from streams.quarantine.settlement import Settlement
from tests.examples import examples
from tests.integration.test_view_store import decoded
from tests.statements import FIRST_VERSION, Statement, penalty

GENERATION = 997
TABLES = ("record", "record_history", "former_entity", "credit_view", "quarantine", "quarantine_outcome", "outbox")
PLACE = Origin("records.tax", "id", 0, 0)
Store = psycopg.Connection[tuple[Any, ...]]
Event = tuple[str, Any]


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[tuple[Store, Settlement]]:
    """A generation of its own, and what settles it."""
    database = stack.database.get_secret_value()
    settling = Settlement(database, generation=GENERATION)
    with connect(database, generation=GENERATION, autocommit=True) as connection:
        with connection.transaction():
            connection.execute(f"CREATE SCHEMA g{GENERATION}")
            connection.execute(sql("generation"))
        yield connection, settling
        settling.close()
        connection.execute(f"DROP SCHEMA g{GENERATION} CASCADE")


def message(statement: Statement, offset: int, decision: dict[str, Any] | None = None) -> ConsumerRecord:
    """Return a message of `quarantine` about the entry of this statement, which was refused."""
    known = {
        "received_at": 1_763_000_000_000,
        "uscc": statement["subject"]["uscc"],
        "domain": statement["domain"],
        "record_id": statement["record_id"],
        "version": statement["version"],
        "findings": [{"code": "CATEGORY", "field": None, "message": "处罚类别未知"}],
    }
    headers = [(ORIGIN, PLACE.to_bytes()), (FINDINGS, json.dumps(known).encode())]
    if decision is not None:
        headers.append((DECISION, json.dumps(decision).encode()))
    return ConsumerRecord("quarantine", 0, offset, 1_763_000_000_000, 1, None, b"", None, 0, 0, tuple(headers))


REFUSED_ONE = penalty("Q1", version=2, entity=5)
ENTRY: Event = ("entry", None)
OUTCOMES: list[Event] = [
    ("outcome", (kind, outcome))
    for kind, outcome in [(OVERRIDE, ACCEPTED), (REDRIVE, ACCEPTED), (REDRIVE, REFUSED), (DISCARD, DISCARDED)]
]
RECORDS: list[Event] = [("record", version) for version in (1, 2, 3)]


def happen(store: Store, event: Event, offset: int) -> None:
    """Project one event, in a transaction of its own."""
    what, which = event
    with store.transaction():
        if what == "record":
            Projection(store).fold(staged(decoded([penalty("Q1", version=which, entity=5)], offset))[0])
            return
        told = None
        if what == "outcome":
            kind, outcome = which
            told = {"decision": f"{kind}", "kind": kind, "outcome": outcome, "by": "甲", "at": 0, "reason": "复核"}
        project_refusal(Projection(store), message(REFUSED_ONE, offset, told))


def states(store: Store) -> list[tuple[str, bool]]:
    """Return the state that is kept, and whether readers are told 待核."""
    return store.execute(  # type: ignore[return-value]
        "SELECT state, state = 'OPEN' AND NOT held AND NOT discarded FROM quarantine_entry"
    ).fetchall()


def receipts(store: Store) -> list[str]:
    """Return the outcomes that the department is told, in order."""
    rows = store.execute("SELECT payload FROM outbox WHERE kind = 'EXCEPTIONS' ORDER BY id").fetchall()
    return [exception["outcome"] for (payload,) in rows for exception in payload]


def play(store: Store, settling: Settlement, events: Sequence[Event], settled: Sequence[bool]) -> None:
    """Let events happen, from nothing, settling where it says so; at every moment what readers are told must be right."""
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    so_far: list[Event] = []
    for offset, (event, settle) in enumerate(zip(events, settled, strict=True)):
        happen(store, event, offset)
        so_far.append(event)
        if settle:
            settling.settle_some()
        held = any(what == "record" and which >= 2 for what, which in so_far)
        discarded = ("outcome", (DISCARD, DISCARDED)) in so_far
        for state, pending in states(store):
            assert pending == (not held and not discarded), (so_far, state)
            assert state == "OPEN" or held or discarded
    while settling.settle_some():
        pass


@given(data=st.data())
@examples(40, HealthCheck.function_scoped_fixture)
def test_any_order_gives_the_state_that_the_rule_gives(store: tuple[Store, Settlement], data: st.DataObject) -> None:
    tables, settling = store
    chosen = [ENTRY, *data.draw(st.lists(st.sampled_from([*OUTCOMES, *RECORDS]), max_size=6))]
    events = data.draw(st.permutations(chosen + data.draw(st.lists(st.sampled_from(chosen), max_size=2))))
    play(tables, settling, events, data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events))))
    held = any(what == "record" and which >= 2 for what, which in events)
    outcomes = [which for what, which in events if what == "outcome"]
    ((state, pending),) = states(tables)
    assert state == state_of(outcomes, held=held)
    assert pending == (state == "OPEN")
    assert REFUSED_ONE["version"] == FIRST_VERSION + 2
    told = [outcome for outcome in receipts(tables) if outcome in ("ACCEPTED", "DISCARDED", "SUPERSEDED")]
    assert len(told) == len(set(told)) or told.count("ACCEPTED") == 2, "told once; REDRIVEN may become OVERRIDDEN"
    assert settling.settle_some() is False
    assert not tables.execute(
        "SELECT outcome FROM quarantine_outcome WHERE NOT settled AND outcome <> 'ACCEPTED'"
    ).fetchall()


def test_a_record_of_another_department_releases_nothing(store: tuple[Store, Settlement]) -> None:
    tables, settling = store
    with tables.transaction():
        tables.execute(f"TRUNCATE {', '.join(TABLES)}")
    happen(tables, ENTRY, 0)
    foreign = {**penalty("Q1", version=9, entity=5), "department": "finance"}
    with tables.transaction():
        Projection(tables).fold(staged(decoded([foreign], 1))[0])
    settling.settle_some()
    assert states(tables) == [("OPEN", True)]


def test_an_entry_whose_record_id_is_none_stays_open_and_breaks_nothing(store: tuple[Store, Settlement]) -> None:
    tables, settling = store
    with tables.transaction():
        tables.execute(f"TRUNCATE {', '.join(TABLES)}")
    with tables.transaction():
        project_refusal(Projection(tables), message({**REFUSED_ONE, "record_id": "不是标识"}, 0))
    happen(tables, ("record", 3), 1)
    settling.settle_some()
    assert states(tables) == [("OPEN", True)]
