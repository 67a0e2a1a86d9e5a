"""Targeted correction on the real log: what was done to the tables is undone, what today's rules refuse is withdrawn and waits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer

from deploy.deadline import wait_until
from schemas.catalogue import load
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.registry import Registry
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection, Exchange
from schemas.store.database import connect
from streams.exchange.outgoing.messages import MessageBuilder
from streams.exchange.outgoing.sharing import Sharing
from streams.integrity.accepted import Accepted
from streams.integrity.table_audit import TableAudit
from streams.kafka.headers import RECEIVED, SCHEMA, Origin
from streams.kafka.ranges import Logs
from streams.kafka.scope import ReplayScope
from streams.replay.correction.correction import Correction
from streams.replay.correction.log_evidence import LogEvidence
from streams.view.current_rules import Rules, overridden_by
from tests import warm
from tests.damage import ROWS
from tests.erasing import key, published
from tests.offline import view_caught_up
from tests.replay_commands import replay
from tests.sharing import entries, partition_of
from tests.statements import Statement, framed, listing, penalty
from tests.viewstore import Store
from tests.workers import environment, workers

LONG_AGO = date(2025, 6, 1)


def good(number: str, *, entity: int, version: int = 1, **content: Any) -> Statement:
    return penalty(number, entity=entity, version=version, decided_on=LONG_AGO, **content)


SAID = [
    *(good(f"正{n}", entity=n) for n in range(8)),
    good("正1", version=2, entity=1, content="改"),
    penalty("正2", version=2, entity=30, original_entity=2, decided_on=LONG_AGO),
    listing("正L", entity=3),
    good("误1", entity=21),
]
BAD = [good("误0", entity=20, fine=Decimal("-1")), good("误1", entity=21, version=2, fine=Decimal("-1"))]
"""Accepted when the rules were wrong: the only statement of one record, and the newest of another."""


def accept(connection: Connection, statements: list[Statement]) -> None:
    """Write statements to `accepted` as an intake with other rules would have."""
    producer = Producer(connection.kafka.client({"acks": "all"}))
    topic_id = Logs(connection.kafka).describe(["records.tax"])["records.tax"].topic_id
    for number, (statement, value) in enumerate(zip(statements, framed(connection, statements), strict=True)):
        now = round(datetime.now(UTC).timestamp() * 1000)
        headers = [
            ("xinliu-origin", Origin("records.tax", topic_id, 0, 1_000_000 + number).to_bytes()),
            (SCHEMA, fingerprint(source("xinliu.Statement")).encode()), (RECEIVED, b"%d" % now),
        ]  # fmt: skip
        partition = partition_of(statement["subject"]["uscc"])
        producer.produce("accepted", value, key(statement), partition=partition, headers=headers)
    assert producer.flush(30) == 0


@pytest.fixture(scope="module")
def filled(own_stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Servers of our own with statements that are folded, some of which today's rules would refuse; the workers are gone again."""
    with workers(own_stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        published(own_stack, SAID)
        accept(own_stack, BAD)
        assert wait_until(lambda: view_caught_up(own_stack), seconds=60, every=0.5)
    yield own_stack


@pytest.fixture
def store(filled: Connection) -> Iterator[Store]:
    with connect(filled.database.get_secret_value(), autocommit=True) as connection:
        yield connection


def standing(store: Store) -> list[Any]:
    return [store.execute(query).fetchall() for query in ROWS]


def planned(stack: Connection, *words: str) -> str:
    return str(replay(stack, "plan", *words, "--reason", "改正", "--save", "--json").told["replay"])


def audited(stack: Connection) -> int:
    """Return how many rows the audit finds wrong: it must not undo what was corrected."""
    with Registry(stack.registry) as registry:
        log = Accepted(stack.kafka, registry)
        auditor = TableAudit(stack.database.get_secret_value(), log, own="beijing", partitions=4, generation=1)
        try:
            return auditor.pass_through()
        finally:
            auditor.close()
            log.close()


DAMAGE = (
    "UPDATE record SET penalty_content = '无' WHERE penalty_document_number = '正0'",
    "DELETE FROM record WHERE penalty_document_number = '正1'",
    "UPDATE record_history SET statement = NULL WHERE uscc = (SELECT uscc FROM record WHERE penalty_document_number = '正4')",
    "DELETE FROM record_history WHERE uscc = (SELECT uscc FROM record WHERE penalty_document_number = '正5')",
    "DELETE FROM credit_view WHERE uscc = (SELECT uscc FROM record WHERE penalty_document_number = '正6')",
    "UPDATE record SET uscc = (SELECT uscc FROM record WHERE penalty_document_number = '正7') WHERE penalty_document_number = '正0'",
)


def test_what_was_done_to_the_tables_is_shown_first_and_then_undone(filled: Connection, store: Store) -> None:
    before = standing(store)
    usccs = [word for n in (*range(8), 30) for word in ("--entity", generate(n))]
    plan = planned(filled, *usccs)
    assert replay(filled, "correct", plan, "--json").code == 0, "nothing is wrong yet"
    for statement in DAMAGE:
        assert store.execute(statement).rowcount > 0
    damaged = standing(store)
    dry = replay(filled, "correct", plan, "--json")
    assert dry.code == 1
    told = dry.told
    assert {one["change"] for one in told["records"]} == {"APPEARS", "CHANGES"}
    assert standing(store) == damaged, "a dry run changes nothing"
    assert "dry run: nothing was written" in replay(filled, "correct", plan).text
    done = replay(filled, "correct", plan, "--yes", "--json")
    assert (done.code, done.told["records"]) == (1, told["records"])
    assert standing(store) == before
    steps = replay(filled, "show", plan, "--json").told["steps"]
    assert [step["kind"] for step in steps] == ["REPLAY_PLANNED", "REPLAY_RUNNING", "REPLAY_DONE"]
    last = steps[-1]["detail"]
    assert last["before"]["records"] + 1 == last["after"]["records"]
    assert last["changed"]["changes"] == {"tax tax APPEARS": 1, "tax tax CHANGES": 1}
    assert "is DONE" in replay(filled, "correct", plan, "--yes").refused
    rates = replay(filled, "plan", "--domain", "tax", "--json").told["figures"]
    assert rates["rate_from"] == f"measured here by replay {plan}"
    assert audited(filled) == 0


@pytest.mark.parametrize("point", ["correct.inside-transaction", "correct.committed"])
def test_a_correction_that_is_killed_is_done_by_the_same_command(filled: Connection, store: Store, point: str) -> None:
    before = standing(store)
    plan = planned(filled, "--entity", generate(0))
    store.execute(DAMAGE[0])
    words = ("replay", "correct", plan, "--yes", "--crash-at", point)
    done = warm.run(
        [sys.executable, "-m", "xinliu", *words], env=environment(filled), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == -9, done.stderr
    assert (standing(store) == before) == (point == "correct.committed")
    assert replay(filled, "list", "--json").told[0]["state"] == "RUNNING"
    replay(filled, "correct", plan, "--yes", "--json")
    assert standing(store) == before
    assert replay(filled, "list", "--json").told[0]["state"] == "DONE"


def correcting(stack: Connection, store: Store, registry: Registry, sharing: Sharing | None) -> Correction:
    gathering = LogEvidence(Accepted(stack.kafka, registry), Rules(load(), "beijing", overridden_by(store)))
    return Correction(store, gathering, own="beijing", partitions=4, generation=1, sharing=sharing)


def test_what_todays_rules_refuse_is_withdrawn_waits_and_leaves_the_exchange(filled: Connection, store: Store) -> None:
    sharing = Sharing("beijing", generation=1)
    with store.transaction():
        keys = sharing.differing(store, _FIRST, 1_000)[0]
    with store.transaction():
        sharing.decide_again(store, keys)
    told = {row[0]: row[1:] for row in store.execute(_SHARED, ([one["record_id"] for one in BAD],))}
    assert {row[0] for row in told.values()} == {"SHARED"}
    store.execute("DELETE FROM outbox")
    plan = planned(filled, "--department", "tax")
    dry = replay(filled, "correct", plan, "--json").told
    assert {one["record_id"]: (one["change"], one["codes"]) for one in dry["records"]} == {
        one["record_id"]: ("REFUSED", ["NEGATIVE_AMOUNT"]) for one in BAD
    }
    assert [(one["uscc"], one["was"], one["becomes"]) for one in dry["entities"] if one["was"] != one["becomes"]] == [
        (generate(20), "有", "待核")
    ]
    with Registry(filled.registry) as registry:
        done = correcting(filled, store, registry, sharing).correct(ReplayScope(departments=("tax",)), write=True)
        assert (done.refused, done.beyond) == (2, [])
        waiting = entries(store)
        framing = MessageBuilder(registry, "beijing")
        with store.transaction():
            messages = framing.messages(store, framing.waiting(store, 100))
    assert len(messages) == len(waiting)
    records = store.execute(
        "SELECT record_id, version FROM record WHERE uscc = ANY(%s)", ([generate(20), generate(21)],)
    ).fetchall()
    assert [(str(r).replace("-", ""), v) for r, v in records] == [(SAID[-1]["record_id"], SAID[-1]["version"])]
    quarantined = store.execute(
        "SELECT record_id, state, findings->-1->>'code' FROM quarantine ORDER BY \"offset\""
    ).fetchall()
    assert quarantined == [(one["record_id"], "OPEN", "REPLAY_REFUSED") for one in BAD]
    assert store.execute("SELECT count(*) FROM quarantine_entry WHERE held").fetchone() == (0,)
    now = {row[0]: row[1:] for row in store.execute(_SHARED, ([one["record_id"] for one in BAD],))}
    gone, back = BAD[0]["record_id"], BAD[1]["record_id"]
    assert now[gone][0] == "WITHDRAWN"
    assert (now[back][0], now[back][2]) == ("SHARED", SAID[-1]["version"])
    assert now[back][1] > told[back][1], "in an epoch of its own"
    assert [(one[0], one[2].replace("-", "")) for one in waiting] in (
        [("WITHDRAW", gone), ("WITHDRAW", back), ("SHARE", back)], [("WITHDRAW", back), ("WITHDRAW", gone), ("SHARE", back)],
    )  # fmt: skip
    assert store.execute("SELECT payload->0->>'outcome' FROM outbox WHERE kind = 'EXCEPTIONS'").fetchall() == [
        ("REFUSED",)
    ]
    assert audited(filled) == 0, "the audit leaves it so"
    again = replay(filled, "correct", plan, "--json")
    assert (again.code, again.told["records"]) == (0, [])


_FIRST = UUID(int=0)
_SHARED = """
SELECT replace(record_id::text, '-', ''), state, epoch, version FROM xinliu.shared_record WHERE replace(record_id::text, '-', '') = ANY(%s)
"""


def test_a_part_of_what_was_shared_is_told_again_by_plan(filled: Connection, store: Store) -> None:
    exchanging = filled.model_copy(update={"exchange": Exchange(keyring=Path("/nowhere"))})
    whole = replay(filled, "plan", "--to", "hebei", "--all", "--json").told["figures"]["events"]
    parts = [
        replay(filled, "plan", "--to", "hebei", "--bucket", f"{n}/2", "--json").told["figures"]["events"]
        for n in range(4)
    ]
    assert whole == sum(parts) > 8
    spans = [
        replay(filled, "plan", "--to", "hebei", "--offsets", str(p), "--json").told["figures"]["events"]
        for p in range(4)
    ]
    assert sum(spans) == whole - 1, "what is withdrawn stands nowhere in the log any more"
    plan = planned(filled, "--to", "hebei", "--entity", generate(4))
    store.execute("DELETE FROM outbox")
    assert "no XINLIU_EXCHANGE" in replay(filled, "repush", plan).refused
    assert "is a REPUSH" in replay(filled, "correct", plan).refused
    assert replay(exchanging, "repush", plan, "--json").told == {
        "replay": plan,
        "to": "hebei",
        "records": 1,
        "dry_run": True,
    }
    assert entries(store) == []
    assert "drop what they hold already" in replay(exchanging, "repush", plan, "--yes").text
    assert [(one[0], one[2].replace("-", "")) for one in entries(store)] == [("SHARE", SAID[4]["record_id"])]
    assert replay(filled, "list", "--json").told[0]["state"] == "DONE"


def test_what_was_refused_comes_back_once_the_rule_is_mended(filled: Connection, store: Store) -> None:
    """Runs last: the rules of this test let everything pass that was accepted."""
    assert store.execute("SELECT count(*) FROM replay_refused").fetchone() == (2,)
    with Registry(filled.registry) as registry:
        lenient = Rules(load(), "beijing", overridden=frozenset)
        gathering = LogEvidence(Accepted(filled.kafka, registry), lenient)
        done = Correction(store, gathering, own="beijing", partitions=4, generation=1).correct(
            ReplayScope(departments=("tax",)), write=True
        )
    assert sorted((one.record_id.hex, one.change) for one in done.changes) == sorted(
        [(BAD[0]["record_id"], "APPEARS"), (BAD[1]["record_id"], "CHANGES")]
    )
    assert store.execute("SELECT count(*) FROM replay_refused").fetchone() == (0,)
    assert store.execute("SELECT count(*) FROM quarantine_entry WHERE held").fetchone() == (2,), (
        "they close by themselves"
    )
    assert audited(filled) == 0
