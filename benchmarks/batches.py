"""Cost of a batch for intake, by its size and its number of departments: `python -m benchmarks.batches`.

It examines a batch and prepares it for forwarding, without any server: reading, rules, headers. The result is the best
of several runs, since other work on the machine only ever slows it. A small batch shows the cost of records that come
one by one; one of many departments is a province's normal case.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as the workers have it

from benchmarks.events import statement
from schemas.catalogue import Department, load
from schemas.contracts.codec import encode, frame
from schemas.contracts.memory_registry import MemoryRegistry
from streams.forwarding.forwarder import Outgoing
from streams.intake.stage import IntakeStage
from streams.kafka.ranges import TopicFacts
from streams.kafka.records import Fetched, Run

STATEMENT = "xinliu.Statement"
_SHAPES = ((45, 1), (45, 45), (450, 45), (9_000, 1), (9_000, 45))


class _Counted:
    """A forwarder that takes everything."""

    accepted_partitions = 4
    accepted = 0

    def accept(self, messages: Sequence[Outgoing], /) -> None:
        self.accepted += len(messages)

    def quarantine(self, value: bytes, headers: list[tuple[str, bytes]], /) -> None:
        raise AssertionError("every statement is good")

    def vector(self, key: bytes, progress: dict[str, Any], /) -> None:
        """Do nothing: nobody reads it."""

    def flush(self) -> None:
        """Do nothing: everything has arrived."""


def _run(schema_id: int, department: Department, first: int, count: int) -> Run:
    authority, name = department.authorities[0]
    now = int(datetime.now(UTC).timestamp() * 1000)
    records = []
    for number in range(first, first + count):
        said = statement(4 * number + 1)  # every fourth one is a list entry, and not every department keeps a list
        said |= {"department": department.key, "domain": department.domains[0], "authority": authority}
        said["penalty"] |= {"authority_name": name, "source_unit": name, "source_unit_code": authority}
        value = frame(schema_id, encode(STATEMENT, said))
        records.append(Fetched(department.records_topic, 0, number, now, said["subject"]["uscc"].encode(), value, ()))
    return Run(department.records_topic, 0, first, records)


def measure(size: int, departments: int, runs: int) -> float:
    """Return the milliseconds for a batch of `size` statements of so many departments, at best."""
    registry, counted = MemoryRegistry(), _Counted()
    schema_id = registry.register(STATEMENT)
    known = {one.records_topic: one for one in load().departments("beijing")}
    facts = {topic: TopicFacts(topic, "id", 4) for topic in (*known, "accepted", "quarantine")}
    stage = IntakeStage(registry, load(), known, facts, counted, progress_every=0.0)
    speaking = [one for one in known.values() if one.domains and one.authorities][:departments]
    each = size // len(speaking)
    batch = [_run(schema_id, one, each * place, each) for place, one in enumerate(speaking)]
    seconds = []
    for _ in range(runs):
        began = perf_counter()
        stage.finish(stage.prepare(batch))
        seconds.append(perf_counter() - began)
    if counted.accepted != runs * each * len(speaking):
        raise AssertionError(f"{counted.accepted} of {runs * each * len(speaking)} statements were accepted")
    return 1_000 * min(seconds)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = argparse.ArgumentParser(description="Milliseconds that a batch costs intake.")
    asked.add_argument("--runs", type=int, default=20, help="runs, of which the best counts")
    asked.add_argument("--json", action="store_true", help="for machines")
    options = asked.parse_args(words)
    for size, departments in _SHAPES:
        took = measure(size, departments, options.runs)
        if options.json:
            print(json.dumps({"size": size, "departments": departments, "milliseconds": round(took, 2)}))
        else:
            print(f"{size:>6,} statements of {departments:>2} departments: {took:>7.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
