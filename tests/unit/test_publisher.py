"""The Publisher without a broker: what it refuses, and that nothing is lost in silence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from socket import socket
from typing import Any

import pytest

import producers.publisher
from producers import NotDelivered, Publisher, PublisherConfig, StatementRejected
from schemas.errors import Retryable

STATEMENT: dict[str, Any] = {
    "record_id": "0" * 32,
    "version": 1,
    "kind": "PENALTY",
    "status": "REVOKED",
    "reason": "REVOKED",
    "subject": {"uscc": "91110000101623741K", "name": "北京甲某商贸有限公司", "kind": "法人及非法人组织"},
    "province": "beijing",
    "domain": "tax",
    "department": "tax",
    "authority": "11110000M0001017XK",
    "stated_at": datetime(2025, 9, 1, tzinfo=UTC),
    "penalty": None,
    "listing": None,
}


class OneSchema:
    """Stands for the registry, which no test here is about."""

    def __init__(self, url: str) -> None:
        self.url = url

    def schema_id(self, name: str) -> int:
        return 1

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[PublisherConfig]:
    """A broker that takes connections and never answers."""
    monkeypatch.setattr(producers.publisher, "Registry", OneSchema)
    with socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen()
        yield PublisherConfig(f"127.0.0.1:{broker.getsockname()[1]}", "", "tax", queue_messages=2, timeout=1.0)


def changed(**changes: Any) -> dict[str, Any]:
    return {**STATEMENT, **changes}


@pytest.mark.parametrize(
    "statement",
    [
        changed(subject={**STATEMENT["subject"], "uscc": ""}),
        changed(subject={**STATEMENT["subject"], "uscc": "  "}),
        changed(subject={**STATEMENT["subject"], "uscc": "110101199003074514"}),
        changed(subject=None),
        changed(department="court"),
        changed(version="1"),
        changed(stated_at=datetime(2025, 9, 1)),
        changed(surplus=1),
        {},
    ],
    ids=[
        "no code",
        "blank code",
        "a person",
        "no subject",
        "another department",
        "text",
        "no zone",
        "surplus",
        "empty",
    ],
)
def test_what_is_no_statement_is_refused_before_it_is_sent(silent: PublisherConfig, statement: dict[str, Any]) -> None:
    with Publisher(silent) as publisher, pytest.raises(StatementRejected):
        publisher.publish(statement)
    assert publisher.published == 0


def test_a_full_queue_is_waited_for_and_then_told(silent: PublisherConfig) -> None:
    publisher = Publisher(silent)
    with pytest.raises(Retryable) as told:
        publisher.publish_many(STATEMENT for _ in range(5))
    # Else what was in the queue was given up at that very moment, and is told already.
    if not isinstance(told.value, NotDelivered):
        with pytest.raises(NotDelivered):
            publisher.flush()


def test_what_was_not_confirmed_is_raised_on_leaving(silent: PublisherConfig) -> None:
    with pytest.raises(NotDelivered, match="publish the same file again") as lost, Publisher(silent) as publisher:
        publisher.publish(STATEMENT)
    assert (lost.value.count, lost.value.exit_code) == (1, 3)


def test_an_error_on_the_way_stays_the_error(silent: PublisherConfig) -> None:
    with pytest.raises(KeyError, match="mine"), Publisher(silent) as publisher:
        publisher.publish(STATEMENT)
        raise KeyError("mine")


def test_too_large_a_statement_is_refused(silent: PublisherConfig) -> None:
    with Publisher(silent, track=True) as publisher, pytest.raises(StatementRejected, match="bytes"):
        publisher.publish(changed(reason="x" * 2_000_000))
    assert publisher.published == 0
    assert [len(places) for places in (*publisher.offsets, publisher.received)] == [0, 0, 0]


def test_the_topic_follows_from_the_department() -> None:
    assert PublisherConfig("", "", "tax").topic == "records.tax"
