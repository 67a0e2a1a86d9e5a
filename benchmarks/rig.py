"""The benchmarks' rig: a local stack of its own, a database for each contender, and gauges that read from outside.

It uses no figure that a contender reports itself: its progress is in the table `position`, which every contender writes
in the transaction of its rows, and its cost is in /proc.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep, time
from typing import Any

import psutil
import psycopg
from confluent_kafka import Consumer, TopicPartition

from deploy.deadline import wait_until
from deploy.local.layout import ANY_PORTS
from deploy.local.stack import Stack
from schemas import catalogue
from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection
from schemas.store.database import connect, migrate
from streams.kafka.ranges import Logs
from streams.projection.positions import PROJECTED, load_catalogue, prepare

__all__ = ["RECORDS", "Contender", "Gauge", "Rig", "cpu_of_tree", "fold_of", "servers"]

_FINE, _COARSE = 0.003, 0.03
"""Seconds between two queries of the positions: for latencies, and for rates only."""

RECORDS = "records.tax"


@dataclass(frozen=True)
class Contender:
    """A contender: its processes, by their command lines, and the topic of its input."""

    name: str
    commands: Sequence[Sequence[str]]
    topic: str = "accepted"
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def servers(name: str) -> Iterator[tuple[Stack, Connection]]:
    """Run Beijing's servers as the stack `bench-<name>`, from empty data, without workers; delete all afterwards."""
    stack = Stack(f"bench-{name}")
    if stack.layout.folder.exists():
        stack.reset()
    try:
        yield stack, stack.up(province="beijing", base_port=ANY_PORTS, workers=False)
    finally:
        if stack.layout.folder.exists():
            stack.reset()


def cpu_of_tree(pids: Sequence[int]) -> float:
    """Return the CPU seconds of these processes and of all their descendants, ended ones too."""
    seconds = 0.0
    for pid in pids:
        try:
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for process in tree:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


class Gauge:
    """Polls the positions of `accepted` in a thread, and keeps every change: time, partition, offset."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._done = threading.Event()
        self.pause = _COARSE
        self.changes: dict[int, tuple[list[float], list[int]]] = {}
        """By partition: times, and the next offset since then."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        with connect(self._database, generation=1, autocommit=True) as store:
            while not self._done.is_set():
                rows = store.execute("SELECT partition, next_offset FROM position WHERE topic = 'accepted'").fetchall()
                now = time()
                for partition, offset in rows:
                    times, offsets = self.changes.setdefault(int(str(partition)), ([], []))
                    if not offsets or offsets[-1] != offset:
                        times.append(now)
                        offsets.append(int(str(offset)))
                sleep(self.pause)

    def stop(self) -> None:
        """End it."""
        self._done.set()
        self._thread.join()

    @contextmanager
    def finely(self) -> Iterator[None]:
        """Poll often, for latencies."""
        self.pause = _FINE
        try:
            yield
        finally:
            self.pause = _COARSE

    @property
    def total(self) -> int:
        """The sum of all positions now."""
        return self.last[1]

    @property
    def last(self) -> tuple[float, int]:
        """When a position last moved, and the sum of all positions since then."""
        known = [(times[-1], offsets[-1]) for times, offsets in list(self.changes.values()) if offsets]
        return max((at for at, _ in known), default=0.0), sum(offset for _, offset in known)

    def reached(self, partition: int, offset: int) -> float | None:
        """Return when the position of a partition had passed this offset; None if it has not."""
        times, offsets = self.changes[partition]
        place = bisect_right(offsets, offset)
        return times[place] if place < len(times) else None


class Rig:
    """A running stack without workers."""

    def __init__(self, stack: Stack, connection: Connection, folder: Path) -> None:
        self.stack, self.connection, self.folder = stack, connection, folder
        self.logs = Logs(connection.kafka)
        self._asking = Consumer(connection.kafka.client({"group.id": "benchmark"}))
        self._partitions: dict[str, list[int]] = {}
        with Registry(connection.registry) as registry:
            self.schema_id = registry.register("xinliu.Statement")

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Rig]:
        """Start the stack `bench` from empty data, and delete everything afterwards."""
        with servers(str(os.getpid())) as (stack, connection):
            rig = cls(stack, connection, Path(tempfile.mkdtemp(prefix="xinliu-bench-")))
            try:
                yield rig
            finally:
                rig._asking.close()

    def database(self, name: str) -> str:
        """Create an empty database with all tables and with positions at the logs' beginnings. Return its address."""
        postgres = self.stack.postgres
        with psycopg.connect(postgres.conninfo("postgres", "postgres"), autocommit=True) as owner:
            owner.execute(f"CREATE DATABASE {name} OWNER xinliu")
            owner.execute("CHECKPOINT")
        database = postgres.conninfo("xinliu", name)
        migrate(database)
        known = catalogue.load()
        sources = known.departments(self.connection.province)
        facts = self.logs.describe([*PROJECTED, *(source.records_topic for source in sources)])
        with connect(database, generation=1, autocommit=True) as store:
            load_catalogue(store, known, self.connection.province)
            prepare(store, facts, {source.key: facts[source.records_topic] for source in sources})
        return database

    def drop(self, name: str) -> None:
        """Drop a database, so that the next contender does not pay for PostgreSQL's clean-up of it."""
        with psycopg.connect(self.stack.postgres.conninfo("postgres", "postgres"), autocommit=True) as owner:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
            owner.execute("CHECKPOINT")

    def cpu_of_postgres(self) -> float:
        """Return the CPU seconds of the database server; the postmaster's account includes ended children."""
        pid = next(server.pid for server in self.stack.status() if server.name == "postgres")
        return cpu_of_tree([pid] if pid else [])

    def cpu_of_kafka(self) -> float:
        """Return the CPU seconds of the broker."""
        pid = next(server.pid for server in self.stack.status() if server.name == "kafka")
        return cpu_of_tree([pid] if pid else [])

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end of each partition of a topic."""
        if topic not in self._partitions:
            self._partitions[topic] = list(self._asking.list_topics(topic, timeout=15).topics[topic].partitions)
        return {
            p: self._asking.get_watermark_offsets(TopicPartition(topic, p), timeout=15)[1]
            for p in self._partitions[topic]
        }

    def publish(self, topic: str, *words: str, out: Path | None = None) -> list[tuple[int, int, float]]:
        """Publish in a process of its own (benchmarks.publisher). Return partition, offset and time of each event."""
        command = [sys.executable, "-m", "benchmarks.publisher", "--kafka", self.connection.kafka.servers]
        command += ["--topic", topic, "--schema-id", str(self.schema_id), *words]
        subprocess.run([*command, *(["--out", str(out)] if out else [])], check=True)
        return [tuple(one) for one in json.loads(out.read_text())] if out else []

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment that connects the command to these servers and this database."""
        return {
            **os.environ,
            "XINLIU_PROVINCE": self.connection.province,
            "XINLIU_KAFKA": self.connection.kafka.servers,
            "XINLIU_REGISTRY": self.connection.registry.url,
            "XINLIU_DATABASE": database,
            "XINLIU_APPROVAL": "false",
        }

    @contextmanager
    def started(self, contender: Contender, database: str) -> Iterator[list[int]]:
        """Run a contender's processes; yield their pids. Raises RuntimeError, with the log, if one ended by itself."""
        known = self.environment(database)
        running: list[tuple[subprocess.Popen[bytes], Path]] = []
        for number, command in enumerate(contender.commands):
            log = self.folder / f"{contender.name.replace(' ', '-').replace('/', '-')}-{number}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    command,
                    env={**known, **contender.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            running.append((process, log))
        try:
            yield [process.pid for process, _ in running]
            for process, log in running:
                if process.poll() is not None:
                    raise RuntimeError(f"{contender.name} ended by itself:\n{log.read_text()[-3000:]}")
        finally:
            for process, _ in running:
                process.terminate()
            for process, _ in running:
                if not wait_until(lambda p=process: p.poll() is not None, seconds=30):  # type: ignore[misc]
                    process.kill()
                    process.wait()


def fold_of(database: str, sample: int) -> dict[str, Any]:
    """Return hashes of a contender's rows for the records of the first `sample` offsets of each partition.

    Times and positions are ignored. `differing` counts entities whose summary is not the sum of their records.
    """
    with connect(database, generation=1, autocommit=True) as store:
        store.execute("SET work_mem = '256MB'")
        record = store.execute(
            "SELECT count(*), bit_xor(hashtextextended((to_jsonb(r) - 'known_at')::text, 0)) FROM record r"
            " WHERE record_id IN (SELECT record_id FROM record_history WHERE accepted_offset < %s)",
            (sample,),
        ).fetchone()
        history = store.execute(
            "SELECT count(*), bit_xor(hashtextextended(concat(record_id, version, digest_hi, digest_lo, statement), 0))"
            " FROM (SELECT DISTINCT record_id, version, digest_hi, digest_lo, statement"
            " FROM record_history WHERE accepted_offset < %s)",
            (sample,),
        ).fetchone()
        summaries = store.execute(
            "SELECT count(*) FROM (SELECT uscc, province, domain, count(*), bit_xor(digest_hi), bit_xor(digest_lo) FROM record"
            " GROUP BY uscc, province, domain EXCEPT SELECT uscc, province, domain, records, digest_hi, digest_lo FROM credit_view)"
        ).fetchone()
    return {"record": record, "record_history": history, "differing": summaries}
