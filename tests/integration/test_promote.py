"""Promote and rollback while events flow and readers read: all of the old or all of the new, no error, nothing lost or told twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
import structlog

from deploy.deadline import wait_until
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from streams.replay.generations.promotion import Promotion
from tests.generations import Flow, owner, rebuilt, receipts, serving
from tests.statements import framed, penalty, put
from tests.workers import Worker, workers

log = structlog.get_logger()

MARKED = generate(7)
"""An entity whose records bear the number of their generation in this test: a reader that mixes two is found out."""
RECORDS = 40

WHOLE = """
SELECT (SELECT DISTINCT generation FROM report.position) AS generation,
       (SELECT array_agg(DISTINCT subject_name) FROM report.penalty WHERE uscc = %(uscc)s) AS names,
       (SELECT count(*) FROM report.penalty WHERE uscc = %(uscc)s) AS records,
       (SELECT sum(penalties) FROM report.credit_view WHERE uscc = %(uscc)s) AS counted,
       (SELECT count(*) FROM report.history h JOIN report.record_entity e USING (record_id) WHERE e.uscc = %(uscc)s) AS said
"""
LONGEST = 2.0
"""Seconds that a reader may wait for an answer: two cores that also run three servers, two workers and the publisher."""


class Reader(threading.Thread):
    """Reads as the report service does, and remembers what it saw: generation, and whether the answer was one generation's."""

    def __init__(self, stack: Connection, *, repeatable: bool) -> None:
        super().__init__(daemon=True)
        assert stack.reader_database is not None
        self._database, self._repeatable = stack.reader_database.get_secret_value(), repeatable
        self.seen: list[int] = []
        self.wrong: list[str] = []
        self.slowest = 0.0
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            with psycopg.connect(self._database, autocommit=True, prepare_threshold=0) as connection:
                while not self._stopped.is_set():
                    self._look(connection)
        except psycopg.Error as error:
            self.wrong.append(repr(error))

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            if self._repeatable:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            answers = {self._answer(connection) for _ in range(6 if self._repeatable else 1)}
        if len(answers) > 1:
            self.wrong.append(f"one snapshot, several answers: {answers}")
        for generation, names, *counts in answers:
            self.seen.append(generation)
            if names != (f"g{generation}",) or counts != [RECORDS, RECORDS, RECORDS]:
                self.wrong.append(f"generation {generation}: {names} {counts}")

    def _answer(self, connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
        began = monotonic()
        row = connection.execute(WHOLE, {"uscc": MARKED}).fetchone()
        self.slowest = max(self.slowest, monotonic() - began)
        assert row is not None
        generation, names, *counts = row
        if self._repeatable:
            self._stopped.wait(0.05)
        return (generation, tuple(names or ()), *map(int, counts))


def mark(stack: Connection, generation: int) -> None:
    """Write a generation's number into the marked entity's records: what a rule that changed would make of them."""
    with owner(stack) as store:
        store.execute(f"UPDATE g{generation}.record SET subject_name = 'g{generation}' WHERE uscc = %s", (MARKED,))


def folded(stack: Connection, said: int) -> bool:
    """Tell whether so many penalties of the flow can be read."""
    with owner(stack) as store:
        row = store.execute("SELECT count(*) FROM report.penalty WHERE document_number LIKE '流%%'").fetchone()
    assert row is not None
    return int(str(row[0])) == said


@pytest.fixture
def running(own_stack: Connection, tmp_path: Path) -> Iterator[tuple[Worker, ...]]:
    """Workers, and the marked entity's records."""
    with workers(own_stack, tmp_path, "intake", "view") as running:
        put(own_stack, "records.tax", framed(own_stack, [penalty(f"标{n}", entity=7) for n in range(RECORDS)]))

        def there() -> bool:
            with owner(own_stack) as store:
                row = store.execute("SELECT count(*) FROM report.penalty WHERE uscc = %s", (MARKED,)).fetchone()
            return row is not None and row[0] == RECORDS

        assert wait_until(there, seconds=240), "\n".join(worker.log[-3000:] for worker in running)
        yield running


@pytest.mark.timeout(580)
def test_readers_and_workers_go_through_promote_and_rollback(
    own_stack: Connection, running: tuple[Worker, ...]
) -> None:
    first = serving(own_stack)
    mark(own_stack, first)
    readers = [Reader(own_stack, repeatable=repeatable) for repeatable in (False, True)]
    with Flow(own_stack) as flow:
        for reader in readers:
            reader.start()
        replay, second = rebuilt(own_stack)
        mark(own_stack, second)
        with Promotion(own_stack, by="tester@here") as promoting:
            promoted = promoting.promote(replay, "a rule was wrong")
            assert (promoted.old, promoted.new, promoted.resumed) == (first, second, False)
            at_promote = len(flow.good)
            assert wait_until(lambda: len(flow.good) > at_promote + 200, seconds=200)
            rolled_back = promoting.rollback("the new rule is worse")
            assert (rolled_back.old, rolled_back.new) == (second, first)
            at_rollback = len(flow.good)
            assert wait_until(lambda: len(flow.good) > at_rollback + 100, seconds=200)
            again = promoting.promote(str(second), "it was right after all")
            assert (again.old, again.new) == (first, second)
            after = len(flow.good)
            assert wait_until(lambda: len(flow.good) > after + 100, seconds=200)
    assert wait_until(lambda: folded(own_stack, len(flow.good)), seconds=240), running[1].log[-4000:]
    for reader in readers:
        reader.stop()
        assert reader.wrong == []
        assert {first, second} <= set(reader.seen), "a reader ran through every switch"
        assert reader.slowest < LONGEST
    assert wait_until(lambda: all(receipts(own_stack, "tax")[place] for place in flow.refused), seconds=120), (
        "every refusal was told"
    )
    told = receipts(own_stack, "tax")
    assert {place: told[place] for place in flow.refused} == dict.fromkeys(flow.refused, 1), "each of them once"
    assert [worker.runs for worker in running] == [True, True]
    assert running[1].log.count("worker.follows") == 3
    assert "worker.follows" not in running[0].log
    log.warning(
        "promote.seen",
        slowest=[round(reader.slowest, 3) for reader in readers],
        readings=[len(reader.seen) for reader in readers],
        held=[one.held_seconds for one in (promoted, rolled_back, again)],
        published=len(flow.good),
        refused=len(flow.refused),
    )
