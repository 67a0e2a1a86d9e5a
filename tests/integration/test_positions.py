"""The position in PostgreSQL is the one that counts, and one that does not fit the log stops the worker loudly."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from tests.offline import log_of
from tests.statements import framed, penalty, put
from tests.workers import Worker, workers

GENERATION = 998


@pytest.fixture
def generation(stack: Connection) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """An empty generation of its own beside the serving one."""
    with connect(stack.database.get_secret_value(), generation=GENERATION, autocommit=True) as store:
        with store.transaction():
            store.execute(f"CREATE SCHEMA g{GENERATION}")
            store.execute(sql("generation"))
        yield store
        store.execute(f"DROP SCHEMA g{GENERATION} CASCADE")


def view(stack: Connection, folder: Path) -> Worker:
    """Start a view worker that folds into that generation."""
    return Worker(stack, "view", folder, "--generation", str(GENERATION))


def publish(stack: Connection, count: int) -> None:
    """Publish statements and wait until intake has forwarded them."""
    run = uuid.uuid4().hex[:8]
    values = framed(stack, [penalty(f"位{run}-{n}", entity=n) for n in range(count)])
    put(stack, "records.tax", values)
    wanted = set(values)
    assert wait_until(lambda: wanted <= {m.value() for m in log_of(stack, "accepted")}, seconds=60, every=1.0)


def total(store: psycopg.Connection[tuple[Any, ...]], table: str = "record") -> int:
    """Return how many rows a table has."""
    row = store.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_view_that_starts_from_nothing_folds_the_log_from_offset_0(
    stack: Connection, tmp_path: Path, generation: psycopg.Connection[tuple[Any, ...]]
) -> None:
    with workers(stack, tmp_path, "intake", "view"):
        publish(stack, 300)  # the serving generation's worker has committed these to Kafka
    worker = view(stack, tmp_path)
    assert wait_until(lambda: total(generation) >= 300, seconds=60), worker.log[-2000:]
    generation.execute("UPDATE position SET next_offset = next_offset WHERE false")
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE position SET next_offset = 900000000 WHERE topic = 'accepted' AND partition = 1", "the log holds"),
        (
            "UPDATE position SET topic_id = 'another' WHERE topic = 'accepted'",
            "is not the one this database was built from",
        ),
    ],
)
def test_a_position_that_does_not_fit_the_log_stops_the_worker(
    stack: Connection, tmp_path: Path, generation: psycopg.Connection[tuple[Any, ...]], change: str, words: str
) -> None:
    worker = view(stack, tmp_path)
    assert wait_until(lambda: total(generation, "position") > 0, seconds=60), worker.log[-2000:]
    worker.stop()
    generation.execute(change)
    again = view(stack, tmp_path)
    assert again.wait(90) == 4
    assert words in again.log


def test_what_a_transaction_took_back_was_never_said(stack: Connection, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    kept, aborted = framed(stack, [penalty(f"留{run}"), penalty(f"弃{run}")])
    with workers(stack, tmp_path, "intake", "view"):
        producer = Producer(stack.kafka.client({"transactional.id": f"department-{run}"}))
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce("records.tax", aborted, key=b"k", partition=0)
        producer.flush(30)
        producer.abort_transaction(30)
        producer.begin_transaction()
        producer.produce("records.tax", kept, key=b"k", partition=0)
        producer.commit_transaction(30)

        def forwarded() -> set[bytes | None]:
            return {message.value() for message in log_of(stack, "accepted")}

        assert wait_until(lambda: kept in forwarded(), seconds=60, every=0.5)
        assert aborted not in forwarded()
