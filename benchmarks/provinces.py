"""`python -m benchmarks.provinces`: from a department's hand in Beijing to Shanxi's reports, at a steady rate.

Two provinces on this machine, each with one worker process, as `xinliu up --provinces` creates them. It publishes
statements to Beijing's topic and polls both databases for their visibility, and Shanxi's broker for the time at which
it appended them to its copy of Beijing's exchange. Only ratios of one run mean something; docs/performance.md keeps the
last run.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from bisect import bisect_right
from collections.abc import Sequence
from time import monotonic, sleep, time
from uuid import UUID

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.events import DEPARTMENT, statement
from deploy.deadline import wait_until
from deploy.local.provinces import Provinces
from schemas.contracts.codec import encode_own, frame
from schemas.contracts.registry import Registry
from schemas.exchange.topics import EXCHANGE_PARTITIONS, exchange_topic
from schemas.servers.connection import Connection

__all__ = ["main"]

_ORIGIN, _FAR = "beijing", "shanxi"
_LOOK = 0.005
_GIVE_UP = 120.0
_WARM = 5.0
"""Seconds of publishing at the rate before the measurement."""


class _View(threading.Thread):
    """Polls one province's view for its position in `accepted`; `seen` has the time of each record's first sight."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(daemon=True)
        self._database = connection.database.get_secret_value()
        self._reached: dict[int, list[tuple[int, float]]] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            while not self.ended.wait(_LOOK):
                rows = connection.execute(
                    "SELECT partition, next_offset FROM g1.position WHERE topic = 'accepted'"
                ).fetchall()
                now = time()
                for partition, next_offset in rows:
                    steps = self._reached.setdefault(partition, [])
                    if not steps or steps[-1][0] < next_offset:
                        steps.append((next_offset, now))

    @property
    def seen(self) -> dict[str, float]:
        with psycopg.connect(self._database) as connection:
            rows = connection.execute(
                "SELECT record_id, accepted_partition, min(accepted_offset) FROM g1.record_history GROUP BY 1, 2"
            ).fetchall()
        found = {}
        for record_id, partition, offset in rows:
            steps = self._reached.get(partition, [])
            place = bisect_right(steps, (offset, float("inf")))
            if place < len(steps):
                found[UUID(str(record_id)).hex] = steps[place][1]
        return found


class _Log(threading.Thread):
    """Reads Shanxi's copy of Beijing's exchange; `appended` has the broker's time of each record."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(connection.kafka.client({"group.id": "bench.provinces", "enable.auto.commit": False}))
        topic = exchange_topic(_ORIGIN)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(EXCHANGE_PARTITIONS)])
        self.appended: dict[str, float] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            message = self._consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            record_id = (message.key() or b"").split(b"|")[0].decode()
            self.appended.setdefault(record_id, message.timestamp()[1] / 1000)
        self._consumer.close()


def main() -> None:
    """Publish at a rate, and print percentiles in ms."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rate", type=float, default=500.0, help="statements a second")
    asked.add_argument("--seconds", type=float, default=20.0)
    options = asked.parse_args()
    provinces = Provinces((_ORIGIN, _FAR), prefix=f"bench-{os.getpid()}")
    try:
        connections = provinces.up()
        print(json.dumps(_measure(connections, options.rate, options.seconds), indent=1))
    finally:
        provinces.reset()


def _measure(connections: dict[str, Connection], rate: float, seconds: float) -> dict[str, object]:
    views = {name: _View(connection) for name, connection in connections.items()}
    log = _Log(connections[_FAR])
    threads: list[_View | _Log] = [*views.values(), log]
    for thread in threads:
        thread.start()
    with Registry(connections[_ORIGIN].registry) as registry:
        schema_id = registry.register("xinliu.Statement")
    _publish(connections[_ORIGIN], schema_id, range(int(rate * _WARM)), rate)
    first = int(rate * _WARM)
    handed = _publish(connections[_ORIGIN], schema_id, range(first, first + int(rate * seconds)), rate)

    def everywhere() -> bool:
        return all(handed.keys() <= found.keys() for found in (log.appended, *(view.seen for view in views.values())))

    arrived = wait_until(everywhere, seconds=_GIVE_UP, every=2.0)
    for thread in threads:
        thread.ended.set()
        thread.join(10)
    if not arrived:
        raise SystemExit(f"not everything arrived within {_GIVE_UP:.0f} s")
    return {
        "rate": rate,
        "statements": len(handed),
        "ms, p50 and p99": {
            f"visible in {_ORIGIN}": _percentiles(handed, views[_ORIGIN].seen),
            f"in {_FAR}'s copy of {exchange_topic(_ORIGIN)}": _percentiles(handed, log.appended),
            f"visible in {_FAR}": _percentiles(handed, views[_FAR].seen),
        },
        "load of the machine": os.getloadavg()[0],
    }


def _publish(connection: Connection, schema_id: int, numbers: Sequence[int], rate: float) -> dict[str, float]:
    producer = Producer(
        connection.kafka.client(
            {"acks": "all", "enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": 1}
        )
    )
    handed: dict[str, float] = {}
    begin = monotonic()
    for place, number in enumerate(numbers):
        while (early := begin + place / rate - monotonic()) > 0:
            producer.poll(0)
            sleep(early)
        one = statement(number)
        value = frame(schema_id, encode_own("xinliu.Statement", one))
        handed[one["record_id"]] = time()
        producer.produce(f"records.{DEPARTMENT}", value, one["subject"]["uscc"].encode())
    if producer.flush(60):
        raise SystemExit("the broker did not take everything")
    return handed


def _percentiles(handed: dict[str, float], seen: dict[str, float]) -> list[float]:
    waits = sorted((seen[record_id] - at) * 1000 for record_id, at in handed.items())
    return [round(waits[int(len(waits) * share)], 1) for share in (0.5, 0.99)]


if __name__ == "__main__":
    main()
