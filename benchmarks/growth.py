"""Cost of a statement as the tables grow: the view alone on events straight from `accepted`, stretch by stretch.

`python -m benchmarks.growth --events 3000000 [--set shared_buffers=2GB …]`. For each stretch it reports CPU seconds of
the worker and of PostgreSQL, pages read into its buffers and written out of them, full pages and bytes of WAL. Other
work on the machine hardly changes CPU time; it does change the rate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import sleep
from typing import Any

import psycopg
from confluent_kafka import Producer

from benchmarks.events import events
from benchmarks.publisher import as_intake
from benchmarks.rig import Contender, Gauge, Rig, cpu_of_tree
from deploy.local import postgres

__all__ = ["fill_accepted", "main"]

_MARKS = (100_000, 300_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000, 10_000_000)
_PORTION = 20_000
_COUNTERS = """
SELECT w.wal_fpi, w.wal_bytes, sum(i.reads), sum(i.writes)
FROM pg_stat_wal w CROSS JOIN pg_stat_io i GROUP BY w.wal_fpi, w.wal_bytes
"""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The view's progress, the time, and the cost up to then."""

    at: float
    total: int
    worker: float
    database: float
    counters: tuple[float, ...]
    """Full pages and bytes of WAL, pages read and written."""


def fill_accepted(rig: Rig, count: int, *, first: int = 0) -> None:
    """Write `count` events to accepted as intake would; `first` counts records, for several portions."""
    settings = {"bootstrap.servers": rig.connection.kafka.servers, "acks": "all", "enable.idempotence": True}
    settings |= {"partitioner": "murmur2_random", "compression.type": "lz4", "linger.ms": 20}
    producer = Producer(settings | {"queue.buffering.max.messages": 1_000_000})
    told = events(rig.schema_id, count, first=first)
    while portion := list(islice(told, _PORTION)):
        for message in as_intake(portion, 4):
            while True:
                try:
                    producer.produce("accepted", **message)
                    break
                except BufferError:
                    producer.poll(0.1)
    if producer.flush(120):
        raise RuntimeError("the broker did not take everything")


def _samples(rig: Rig, count: int) -> Iterator[_Sample]:
    database = rig.database("bench_growth")
    view = Contender("view", ([sys.executable, "-m", "xinliu", "worker", "view"],))
    owner = rig.stack.postgres.conninfo("postgres", "postgres")
    with psycopg.connect(owner, autocommit=True) as asking, rig.started(view, database) as pids:
        gauge = Gauge(database)
        try:
            for mark in (1, *(mark for mark in _MARKS if mark <= count)):
                while gauge.total < mark:
                    sleep(0.05)
                at, total = gauge.last
                row: Sequence[Any] = asking.execute(_COUNTERS).fetchone() or ()
                counters = tuple(float(number or 0) for number in row)
                yield _Sample(at, total, cpu_of_tree(pids), rig.cpu_of_postgres(), counters)
        finally:
            gauge.stop()


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--events", type=int, default=1_000_000)
    asked.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of PostgreSQL")
    options = asked.parse_args(words)
    postgres.SETTINGS.update(dict(setting.split("=", 1) for setting in options.set))
    print(
        "up to events  events/s | µs an event: worker  database | an event: WAL bytes  full pages  pages read  written"
    )
    with Rig.running() as rig:
        fill_accepted(rig, options.events)
        before: _Sample | None = None
        for now in _samples(rig, options.events):
            if before is not None:
                done = now.total - before.total
                pages, size, read, written = (
                    (after - earlier) / done for after, earlier in zip(now.counters, before.counters, strict=True)
                )
                rate = done / (now.at - before.at)
                costs = [(now.worker - before.worker) * 1e6 / done, (now.database - before.database) * 1e6 / done]
                print(
                    f"{now.total:>12,} {rate:>9,.0f} | {costs[0]:>19.1f} {costs[1]:>9.1f} |"
                    f" {size:>19,.0f} {pages:>11.2f} {read:>11.2f} {written:>8.2f}",
                    flush=True,
                )
            before = now
    return 0


if __name__ == "__main__":
    sys.exit(main())
