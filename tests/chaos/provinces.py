"""Four real provinces that exchange records under faults, seed by seed, and the proof that all four hold the same.

`python -m tests.chaos.provinces --seeds 5` starts four clusters, registries, databases and workers of its own and tells
a line a seed; a failing seed ends the run with exit code 1 and leaves the workers' logs. What must be shared is
computed from what was said, by a model that knows no SQL; it must be what the origin says it shares, and what each of
the other three holds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.deadline import wait_until
from deploy.local.provinces import Provinces
from deploy.local.stack import Stack
from schemas.calendar.periods import china_day
from schemas.exchange.topics import EXCHANGE_PARTITIONS, exchange_topic
from schemas.servers.connection import Connection
from schemas.store.database import migrate
from tests.chaos.proxy import Proxy
from tests.said import PROVINCES, Held, Key, Wanted, load, should_be_shared
from tests.servers import local_stack, starting
from tests.statements import Statement, framed, put
from tests.workers import Worker

__all__ = ["PROVINCES", "Four", "Outcome", "four", "run_seed"]

FAULTS = ("kill", "cut", "slow", "break", "wipe", "forget", "twice", "damage")
FORGED = "改动"
"""Written by hand into rows; must be nowhere in the end."""
_SETTLE_SECONDS = 240.0


@dataclass
class Outcome:
    """What one seed did and what was found afterwards."""

    seed: int
    statements: int = 0
    shared: int = 0
    """Records that the four share, all together."""
    faults: list[str] = field(default_factory=list)
    settle_seconds: float = 0.0
    """From the last fault or statement to four equal provinces."""


class Province:
    """One province: its servers, and its one worker process, which is started again whenever it was ended."""

    def __init__(self, name: str, stack: Stack, connection: Connection, folder: Path) -> None:
        self.name, self.stack, self.connection = name, stack, connection
        self._folder = folder
        self._exchange = folder / f"{name}.exchange.json"
        self.worker: Worker | None = None
        self.clock = 0.0
        """Seconds by which its worker's clock is ahead."""

    def go_round(self, ports: Mapping[str, int]) -> None:
        """Let its links reach the other provinces' brokers by these ports."""
        known = self.connection.exchange
        assert known is not None
        peers = {
            other: {"kafka": f"127.0.0.1:{port}", "registry": known.peers[other].registry.plain()}
            for other, port in ports.items()
        }
        told = {"signing_key": str(known.signing_key), "keyring": str(known.keyring), "peers": peers}
        self._exchange.write_text(json.dumps(told), encoding="utf-8")

    def start(self) -> None:
        """Start the worker."""
        settings = {"XINLIU_EXCHANGE": str(self._exchange)}
        folder = self._folder / self.name
        folder.mkdir(exist_ok=True)
        self.worker = Worker(
            self.connection, "province", folder, "--instance", self.name, settings=settings, clock=self.clock
        )

    def kill(self) -> None:
        """End the worker as a power cut would, and start it again."""
        assert self.worker is not None
        assert self.worker.runs, f"{self.name} ended by itself:\n{self.worker.log[-4000:]}"
        self.worker.kill()
        self.start()

    def wipe(self) -> None:
        """Lose the database: it is made anew, empty, and rebuilt by the worker from the province's own topics."""
        assert self.worker is not None
        self.worker.kill()
        owner = self.stack.postgres.conninfo("postgres", "postgres")
        with psycopg.connect(owner, autocommit=True) as server:
            server.execute("DROP DATABASE xinliu WITH (FORCE)")
            server.execute("CREATE DATABASE xinliu OWNER xinliu")
        migrate(self.connection.database.get_secret_value())
        self.start()

    def forget(self) -> None:
        """Lose what its exchange topics still held, as a retention shorter than an outage does."""
        admin, topic = AdminClient(self.connection.kafka.client({})), exchange_topic(self.name)
        everything = [TopicPartition(topic, partition, OFFSET_END) for partition in range(EXCHANGE_PARTITIONS)]
        for future in admin.delete_records(everything).values():
            future.result(30)

    def damage(self, chance: random.Random) -> str:
        """Take a row of its records away, change one or add one by hand, whoever's it is; return which."""
        how = chance.choice(["delete", "change", "add"])
        row = "(SELECT record_id, province, department FROM record ORDER BY record_id LIMIT 1 OFFSET %s)"
        found = self.rows("SELECT count(*) FROM record")[0][0]
        if not found:
            return "nothing"
        query = {
            "delete": f"DELETE FROM record WHERE (record_id, province, department) = {row}",
            "change": f"UPDATE record SET subject_name = '{FORGED}' WHERE (record_id, province, department) = {row}",
            "add": "CREATE TEMPORARY TABLE forged AS SELECT * FROM record WHERE (record_id, province, department) = "
            f"{row}; UPDATE forged SET record_id = gen_random_uuid(), subject_name = '{FORGED}';"
            " INSERT INTO record SELECT * FROM forged",
        }[how]
        with psycopg.connect(self.connection.database.get_secret_value(), autocommit=True) as connection:
            connection.execute("SET search_path = g1, xinliu")
            connection.execute(query.replace("%s", str(chance.randrange(found))).encode())
        return how

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask its database."""
        with psycopg.connect(self.connection.database.get_secret_value()) as connection:
            connection.execute("SET search_path = g1, xinliu")
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]

    def shared(self) -> dict[Key, Held]:
        """Return what it says that it shares."""
        rows = self.rows(
            "SELECT replace(record_id::text, '-', ''), department, version, digest_hi, digest_lo, status, uscc"
            " FROM shared_record WHERE state = 'SHARED'"
        )
        return {(row[0], row[1]): row[2:] for row in rows}  # type: ignore[misc]

    def held_of(self, other: str) -> dict[Key, Held]:
        """Return what it holds of another province."""
        rows = self.rows(
            "SELECT replace(record_id::text, '-', ''), department, version, digest_hi, digest_lo, status, uscc"
            " FROM record WHERE province = %s AND status <> 'WITHDRAWN'",
            (other,),
        )
        return {(row[0], row[1]): row[2:] for row in rows}  # type: ignore[misc]


class Four:
    """The four provinces, and the twelve networks between them: proxies before each peer's broker."""

    def __init__(self, provinces: Mapping[str, Province], networks: Mapping[tuple[str, str], Proxy]) -> None:
        self.provinces, self.networks = provinces, networks
        self.said: list[Statement] = []
        self._wanted: tuple[int, date, dict[str, Wanted]] | None = None

    def wanted(self) -> dict[str, Wanted]:
        """Return, by province, what it must share after all that was said, today."""
        said, today = len(self.said), china_day(datetime.now(UTC))
        if self._wanted is None or self._wanted[:2] != (said, today):
            self._wanted = said, today, should_be_shared(self.said)
        return self._wanted[2]

    def set_clocks_right(self) -> None:
        """Let the workers whose clocks are wrong begin again with right ones."""
        for province in self.provinces.values():
            if province.clock:
                province.clock = 0.0
                province.kill()

    def differences(self) -> list[str]:
        """Return what is not as it must be, in words; nothing where all four hold the same, which is what they must."""
        wanted, found = self.wanted(), list[str]()
        for origin, province in self.provinces.items():
            forged = province.rows("SELECT count(*) FROM record WHERE subject_name = %s", (FORGED,))[0][0]
            if forged:
                found.append(f"{origin} still holds {forged} forged rows")
            told = province.shared()
            if wrong := wanted[origin].wrong(told):
                found.append(f"{origin} shares {len(told)}: {wrong}")
            for name, other in self.provinces.items():
                if name != origin and (held := other.held_of(origin)) != told:
                    found.append(f"{name} holds of {origin} {_apart(held, told)}")
        return found


def _apart(found: Mapping[Key, Held], wanted: Mapping[Key, Held]) -> str:
    missing, extra = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    other = [key for key in wanted.keys() & found.keys() if wanted[key] != found[key]]
    return (
        f"{len(found)} of {len(wanted)}: {len(missing)} missing, {len(extra)} too many, {len(other)} otherwise; e.g. "
        + (
            str(
                [
                    *sorted(missing)[:1],
                    *sorted(extra)[:1],
                    *[(key, wanted[key], found[key]) for key in sorted(other)[:1]],
                ]
            )
        )
    )


@contextmanager
def four(folder: Path, *, clocks_apart: bool = True) -> Iterator[Four]:
    """Run four provinces from empty data, each with one worker process; proxies stand between them.

    Tianjin's worker is ten minutes ahead and Hebei's ten minutes behind, unless their clocks are to agree.
    """
    with ExitStack() as afterwards:
        started = Provinces(PROVINCES, prefix=local_stack().name)
        started.reset()
        afterwards.callback(started.reset)
        with starting():
            connections = started.up(workers=False)
        provinces = {name: Province(name, started.stacks[name], connections[name], folder) for name in PROVINCES}
        networks: dict[tuple[str, str], Proxy] = {}
        for origin in PROVINCES:
            for other in PROVINCES:
                if other != origin:
                    proxy = Proxy(provinces[other].stack.layout.ports.kafka, advertised=True)
                    afterwards.callback(proxy.close)
                    networks[origin, other] = proxy
        for name, province in provinces.items():
            province.go_round({other: networks[name, other].port for other in PROVINCES if other != name})
        for name, clock in zip(PROVINCES, (0.0, 600.0, -600.0, 0.0), strict=True):
            provinces[name].clock = clock if clocks_apart else 0.0
            provinces[name].start()
        try:
            yield Four(provinces, networks)
        finally:
            for province in provinces.values():
                if province.worker is not None and province.worker.runs:
                    province.worker.kill()


def publish(running: Four, said: Sequence[Statement]) -> None:
    """Let the departments say it, each to its own topic."""
    by_province: dict[str, list[Statement]] = {}
    for one in said:
        by_province.setdefault(one["province"], []).append(one)
    for province, statements in by_province.items():
        connection = running.provinces[province].connection
        topics = [f"records.{one['department']}" for one in statements]
        put(connection, topics, framed(connection, statements))
    running.said.extend(said)


def run_seed(running: Four, seed: int, *, faults: Sequence[str] = FAULTS, each: bool = False) -> Outcome:
    """Publish a seed's load in bursts, with a fault after each; then wait until all four hold what they must.

    There are six of these kinds, drawn with repetition, or `each` kind once in a drawn order.
    """
    outcome = Outcome(seed)
    chance = random.Random(f"faults{seed}")
    said = load(seed)
    outcome.statements = len(said)
    strikes = chance.sample(faults, len(faults)) if each else chance.choices(faults, k=6)
    cuts = [*sorted(chance.sample(range(1, len(said)), len(strikes) - 1)), len(said)]
    begin = 0
    for fault, end in zip(strikes, cuts, strict=True):
        publish(running, said[begin:end])
        begin = end
        outcome.faults.append(_strike(running, chance, fault))
        pause = monotonic() + chance.uniform(0.2, 3.0)
        wait_until(lambda until=pause: monotonic() > until, seconds=10)
    for proxy in running.networks.values():
        proxy.restore()
        proxy.delay = 0.0
    last = monotonic()
    found: list[str] = []

    def settled() -> bool:
        nonlocal found
        for province in running.provinces.values():
            assert province.worker is not None
            assert province.worker.runs, f"{province.name} ended by itself:\n{province.worker.log[-4000:]}"
        found = running.differences()
        return not found

    assert wait_until(settled, seconds=_SETTLE_SECONDS, every=1.0), (outcome.faults, found)
    outcome.settle_seconds = round(monotonic() - last, 1)
    outcome.shared = sum(len(province.shared()) for province in running.provinces.values())
    return outcome


def _strike(running: Four, chance: random.Random, fault: str) -> str:
    province = chance.choice(list(running.provinces.values()))
    place, network = chance.choice([(pair, p) for pair, p in running.networks.items() if pair[0] == province.name])
    link = f"{place[0]}→{place[1]}"
    if fault == "kill":
        province.kill()
    elif fault == "cut":
        network.refuse()
        return f"cut {link}"
    elif fault == "slow":
        network.delay = 0.05
        return f"slow {link}"
    elif fault == "break":
        network.restore()
        network.cut()
        return f"break {link}"
    elif fault == "wipe":
        province.wipe()
    elif fault == "forget":
        # One link is cut while its origin forgets: it has a gap when it comes back.
        network.refuse()
        province.forget()
        return f"forget {link}"
    elif fault == "damage":
        return f"damage {province.name} {province.damage(chance)}"
    elif fault == "twice":
        province.kill()
        wait_until(lambda: False, seconds=0.5)
        province.kill()
    return f"{fault} {province.name}"


def main(words: Sequence[str] | None = None) -> int:
    """Run seeds one after the other on the same four provinces and tell each; the summary comes last."""
    asked = argparse.ArgumentParser(description="Strike four provinces and check that all of them hold the same.")
    asked.add_argument("--seeds", type=int, default=5, help="how many")
    asked.add_argument("--first", type=int, default=0, help="the first seed")
    asked.add_argument("--faults", default=",".join(FAULTS), help="of which kinds")
    options = asked.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="xinliu-provinces-"))
    outcomes: list[Outcome] = []
    with four(folder) as running:
        for seed in range(options.first, options.first + options.seeds):
            try:
                outcome = run_seed(running, seed, faults=options.faults.split(","))
            except AssertionError:
                traceback.print_exc()
                print(f"seed {seed} failed; logs: {folder}", file=sys.stderr)
                return 1
            outcomes.append(outcome)
            print(json.dumps(asdict(outcome), ensure_ascii=False), flush=True)
    waits = sorted(outcome.settle_seconds for outcome in outcomes)
    told = {
        "seeds": len(outcomes),
        "statements": sum(outcome.statements for outcome in outcomes),
        "faults": dict(sorted(Counter(fault.split(" ")[0] for o in outcomes for fault in o.faults).items())),
        "settle_seconds_median": waits[len(waits) // 2],
        "settle_seconds_max": waits[-1],
    }
    print(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
