"""What is shared is a function of the statements and the day, whatever order they came in; so is what others hold of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.contracts.codec import encode
from schemas.identifiers.uscc import generate
from schemas.records.identity import digest
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.exchange.outgoing.repush import RepushChoice, repush
from streams.exchange.outgoing.sharing import Sharing
from streams.exchange.outgoing.sweep import Sweep
from streams.projection.positions import load_catalogue
from tests.examples import examples
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
        untils = [one["registration"].get("until") for one in known.values()]
        return any(until is None or until > today for until in untils)

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
@examples(80, HealthCheck.function_scoped_fixture)
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


def actions(store: Store) -> list[tuple[str, str, int]]:
    """Return action, number of the entity's code and epoch of what waits, and take it out of the outbox."""
    told = [(entry[0], entry[9], entry[4]) for entry in entries(store)]
    store.execute("DELETE FROM outbox WHERE kind = 'EXCHANGE'")
    return told


def swept(store: Store, own_stack: Connection, now: datetime) -> int:
    """Sweep once, on this day."""
    sweep = Sweep(own_stack.database.get_secret_value(), at(now), generation=1, on_commit=lambda: None)
    try:
        return sweep.sweep()
    finally:
        sweep.close()


def test_a_registration_that_ends_takes_records_along_and_a_move_brings_them_back(
    store: Store, sharing: Sharing
) -> None:
    uscc = generate(0)
    fold_and_share(store, sharing, [[penalty("M1")]])
    assert [what for what, _, _ in actions(store)] == ["SHARE"]
    gone = registration(version=1, until=date(2026, 5, 1))
    fold_and_share(store, sharing, [[gone]], offset=1)
    told = actions(store)
    assert sorted(what for what, _, _ in told) == ["SHARE", "WITHDRAW"]  # a registration is always told
    fold_and_share(store, sharing, [[penalty("M1", version=2)]], offset=2)
    assert actions(store) == []  # out of what is shared, no content follows
    there = registration(province="hebei", since=date(2026, 5, 2))
    fold_and_share(store, sharing, [[there]], offset=3)
    ((what, about, epoch),) = actions(store)
    assert (what, about) == ("SHARE", uscc)
    assert epoch > max(epoch for _, _, epoch in told)


def test_a_repair_follows_what_was_shared_wherever_its_entity_is(store: Store, sharing: Sharing) -> None:
    first = penalty("R1")
    fold_and_share(store, sharing, [[first], [registration(until=date(2026, 5, 1))]])
    actions(store)
    fold_and_share(store, sharing, [[state(first, "REPAIRED", version=3)]], offset=2)
    assert [what for what, _, _ in actions(store)] == ["SHARE"]
    never = penalty("R2")
    fold_and_share(store, sharing, [[never], [state(never, "REVOKED", version=3)]], offset=3)
    assert actions(store) == []  # nobody was ever told of it


def test_a_revocation_before_the_first_publication_is_told_to_nobody(store: Store, sharing: Sharing) -> None:
    first = penalty("R3")
    fold_and_share(store, sharing, [[state(first, "REVOKED", version=3)], [first]])
    assert actions(store) == []
    assert shared(store) == {}


def test_a_correction_to_an_entity_of_another_partition_withdraws_before_it_shares(
    store: Store, sharing: Sharing
) -> None:
    fold_and_share(store, sharing, [[penalty("C1")], [penalty("C1", version=2, entity=1, original_entity=0)]])
    (_, first, began), *then = actions(store)
    (again, elsewhere, new), (withdrawn, where, ended) = sorted(then)
    assert (withdrawn, where, again, elsewhere) == ("WITHDRAW", first, "SHARE", generate(1))
    assert began < ended < new
    assert digests(store).keys() == {(partition_of(generate(1)), "tax")}


def test_the_sweep_follows_the_day_and_the_catalogue(store: Store, sharing: Sharing, own_stack: Connection) -> None:
    until = registration(until=date(2026, 6, 2))
    fold_and_share(store, sharing, [[penalty(f"D{n}", entity=n) for n in range(3)], [until]])
    actions(store)
    assert swept(store, own_stack, NOW) == 0
    tomorrow = datetime(2026, 6, 1, 16, tzinfo=UTC)  # China's 2 June: the first day on which it is registered no more
    assert swept(store, own_stack, tomorrow) == 1
    assert [(what, about) for what, about, _ in actions(store)] == [("WITHDRAW", generate(0))]
    with store.transaction():
        store.execute("UPDATE xinliu.mutual_domain SET effective_to = '2026-06-02' WHERE domain = 'tax'")
    try:
        assert swept(store, own_stack, tomorrow) == 0
        assert swept(store, own_stack, datetime(2026, 6, 3, tzinfo=UTC)) == 2
        assert sorted(what for what, _, _ in actions(store)) == ["WITHDRAW", "WITHDRAW"]
        assert {domain for _, domain in digests(store)} == {"registration"}
    finally:
        store.execute("UPDATE xinliu.mutual_domain SET effective_to = NULL WHERE domain = 'tax'")
    assert swept(store, own_stack, datetime(2026, 6, 3, tzinfo=UTC)) == 2
    assert sorted(what for what, _, _ in actions(store)) == ["SHARE", "SHARE"]


def test_a_generation_that_does_not_serve_tells_nobody(store: Store, sharing: Sharing, own_stack: Connection) -> None:
    store.execute("INSERT INTO xinliu.generation VALUES (77, 'g77', 'BUILDING')")
    store.execute("UPDATE xinliu.serving SET generation = 77")
    try:
        fold_and_share(store, sharing, [[penalty("N1"), registration()]])
        assert (actions(store), shared(store)) == ([], {})
    finally:
        store.execute("UPDATE xinliu.serving SET generation = 1")
        store.execute("DELETE FROM xinliu.generation WHERE generation = 77")
    assert swept(store, own_stack, NOW) == 2  # once it serves, the sweep brings it all


def test_a_repush_tells_everything_as_it_stands(store: Store, sharing: Sharing) -> None:
    first = penalty("A1")
    fold_and_share(store, sharing, [[first, penalty("A2", entity=1)], [registration(until=date(2026, 5, 1))]])
    before = {(one[2], one[0]): one for one in entries(store)}
    actions(store)
    assert repush(store, RepushChoice(), dry_run=True) == 3
    assert entries(store) == []
    assert repush(store, RepushChoice(keys=[(first["record_id"], "tax"), ("0" * 32, "tax")])) == 1
    assert repush(store, RepushChoice(domain="registration")) == 1
    assert repush(store, RepushChoice(uscc=generate(1))) == 1
    again = entries(store)
    assert [one[0] for one in again] == ["WITHDRAW", "SHARE", "SHARE"]
    for one in again:
        was = before[one[2], one[0]]
        assert one[8] is True
        assert (one[:8], one[9:]) == (was[:8], was[9:])


def test_two_lanes_that_share_at_once_come_to_one_end(own_stack: Connection, store: Store, sharing: Sharing) -> None:
    """Registrations and records of the same entities, folded on two connections at the same time, again and again."""
    said = [penalty(f"L{n}", entity=n % 7) for n in range(40)]
    places = [registration(entity=n, until=date(2026, 5, 1) if n % 2 else None) for n in range(7)]
    database = own_stack.database.get_secret_value()

    def lane(parts: list[list[Statement]], offset: int) -> None:
        with connect(database, generation=1, autocommit=True) as connection:
            for part in parts:
                while True:  # as the collector does: a batch that met another one is tried again whole
                    try:
                        fold_and_share(connection, sharing, [part], offset=offset)
                        break
                    except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                        pass
                offset += len(part)

    def of(lane_number: int, statements: list[Statement]) -> list[list[Statement]]:
        # A lane has partitions of its own, and with them all that is about their entities.
        ours = [one for one in statements if partition_of(one["subject"]["uscc"]) % 2 == lane_number]
        return [ours[n : n + 3] for n in range(0, len(ours), 3)]

    threads = [threading.Thread(target=lane, args=(of(n, said + places), n * 1000)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = should_be_shared(said + places, date(2026, 6, 1), {"tax"})
    assert shared(store) == wanted
    assert swept(store, own_stack, NOW) == 0
