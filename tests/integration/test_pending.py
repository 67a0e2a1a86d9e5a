"""What waits in a quarantine, told to the other provinces: after any failure, in any order, the newest state and nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from schemas.calendar.periods import china_day
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.sql_files import sql
from streams.exchange.carried.pending_entries import CONTRACT, Pending, pending_fault, project_pending
from streams.exchange.carried.riders import OutgoingMessage
from streams.exchange.outgoing.sharing import Sharing
from streams.exchange.outgoing.sweep import Sweep
from streams.projection.positions import load_catalogue
from tests.foreign import AS_OF, fold, refuse, swept, vouch
from tests.statements import penalty, registration

Store = psycopg.Connection[Any]
ONE, OTHER = generate(1), generate(2)
MARKET = {"topic": "records.market-regulation", "domain": "market"}


def close(store: Store, offset: int) -> None:
    """Decide that an entry stays out."""
    store.execute("""UPDATE quarantine SET state = 'DISCARDED' WHERE "offset" = %s""", (offset,))


def told(messages: Sequence[OutgoingMessage]) -> dict[str, list[tuple[str, str, int]]]:
    """Return what is told of entities: domain, department and how many."""
    return {
        one.told["uscc"]: [(entry["domain"], entry["department"], entry["open"]) for entry in one.told["entries"]]
        for one in messages
        if one.told["uscc"] is not None
    }


def arrived(messages: Sequence[OutgoingMessage], province: str = "hebei") -> list[dict[str, Any]]:
    """Return the messages as the far side decodes them, from a province."""
    found = [dict(decode(parsed(CONTRACT), one.body, parsed(CONTRACT))) for one in messages]
    assert {pending_fault(one, "beijing", sent.partition) for one, sent in zip(found, messages, strict=True)} <= {None}
    return [one | {"province": province} for one in found]


def waiting(store: Store) -> set[tuple[str, str, int]]:
    """Return what the far side takes to be waiting: entity, domain, how many."""
    return set(store.execute("SELECT uscc, domain, open FROM report.foreign_pending").fetchall())


def test_freshness_speaks_of_every_mutual_domain_and_of_registrations(undone: Store) -> None:
    mutual = {domain for (domain,) in undone.execute("SELECT domain FROM xinliu.mutual_domain").fetchall()}
    undone.execute("UPDATE xinliu.mutual_domain SET effective_to = '2026-01-01' WHERE domain = 'market'")
    found = dict(undone.execute(sql("exchange/outgoing/freshness")).fetchall())
    assert set(found) == mutual - {"market"} | {"registration"}
    assert set(found.values()) == {None}, "no source was ever heard"


def test_freshness_is_what_the_province_says_of_itself(undone: Store) -> None:
    now = undone.execute("SELECT date_trunc('second', now())").fetchone()
    assert now is not None
    vouch(undone, now[0])
    told = dict(undone.execute(sql("exchange/outgoing/freshness")).fetchall())
    assert set(told.values()) == {None}, "nobody has gone through all records yet"
    swept(undone, ["market"])
    told = dict(undone.execute(sql("exchange/outgoing/freshness")).fetchall())
    assert {domain for domain, as_of in told.items() if as_of} == {"market", "registration"}
    swept(undone)
    vouch(undone, now[0] - timedelta(hours=1), ["tax"])
    vouch(undone, now[0] - timedelta(days=8), ["finance"])
    found = dict(undone.execute(sql("exchange/outgoing/freshness")).fetchall())
    assert found["market"] == found["registration"] == now[0]
    assert found["tax"] == now[0] - timedelta(hours=1)
    assert found["finance"] is None, "中断 at its origin"
    refuse(undone, 1, None, received_at=now[0] - timedelta(days=2))
    refuse(undone, 2, ONE, received_at=now[0] - timedelta(days=3))
    refuse(undone, 3, None, topic="exchange.hebei", department="tax", received_at=now[0] - timedelta(days=5))
    found = dict(undone.execute(sql("exchange/outgoing/freshness")).fetchall())
    assert found["tax"] == now[0] - timedelta(days=2), "held back by what names no entity, of its own department alone"


def test_what_is_told_follows_what_waits(undone: Store) -> None:
    refuse(undone, 1, ONE)
    refuse(undone, 2, ONE, received_at=AS_OF + timedelta(days=1))
    refuse(undone, 3, OTHER, **MARKET)
    pending = Pending("beijing")
    first = pending.due(undone)
    assert told(first) == {ONE: [("tax", "tax", 2)], OTHER: [("market", "market-regulation", 1)]}
    assert {one.told["uscc"] for one in first[-EXCHANGE_PARTITIONS:]} == {None}, (
        "the end of what was told before comes last"
    )
    pending.sent(undone, first)
    assert pending.due(undone) == ()
    close(undone, 2)
    close(undone, 3)
    second = pending.due(undone)
    assert told(second) == {ONE: [("tax", "tax", 1)], OTHER: []}
    assert min(one.told["sequence"] for one in second) > max(one.told["sequence"] for one in first)
    pending.sent(undone, second)
    assert pending.due(undone) == ()


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"domain": None}, [("tax", "tax", 1)]),
        ({"domain": "no-such-domain"}, [("tax", "tax", 1)]),
        ({"domain": "registration", "topic": "records.market-regulation"}, [("registration", "market-regulation", 1)]),
        ({"domain": "registration", "findings": '[{"code": "REGISTRATION_DOMAIN"}]'}, [("tax", "tax", 1)]),
        ({"domain": "telecom", "topic": "records.telecom"}, None),
        ({"topic": "exchange.hebei"}, None),
        ({"state": "DISCARDED"}, None),
    ],
    ids=["no domain", "unknown domain", "registration", "no registration", "not mutual", "of others", "closed"],
)
def test_what_counts(undone: Store, known: dict[str, Any], expected: list[tuple[str, str, int]] | None) -> None:
    refuse(undone, 1, ONE, **known)
    assert told(Pending("beijing").due(undone)) == ({ONE: expected} if expected else {})


def test_what_names_no_entity_is_told_to_nobody(undone: Store) -> None:
    for number, uscc in enumerate((None, "", "张三", ONE.lower(), ONE[:17], f"{ONE}0")):
        refuse(undone, number, uscc)
    assert told(Pending("beijing").due(undone)) == {}


def test_an_entity_is_told_of_while_it_is_registered_in_the_four(undone: Store) -> None:
    elsewhere = ONE[:2] + "44" + ONE[4:]
    refuse(undone, 1, ONE)
    refuse(undone, 2, elsewhere)
    assert set(told(Pending("beijing").due(undone))) == {ONE}, "no registration is known: by the code"
    fold(undone, [registration(uscc=elsewhere), registration(uscc=ONE, until=date(2026, 1, 1))])
    assert set(told(Pending("beijing").due(undone))) == {elsewhere}
    fold(undone, [registration(uscc=ONE, version=2, until=date(2099, 1, 1))])
    assert set(told(Pending("beijing").due(undone))) == {ONE, elsewhere}


def test_it_is_over_once_its_record_is_visible_here_and_not_by_another_provinces(undone: Store) -> None:
    record = penalty("1号", entity=1)
    refuse(undone, 1, ONE, record_id=record["record_id"], version=record["version"])
    pending = Pending("beijing")
    pending.sent(undone, pending.due(undone))
    fold(undone, [{**record, "province": "hebei"}])
    assert pending.due(undone) == (), "another province's record of that name releases nothing of ours"
    assert undone.execute("SELECT count(*) FROM report.pending WHERE uscc = %s", (ONE,)).fetchone() == (1,)
    fold(undone, [record])
    assert told(pending.due(undone)) == {ONE: []}
    assert undone.execute("SELECT count(*) FROM report.pending WHERE uscc = %s", (ONE,)).fetchone() == (0,)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_the_others_end_up_with_what_waits(undone: Store, seed: int) -> None:
    """Rounds that reach Kafka and are not written down, rounds that do not, workers that take over, restored tables."""
    chance = random.Random(seed)
    entities = [generate(number) for number in range(6)]
    topic: list[OutgoingMessage] = []
    pending, saved = Pending("beijing"), undone.execute("SELECT * FROM xinliu.shared_pending").fetchall()
    for number in range(40):
        match chance.choice(("refuse", "refuse", "close", "restart", "restore", "save")):
            case "refuse":
                refuse(undone, number, chance.choice(entities))
            case "close":
                close(undone, chance.randrange(number + 1))
            case "restart":
                pending = Pending("beijing")
            case "save":
                saved = undone.execute("SELECT * FROM xinliu.shared_pending").fetchall()
            case "restore":
                undone.execute("TRUNCATE xinliu.shared_pending")
                undone.cursor().executemany(
                    "INSERT INTO xinliu.shared_pending VALUES (%s, %s, %s, %s, %s)",
                    [(*row[:3], Jsonb(row[3]), row[4]) for row in saved],
                )
        due = pending.due(undone)
        match chance.choice(("done", "done", "published only", "aborted")):
            case "done":
                topic += due
                pending.sent(undone, due)
            case "published only":
                topic += due
    due = pending.due(undone)
    topic += due
    pending.sent(undone, due)
    state: dict[str, int] = {}
    for (uscc,) in undone.execute("SELECT uscc FROM quarantine WHERE state = 'OPEN'"):
        state[uscc] = state.get(uscc, 0) + 1
    expected = {(uscc, "tax", n) for uscc, n in state.items()}
    messages = arrived(topic)
    project_pending(undone, messages)
    assert waiting(undone) == expected
    undone.execute("TRUNCATE foreign_pending")
    for message in messages:
        project_pending(undone, [message])
    assert waiting(undone) == expected
    undone.execute("TRUNCATE foreign_pending")
    chance.shuffle(messages)
    for message in [*messages, *chance.sample(messages, len(messages) // 2)]:
        project_pending(undone, [message])
    assert waiting(undone) == expected, "whatever came first, and however often"


def test_what_a_province_may_not_say(undone: Store) -> None:
    refuse(undone, 1, ONE)
    (message, *_) = Pending("beijing").due(undone)
    said = dict(decode(parsed(CONTRACT), message.body, parsed(CONTRACT)))
    assert pending_fault(said, "beijing", message.partition) is None
    other = (message.partition + 1) % EXCHANGE_PARTITIONS
    for change, province, partition in (
        ({}, "hebei", message.partition),
        ({}, "beijing", other),
        ({"partition": other}, "beijing", other),
        ({"uscc": "张三"}, "beijing", message.partition),
        ({"uscc": None}, "beijing", message.partition),
        ({"entries": [said["entries"][0] | {"domain": "tax\0"}]}, "beijing", message.partition),
        ({"entries": [said["entries"][0] | {"open": -1}]}, "beijing", message.partition),
    ):
        assert pending_fault(said | change, province, partition), (change, province, partition)


def test_a_domain_is_vouched_for_once_the_sweep_has_gone_through_it(stack: Connection, owner: Store) -> None:
    def held() -> set[str]:
        rows = owner.execute("SELECT unnest(domains) FROM xinliu.swept WHERE generation = 1").fetchall()
        return {domain for (domain,) in rows}

    load_catalogue(owner, load(), "beijing")
    mutual = set(load().mutual_domains(china_day(datetime.now(UTC))))
    sweep = Sweep(
        stack.database.get_secret_value(), Sharing("beijing", generation=1), generation=1, on_commit=lambda: None
    )
    try:
        sweep.sweep()
        assert held() == mutual
        owner.execute("INSERT INTO xinliu.mutual_domain VALUES ('telecom', '2026-01-01'), ('press', '2999-01-01')")
        assert held() == mutual, "until a pass has been made for it"
        sweep.sweep()
        assert held() == mutual | {"telecom"}
    finally:
        sweep.close()
        load_catalogue(owner, load(), "beijing")
        owner.execute("TRUNCATE xinliu.swept")
