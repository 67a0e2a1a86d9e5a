"""`make bench`: every way to write the same rows into PostgreSQL, on the same events, in one run, one after the other.

The row floor and the column floor (bare loops), xinliu's view stage, xinliu end to end, Faust with `take`, Quix
Streams; and intake alone. It reports events a second, CPU seconds a million events (worker, database and broker
separately), latency at two steady rates, memory, unread events, and ratios. Only ratios of one run mean something:
machines differ, and so does other work on the machine from hour to hour. docs/performance.md keeps the last run.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

import psutil
from psycopg.conninfo import conninfo_to_dict

from benchmarks.rig import RECORDS, Contender, Gauge, Rig, cpu_of_tree, fold_of
from deploy.deadline import wait_until
from streams.kafka.headers import ORIGIN, Origin
from streams.kafka.ranges import Committed
from streams.projection.positions import INTAKE_GROUP
from tests.offline import lag, log_of

_RATES = (500, 5_000)
_MARKS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
"""Events after which memory and cost are sampled."""
_GIVE_UP, _SLOWEST = 900.0, 3_000
"""Seconds after which a contender is stopped, and its minimum of events a second."""
QUIX = Path(sys.prefix) / "bench" / "bin" / "python"
"""The Python of the environment with Quix Streams."""


@dataclass
class Measured:
    """Results of one contender. Rates are events a second, latencies milliseconds, memory MiB."""

    name: str
    events: int = 0
    rate: float = 0.0
    """Of the first `--events`."""
    rate_of_the_rest: float | None = None
    """Of the later events: the rate with larger tables."""
    worker_cpu: float = 0.0
    """Seconds a million events."""
    database_cpu: float = 0.0
    broker_cpu: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)
    """By number of events done."""
    stretches: dict[str, dict[str, float]] = field(default_factory=dict)
    """From one mark to the next, by the events done at its end: rate, and CPU seconds a million events."""
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    """By rate: p50, p99."""
    lag: int = 0
    """Messages of the input that it had not written when it was stopped."""
    fold: dict[str, Any] = field(default_factory=dict, repr=False)


def contenders(rig: Rig, database: Callable[[str], str]) -> dict[str, tuple[Contender, str]]:
    """Return the contenders, each with its database."""
    python, kafka = sys.executable, rig.connection.kafka.servers

    def row(name: str, key: str, *command: str) -> tuple[Contender, str]:
        dsn = database(key)
        words = ["--kafka", kafka, "--database", dsn, "--schema-id", str(rig.schema_id)]
        return Contender(name, ([*command, *words],)), dsn

    view, intake = ([python, "-m", "xinliu", "worker", name] for name in ("view", "intake"))
    found = {
        "end-to-end": (Contender("xinliu end to end", (intake, view), topic=RECORDS), database("bench_chain")),
        "rows": row("row floor", "bench_rows", python, "-m", "benchmarks.floors", "rows"),
        "columns": row("column floor", "bench_columns", python, "-m", "benchmarks.floors", "columns"),
        "view": (Contender("xinliu view", (view,)), database("bench_view")),
        "faust": row("Faust take(1000)", "bench_faust", python, "-m", "benchmarks.faust_peer"),
    }
    if QUIX.exists():
        found["quix"] = row("Quix Streams 3.28", "bench_quix", str(QUIX), "-m", "benchmarks.quix_peer")
    return found


def through_backlog(
    rig: Rig, contender: Contender, pids: Sequence[int], gauge: Gauge, measured: Measured, counts: tuple[int, int]
) -> None:
    """Wait until the contender has worked off the backlog; sample rates, CPU and memory on the way."""
    first, rest = counts
    whole = first + rest
    deadline = monotonic() + max(_GIVE_UP, whole / _SLOWEST)

    def await_total(wanted: int) -> _Sample:
        # The samples walk through /proc, so they are taken at the marks only: measuring must not slow the contender.
        while gauge.total < wanted:
            _check(pids, deadline)
            wait_until(lambda: gauge.total >= wanted, seconds=0.5, every=0.02)
        return _Sample.now(rig, pids, gauge)

    begin = before = await_total(1)
    for mark in sorted({*(mark for mark in _MARKS if mark <= whole), first, whole}):
        now = await_total(mark)
        measured.memory[str(mark)] = _memory(pids)
        if now.total > before.total:
            measured.stretches[str(mark)] = now.since(before)
            before = now
        if mark == first:
            at_first, cost = now, now.since(begin)
            measured.rate = round(cost["rate"])
            measured.worker_cpu, measured.database_cpu = cost["worker"], cost["database"]
            measured.broker_cpu = cost["broker"]
    measured.events = whole
    if now.total > at_first.total:
        measured.rate_of_the_rest = round(now.since(at_first)["rate"])
    # If events are still arriving (end to end), all of them must be there before the next measurement.
    while gauge.total < sum(rig.ends("accepted").values()):
        _check(pids, deadline)
        wait_until(lambda: False, seconds=0.1)


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    total: int
    worker: float
    database: float
    broker: float

    @classmethod
    def now(cls, rig: Rig, pids: Sequence[int], gauge: Gauge) -> _Sample:
        at, total = gauge.last
        return cls(at, total, cpu_of_tree(pids), rig.cpu_of_postgres(), rig.cpu_of_kafka())

    def since(self, before: _Sample) -> dict[str, float]:
        """Return events a second, and CPU seconds a million events, from that sample to this one."""
        done = self.total - before.total
        spent = {name: getattr(self, name) - getattr(before, name) for name in ("worker", "database", "broker")}
        return {
            "rate": round(done / (self.at - before.at)),
            **{name: round(s * 1e6 / done, 1) for name, s in spent.items()},
        }


def _check(pids: Sequence[int], deadline: float) -> None:
    if monotonic() > deadline:
        raise TimeoutError("fewer than 3,000 events a second: it is given up")
    if any(not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids):
        raise RuntimeError("a process of it has ended")


def _memory(pids: Sequence[int]) -> float:
    return round(sum(int(psutil.Process(pid).memory_info().rss) for pid in pids) / (1 << 20), 1)


def at_a_steady_rate(
    rig: Rig, contender: Contender, gauge: Gauge, *, rate: int, seconds: float, first: int
) -> dict[str, float]:
    """Publish at this rate. Return the time from the producer's hand to the commit."""
    before = rig.ends("accepted")
    out = rig.folder / f"paced-{rate}.json"
    words = ["--rate", str(rate), "--seconds", str(seconds), "--first", str(first)]
    with gauge.finely():
        placed = rig.publish(contender.topic, *words, out=out)
        if not wait_until(lambda: gauge.total >= sum(rig.ends("accepted").values()), seconds=120):
            raise TimeoutError(f"{contender.name} does not keep up with {rate} events/s")
    if contender.topic != "accepted":
        found = {}
        for message in log_of(rig.connection, "accepted", before):
            origin = dict(message.headers() or ()).get(ORIGIN)
            if isinstance(origin, bytes):
                place = Origin.from_bytes(origin)
                found[place.partition, place.offset] = (message.partition(), message.offset())
        placed = [(*found[partition, offset], handed) for partition, offset, handed in placed]
    # The first events pay for idle connections.
    taken = placed[len(placed) // 10 :]
    late = sorted(((gauge.reached(p, o) or float("inf")) - handed) * 1000 for p, o, handed in taken)
    return {
        "p50": round(late[len(late) // 2], 1),
        "p99": round(late[len(late) * 99 // 100], 1),
        "events": len(late),
    }


_INTAKE = {1: "xinliu intake alone", 2: "xinliu intake alone, two workers"}


def intake_alone(rig: Rig, database: str, count: int, *, workers: int) -> Measured:
    """Let intake read the whole topic of the department once more, and forward it, while nothing else works."""
    measured = Measured(_INTAKE[workers], events=count)
    command = [sys.executable, "-m", "xinliu", "worker", "intake"]
    contender = Contender(f"xinliu intake {workers}", [command] * workers, topic=RECORDS)
    topic_id = rig.logs.describe([RECORDS])[RECORDS].topic_id
    for partition in rig.ends(RECORDS):
        rig.logs.commit(INTAKE_GROUP, (RECORDS, partition), Committed(0, topic_id))
    before = sum(rig.ends("accepted").values())
    with rig.started(contender, database) as pids:
        deadline = monotonic() + _GIVE_UP
        forwarded, began = 0, None
        while forwarded < count:
            _check(pids, deadline)
            wait_until(lambda: False, seconds=0.03, every=0.03)
            now, forwarded = time(), sum(rig.ends("accepted").values()) - before
            if began is None and forwarded > 0:
                began = (now, forwarded, cpu_of_tree(pids), rig.cpu_of_kafka())
        assert began is not None
        done = forwarded - began[1]
        measured.rate = round(done / (now - began[0]))
        measured.worker_cpu = round((cpu_of_tree(pids) - began[2]) * 1e6 / done, 1)
        measured.broker_cpu = round((rig.cpu_of_kafka() - began[3]) * 1e6 / done, 1)
        measured.memory[str(count)] = _memory(pids)
        wait_until(lambda: lag(rig.connection, INTAKE_GROUP, [RECORDS]) == 0, seconds=30)
        measured.lag = lag(rig.connection, INTAKE_GROUP, [RECORDS])
    return measured


def measure(options: argparse.Namespace, tell: Callable[[str], None]) -> list[Measured]:
    """Measure all requested contenders."""
    found: list[Measured] = []
    with Rig.running() as rig:
        first, rest = options.events, options.more
        tell(f"publishing {first + rest:,} events to {RECORDS}")
        rig.publish(RECORDS, "--count", str(first + rest))
        chosen = contenders(rig, rig.database)
        wanted = options.only or list(chosen)
        if "end-to-end" not in wanted:
            wanted.insert(0, "end-to-end")  # it fills `accepted`
        next_first = first + rest + 1_000  # paced events are about other records than those before
        for key in [name for name in chosen if name in wanted]:
            contender, database = chosen[key]
            tell(f"{contender.name} …")
            measured = Measured(contender.name)
            with rig.started(contender, database) as pids:
                gauge = Gauge(database)
                try:
                    through_backlog(rig, contender, pids, gauge, measured, (first, rest))
                    measured.fold = fold_of(database, min(options.compared, (first + rest) // 8))
                    for rate in _RATES:
                        seconds = options.seconds
                        tell(f"{contender.name}: {measured.rate:,.0f} events/s; {rate} a second for {seconds:.0f} s …")
                        measured.latency[str(rate)] = at_a_steady_rate(
                            rig, contender, gauge, rate=rate, seconds=seconds, first=next_first
                        )
                        next_first += int(rate * seconds)
                    measured.lag = sum(rig.ends("accepted").values()) - gauge.total
                finally:
                    gauge.stop()
            found.append(measured)
            rig.drop(str(conninfo_to_dict(database)["dbname"]))
        if not options.only or "intake" in options.only:
            database = rig.database("bench_intake")
            for workers, name in _INTAKE.items():
                tell(f"{name} …")
                # Its department's topic has all events of end to end, the paced ones too.
                found.append(intake_alone(rig, database, sum(rig.ends(RECORDS).values()), workers=workers))
    return found


def table(found: Sequence[Measured]) -> str:
    """Return the figures as a table, and the ratios below it."""
    heads = (
        "",
        "events/s",
        "then",
        "CPU s / 10⁶: worker",
        "database",
        "broker",
        "500/s p50/p99 ms",
        "5,000/s p50/p99 ms",
    )
    rows = [[*heads, "MiB at 10⁵", "at the end", "lag"]]
    for one in found:
        late = [one.latency.get(str(rate)) for rate in _RATES]
        rows.append(
            [
                one.name,
                f"{one.rate:,.0f}",
                "–" if one.rate_of_the_rest is None else f"{one.rate_of_the_rest:,.0f}",
                *(f"{spent:.1f}" if spent else "–" for spent in (one.worker_cpu, one.database_cpu, one.broker_cpu)),
                *("–" if told is None else f"{told['p50']:.0f} / {told['p99']:.0f}" for told in late),
                f"{one.memory['100000']:.0f}" if "100000" in one.memory else "–",
                f"{list(one.memory.values())[-1]:.0f}" if one.memory else "–",
                str(one.lag),
            ]
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([*lines, "", *ratios(found), *growth(found)])


def growth(found: Sequence[Measured]) -> list[str]:
    """Return each stretch's cost and the memory at its end, if more than a million events were measured."""
    lines = []
    for one in found:
        if one.events <= 1_000_000 or not one.stretches:
            continue
        lines += ["", f"{one.name}, up to so many events: events/s, CPU s / 10⁶ of worker and database, MiB"]
        for mark, cost in one.stretches.items():
            costs = f"{cost['rate']:>9,.0f} {cost['worker']:>7.1f} {cost['database']:>7.1f}"
            lines.append(f"{int(mark):>12,} {costs} {one.memory[mark]:>7,.0f}")
    return lines


def ratios(found: Sequence[Measured]) -> list[str]:
    """Return the ratios that have aims, each with its aim; a ratio without its measurements is left out."""
    by = {one.name: one for one in found}
    lines = []

    def tell(text: str, above: float, below: float, aim: str) -> None:
        lines.append(f"{text}: {above / below:.2f} (aim: {aim})")

    view, chain = by.get("xinliu view"), by.get("xinliu end to end")
    columns, rows = by.get("column floor"), by.get("row floor")
    if view and columns:
        tell("view / column floor, events/s", view.rate, columns.rate, "at least 0.9")
    for peer in ("Faust take(1000)", "Quix Streams 3.28"):
        if view and peer in by:
            tell(f"view / {peer}, events/s", view.rate, by[peer].rate, "above 1")
    if chain and columns:
        tell("end to end / column floor, events/s", chain.rate, columns.rate, "at least 0.5")
    if view and rows and "5000" in view.latency and "5000" in rows.latency:
        ours, floor = (one.latency["5000"]["p99"] for one in (view, rows))
        tell("view / row floor, p99 at 5,000/s", ours, floor, "at most 2")
    for name in _INTAKE.values():
        if name in by:
            lines.append(f"{name}: {by[name].rate:,.0f} events/s (aim: at least 100,000)")
    folds = [one.fold for one in found if one.fold]
    if len(folds) > 1:
        equal = all(json.dumps(fold, default=str) == json.dumps(folds[0], default=str) for fold in folds)
        lines.append(f"rows written by all of them: {'equal' if equal else 'NOT EQUAL: ' + str(folds)}")
    return lines


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print. Exit code 1 if the contenders did not write the same rows."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--events", type=int, default=500_000, help="events that the rates are of")
    asked.add_argument("--more", type=int, default=500_000, help="events behind them, for memory and for larger tables")
    asked.add_argument("--seconds", type=float, default=10.0, help="of each steady rate")
    asked.add_argument(
        "--compared", type=int, default=25_000, help="first offsets of each partition whose rows are compared, at most"
    )
    asked.add_argument("--only", nargs="+", metavar="NAME", help="end-to-end rows columns view faust quix intake")
    asked.add_argument("--quick", action="store_true", help="50,000 events, 3 s of each rate: under 3 minutes")
    asked.add_argument("--json", type=Path, help="write every figure to this file too")
    options = asked.parse_args(words)
    if options.quick:
        options.events, options.more, options.seconds = 50_000, 0, 3.0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    begin = monotonic()
    found = measure(options, lambda text: print(f"[{monotonic() - begin:6.1f} s] {text}", file=sys.stderr, flush=True))
    machine = f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {machine}; {options.events:,} events, then {options.more:,} more\n")
    text = table(found)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1, default=str))
    return int("NOT EQUAL" in text)


if __name__ == "__main__":
    sys.exit(main())
