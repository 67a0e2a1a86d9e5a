"""Cost of one department's worst behaviour for its neighbours: `python -m benchmarks.behaviours`.

On a secure stack of its own, with its workers, one department behaves in each of these ways, under its own identity, as
fast as its quota and `--rate` allow, while others publish single records. For each behaviour it prints the time from
the producer's hand until a neighbour's record could be read, what happened to the department, and how much of its junk
was stored. Each behaviour uses another department, so that a stop caused by one does not delay another.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import count, cycle, islice
from multiprocessing import get_context
from typing import Any

from confluent_kafka import KafkaException, Producer

from benchmarks.events import statement
from deploy.local.layout import ANY_PORTS
from deploy.local.stack import Stack
from schemas.catalogue import load
from schemas.contracts.codec import encode, encode_own, frame
from schemas.contracts.registry import Registry
from schemas.identifiers.uscc import generate
from schemas.operations.log import OperationsReader
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.intake.stops import STOPPED

__all__ = ["BEHAVIOURS", "main"]

NAME = "xinliu.Statement"
_LINE = (
    "{behaviour:<34} neighbours' {rows:>4} rows: p50 {p50_ms:>6,} ms, p99 {p99_ms:>6,} ms, longest {longest_ms:>6,} ms; it wrote {written:>7,}"
    " in {seconds:.0f} s, {stopped}; {entries:,} entries of {kept_kb:,} kB"
)
_WAIT = 120.0
_FIRST_OFFENDER = 10
_ENTITY = 600_000


@dataclass(frozen=True)
class Department:
    """A publishing department, and the ids of the contracts in the registry."""

    key: str
    connection: Connection
    statement_id: int
    marker_id: int

    def row(self, number: int, *, entity: int | None = None, version: int = 1, **content: Any) -> dict[str, Any]:
        """Return a good statement of this department."""
        source = load().department("beijing", self.key)
        authority, name = source.authorities[0]
        said = statement(4 * number + 1)
        said |= {
            "record_id": blake2b(f"{self.key} {number}".encode(), digest_size=16).hexdigest(),
            "version": 1_700_000_000_000 + version,
            "domain": source.domains[0],
            "department": self.key,
            "authority": authority,
        }
        said["subject"] = {**said["subject"], "uscc": generate(_ENTITY + (number if entity is None else entity))}
        said["penalty"] |= {"authority_name": name, "source_unit": name, "source_unit_code": authority, **content}
        return said

    def framed(self, said: dict[str, Any]) -> bytes:
        """Return the message of a statement."""
        return frame(self.statement_id, encode_own(NAME, said))

    def producer(self, **settings: Any) -> Producer:
        """Return a client of its own."""
        plain = {"linger.ms": 5, "message.max.bytes": 8 << 20, "log_level": 0, "compression.type": "zstd"}
        return Producer(self.connection.kafka.client({**plain, **settings}))


Values = Iterator[bytes | None]


def _unknown_ids(_: Department) -> Values:
    chance = random.Random(1)
    return (frame(chance.randrange(2**32), b"junk") for _ in count())


def _mixed(one: Department) -> Values:
    chance, good = random.Random(2), one.framed(one.row(1))
    return (frame(chance.randrange(2**31), b"junk") if n % 5 < 2 else good for n in count())


def _huge(_: Department) -> Values:
    return cycle([random.Random(n).randbytes(1_000_000) for n in range(8)])


def _damaged(one: Department) -> Values:
    whole = one.framed(one.row(2))
    chance = random.Random(3)
    return (whole[: 5 + chance.randrange(len(whole) - 5)] for _ in count())


def _control(one: Department) -> Values:
    return cycle([one.framed(one.row(n, facts=f"\x1b[2J\x07{n}")) for n in range(500)])


def _hammered(one: Department) -> Values:
    return (one.framed(one.row(3, version=n)) for n in count(1))


def _equal(one: Department, rows: int = 12_000) -> Values:
    content: dict[str, Any] = {"facts": "成立后无正当理由超过六个月未开业", "decided_on": date(2026, 1, 5)}
    return iter([one.framed(one.row(n, **content)) for n in range(rows)])


def _repeated(one: Department) -> Values:
    return cycle([one.framed(one.row(n)) for n in range(100)])


def _markers(one: Department) -> Values:
    said = {"department": one.key, "marker_id": "0" * 32, "as_of": datetime.now(UTC)}
    return cycle([frame(one.marker_id, encode("xinliu.Marker", said))])


def _written(make: Callable[[Department], Values]) -> Callable[[Department, float, float], int]:
    def write(one: Department, seconds: float, rate: float) -> int:
        values, producer, began, sent = make(one), one.producer(), time.monotonic(), 0
        while (spent := time.monotonic() - began) < seconds:
            some = list(islice(values, max(1, min(500, int(rate * spent) - sent))))
            if not some:
                break
            for value in some:
                while True:
                    try:
                        producer.produce(f"records.{one.key}", value, key=str(sent % 97).encode())
                        break
                    except BufferError:
                        producer.poll(0.05)
                        if time.monotonic() - began > seconds:
                            break
                sent += 1
            producer.poll(0.001 if rate * (time.monotonic() - began) > sent else 0.02)
        producer.purge()
        producer.flush(10)
        return sent

    return write


def _transactions(one: Department, seconds: float, rate: float) -> int:
    """Begin transactions and leave them open, each with records in every partition."""
    began, good, held = time.monotonic(), one.framed(one.row(5)), list[Producer]()
    while time.monotonic() - began < seconds:
        if len(held) < 40:
            producer = one.producer(**{"transactional.id": f"department-{one.key}.{len(held)}"})
            producer.init_transactions(10)
            producer.begin_transaction()
            held.append(producer)
        for producer in held[-3:]:
            producer.produce(f"records.{one.key}", good)
            producer.poll(0.05)
    return len(held)


def _reconnecting(one: Department, seconds: float, rate: float) -> int:
    """Connect and authenticate again and again, eight at a time."""
    began, times = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        clients = [one.producer() for _ in range(8)]
        for client in clients:
            try:
                client.list_topics(f"records.{one.key}", timeout=5)
                times += 1
            except KafkaException:
                continue  # not let in: the measured case
    return times


BEHAVIOURS: dict[str, Callable[[Department, float, float], int]] = {
    "nothing at all": lambda one, seconds, rate: time.sleep(seconds) or 0,  # type: ignore[func-returns-value]
    "unknown schema ids at random": _written(_unknown_ids),
    "junk mixed 2:3 with good ones": _written(_mixed),
    "messages of a megabyte": _written(_huge),
    "empty values": _written(lambda _: cycle([None, b""])),
    "damaged Avro": _written(_damaged),
    "control characters": _written(_control),
    "one key hammered": _written(_hammered),
    "12,000 equal contents": _written(_equal),
    "open transactions": _transactions,
    "a storm of connections": _reconnecting,
    "the same versions again and again": _written(_repeated),
    "a flood of markers": _written(_markers),
}
MASS = "70,000 rows of one mass decision"


def _offend(name: str, one: Department, seconds: float, rate: float, told: Any) -> None:
    behave = _written(lambda d: _equal(d, 70_000)) if name == MASS else BEHAVIOURS[name]
    told.put(behave(one, seconds, rate))


@dataclass
class Neighbours:
    """Departments that publish one record each in turn; when the producer took each record and when it was readable."""

    departments: Sequence[Department]
    database: str
    every: float
    handed: dict[str, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(int(time.time()) % 1_000_000 * 100))

    def publish_until(self, done: Callable[[], bool]) -> None:
        """Publish and look until `done` returns true and every published record can be read."""
        producers = {one.key: one.producer(**{"linger.ms": 0}) for one in self.departments}
        turn, due = cycle(self.departments), time.monotonic()
        with connect(self.database, autocommit=True) as store:
            deadline = None
            while self.handed or not done():
                now = time.monotonic()
                if not done() and now >= due:
                    one, due = next(turn), due + self.every
                    said = one.row(next(self._numbers))
                    producers[one.key].produce(
                        f"records.{one.key}", one.framed(said), key=said["subject"]["uscc"].encode()
                    )
                    self.handed[said["record_id"]] = now
                for producer in producers.values():
                    producer.poll(0)
                ids = list(self.handed)
                found = store.execute(
                    "SELECT record_id::text FROM record WHERE record_id = ANY(%s::uuid[])", (ids,)
                ).fetchall()
                now = time.monotonic()
                for (known,) in found:
                    self.took.append(now - self.handed.pop(str(known).replace("-", "")))
                if done() and deadline is None:
                    deadline = now + _WAIT
                if deadline is not None and now > deadline:
                    self.took += [now - at for at in self.handed.values()]
                    return
                time.sleep(0.02)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 if a neighbour's record took longer than `--most`."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--only", nargs="+", default=[*BEHAVIOURS, MASS], choices=[*BEHAVIOURS, MASS], metavar="BEHAVIOUR"
    )
    asked.add_argument("--seconds", type=float, default=15, help="for how long each goes on")
    asked.add_argument("--rate", type=float, default=5_000, help="messages a second that it writes, at most")
    asked.add_argument("--every", type=float, default=0.25, help="seconds between two records of neighbours")
    asked.add_argument("--most", type=float, default=2.0, help="seconds until a neighbour's record must be readable")
    asked.add_argument("--stack", help="a secure stack that is at hand, instead of one of its own")
    asked.add_argument("--json", action="store_true", help="for machines")
    options = asked.parse_args(words)
    with _stack(options.stack) as connection:
        everybody = _departments(connection)
        _warm(everybody[:3], connection)
        longest = 0.0
        for place, name in enumerate(options.only):
            offender = everybody[(_FIRST_OFFENDER + place) % len(everybody)]
            others = [one for one in everybody if one.key != offender.key]
            found = _measured(name, offender, others if name == MASS else others[:3], connection, options)
            longest = max(longest, found["longest_ms"] / 1000)
            print(json.dumps(found, ensure_ascii=False) if options.json else _LINE.format(**found), flush=True)
    return 0 if longest <= options.most else 1


@contextmanager
def _stack(name: str | None) -> Iterator[Connection]:
    if name is not None:
        yield Stack(name).connection()
        return
    stack = Stack(f"bench-behaviours-{os.getpid()}")
    try:
        yield stack.up(province="beijing", base_port=ANY_PORTS, secure=True)
    finally:
        if stack.layout.folder.exists():
            stack.reset()


def _departments(connection: Connection) -> list[Department]:
    with Registry(connection.registry) as registry:
        ids = registry.schema_id(NAME), registry.schema_id("xinliu.Marker")
    return [
        Department(one.key, connection.acting(f"department-{one.key}"), *ids)
        for one in load().departments("beijing")
        if one.domains and one.authorities
    ]


def _warm(some: Sequence[Department], connection: Connection) -> None:
    # The first records of a new stack wait for compilers and query plans, not for a neighbour.
    end = time.monotonic() + 10
    Neighbours(some, connection.database.get_secret_value(), 0.2).publish_until(lambda: time.monotonic() > end)


def _measured(
    name: str, offender: Department, others: Sequence[Department], connection: Connection, options: argparse.Namespace
) -> dict[str, Any]:
    context = get_context("spawn")
    told = context.Queue()
    seconds = 120.0 if name == MASS else options.seconds
    rate = 50_000 if name == MASS else options.rate
    process = context.Process(target=_offend, args=(name, offender, seconds, rate, told))
    neighbours = Neighbours(others, connection.database.get_secret_value(), options.every / (3 if name == MASS else 1))
    before = _kept(connection, offender.key)
    process.start()
    began = time.monotonic()
    neighbours.publish_until(lambda: not process.is_alive())
    spent = time.monotonic() - began
    process.join()
    took = sorted(neighbours.took)
    entries, kept = (now - then for now, then in zip(_kept(connection, offender.key), before, strict=True))
    return {
        "behaviour": name,
        "department": offender.key,
        "rows": len(took),
        "p50_ms": round(took[len(took) // 2] * 1000),
        "p99_ms": round(took[min(len(took) - 1, len(took) * 99 // 100)] * 1000),
        "longest_ms": round(took[-1] * 1000),
        "written": told.get(timeout=5),
        "seconds": spent,
        "stopped": _stopped(connection, offender.key),
        "entries": entries,
        "kept_kb": round(kept / 1000),
    }


def _kept(connection: Connection, key: str) -> tuple[int, int]:
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        query = "SELECT count(*), COALESCE(sum(length(value)), 0)::bigint FROM quarantine WHERE department = %s"
        row = store.execute(query, (key,)).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def _stopped(connection: Connection, key: str) -> str:
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        try:
            stops = [event.reason for event in reader.held() if event.kind == STOPPED and event.department == key]
        finally:
            reader.close()
    return f"stopped ({stops[-1]})" if stops else "not stopped"


if __name__ == "__main__":
    sys.exit(main())
