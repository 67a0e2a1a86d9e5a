"""The planner of a replay: its size, its duration, and whether the logs still contain it; it changes nothing.

Figures are counted in the serving generation, which stores the offset in `accepted` of every statement. `accepted` is
compacted and never deleted from: gaps are normal, but a log that does not begin at 0 has lost messages.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

from schemas.errors import UsageError
from schemas.store.sql_files import sql
from streams.kafka.ranges import TopicFacts
from streams.kafka.scope import CORRECT, REBUILD, REDRIVE, REPUSH, ReplayScope
from streams.replay.plan.request import END

__all__ = ["ASSUMED", "Plan", "Planner", "scope_values"]

Connection = psycopg.Connection[tuple[Any, ...]]

_FIRST = 10
"""Number of entities that a plan lists."""

ASSUMED: Mapping[str, Mapping[str, float]] = {
    REBUILD: {"events": 50_000},
    CORRECT: {"offsets": 100_000, "records": 1_500},
    REPUSH: {"events": 5_000},
    REDRIVE: {"events": 1_000},
}
"""Assumed units a second, used until a replay of that kind was done here. docs/replay.md gives their source."""

_A_RECORD = 4_000
"""Approximate bytes that a correction needs for a record: two rows, history, indexes and their WAL."""


class AsksLogs(Protocol):
    """The planner's queries to the broker (streams.kafka.ranges.Logs)."""

    def describe(self, topics: Any, /) -> Mapping[str, TopicFacts]:
        """Return the facts of these topics."""

    def ranges(self, partitions: Any, /) -> Mapping[tuple[str, int], tuple[int, int]]:
        """Return the first offset that each log still contains and the offset after its last message."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a replay. `figures` are stored with it, and shown as JSON."""

    kind: str
    scope: ReplayScope
    figures: Mapping[str, Any]


class Planner:
    """Plans on one connection in autocommit, whose search_path names the serving generation. `own` is the province."""

    def __init__(self, connection: Connection, logs: AsksLogs, *, own: str, generation: int) -> None:
        self._connection, self._logs, self._own, self._generation = connection, logs, own, generation

    def plan(self, kind: str, scope: ReplayScope) -> Plan:
        """Return the figures of a replay.

        Raises UsageError if the log does not contain the scope (any more), with topic, partition and first missing
        offset; Retryable if a server does not answer.
        """
        log = self.log(kind, scope)
        counted = self._counted(kind, scope)
        if kind == REDRIVE:
            self._quarantine_holds(counted.pop("places"))
        rate, rate_from = self._rate(kind)
        work = {"offsets": sum(last - first for first, last in log.values()), **counted}
        size, free, free_from = self._disk()
        figures = {
            "generation": self._generation,
            **counted,
            "log": {str(partition): list(span) for partition, span in sorted(log.items())},
            "seconds": round(sum(work[unit] / speed for unit, speed in rate.items()), 1),
            "rate": dict(rate),
            "rate_from": rate_from,
            "disk_needed": size if kind == REBUILD else counted["records"] * _A_RECORD if kind == CORRECT else 0,
            "disk_free": free,
            "disk_free_from": free_from,
        }
        return Plan(kind, scope, figures)

    def log(self, kind: str, scope: ReplayScope) -> Mapping[int, tuple[int, int]]:
        """Return the range of `accepted` to be read, by partition: the whole log, since a fold needs all of a record.

        Raises UsageError if the log does not contain it, with the first missing offset.
        """
        if kind in (REDRIVE, REPUSH):
            return {}
        facts = self._logs.describe(["accepted"])["accepted"]
        ranges = self._logs.ranges([("accepted", partition) for partition in range(facts.partitions)])
        log = {partition: span for (_, partition), span in ranges.items()}
        held = self._connection.execute(
            "SELECT partition, topic_id, next_offset FROM position WHERE topic = 'accepted'"
        )
        for partition, topic_id, position in held.fetchall():
            if topic_id != facts.topic_id:
                raise UsageError(
                    f"accepted is not the topic that generation {self._generation} was folded from (topic id {facts.topic_id},"
                    f" database: {topic_id}): its first missing offset is {partition}:0; restore the topic"
                )
            first, end = log.get(partition, (0, 0))
            if position > end:
                raise UsageError(
                    f"accepted/{partition} ends at {end}, and {position} was folded from it: the first missing offset is {end}"
                )
        for partition, (first, _) in sorted(log.items()):
            if first > 0:
                raise UsageError(
                    f"accepted/{partition} begins at offset {first}: the first missing offset is 0. Compaction never moves a"
                    " log's beginning: retention or DeleteRecords took statements that no replay can bring back; restore the log"
                )
        for partition, (first, last) in sorted((scope.offsets or {}).items()):
            end = log.get(partition, (0, 0))[1]
            if (last if last != END else first) > end:
                raise UsageError(
                    f"accepted/{partition} holds 0 to {end}: the first missing offset is {max(first, end)}"
                )
        return log

    def _quarantine_holds(self, places: Mapping[str, int]) -> None:
        wanted = [("quarantine", int(partition)) for partition in places]
        for (topic, partition), (first, end) in (self._logs.ranges(wanted) if wanted else {}).items():
            asked = places[str(partition)]
            if not first <= asked < end:
                raise UsageError(
                    f"{topic}/{partition} holds {first} to {end}: the first missing offset is {asked}; what its retention took"
                    " can only be sent again by its department: choose later entries with --since"
                )

    def _counted(self, kind: str, scope: ReplayScope) -> dict[str, Any]:
        name = {REDRIVE: "counted_quarantine", REPUSH: "counted_shared"}.get(kind, "counted")
        if name == "counted" and scope.whole:
            name = "counted_all"
        with self._connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                sql(f"replay/plan/{name}"), {**scope_values(scope), "own": self._own, "first": _FIRST}
            ).fetchone()
        assert row is not None
        return row

    def _rate(self, kind: str) -> tuple[Mapping[str, float], str]:
        row = self._connection.execute(sql("replay/plan/rates"), {"kind": kind}).fetchone()
        if row is not None and row[2].keys() == ASSUMED[kind].keys() and all(float(one) > 0 for one in row[2].values()):
            return {name: float(one) for name, one in row[2].items()}, f"measured here by replay {row[0]}"
        return ASSUMED[kind], "assumed: no replay of this kind was done here yet"

    def _disk(self) -> tuple[int, int | None, str]:
        row = self._connection.execute(sql("replay/plan/size")).fetchone()
        assert row is not None
        size, folder = int(row[0]), row[1]
        if folder is None:
            return (
                size,
                None,
                "unknown: the database is another machine's, or this role may not know where its data are",
            )
        try:
            return size, shutil.disk_usage(os.fspath(folder)).free, "the file system of the database's folder"
        except OSError:
            return size, None, "unknown: this user cannot see the database's folder"


def scope_values(scope: ReplayScope) -> dict[str, Any]:
    """Return a scope as parameters of the SQL in replay/: NULL is no condition."""
    spans = scope.offsets or {}
    return {
        "domains": list(scope.domains) or None,
        "departments": list(scope.departments) or None,
        "entities": list(scope.entities) or None,
        "codes": list(scope.codes) or None,
        "province": scope.province,
        "since": scope.since,
        "until": scope.until,
        "partitions": list(spans) or None,
        "from": [first for first, _ in spans.values()],
        "to": [last for _, last in spans.values()],
        "bits": scope.bucket[0] if scope.bucket else None,
        "bucket": scope.bucket[1] if scope.bucket else None,
    }
