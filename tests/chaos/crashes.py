"""Workers that kill themselves at named points, seed by seed, and the proof that nothing came of it.

`python -m tests.chaos.crashes --seeds 200` starts servers of its own and tells a line a seed; a failing seed ends the
run with exit code 1 and leaves the workers' logs. The same seed plans the same load and the same crashes.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from deploy.deadline import wait_until
from producers.receipts import Receipts
from schemas.catalogue import load as load_catalogue
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.runtime.crash_points import POINTS
from tests import servers
from tests.offline import INTAKE_GROUP, VIEW_GROUP, assert_view_is_the_fold, ends_of, lag, view_caught_up
from tests.statements import framed, penalty, put, state
from tests.workers import Worker

__all__ = ["Outcome", "run_seed"]

_ENTITIES = 40
_SETTLE_SECONDS = 120.0


@dataclass
class Outcome:
    """What one seed did and what was found afterwards; everything must be told before it counts as passed."""

    seed: int
    messages: int = 0
    refused: int = 0
    records: int = 0
    crashes: list[str] = field(default_factory=list)
    catch_up_seconds: float = 0.0
    """From the last crash or the last message, whichever came last, to committed lag 0 and a view at the logs' ends."""


class Supervised:
    """A worker that is started again whenever it was killed, each time with the next crash of its plan."""

    def __init__(self, connection: Connection, name: str, folder: Path, plan: Sequence[str], instance: str) -> None:
        self._connection, self._name, self._folder = connection, name, folder
        self._plan = list(plan)
        self._instance = instance
        self.crashes: list[str] = []
        self._armed = ""
        self._worker = self._start()

    def _start(self) -> Worker:
        self._armed = self._plan.pop(0) if self._plan else ""
        crash = ["--crash-at", self._armed] if self._armed else []
        return Worker(self._connection, self._name, self._folder, "--instance", self._instance, *crash)

    def revive(self) -> bool:
        """Start it again if it has died; tell whether it had. Fails where it ended otherwise than by SIGKILL."""
        if self._worker.runs:
            return False
        code = self._worker.wait(1)
        assert code == -signal.SIGKILL, f"{self._name} ended with {code}:\n{self._worker.log[-3000:]}"
        self.crashes.append(self._armed)
        self._worker = self._start()
        return True

    def stop(self) -> None:
        """End it in good order, whether or not its last crash has come."""
        if self._worker.runs:
            code = self._worker.stop()
            # SIGTERM ends a worker that is still importing its modules as it ends any program.
            assert code in (0, -signal.SIGKILL, -signal.SIGTERM), (
                f"{self._name} stopped with {code}:\n{self._worker.log[-3000:]}"
            )
            if code == -signal.SIGKILL:
                self.crashes.append(self._armed)


def load(connection: Connection, seed: int, department: str) -> tuple[list[bytes], set[int]]:
    """Return messages in a random order, versions, moves, revocations and duplicates among them; and which are garbage."""
    chance = random.Random(f"load{seed}")
    base = 1_000_000 + seed * _ENTITIES
    said = []
    for number in range(chance.randrange(300, 1200)):
        entity = base + chance.randrange(_ENTITIES)
        document = f"崩{seed}-{number}"
        first = penalty(document, entity=entity, key=department)
        said.append(first)
        if chance.random() < 0.2:
            other = base + chance.randrange(_ENTITIES)
            said.append(penalty(document, version=2, entity=other, original_entity=entity, key=department))
        if chance.random() < 0.1:
            said.append(state(first, chance.choice(["REVOKED", "REPAIRED"]), version=3))
        if chance.random() < 0.1:
            said.append(first)
    chance.shuffle(said)
    values = framed(connection, said)
    garbage = set(chance.sample(range(len(values)), len(values) // 40))
    for place in garbage:
        values[place] = chance.choice([b"no avro", values[place][:-3], values[place] + b"\x01"])
    return values, garbage


def plans(seed: int, forced: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the crashes of each worker for a seed; `forced` points come first."""
    chance = random.Random(f"plan{seed}")
    owners = {
        "intake": [point for point in POINTS if point.startswith(("intake.", "rebalance."))],
        "view": [point for point in POINTS if point.startswith(("view.", "relay.", "rebalance."))],
    }
    chosen: dict[str, list[str]] = {}
    for worker, points in owners.items():
        mine = [point for point in forced if point in points]
        mine += chance.choices(points, k=max(0, chance.randrange(1, 4) - len(mine)))
        chosen[worker] = [
            f"{point}:{1 if point.startswith('rebalance.') else chance.randrange(1, 4)}" for point in mine
        ]
    return chosen


def run_seed(connection: Connection, seed: int, folder: Path, *, forced: Sequence[str] = ()) -> Outcome:
    """Publish a seed's load in bursts while workers crash as planned; then hold everything against the log."""
    outcome = Outcome(seed)
    chance = random.Random(f"pace{seed}")
    departments = [d for d in load_catalogue().departments(connection.province) if d.key in ("tax", "finance", "water")]
    department = chance.choice(departments)
    values, garbage = load(connection, seed, department.key)
    outcome.messages, outcome.refused = len(values), len(garbage)
    accepted_before = ends_of(connection, "accepted")
    receipts = Receipts(connection.kafka, connection.registry, department.key)
    planned = plans(seed, forced)
    supervised = [Supervised(connection, name, folder, plan, f"{name}-chaos") for name, plan in planned.items()]
    # A second member comes and goes, so that partitions are given up and taken over while records flow.
    guest: Worker | None = None
    if chance.random() < 0.4 or any(point.startswith("rebalance.revoked") for point in forced):
        guest = Worker(connection, chance.choice(["intake", "view"]), folder)
    places: dict[int, tuple[int, int]] = {}
    last_event = monotonic()
    try:
        cuts = [*sorted(chance.sample(range(1, len(values)), 5)), len(values)]
        begin = 0
        for end in cuts:
            burst = put(connection, department.records_topic, values[begin:end])
            places.update(dict(zip(range(begin, end), burst, strict=True)))
            begin, last_event = end, monotonic()
            pause = chance.uniform(0.1, 1.2)
            wait_until(lambda until=last_event + pause: monotonic() > until, seconds=pause + 1)
            if any([worker.revive() for worker in supervised]):
                last_event = monotonic()

        def settled() -> bool:
            nonlocal last_event
            if any([worker.revive() for worker in supervised]):
                last_event = monotonic()
                return False
            return (
                lag(connection, INTAKE_GROUP, [department.records_topic]) == 0
                and view_caught_up(connection)
                and lag(connection, VIEW_GROUP, ["accepted", "quarantine"]) == 0
            )

        assert wait_until(settled, seconds=_SETTLE_SECONDS, every=0.5), "it does not catch up"
        outcome.catch_up_seconds = round(monotonic() - last_event, 2)
        if guest is not None:
            assert guest.stop() == 0, guest.log[-3000:]
            guest = None
            assert wait_until(settled, seconds=_SETTLE_SECONDS, every=0.5), "it does not catch up without the guest"
        ends = {partition: max(o for p, o in places.values() if p == partition) + 1 for partition, _ in places.values()}
        refused = {places[number] for number in garbage}
        _assert_receipts(receipts, refused, ends)
        _assert_quarantine(connection, department.records_topic, refused, set(places.values()))
        outcome.records = assert_view_is_the_fold(connection, accepted_before)
        _assert_nothing_lost(connection, accepted_before, {v for n, v in enumerate(values) if n not in garbage})
    finally:
        receipts.close()
        if guest is not None and guest.runs:
            guest.stop()
        for worker in supervised:
            worker.stop()
            outcome.crashes += worker.crashes
    return outcome


def _assert_receipts(receipts: Receipts, refused: set[tuple[int, int]], ends: dict[int, int]) -> None:
    # Exactly the refused ones are told as refused, and the watermark passes everything.
    told: set[tuple[int, int]] = set()
    reached: dict[int, int] = {}
    deadline = monotonic() + 30
    while any(reached.get(partition, 0) < end for partition, end in ends.items()):
        assert monotonic() < deadline, f"the watermark stands at {reached}, not at {ends}"
        for receipt in receipts.read(1.0):
            told |= {(e["partition"], e["offset"]) for e in receipt["exceptions"] if e["outcome"] == "REFUSED"}
            for mark in receipt["watermark"]:
                reached[mark["partition"]] = max(reached.get(mark["partition"], 0), mark["next_offset"])
    assert told == refused


def _assert_quarantine(
    connection: Connection, topic: str, refused: set[tuple[int, int]], published: set[tuple[int, int]]
) -> None:
    with connect(connection.database.get_secret_value()) as store:
        rows = store.execute('SELECT partition, "offset" FROM quarantine WHERE topic = %s', (topic,)).fetchall()
    assert {row for row in rows if row in published} == refused


def _assert_nothing_lost(connection: Connection, since: dict[int, int], said: set[bytes]) -> None:
    from tests.offline import log_of

    forwarded = {message.value() for message in log_of(connection, "accepted", since)}
    assert said <= forwarded


@contextmanager
def _servers() -> Iterator[Connection]:
    with servers.local() as connection:
        yield connection


def main(words: Sequence[str] | None = None) -> int:
    """Run seeds one after the other and tell each; the summary comes last."""
    asked = argparse.ArgumentParser(description="Crash workers at named points and check what survives.")
    asked.add_argument("--seeds", type=int, default=20, help="how many")
    asked.add_argument("--first", type=int, default=0, help="the first seed")
    options = asked.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="xinliu-crashes-"))
    outcomes: list[Outcome] = []
    with _servers() as connection:
        for seed in range(options.first, options.first + options.seeds):
            try:
                outcome = run_seed(connection, seed, folder)
            except AssertionError:
                traceback.print_exc()
                print(f"seed {seed} failed; logs: {folder}", file=sys.stderr)
                return 1
            outcomes.append(outcome)
            print(json.dumps(asdict(outcome)), flush=True)
    print(json.dumps(summary(outcomes), indent=1))
    return 0


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what all seeds add up to."""
    points = Counter(crash.partition(":")[0] for outcome in outcomes for crash in outcome.crashes)
    waits = sorted(outcome.catch_up_seconds for outcome in outcomes)
    return {
        "seeds": len(outcomes),
        "messages": sum(outcome.messages for outcome in outcomes),
        "refused": sum(outcome.refused for outcome in outcomes),
        "crashes": sum(points.values()),
        "crashes_by_point": dict(sorted(points.items())),
        "points_never_reached": sorted(
            {p for p in POINTS if not p.startswith(("redrive.", "exchange.", "publisher.", "rebuild."))} - set(points)
        ),
        "catch_up_seconds_median": waits[len(waits) // 2],
        "catch_up_seconds_max": waits[-1],
    }


if __name__ == "__main__":
    sys.exit(main())
