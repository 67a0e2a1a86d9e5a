"""Cost of alike data for the view: `python -m benchmarks.alike`.

Every shape has the same number of statements, folded into empty tables in batches as the view worker folds them: in the
first shape companies, contents, document numbers, days and record ids are all different, in each other one some of them
are equal. It prints the rate of each shape, the best of several rounds in turn, since other work on the machine only
ever slows it; CPU time of this process and of its PostgreSQL session; and the ratios of both to those of the first
shape in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as the workers have it

import polars as pl
import psutil
import psycopg

from benchmarks.events import statement
from benchmarks.rig import servers
from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements, digests
from schemas.contracts.registry import WriterSchema
from schemas.identifiers.uscc import generate
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.projection.batch import Projection
from streams.projection.staging import staged

__all__ = ["SHAPES", "main", "measure", "statements"]

NAME = "xinliu.Statement"
_WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
_GENERATION = 900
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_LINE = (
    "{shape:<28} in {batch:>6,}: {statements_per_second:>7,}/s ({of_different:.2f} of different ones),"
    " {cpu_microseconds:>7.1f} µs of CPU ({cpu_of_different:.2f}), longest batch {longest_batch_seconds:.3f} s"
)

Statement = dict[str, Any]
Store = psycopg.Connection[Any]


@dataclass(frozen=True, order=True, slots=True)
class Cost:
    """Seconds for the statements: of all batches, of CPU, of the longest batch."""

    seconds: float
    cpu: float
    longest: float


def _different(number: int) -> Statement:
    said = statement(4 * number + 1)
    said["subject"] |= {"uscc": generate(number), "name": f"北京第{number}商贸有限公司"}
    return said


def _mass(number: int) -> Statement:
    """A statement of a mass decision: company and document number of its own, equal content."""
    said = _different(number)
    said["authority"] = _different(0)["authority"]
    said["penalty"] |= {"facts": "成立后无正当理由超过六个月未开业", "decided_on": date(2026, 1, 5)}
    return said


def _contents(equal: int) -> Callable[[int], Statement]:
    return lambda number: _mass(number) if number < equal else _different(number)


def _company(said: Statement) -> Statement:
    return said | {"subject": {**said["subject"], "uscc": generate(0), "name": "北京第0商贸有限公司"}}


def _numbered(said: Statement, version: int) -> Statement:
    return said | {
        "version": said["version"] + version,
        "penalty": {**said["penalty"], "document_number": "京税罚〔2026〕1号"},
    }


def _versions(each: int) -> Callable[[int], Statement]:
    def versions(number: int) -> Statement:
        said = _different(number // each)
        return said | {
            "version": said["version"] + number % each,
            "reason": "CORRECTED" if number % each else "PUBLISHED",
        }

    return versions


def _one_day(number: int) -> Statement:
    said = _different(number)
    return said | {"penalty": {**said["penalty"], "decided_on": date(2026, 1, 5)}}


SHAPES: dict[str, Callable[[int], Statement]] = {
    "different": _different,
    "1 content": _contents(1),
    "10³ equal contents": _contents(1_000),
    "10⁵ equal contents": _contents(100_000),
    "one day": _one_day,
    "one company": lambda number: _company(_different(number)),
    "one company, one content": lambda number: _company(_mass(number)),
    "one number for all": lambda number: _numbered(_mass(number), 0),
    "one number, a version each": lambda number: _numbered(_mass(number), number),
    "said again": lambda number: _different(number % 1_000),
    "10 versions of each record": _versions(10),
    "10³ versions of each record": _versions(1_000),
    "one record": _versions(10**9),
    "one record, each said twice": lambda number: _versions(10**9)(number // 2),
}
"""By name: the statement of a number below the requested count."""


def statements(shape: str, count: int) -> pl.DataFrame:
    """Return `count` statements of a shape, as the view stage has decoded them."""
    made = SHAPES[shape]
    bodies = [encode(NAME, made(number)) for number in range(count)]
    high, low = digests(bodies)
    at = pl.Series([_NOW] * count, dtype=pl.Datetime("ms", "UTC"))
    return decode_statements(_WRITER, bodies, list(range(count))).frame.with_columns(
        high.alias("digest_hi"),
        low.alias("digest_lo"),
        at.alias("known_at"),
        at.alias("received_at"),
        pl.Series("accepted_offset", range(count), dtype=pl.Int64),
        pl.Series("statement", bodies, dtype=pl.Binary),
        writer=pl.lit(1, dtype=pl.Int16),
        accepted_partition=pl.lit(0, dtype=pl.Int16),
        epoch=pl.lit(0, dtype=pl.Int64),
    )


def measure(store: Store, frame: pl.DataFrame, batch: int) -> Cost:
    """Fold these statements into empty tables."""
    with store.transaction():
        tables = store.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        store.execute(f"TRUNCATE {', '.join(name for (name,) in tables)}")
    projection, seconds = Projection(store), list[float]()
    cpu = _cpu(store)
    for begin in range(0, frame.height, batch):
        began = perf_counter()
        rows = frame[begin : begin + batch].with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
        with store.transaction():
            projection.fold(staged(rows)[0])
        seconds.append(perf_counter() - began)
    return Cost(sum(seconds), _cpu(store) - cpu, max(seconds))


def _cpu(store: Store) -> float:
    session = psutil.Process(store.info.backend_pid).cpu_times()
    return float(process_time() + session.user + session.system)


def _measured(store: Store, shapes: Sequence[str], count: int, batch: int, rounds: int) -> dict[str, Cost]:
    costs: dict[str, list[Cost]] = {shape: [] for shape in shapes}
    frames = {shape: statements(shape, count) for shape in shapes}
    for _ in range(rounds):
        for shape, known in costs.items():
            known.append(measure(store, frames[shape], batch))
    return {
        shape: Cost(*(min(getattr(one, name) for one in known) for name in ("seconds", "cpu", "longest")))
        for shape, known in costs.items()
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--count", type=int, default=100_000, help="statements of each shape")
    asked.add_argument("--batch", type=int, nargs="+", default=[20_000, 500], help="statements a batch")
    asked.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    asked.add_argument("--only", nargs="+", default=list(SHAPES), choices=list(SHAPES), metavar="SHAPE")
    asked.add_argument("--database", help="one that is at hand, instead of servers of its own")
    asked.add_argument("--json", action="store_true", help="for machines")
    options = asked.parse_args(words)
    if options.database:
        _print(options.database, options)
        return 0
    with servers(f"alike-{os.getpid()}") as (_, connection):
        _print(connection.database.get_secret_value(), options)
    return 0


def _print(database: str, options: argparse.Namespace) -> None:
    shapes = list(dict.fromkeys(["different", *options.only]))
    with connect(database, generation=_GENERATION, autocommit=True) as store:
        with store.transaction():
            store.execute(f"CREATE SCHEMA g{_GENERATION}")
            store.execute(sql("generation"))
        try:
            for batch in options.batch:
                _print_shapes(_measured(store, shapes, options.count, batch, options.rounds), batch, options)
        finally:
            store.execute(f"DROP SCHEMA g{_GENERATION} CASCADE")


def _print_shapes(costs: dict[str, Cost], batch: int, options: argparse.Namespace) -> None:
    base = costs["different"]
    for shape, cost in costs.items():
        found = {
            "shape": shape,
            "batch": batch,
            "statements_per_second": round(options.count / cost.seconds),
            "of_different": round(base.seconds / cost.seconds, 2),
            "cpu_microseconds": round(cost.cpu * 1e6 / options.count, 1),
            "cpu_of_different": round(cost.cpu / base.cpu, 2),
            "longest_batch_seconds": round(cost.longest, 3),
        }
        print(json.dumps(found, ensure_ascii=False) if options.json else _LINE.format(**found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
