"""What is shared is a function of the statements and the day, whatever order they came in; so is what others hold of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.codec import encode
from schemas.connection import Connection
from schemas.identity import digest
from schemas.store import connect
from schemas.uscc import generate
from streams.exchange.sharing import Sharing
from streams.positions import load_catalogue
from tests.sharing import NOW, Far, by_digest, digests, emptied, entries, fold_and_share, partition_of, shared
from tests.statements import Statement, penalty, registration, state
from tests.viewstore import Store

ENTITIES = [generate(0), generate(1), generate(7), generate(3, division="310000")]
"""In three partitions; the code of the last is of none of the four provinces."""
PROVINCES = {"11", "12", "13", "14"}


@pytest.fixture(scope="module")
def store(own_stack: Connection) -> Iterator[Store]:
    """The serving generation's tables of a province of our own."""
    with connect(own_stack.database.get_secret_value(), generation=1, autocommit=True) as connection:
        load_catalogue(connection, load(), "beijing")
        yield connection


@pytest.fixture
def sharing(store: Store) -> Sharing:
    """The rule on the day NOW, in empty tables."""
    emptied(store)
    return at(NOW)


def at(now: datetime) -> Sharing:
    return Sharing("beijing", generation=1, clock=lambda: now)


def rank(statement: Statement) -> tuple[int, int, int]:
    return (statement["version"], *digest(encode("xinliu.Statement", statement)))


def newest(statements: Sequence[Statement]) -> list[Statement]:
    held: dict[tuple[str, str, str], Statement] = {}
    for one in statements:
        key = one["record_id"], one["province"], one["department"]
        if key not in held or rank(one) > rank(held[key]):
            held[key] = one
    return list(held.values())


def should_be_shared(said: Sequence[Statement], today: date, mutual: set[str]) -> dict[Any, Any]:
    """The rule in plain Python."""
    records = newest(said)
    registrations: dict[str, dict[str, Statement]] = {}
    for one in records:
        if one["kind"] == "REGISTRATION" and one["status"] == "IN_FORCE":
            of = registrations.setdefault(one["subject"]["uscc"], {})
            if one["province"] not in of or rank(one) > rank(of[one["province"]]):
                of[one["province"]] = one

    def inside(uscc: str) -> bool:
        known = registrations.get(uscc)
        if not known:
            return uscc[2:4] in PROVINCES
        current = max(known.values(), key=lambda one: (one["registration"]["since"], rank(one)))
        until = current["registration"].get("until")
        return until is None or until > today

    return {
        (one["record_id"], one["department"]): (one["subject"]["uscc"], *rank(one))
        for one in records
        if one["province"] == "beijing"
        and one["status"] == "IN_FORCE"
        and (one["kind"] == "REGISTRATION" or (one["domain"] in mutual and inside(one["subject"]["uscc"])))
    }


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """Statements about few records of few entities, in and outside of the four provinces, and where these are registered."""
    version, entity = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    if draw(st.booleans()):
        province = draw(st.sampled_from(["beijing", "hebei"]))
        made = registration(
            version=version,
            entity=entity,
            province=province,
            uscc=ENTITIES[entity],
            since=date(2015, 1, draw(st.integers(1, 2))),
            until=draw(st.sampled_from([None, None, date(2026, 6, 1), date(2026, 6, 2), date(2020, 1, 1)])),
        )
    else:
        made = penalty(f"S{draw(st.integers(0, 2))}", version=version, entity=entity, original_entity=0)
        made["domain"] = draw(st.sampled_from(["tax", "tax", "commerce"]))
        made["subject"]["uscc"] = ENTITIES[entity]
    status = draw(st.sampled_from(["IN_FORCE", "IN_FORCE", "IN_FORCE", "REPAIRED", "REVOKED"]))
    return made if status == "IN_FORCE" else state(made, status, version=version)


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_shares_the_same_and_gives_others_the_same(store: Store, data: st.DataObject) -> None:
    said = data.draw(st.lists(statements(), min_size=1, max_size=14))
    again = said + data.draw(st.lists(st.sampled_from(said), max_size=5))
    shuffled = data.draw(st.permutations(again))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=6)) | {len(shuffled)})
    batches = [shuffled[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False) if begin < end]
    emptied(store)
    fold_and_share(store, at(NOW), batches)
    mutual = set(load().mutual_domains(date(2026, 6, 1)))
    wanted = should_be_shared(said, date(2026, 6, 1), mutual)
    assert shared(store) == wanted
    far = Far(by_digest(said))
    far.told(data.draw(st.permutations(entries(store))))
    assert far.in_force() == wanted
    assert far.digests() == digests(store)
    assert all(place == partition_of(one["subject"]["uscc"]) for _, _, place, one in far.held.values())
