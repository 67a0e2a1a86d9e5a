"""Any interleaving of adds, commits, rollbacks, relay rounds, crashes, failures and sleeping relays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.outbox.relay import RelaySettings
from producers.outbox.store import WaitingStatement
from schemas.contracts.codec import encode
from schemas.errors import Retryable
from tests.examples import examples
from tests.outboxes import Crash, Database, MemoryTopic, database, fresh, statement_of
from tests.statements import penalty

RECORDS = 4

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.lists(st.integers(0, RECORDS - 1), min_size=1, max_size=4)),
        st.tuples(st.just("roll back"), st.lists(st.integers(0, RECORDS - 1), min_size=1, max_size=4)),
        st.tuples(st.just("round"), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 3)),
        st.tuples(st.just("fail"), st.integers(0, 3)),
        st.tuples(st.just("another relay"), st.just(0)),
        st.tuples(st.just("fall asleep"), st.integers(1, 3)),
        st.tuples(st.just("wake"), st.just(0)),
    ),
    max_size=30,
)
SETTINGS = RelaySettings(batch=3, mark_every=0.000_001, report_every=1e9, keep=None)


@pytest.fixture(scope="module")
def tax() -> Iterator[Database]:
    made = database("sqlite://")
    yield made
    made.close()


@cache
def said(record: int, version: int) -> tuple[dict[str, Any], bytes]:
    """Return a version of a record, and its bytes."""
    statement = penalty(f"税{record}号", version=version, entity=record)
    return statement, encode("xinliu.Statement", statement)


class Run:
    """A department, the topic, and relays of which some crash, fail or sleep; in memory."""

    def __init__(self, tax: Database) -> None:
        self.tax = tax
        self.tax.empty()
        self.topic = MemoryTopic()
        self.relay = self.tax.relay(self.topic, SETTINGS)
        self.versions: Counter[int] = Counter()
        self.committed: list[tuple[datetime, bytes]] = []
        """Every statement that was committed, and a time by which it was."""
        self._asleep: list[list[WaitingStatement]] = []

    def step(self, step: str, what: Any) -> None:
        """Take one step."""
        match step:
            case "commit" | "roll back":
                self._transaction(what, commit=step == "commit")
            case "crash":
                self.topic.crash_after = what
                with suppress(Crash):
                    self.relay.round()
                self.topic.crash_after = None
                self.relay = self.tax.relay(self.topic, SETTINGS)
            case "fail":
                self.topic.fail_after = what
                with suppress(Retryable):
                    self.relay.round()
                self.topic.fail_after = None
            case "another relay":
                self.tax.relay(self.topic, SETTINGS).round()
            case "fall asleep":
                self._asleep.append(self.tax.store.waiting(what))
            case "wake":
                while self._asleep:
                    self.tax.store.confirm(self.topic.send(self._asleep.pop()).confirmed, fresh())
            case _:
                self.relay.round()

    def _transaction(self, records: list[int], *, commit: bool) -> None:
        versions, added = self.versions.copy(), []
        for record in records:
            versions[record] += 1
            added.append(said(record, versions[record]))
        with self.tax.engine.connect() as connection:
            self.tax.outbox.add_many(connection, [statement for statement, _ in added])
            if not commit:
                connection.rollback()
                return
            connection.commit()
        self.versions = versions
        self.committed += [(fresh(), body) for _, body in added]


@given(STEPS)
@examples(200)
def test_exactly_what_was_committed_is_told_and_every_marker_tells_the_truth(
    tax: Database, steps: list[tuple[str, Any]]
) -> None:
    run = Run(tax)
    for step, what in steps:
        run.step(step, what)
    run.relay.drain()
    assert set(run.topic.bodies) == {body for _, body in run.committed}, "nothing else, and nothing less"
    first = {body: place for place, body in reversed([*enumerate(run.topic.told)]) if isinstance(body, bytes)}
    _assert_in_order(sorted(first, key=lambda body: first[body]), run.versions)
    for place, marker in enumerate(run.topic.told):
        if isinstance(marker, datetime):
            late = [body for at, body in run.committed if at <= marker and first[body] > place]
            assert late == [], "what was committed by then stands before the marker"
    assert run.topic.markers, "a drained outbox is vouched for"


def _assert_in_order(bodies: list[bytes], versions: Counter[int]) -> None:
    told: defaultdict[str, list[int]] = defaultdict(list)
    for body in bodies:
        statement = statement_of(body)
        told[statement["record_id"]].append(statement["version"])
    assert all(order == sorted(order) for order in told.values()), "told first in the order of their commits"
    newest = {said(record, version)[0]["version"] for record, version in versions.items()}
    assert {order[-1] for order in told.values()} == newest
