"""Records of other provinces in the tables: what is this province's own stays as it is, though department keys are the same."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.sql_files import sql
from streams.projection.batch import Projection
from streams.quarantine.settlement import Settlement
from tests.foreign import AS_OF, fold, foreign, refuse
from tests.statements import Statement, listing, penalty, registration, state
from tests.viewstore import opened

Store = psycopg.Connection[Any]
GENERATION = 994
ENTITY, CODE = 51, generate(51)


def rows(store: Store, query: str, *values: Any) -> list[Any]:
    """Return what a query finds."""
    return store.execute(query, values).fetchall()


def stays(store: Store) -> dict[str, Any]:
    """Return everything that readers are told of the province's own records."""
    queries = {
        "states": "SELECT * FROM report.domain_state(%(uscc)s, %(day)s - 100, %(day)s)",
        "penalties": "SELECT * FROM report.penalty WHERE uscc = %(uscc)s",
        "listings": "SELECT * FROM report.listing WHERE uscc = %(uscc)s",
        "penalties on": "SELECT * FROM report.penalties_on(%(uscc)s, %(day)s)",
        "listings on": "SELECT * FROM report.listings_on(%(uscc)s, %(day)s)",
        "penalties today": "SELECT * FROM report.penalty_today WHERE uscc = %(uscc)s",
        "listings today": "SELECT * FROM report.listing_today WHERE uscc = %(uscc)s",
        "pending": "SELECT * FROM report.pending",
        "quarantine": "SELECT * FROM report.quarantine",
        "sources": "SELECT * FROM report.source_vouched",
        "domain sources": "SELECT * FROM report.domain_source",
        "quality": "SELECT * FROM report.quality_count WHERE measure = 'REFUSED'",
        "freshness": sql("exchange/outgoing/freshness"),
    }
    values = {"uscc": CODE, "day": date(2026, 11, 1)}
    return {name: sorted(store.execute(query, values).fetchall(), key=str) for name, query in queries.items()}


def own() -> list[Statement]:
    """Return a penalty and a list entry of this province."""
    return [
        penalty("京1号", entity=ENTITY, decided_on=date(2026, 9, 1)),
        listing("京2号", entity=ENTITY, listed_on=date(2026, 9, 1)),
    ]


def test_what_is_read_of_the_own_province_does_not_change(undone: Store) -> None:
    fold(undone, own())
    refuse(undone, 1, CODE, domain="market", topic="records.market-regulation")
    before = stays(undone)
    assert len(before["penalties"]) == len(before["listings"]) == len(before["pending"]) == 1
    fold(
        undone,
        [
            *(foreign(one, province) for one in own() for province in ("tianjin", "hebei")),
            foreign(penalty("冀3号", entity=ENTITY, key="court"), "hebei"),
        ],
        first_offset=10,
    )
    for number, uscc in enumerate((CODE, None)):
        refuse(undone, 10 + number, uscc, topic="exchange.hebei", received_at=AS_OF - timedelta(days=9))
    assert stays(undone) == before
    assert len(rows(undone, "SELECT FROM report.mutual_penalty WHERE uscc = %s", CODE)) == 4


def test_a_database_that_does_not_say_whose_it_is_holds_its_own(undone: Store) -> None:
    fold(undone, own())
    undone.execute("DELETE FROM xinliu.installation")
    assert len(rows(undone, "SELECT FROM report.penalty WHERE uscc = %s", CODE)) == 1
    states = dict(rows(undone, "SELECT domain, state FROM report.domain_state(%s, '2026-08-01', '2026-11-01')", CODE))
    assert states["tax"] == "有"


def test_a_name_is_taken_from_any_province_but_not_from_what_is_shared_no_more(undone: Store) -> None:
    theirs = foreign(penalty("冀1号", entity=ENTITY), "hebei")
    theirs["subject"] = theirs["subject"] | {"name": "冀处罚文书上的名称"}
    fold(undone, [theirs])
    name = "SELECT name, name_source FROM report.entity WHERE uscc = %s"
    assert rows(undone, name, CODE) == [("冀处罚文书上的名称", "STATEMENT")]
    fold(undone, [state(theirs, "WITHDRAWN", version=2)], first_offset=10)
    assert rows(undone, name, CODE) == []
    fold(undone, [foreign(registration(uscc=CODE, province="hebei", name="冀登记名称"), "hebei")], first_offset=20)
    assert rows(undone, name, CODE) == [("冀登记名称", "REGISTRY")]


@pytest.mark.parametrize("first", ["refused", "revoked"])
def test_a_revocation_elsewhere_takes_nothing_out_of_our_quarantine(undone: Store, first: str) -> None:
    """Both say the same record id: a province that errs, or means harm."""
    record = penalty("京9号", entity=ENTITY)
    known = {"record_id": record["record_id"], "version": record["version"]}
    revoked = {**state(record, "REVOKED", version=5), "province": "hebei"}

    def enter(offset: int, topic: str) -> None:
        origin = {"topic": topic, "topic_id": "t", "partition": 0, "offset": offset, "department": topic[8:]}
        about = {"uscc": CODE, "domain": "tax", "received_at": AS_OF, "findings": [], "value": b"kept"}
        place = {"quarantine_partition": 0, "quarantine_offset": offset}
        Projection(undone).quarantine({**origin, **about, **known, **place})

    steps = [
        lambda: (enter(1, "records.tax"), enter(2, "exchange.hebei"), enter(3, "exchange.shanxi")),
        lambda: fold(undone, [revoked]),
    ]
    for step in steps if first == "refused" else reversed(steps):
        step()
    assert rows(undone, 'SELECT topic, value FROM quarantine ORDER BY "offset"') == [
        ("records.tax", b"kept"),
        ("exchange.hebei", None),
        ("exchange.shanxi", b"kept"),
    ]


def test_what_another_province_states_is_no_duplicate_of_ours(undone: Store) -> None:
    ours = penalty("京1号", entity=ENTITY)
    fold(undone, [foreign(ours, "hebei")])
    told = fold(undone, [ours], first_offset=10)
    assert [finding.code for finding in told] == []
    again = {**ours, "record_id": UUID(int=7).hex, "version": ours["version"] + 1}
    assert [finding.code for finding in fold(undone, [again], first_offset=20)] == ["POSSIBLE_DUPLICATE"]


def test_manifests_of_a_department_are_held_against_its_own(undone: Store) -> None:
    fold(undone, own())
    scope = {
        "province": "beijing",
        "department": "tax",
        "domain": "tax",
        "kind": "PENALTY",
        "from": None,
        "before": None,
    }
    before = undone.execute(sql("reconciliation/held"), scope | {"bits": 4}).fetchall()
    fold(undone, [foreign(one, "hebei") for one in own()], first_offset=10)
    assert sorted(map(str, undone.execute(sql("reconciliation/held"), scope | {"bits": 4}).fetchall())) == sorted(
        map(str, before)
    )


def test_what_an_exchange_brought_is_settled_and_told_to_no_department(stack: Connection) -> None:
    with opened(stack, GENERATION) as store:
        store.execute("INSERT INTO xinliu.installation (province) VALUES ('beijing') ON CONFLICT DO NOTHING")
        theirs = foreign(penalty("冀1号", entity=ENTITY), "hebei")
        known = {"record_id": theirs["record_id"], "version": theirs["version"]}
        refuse(store, 1, CODE, topic="exchange.hebei", **known)
        refuse(store, 2, CODE, topic="exchange.shanxi", **known)
        refuse(store, 3, CODE, **known)
        with store.transaction():
            fold(store, [theirs])
        settling = Settlement(stack.database.get_secret_value(), generation=GENERATION)
        settling.settle_some()
        settling.close()
        assert rows(store, 'SELECT "offset", state FROM quarantine ORDER BY 1') == [
            (1, "SUPERSEDED"),
            (2, "OPEN"),
            (3, "OPEN"),
        ]
        assert rows(store, "SELECT department FROM outbox WHERE kind = 'EXCEPTIONS'") == []
