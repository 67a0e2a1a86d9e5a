"""Generations for tests: another one beside the one that serves, filled by plainly catching it up, as a replay that is done."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import psycopg
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from schemas.contracts.codec import HEADER, decode, encode, unframe
from schemas.contracts.registry import Registry
from schemas.operations.log import OperationsWriter
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.generations import create, set_state
from streams.kafka.ranges import Logs
from streams.kafka.scope import ReplayScope
from streams.replay.generations.catch_up import CatchUp
from streams.replay.plan.ledger import Ledger
from tests.statements import Statement, framed, penalty

__all__ = ["Flow", "owner", "rebuilt", "receipts", "serving"]

BY = "tester@here"


def owner(connection: Connection) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection as the owner, in autocommit."""
    return connect(connection.database.get_secret_value(), autocommit=True)


def serving(connection: Connection) -> int:
    """Return which generation serves."""
    with owner(connection) as store:
        row = store.execute("SELECT generation FROM xinliu.serving").fetchone()
    assert row is not None
    return int(str(row[0]))


def rebuilt(connection: Connection) -> tuple[str, int]:
    """Make a generation that holds what the logs hold now; return the replay, done, and its number."""
    with owner(connection) as store, Registry(connection.registry) as registry:
        ledger = Ledger(store, OperationsWriter(connection.kafka, registry), by=BY)
        replay = ledger.plan("REBUILD", ReplayScope(), "a test", {})
        generation = create(store, replay=replay).number
        ledger.step("REPLAY_RUNNING", replay, "a test", generation=generation)
        with CatchUp(connection, generation) as catching:
            catching.to()
        set_state(store, generation, "READY")
        ledger.step("REPLAY_DONE", replay, "a test", generation=generation)
    return replay, generation


class Flow:
    """Departments that go on publishing, in a thread of its own: new penalties, and now and then one that is refused."""

    def __init__(self, connection: Connection, *, first: int = 100_000, every: float = 0.05) -> None:
        self._connection, self._every, self._next = connection, every, first
        self._first = first
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow", daemon=True)
        self.good: list[str] = []
        """Document numbers of what was said."""
        self.refused: list[tuple[int, int]] = []
        """Places of what must be refused: partition, offset."""

    def __enter__(self) -> Flow:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(60)

    def _run(self) -> None:
        (first,) = framed(self._connection, [penalty("0")])
        prefix = first[:HEADER]
        producer = Producer(self._connection.kafka.client({"acks": "all", "linger.ms": 5}))

        def say(statement: Statement, **told: Any) -> None:
            producer.produce("records.tax", prefix + encode("xinliu.Statement", statement), **told)

        def refused(_: object, message: Message) -> None:
            self.refused.append((message.partition() or 0, message.offset() or 0))

        while not self._stopped.wait(self._every):
            numbers = [f"流{self._next + n}" for n in range(5)]
            for n, number in enumerate(numbers):
                say(penalty(number, entity=900 + n))
            if self._next % 25 == 0:
                say({**penalty(f"误{self._next}", entity=950), "domain": "nothing"}, on_delivery=refused)
            assert producer.flush(60) == 0
            self.good += numbers
            self._next += 5


def receipts(connection: Connection, department: str) -> Counter[tuple[int, int]]:
    """Return how often each message of a department was named in its receipts: partition, offset → times."""
    found: Counter[tuple[int, int]] = Counter()
    logs = Logs(connection.kafka)
    topic = f"receipts.{department}"
    places = [(topic, p) for p in range(logs.describe([topic])[topic].partitions)]
    consumer = Consumer(connection.kafka.reader("operator", "test", {"enable.partition.eof": True}))
    consumer.assign([TopicPartition(*place, 0) for place in places])
    left = len(places)
    with Registry(connection.registry) as registry:
        while left:
            message = consumer.poll(10.0)
            assert message is not None
            if message.error() is not None:
                left -= 1
                continue
            schema_id, body = unframe(message.value() or b"")
            told = decode(registry.writer(schema_id).parsed, body)
            found.update((one["partition"], one["offset"]) for one in told["exceptions"])
    consumer.close()
    return found
