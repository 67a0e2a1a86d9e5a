"""`python -m benchmarks.links`: a push link, MirrorMaker 2 and a bare loop between two clusters, on the same records.

Two local stacks on this machine, one run. The backlog's rate comes from the ends of the far log, CPU from /proc;
latency at a steady rate is the time from the producer's hand at the origin to the far broker's append. It uses no
figure that a contender reports itself, and compares the far log with the own one afterwards. Only ratios of one run
mean something. docs/performance.md keeps the last run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from benchmarks.events import events
from benchmarks.mirrormaker import mirrormaker
from benchmarks.rig import cpu_of_tree
from deploy.deadline import wait_until
from deploy.local.layout import ANY_PORTS
from deploy.local.stack import Stack
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.registry import Registry
from schemas.exchange.topics import EPOCH, EXCHANGE_PARTITIONS, KNOWN, SCHEMA, exchange_topic, status_topic
from schemas.servers.connection import Connection

__all__ = ["main"]

_OWN, _FAR = "beijing", "tianjin"
_TOPIC = exchange_topic(_OWN)
_GIVE_UP = 240.0


@dataclass
class Measured:
    """Results of one contender."""

    name: str
    rate: float = 0.0
    """Records a second, from the first one seen on the far side to the last."""
    rate_warm: float = 0.0
    """The same for the second half alone."""
    cpu: float = 0.0
    """The contender's CPU µs a record, from its start on."""
    cpu_warm: float = 0.0
    """CPU µs a record of the second half."""
    brokers: float = 0.0
    """CPU µs a record of both brokers."""
    memory: float = 0.0
    """MiB."""
    latency: dict[str, float] = field(default_factory=dict)
    """At the steady rate: p50, p99, max in ms; `cpu` is its share of a core meanwhile.

    One stall of the machine makes the p99 of a whole run; half of the seconds have a p99 below the median second's.
    """
    twice: int = 0
    """Messages that the far log has twice."""


class Pair:
    """Two running clusters."""

    def __init__(self, own: Stack, far: Stack, folder: Path) -> None:
        self.folder = folder
        self.stacks = own, far
        self.own: Connection = own.up(province=_OWN, base_port=ANY_PORTS, workers=False)
        self.far: Connection = far.up(province=_FAR, base_port=ANY_PORTS, workers=False)
        self._asking = {c.kafka.servers: AdminClient(c.kafka.client({})) for c in (self.own, self.far)}
        with Registry(self.own.registry) as registry:
            self.schema_id = registry.register("xinliu.Statement")
        self._headers = [
            (SCHEMA, fingerprint(source("xinliu.Statement")).encode()),
            (EPOCH, b"0"),
            (KNOWN, b"1700000000000"),
        ]

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Pair]:
        """Start both from empty data, and delete everything afterwards."""
        with ExitStack() as ending, tempfile.TemporaryDirectory(prefix="xinliu-bench-") as folder:
            stacks = [Stack(f"bench-{os.getpid()}-{name}") for name in (_OWN, _FAR)]
            for stack in stacks:
                ending.callback(_reset, stack)
            yield cls(stacks[0], stacks[1], Path(folder))

    def ends(self, connection: Connection) -> dict[int, int]:
        """Return the end of each partition of the topic."""
        asked = {TopicPartition(_TOPIC, p): OffsetSpec.latest() for p in range(EXCHANGE_PARTITIONS)}
        found = self._asking[connection.kafka.servers].list_offsets(asked, request_timeout=10)
        return {place.partition: future.result(15).offset for place, future in found.items()}

    def empty_far(self) -> None:
        """Delete the far topics and create them again."""
        admin, names = self._asking[self.far.kafka.servers], {_TOPIC: EXCHANGE_PARTITIONS, status_topic(_OWN): 1}
        for future in admin.delete_topics(list(names)).values():
            future.result(30)
        wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics), seconds=30)
        config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(4 << 20)}
        for future in admin.create_topics([NewTopic(t, n, 1, config=config) for t, n in names.items()]).values():
            future.result(30)
        # A client that knew the old topic asks its leader; a new client asks the new topic's leader, once there is one.
        self._asking[self.far.kafka.servers] = AdminClient(self.far.kafka.client({}))
        if not wait_until(self._led, seconds=30):
            raise TimeoutError("the far topic has no leaders")

    def _led(self) -> bool:
        try:
            return sum(self.ends(self.far).values()) == 0
        except KafkaException:
            return False

    def publish(self, first: int, count: int, *, rate: float = 0.0) -> dict[bytes, float]:
        """Write records to the own topic. At a rate, return when each was passed to the producer, by its key."""
        linger = 1 if rate else 20
        producer = Producer(
            self.own.kafka.client(
                {"linger.ms": linger, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
            )
        )
        handed: dict[bytes, float] = {}
        begin = monotonic()
        for number, event in enumerate(events(self.schema_id, count, first=first), first):
            key = b"%d" % number
            if rate:
                while (early := begin + (number - first) / rate - monotonic()) > 0:
                    producer.poll(0)
                    sleep(min(early, 0.002))
                handed[key] = time()
            producer.produce(_TOPIC, event.value, key, number % EXCHANGE_PARTITIONS, headers=self._headers)
            if not number % 1_000:
                producer.poll(0)
        if producer.flush(60):
            raise RuntimeError("the broker did not take everything")
        return handed

    def read(self, connection: Connection, first: Mapping[int, int]) -> dict[int, list[tuple[bytes, int]]]:
        """Return key and broker's time (ms) of the topic's messages from these offsets on."""
        consumer = Consumer(
            connection.kafka.client({"group.id": "bench", "enable.partition.eof": True, "enable.auto.commit": False})
        )
        found: dict[int, list[tuple[bytes, int]]] = {p: [] for p in first}
        try:
            consumer.assign([TopicPartition(_TOPIC, p, offset) for p, offset in first.items()])
            left = set(first)
            while left:
                for message in consumer.consume(10_000, 0.5):
                    error = message.error()
                    if error is None:
                        found[message.partition()].append((message.key(), message.timestamp()[1]))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        left.discard(message.partition())
        finally:
            consumer.close()
        return found

    def cpu_of_brokers(self) -> float:
        """Return the CPU seconds of both brokers."""
        return cpu_of_tree([pid for stack in self.stacks if (pid := stack.kafka.process.pid) is not None])


def _reset(stack: Stack) -> None:
    if stack.layout.folder.exists():
        stack.reset()


def contenders(pair: Pair) -> dict[str, tuple[str, list[str], dict[str, str]]]:
    """Return the contenders: name, command and environment."""
    own, far = pair.own.kafka.servers, pair.far.kafka.servers
    exchange = pair.folder / "exchange.json"
    peer = {"kafka": {"servers": far}, "registry": pair.far.registry.url}
    exchange.write_text(json.dumps({"keyring": str(pair.folder), "peers": {_FAR: peer}}), encoding="utf-8")
    known = {
        "XINLIU_PROVINCE": _OWN,
        "XINLIU_KAFKA": own,
        "XINLIU_REGISTRY": pair.own.registry.url,
        "XINLIU_EXCHANGE": str(exchange),
    }
    python = sys.executable
    return {
        "link": ("xinliu link", [python, "-m", "xinliu", "worker", "link", "--to", _FAR], known),
        "mirrormaker": ("MirrorMaker 2", mirrormaker(own, far, _TOPIC.replace(".", r"\\."), pair.folder), {}),
        "bare": (
            "bare loop",
            [python, "-m", "benchmarks.bare_link", "--own", own, "--far", far, "--topic", _TOPIC],
            {},
        ),
    }


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a contender; yield its pid."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"it ended by itself:\n{log.read_text()[-3000:]}")
    finally:
        process.terminate()
        if not wait_until(lambda: process.poll() is not None, seconds=20):
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    total: int
    cpu: float
    brokers: float


def measure(
    pair: Pair,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    options: argparse.Namespace,
    first: int,
) -> Measured:
    """Let a contender copy the backlog, then records published at a steady rate."""
    measured = Measured(name)
    pair.empty_far()
    whole = sum(pair.ends(pair.own).values())
    log = pair.folder / f"{name.replace(' ', '-')}.log"
    with started(command, environment, log) as pid:

        def look() -> _Sample:
            total, at = sum(pair.ends(pair.far).values()), monotonic()
            if at > deadline or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"{name}: {total:,} of {whole:,} records arrived\n{log.read_text()[-3000:]}")
            return _Sample(at, total, cpu_of_tree([pid]), pair.cpu_of_brokers())

        def when(reached: int) -> _Sample:
            while (sample := look()).total < reached:
                sleep(0.03)
            return sample

        deadline = monotonic() + _GIVE_UP
        brokers = pair.cpu_of_brokers()
        begin, half, end = when(1), when(whole // 2), when(whole)
        measured.rate = round((end.total - begin.total) / (end.at - begin.at))
        measured.rate_warm = round((end.total - half.total) / (end.at - half.at))
        measured.cpu = round(end.cpu * 1e6 / end.total, 2)
        measured.cpu_warm = round((end.cpu - half.cpu) * 1e6 / (end.total - half.total), 2)
        measured.brokers = round((end.brokers - brokers) * 1e6 / end.total, 2)
        measured.memory = round(psutil.Process(pid).memory_info().rss / (1 << 20))
        ends, count = pair.ends(pair.far), round(options.rate * options.seconds)
        before, began = cpu_of_tree([pid]), monotonic()
        handed = pair.publish(first, count, rate=options.rate)
        when(whole + count)
        share = (cpu_of_tree([pid]) - before) / (monotonic() - began)
    arrived = {key: at for messages in pair.read(pair.far, ends).values() for key, at in reversed(messages)}
    keys = sorted(handed, key=int)[count // 10 :]  # the first records pay for idle connections
    late = sorted(arrived[key] - handed[key] * 1000 for key in keys)
    seconds: dict[int, list[float]] = defaultdict(list)
    for key in keys:
        seconds[int(handed[key])].append(arrived[key] - handed[key] * 1000)
    by_second = sorted(sorted(one)[len(one) * 99 // 100] for one in seconds.values())
    measured.latency = {
        "p50": round(late[len(late) // 2], 1),
        "p99": round(late[len(late) * 99 // 100], 1),
        "max": round(late[-1], 1),
        "p99 of the median second": round(by_second[len(by_second) // 2], 1),
        "cpu": round(share, 3),
    }
    measured.twice = compare(pair)
    return measured


def compare(pair: Pair) -> int:
    """Compare the far log with the own one, in order. Return how many messages it has twice."""
    begin = dict.fromkeys(range(EXCHANGE_PARTITIONS), 0)
    own, far = pair.read(pair.own, begin), pair.read(pair.far, begin)
    twice = 0
    for partition, messages in own.items():
        keys = [key for key, _ in far[partition]]
        once = list(dict.fromkeys(keys))
        if once != [key for key, _ in messages]:
            raise RuntimeError(f"partition {partition}: the far log is not the own one")
        twice += len(keys) - len(once)
    return twice


def table(found: Sequence[Measured], rate: float) -> str:
    """Return the figures as a table, and the ratios that have aims."""
    heads = ["", "records/s", "2nd half", "CPU µs a record", "2nd half", "records per CPU second", "both brokers µs"]
    rows = [[*heads, f"{rate:.0f}/s p50/p99/max ms", "p99 of the median second", "CPU there", "MiB", "twice"]]
    for one in found:
        late = one.latency
        rows.append(
            [
                one.name, f"{one.rate:,.0f}", f"{one.rate_warm:,.0f}", f"{one.cpu:.1f}", f"{one.cpu_warm:.1f}",
                f"{1e6 / one.cpu_warm:,.0f}" if one.cpu_warm else "–", f"{one.brokers:.1f}",
                f"{late['p50']:.1f} / {late['p99']:.1f} / {late['max']:.0f}", f"{late['p99 of the median second']:.1f}", f"{late['cpu']:.1%}", f"{one.memory:.0f}", str(one.twice),
            ]
        )  # fmt: skip
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    by = {one.name: one for one in found}
    ours, theirs, floor = by.get("xinliu link"), by.get("MirrorMaker 2"), by.get("bare loop")
    if ours and theirs:
        lines += [
            "",
            f"link / MirrorMaker 2, records per CPU second, 2nd half: {theirs.cpu_warm / ours.cpu_warm:.2f} (aim: above 1)",
            f"link / MirrorMaker 2, records per CPU second, start and all: {theirs.cpu / ours.cpu:.2f}",
            f"link / MirrorMaker 2, p99: {ours.latency['p99'] / theirs.latency['p99']:.2f} (aim: below 0.5)",
            "link / MirrorMaker 2, p99 of the median second:"
            f" {ours.latency['p99 of the median second'] / theirs.latency['p99 of the median second']:.2f}",
        ]
    if ours and floor:
        lines.append(f"link / bare loop, records per CPU second: {floor.cpu_warm / ours.cpu_warm:.2f}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--records", type=int, default=400_000, help="backlog that the rates are of")
    asked.add_argument("--rate", type=float, default=500.0, help="records a second for latencies")
    asked.add_argument("--seconds", type=float, default=20.0, help="of the steady rate")
    asked.add_argument("--only", nargs="+", metavar="NAME", help="link mirrormaker bare")
    asked.add_argument("--json", type=Path, help="write every figure to this file too")
    options = asked.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    begin = monotonic()

    def tell(text: str) -> None:
        print(f"[{monotonic() - begin:6.1f} s] {text}", file=sys.stderr, flush=True)

    found: list[Measured] = []
    with Pair.running() as pair:
        tell(f"publishing {options.records:,} records to {_TOPIC}")
        pair.publish(0, options.records)
        chosen: dict[str, Any] = contenders(pair)
        following = options.records
        tell("once through, not measured: brokers that have just started compile themselves first")
        name, command, environment = chosen["bare"]
        measure(pair, name, command, environment, options, following)
        following += round(options.rate * options.seconds)
        for key in options.only or list(chosen):
            name, command, environment = chosen[key]
            tell(f"{name} …")
            found.append(measure(pair, name, command, environment, options, following))
            following += round(options.rate * options.seconds)
            tell(str(asdict(found[-1])))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    machine = f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {machine}; {options.records:,} records; load of the machine {load}\n")
    print(table(found, options.rate))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
