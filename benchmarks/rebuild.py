"""Cost of a rebuild, and of its floors: the same rows, in one run, one after the other.

`python -m benchmarks.rebuild --events 1000000 [--marks 100000 …] [--live 1000 [--only-live]]`. Raw consume: a bare
client that reads `accepted` and does nothing with it. Raw COPY, then index: the very rows that a rebuild copies,
encoded beforehand, through one connection into `record` and `record_history` without indexes, which are created
afterwards. The rebuild: the command, at full speed, with one process and with two, from start to READY; and Quix
Streams, if its environment exists (`make bench` creates it). It reports events a second, and CPU seconds a million
events of client, database and broker: other work on the machine hardly changes those. With --live: how long events
published meanwhile take to be visible, without a rebuild and with one that is throttled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import polars as pl
import psutil
from confluent_kafka import Consumer, TopicPartition
from pgpq import ArrowToPostgresBinaryEncoder

from benchmarks.bench import QUIX, at_a_steady_rate
from benchmarks.growth import fill_accepted
from benchmarks.rig import Contender, Gauge, Rig, cpu_of_tree
from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.store.database import connect
from schemas.store.generations import create
from schemas.store.sql_files import sql
from streams.kafka.partition_reader import PartitionReader
from streams.projection.columns import HISTORY, RECORD
from streams.replay.rebuild.lane import once
from streams.view.stage import ViewStage

__all__ = ["Measured", "main", "measure", "table"]

_DATABASE = "bench_rebuild"
_FIRST_PACED = 50_000_000
"""Paced events are about other records than those before."""


@dataclass
class Measured:
    """Results of one contender: seconds, CPU seconds of itself, database and broker, MiB at most."""

    name: str
    events: int
    seconds: float
    client: float
    database: float
    broker: float
    memory: float = 0.0
    stretches: dict[str, dict[str, float]] = field(default_factory=dict)
    """Start, filling and rest of a rebuild: seconds, and CPU seconds of client, database and broker."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    def per_event(self, of: str) -> float:
        """CPU microseconds an event: of client, database, broker or (all) of the three."""
        spent = self.client + self.database + self.broker if of == "all" else float(getattr(self, of))
        return spent * 1e6 / self.events


class _Meter:
    """Counts time and CPU from its creation on."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._own = psutil.Process()
        self._begin = self.sample()

    @property
    def begin(self) -> float:
        """When it began."""
        return self._begin[0]

    def sample(self, child: int | None = None) -> tuple[float, ...]:
        """Return the time, and the CPU seconds so far: of this process and its children, or of one child alone."""
        times = self._own.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        spent = own if child is None else cpu_of_tree([child])
        return monotonic(), spent, self._rig.cpu_of_postgres(), self._rig.cpu_of_kafka()

    def measured(self, name: str, events: int, **more: Any) -> Measured:
        """Return the cost up to now."""
        seconds, client, database, broker = (
            after - before for after, before in zip(self.sample(), self._begin, strict=True)
        )
        return Measured(name, events, seconds, client, database, broker, **more)


def raw_consume(rig: Rig) -> Measured:
    """Read all of accepted with a bare client."""
    ends = rig.ends("accepted")
    settings = {"enable.auto.commit": False, "queued.min.messages": 200_000, "auto.offset.reset": "error"}
    consumer = Consumer(rig.connection.kafka.client({"group.id": "benchmark", **settings}))
    meter = _Meter(rig)
    consumer.assign([TopicPartition("accepted", partition, 0) for partition in ends])
    read, size = 0, 0
    while read < sum(ends.values()):
        for message in consumer.consume(10_000, 0.2):
            value = message.value()
            read += 1
            size += len(value) if isinstance(value, bytes) else 0
    measured = meter.measured("raw consume", read)
    consumer.close()
    return measured


def _encoded(rig: Rig, database: str, folder: Path) -> list[tuple[str, str, Path]]:
    """Encode the rows of a rebuild, batch by batch, into files: table, columns, file."""
    facts = rig.logs.describe(["accepted", "quarantine"])
    files: list[tuple[str, str, Path]] = []
    with Registry(rig.connection.registry) as registry:
        stage = ViewStage(database, registry, facts, generation=1)
        for partition, end in rig.ends("accepted").items():
            reader = PartitionReader(rig.connection.kafka, "accepted", partition, principal="bench")
            with closing(reader):
                for run in reader.runs(0, end):
                    frame = stage.prepare([run]).frame
                    assert frame is not None
                    for name, part, columns in (
                        ("record", frame.filter("newest"), RECORD),
                        ("record_history", once(frame), HISTORY),
                    ):
                        file = folder / str(len(files))
                        file.write_bytes(_binary(part.select(columns)))
                        files.append((name, ", ".join(f'"{column}"' for column in columns), file))
    return files


def _binary(frame: pl.DataFrame) -> bytes:
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = ArrowToPostgresBinaryEncoder(arrow.schema)
    return b"".join(
        [encoder.write_header(), *(encoder.write_batch(batch) for batch in arrow.to_batches()), encoder.finish()]
    )


def raw_copy(rig: Rig, database: str) -> Measured:
    """Copy the same rows through one connection, then create the indexes."""
    with tempfile.TemporaryDirectory(prefix="xinliu-rows-") as folder:
        files = _encoded(rig, database, Path(folder))
        with connect(database, autocommit=True) as owner:
            made = create(owner)
        with connect(database, generation=made.number, autocommit=True) as store:
            store.execute(sql("replay/rebuild/scratch"))
            # The indexes need each record once; the choice is the rebuild's work.
            store.execute(
                "UPDATE rebuild_index SET statement = 'CREATE INDEX record_pkey ON record (record_id, province, department)'"
                " WHERE statement LIKE 'ALTER%'"
            )
            meter = _Meter(rig)
            for name, columns, file in files:
                with store.cursor().copy(f"COPY {name} ({columns}) FROM STDIN (FORMAT binary)") as copy:
                    copy.write(file.read_bytes())
            copied = meter.measured("", 1).seconds
            store.execute("SET maintenance_work_mem = '256MB'")
            for (statement,) in store.execute("SELECT statement FROM rebuild_index ORDER BY place").fetchall():
                store.execute(str(statement))
            measured = meter.measured("raw COPY, then index", sum(rig.ends("accepted").values()))
            measured.stretches = {"copy": {"seconds": round(copied, 2)}}
            store.execute(f"DROP SCHEMA g{made.number} CASCADE")
    return measured


def rebuilt(rig: Rig, database: str, *words: str, name: str, full_speed: bool = True) -> Measured:
    """Run the command."""
    command = [sys.executable, "-m", "xinliu", "replay", "rebuild", "--reason", "a benchmark", "--json", *words]
    command += ["--full-speed"] if full_speed else []
    meter = _Meter(rig)
    most, last, begun, now = 0.0, dict[str, Any](), "start", (*meter.sample()[:1], 0.0, *meter.sample()[2:])
    stretches: dict[str, dict[str, float]] = {}
    with subprocess.Popen(command, env=rig.environment(database), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def ends(stretch: str) -> None:
            nonlocal begun, now
            before, now = now, meter.sample(process.pid)
            names = ("seconds", "client", "database", "broker")
            stretches[begun] = {n: round(b - a, 2) for n, a, b in zip(names, before, now, strict=True)}
            begun = stretch

        for line in process.stdout:
            last = json.loads(line)
            if "phase" not in last:
                break
            most = max(most, last["memory"])
            if last["phase"] != "fill" and begun == "fill":
                ends("finish")
            elif begun == "start":
                ends("fill")
        ends("")
    if process.returncode:
        raise RuntimeError(f"the rebuild ended with {process.returncode}")
    measured = meter.measured(name, sum(rig.ends("accepted").values()), memory=most, stretches=stretches)
    with connect(database, autocommit=True) as store:
        store.execute(f"DROP SCHEMA g{last['generation']} CASCADE")
        store.execute("UPDATE xinliu.generation SET state = 'DROPPED' WHERE generation = %s", (last["generation"],))
    return measured


def from_scratch(rig: Rig) -> Measured:
    """Let Quix Streams fold all of accepted into empty tables, one process, from start until the last offset is in."""
    database = rig.database("bench_quix")
    command = [str(QUIX), "-m", "benchmarks.quix_peer", "--kafka", rig.connection.kafka.servers]
    command += ["--database", database, "--schema-id", str(rig.schema_id)]
    whole = sum(rig.ends("accepted").values())
    meter = _Meter(rig)
    with rig.started(Contender("Quix Streams", (command,)), database) as pids:
        gauge = Gauge(database)
        try:
            if not wait_until(lambda: gauge.total >= whole, seconds=max(900, whole / 2_000), every=0.1):
                raise RuntimeError(f"Quix Streams wrote {gauge.total:,} of {whole:,}")
            now = meter.sample()
            spent = cpu_of_tree(pids)
            memory = sum(psutil.Process(pid).memory_info().rss for pid in pids) / (1 << 20)
        finally:
            gauge.stop()
    measured = meter.measured("Quix Streams 3.28, from scratch", whole, memory=memory)
    measured.seconds, measured.client = now[0] - meter.begin, spent
    rig.drop("bench_quix")
    return measured


def beside_live(rig: Rig, database: str, rate: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Return the latency of events published at a rate, without a rebuild and during a throttled one; then the time to
    find both generations equal.
    """
    view = Contender("view", ([sys.executable, "-m", "xinliu", "worker", "view"],))
    found: dict[str, dict[str, Any]] = {}
    with rig.started(view, database):
        gauge = Gauge(database)
        try:
            wait_until(lambda: gauge.total >= sum(rig.ends("accepted").values()), seconds=900)
            found["alone"] = at_a_steady_rate(rig, view, gauge, rate=rate, seconds=seconds, first=_FIRST_PACED)
            command = [sys.executable, "-m", "xinliu", "replay", "rebuild", "--reason", "a benchmark", "--json"]
            told = rig.folder / "rebuild.json"
            with (
                told.open("wb") as out,
                subprocess.Popen(command, env=rig.environment(database), stdout=out) as process,
            ):
                found["beside a rebuild"] = at_a_steady_rate(
                    rig, view, gauge, rate=rate, seconds=seconds, first=2 * _FIRST_PACED
                )
                # A rebuild that ends before the events was throttled for some of them only.
                found["beside a rebuild"]["rebuild_ended"] = float(process.poll() is not None)
                # The line being written is still incomplete.
                lines = told.read_text().rpartition("\n")[0].splitlines()
                last = json.loads(lines[-1]) if lines else {"folded": 0, "phase": "start"}
                found["beside a rebuild"] |= {"rebuilt": last["folded"], "phase": last["phase"]}
            if process.returncode:
                raise RuntimeError(f"the rebuild ended with {process.returncode}")
            for name, words in (("diff", ()), ("diff --deep", ("--deep",))):
                command = [sys.executable, "-m", "xinliu", "replay", "diff", *words]
                begin = monotonic()
                done = subprocess.run(
                    command, env=rig.environment(database), capture_output=True, text=True, check=False
                )
                found[name] = {"seconds": round(monotonic() - begin, 1), "says": done.stdout.strip().splitlines()[-1]}
        finally:
            gauge.stop()
    return found


def measure(rig: Rig, *, small: bool = False) -> Iterator[Measured]:
    """Measure all contenders on the events of `accepted`; `small`: the rebuild with one process only."""
    database = rig.database(_DATABASE)
    try:
        if not small:
            yield raw_consume(rig)
            yield raw_copy(rig, database)
        yield rebuilt(rig, database, name="rebuild")
        if not small:
            yield rebuilt(rig, database, "--processes", "2", name="rebuild, 2 processes")
            if QUIX.exists():
                yield from_scratch(rig)
    finally:
        rig.drop(_DATABASE)


def table(found: Sequence[Measured]) -> str:
    """Return the figures as a table, and the ratios below it."""
    lines = [
        "| | events | events/s | CPU µs an event: client | database | broker | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        costs = " | ".join(f"{one.per_event(of):.1f}" for of in ("client", "database", "broker"))
        lines.append(f"| {one.name} | {one.events:,} | {one.rate:,.0f} | {costs} | {one.memory:,.0f} |")
    raw = next((one.events for one in found if one.name == "raw consume"), 0)
    by = {one.name: one for one in found if one.events == raw}
    if {"raw consume", "raw COPY, then index"} <= by.keys():
        slower = min(by["raw consume"], by["raw COPY, then index"], key=lambda one: one.rate)
        for name in ("rebuild", "rebuild, 2 processes"):
            if name in by:
                lines.append(f"{name} / {slower.name}, events/s: {by[name].rate / slower.rate:.2f} (aim: at least 0.7)")
    quix = next((one for one in found if one.name.startswith("Quix")), None)
    if quix is not None and "rebuild" in by:
        lines.append(f"rebuild / {quix.name}, events/s: {by['rebuild'].rate / quix.rate:.2f}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--events", type=int, default=300_000)
    asked.add_argument(
        "--marks", type=int, nargs="*", default=[], help="further sizes, each rebuilt alone: how it grows"
    )
    asked.add_argument(
        "--live", type=int, default=0, help="events a second published beside a rebuild; 0: not measured"
    )
    asked.add_argument("--only-live", action="store_true", help="measure nothing else")
    asked.add_argument("--seconds", type=float, default=10.0, help="of these")
    asked.add_argument("--out", type=Path)
    options = asked.parse_args(words)
    found: list[Measured] = []
    with Rig.running() as rig:
        filled = 0
        for mark in sorted({*options.marks, options.events}):
            fill_accepted(rig, mark - filled, first=filled)
            filled = mark
            for one in () if options.only_live else measure(rig, small=mark != options.events):
                found.append(one)
                print(
                    f"{one.name}: {one.events:,} in {one.seconds:.1f} s {json.dumps(one.stretches)}",
                    file=sys.stderr,
                    flush=True,
                )
        if found:
            print(table(found), flush=True)
        if options.live:
            database = rig.database(_DATABASE)
            print(json.dumps(beside_live(rig, database, options.live, options.seconds)))
    if options.out:
        options.out.write_text(json.dumps([asdict(one) for one in found]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
