"""Rate of decoding statements into columns and digests: `python -m benchmarks.decode`.

A batch is a usual one of intake: 5,000 statements, penalties and listings mixed, every text different. The result is
the best of several runs, since other work on the machine only ever slows it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter

from benchmarks.events import statement
from schemas.contracts.codec import decode, encode, frame
from schemas.contracts.columns import decode_batch, digests
from schemas.contracts.memory_registry import MemoryRegistry

STATEMENT = "xinliu.Statement"


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of one way of reading."""

    name: str
    rows: int
    seconds: float
    """Of the best run."""

    @property
    def rows_per_second(self) -> int:
        return round(self.rows / self.seconds)


def _best(name: str, rows: int, runs: int, work: Callable[[], object]) -> Measured:
    seconds = []
    for _ in range(runs):
        began = perf_counter()
        work()
        seconds.append(perf_counter() - began)
    return Measured(name, rows, min(seconds))


def measure(rows: int, runs: int) -> list[Measured]:
    """Measure columns, columns with one damaged body among them, digests, and fastavro row by row as the yardstick."""
    registry = MemoryRegistry()
    schema_id = registry.register(STATEMENT)
    bodies = [encode(STATEMENT, statement(number)) for number in range(rows)]
    values = [frame(schema_id, body) for body in bodies]
    damaged = [*values]
    damaged[rows // 2] = damaged[rows // 2][:-9]
    parsed = registry.writer(schema_id).parsed

    def columns(batch: Sequence[bytes], lost: int) -> None:
        read = decode_batch(registry, batch, named=[None] * len(batch), expected={STATEMENT})
        if (read.statements.height, len(read.undecodable)) != (rows - lost, lost):
            raise AssertionError(f"{read.statements.height} of {rows} rows were read")

    return [
        _best("columns", rows, runs, lambda: columns(values, 0)),
        _best("columns, one damaged", rows, runs, lambda: columns(damaged, 1)),
        _best("digests", rows, runs, lambda: digests(bodies)),
        _best("fastavro row by row", rows, max(1, runs // 5), lambda: [decode(parsed, body) for body in bodies]),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = argparse.ArgumentParser(description="Rows a second of decoding statements.")
    asked.add_argument("--rows", type=int, default=5_000, help="statements in a batch")
    asked.add_argument("--runs", type=int, default=20, help="runs, of which the best counts")
    asked.add_argument("--json", action="store_true", help="for machines")
    options = asked.parse_args(words)
    for measured in measure(options.rows, options.runs):
        if options.json:
            print(json.dumps(asdict(measured) | {"rows_per_second": measured.rows_per_second}))
        else:
            print(f"{measured.name:24} {measured.rows_per_second:>12,} rows/s  ({measured.seconds * 1000:.1f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
