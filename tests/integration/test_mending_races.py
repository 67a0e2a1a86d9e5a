"""The audit mends while the view folds: no newer statement is overwritten, nothing is counted twice, nobody waits for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import polars as pl
import pytest

from schemas.identifiers.uscc import generate
from schemas.records.partitioning import partitions_of
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.integrity.table_audit import TableAudit
from tests.damage import MemoryLog, emptied, fold, standing
from tests.statements import listing, penalty, state
from tests.viewstore import Store, opened

GENERATION = 933
DAMAGE = (
    "DELETE FROM record WHERE ctid = (SELECT ctid FROM record ORDER BY random() LIMIT 1)",
    "UPDATE record SET penalty_content = '甲' WHERE ctid = (SELECT ctid FROM record ORDER BY random() LIMIT 1)",
    "UPDATE record SET version = version - 1 WHERE ctid = (SELECT ctid FROM record ORDER BY random() LIMIT 1)",
    "UPDATE record SET version = version + 1 WHERE ctid = (SELECT ctid FROM record ORDER BY random() LIMIT 1)",
    "UPDATE credit_view SET records = records + 1 WHERE ctid = (SELECT ctid FROM credit_view ORDER BY random() LIMIT 1)",
    "DELETE FROM record_history WHERE ctid = (SELECT ctid FROM record_history WHERE statement IS NOT NULL ORDER BY random() LIMIT 1)",
)


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """Tables of our own."""
    with opened(stack, GENERATION) as connection:
        yield connection


@pytest.mark.parametrize("seed", range(2))
def test_mending_beside_a_view_at_work(stack: Connection, store: Store, seed: int) -> None:
    chance = random.Random(seed)
    batches = [
        [
            chance.choice(
                [
                    penalty(
                        f"R{chance.randrange(12)}",
                        version=round_ * 10 + n,
                        entity=chance.randrange(6),
                        original_entity=0,
                    ),
                    listing(f"RL{chance.randrange(4)}", version=round_ * 10 + n, entity=chance.randrange(6)),
                    state(penalty(f"R{chance.randrange(12)}", entity=0), "REPAIRED", version=round_ * 10 + n),
                ]
            )
            for n in range(1, 9)
        ]
        for round_ in range(20)
    ]
    emptied(store)
    for batch in batches:
        fold(store, MemoryLog(), batch)
    straight = standing(store)

    emptied(store)
    log, failures, done = MemoryLog(), list[BaseException](), threading.Event()
    auditor = TableAudit(stack.database.get_secret_value(), log, own="beijing", partitions=1, generation=GENERATION)

    def audit() -> None:
        try:
            while not done.is_set():
                auditor.pass_through()
            for _ in range(4):
                if auditor.pass_through() == 0:
                    return
            raise AssertionError("the audit still finds something")
        except BaseException as error:  # noqa: BLE001  # told below, in the test's own thread
            failures.append(error)
        finally:
            auditor.close()

    thread = threading.Thread(target=audit)
    thread.start()
    with connect(stack.database.get_secret_value(), generation=GENERATION, autocommit=True) as by_hand:
        for batch in batches:
            fold(store, log, batch)
            if chance.random() < 0.5:
                by_hand.execute(chance.choice(DAMAGE))
    done.set()
    thread.join(120)
    assert not thread.is_alive()
    assert failures == []
    assert standing(store)[:2] == straight[:2]


def test_postgresql_places_codes_as_kafka_does(store: Store) -> None:
    codes = [generate(number * 7919) for number in range(500)]
    rows = store.execute(
        "SELECT xinliu.partition_of(u, 12) FROM unnest(%s::text[]) WITH ORDINALITY AS c (u, n) ORDER BY n", (codes,)
    )
    assert [row[0] for row in rows] == partitions_of(pl.Series(codes), 12).tolist()
    assert store.execute("SELECT xinliu.partition_of('no code', 12)").fetchone() == (None,)
