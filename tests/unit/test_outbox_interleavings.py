"""Any interleaving of adds, commits, rollbacks, relay rounds, crashes, failures and sleeping relays."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers.outbox.relay import Relay, RelaySettings
from producers.outbox.store import Waiting
from schemas.codec import encode
from schemas.errors import Retryable
from tests.outboxes import Crash, MemoryTopic, database, fresh, statement_of
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


@dataclass
class Department:
    """What it has committed: every statement once, the newest version of each record."""

    versions: Counter[int] = field(default_factory=Counter)
    committed: list[bytes] = field(default_factory=list)

    def says(self, records: list[int]) -> tuple[list[dict[str, object]], Counter[int]]:
        """New versions of these records, as one transaction would state them."""
        versions = self.versions.copy()
        said = []
        for record in records:
            versions[record] += 1
            said.append(penalty(f"税{record}号", version=versions[record], entity=record))
        return said, versions


@given(STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_exactly_what_was_committed_is_told_and_every_marker_tells_the_truth(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tax = database(f"sqlite:///{Path(folder)}/outbox.db")
        department, topic = Department(), MemoryTopic()
        relay = tax.relay(topic, SETTINGS)
        asleep: list[list[Waiting]] = []
        committed_at: list[tuple[object, bytes]] = []

        def attempt(other: Relay) -> None:
            try:
                other.round()
            except (Crash, Retryable):
                pass

        for step, what in steps:
            if step in ("commit", "roll back"):
                said, versions = department.says(what)  # type: ignore[arg-type]
                with tax.engine.connect() as connection:
                    tax.outbox.add_many(connection, said)
                    if step == "roll back":
                        connection.rollback()
                        continue
                    connection.commit()
                at = fresh()
                department.versions = versions
                bodies = [encode("xinliu.Statement", one) for one in said]
                department.committed += bodies
                committed_at += [(at, body) for body in bodies]
            elif step == "crash":
                topic.crash_after = what  # type: ignore[assignment]
                attempt(relay)
                topic.crash_after = None
                relay = tax.relay(topic, SETTINGS)
            elif step == "fail":
                topic.fail_after = what  # type: ignore[assignment]
                attempt(relay)
                topic.fail_after = None
            elif step == "another relay":
                tax.relay(topic, SETTINGS).round()
            elif step == "fall asleep":
                asleep.append(tax.store.waiting(what))  # type: ignore[arg-type]
            elif step == "wake":
                while asleep:
                    tax.store.confirm(topic.send(asleep.pop()).confirmed, fresh())
            else:
                relay.round()
        relay.drain()

        assert set(topic.bodies) == set(department.committed), "nothing else, and nothing less"
        folded: dict[str, int] = {}
        for body in topic.bodies:
            told = statement_of(body)
            folded[told["record_id"]] = max(folded.get(told["record_id"], 0), told["version"])
        assert sorted(folded.values()) == sorted(
            penalty("", version=version)["version"] for version in department.versions.values()
        )
        first = {body: place for place, body in reversed(list(enumerate(topic.told))) if isinstance(body, bytes)}
        for record in folded:
            versions = [statement_of(body) for body in sorted(first, key=lambda body: first[body])]
            order = [one["version"] for one in versions if one["record_id"] == record]
            assert order == sorted(order), "told first in the order in which they were committed"
        for place, marker in enumerate(topic.told):
            if not isinstance(marker, bytes):
                late = [body for at, body in committed_at if at <= marker and first[body] > place]  # type: ignore[operator]
                assert late == [], "what was committed by then stands before the marker"
        assert topic.markers, "a drained outbox is vouched for"
        tax.engine.dispose()
