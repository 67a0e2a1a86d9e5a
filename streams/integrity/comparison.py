"""Comparison of tables with their sources: `record` with history, credit_view and digests with the rows.

Every query runs on the caller's connection and transaction: in a snapshot by the audit, under lock by the repair.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import polars as pl
import psycopg
from psycopg.rows import dict_row

from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import WriterSchema, writer_schema
from schemas.store.binary_copy import copy_rows
from schemas.store.sql_files import sql
from streams.integrity.expected_rows import HISTORY, Expected, expected
from streams.projection.columns import RECORD
from streams.projection.fold import KEY, RANK

__all__ = ["ALL_ENTITIES", "ALL_RECORDS", "Connection", "RecordKey", "RowDifference", "Span", "TableComparison"]

Connection = psycopg.Connection[tuple[Any, ...]]

RecordKey = tuple[UUID, str, str]
"""record_id, province, department."""

Span = tuple[Any, Any]
"""First and last record_id of a slice; for entities, the code before its first, and its last."""

ALL_RECORDS: Final[Span] = (UUID(int=0), UUID(int=(1 << 128) - 1))
ALL_ENTITIES: Final[Span] = (None, "\U0010ffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDifference:
    """A row that differs from its source: its place, MISSING, EXTRA or CHANGED, and the fields that differ.

    `fields` are names only; the values are reported nowhere.
    """

    relation: str
    difference: str
    fields: Sequence[str] = ()
    record_id: UUID | None = None
    uscc: str | None = None
    province: str | None = None
    department: str | None = None
    domain: str | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """The differences of some records, and the expected rows."""

    differences: tuple[RowDifference, ...]
    expected: Expected
    entities: frozenset[str] = field(default_factory=frozenset)
    """Entities of the differing rows, both as stored and as expected."""

    @property
    def suspects(self) -> frozenset[UUID]:
        """Return the records that differ or whose history does not prove itself."""
        unsound = (UUID(bytes=record_id) for record_id in self.expected.unsound["record_id"])
        return frozenset({row.record_id for row in self.differences if row.record_id is not None} | set(unsound))


class TableComparison:
    """Compares on one connection, whose search_path names the generation."""

    def __init__(self, connection: Connection, *, own: str, partitions: int) -> None:
        self._connection = connection
        self._own, self._partitions = own, partitions
        self._writers: dict[int, WriterSchema] = {}
        # Slices and lists of keys share their queries: one plan for both would suit neither.
        connection.execute("SET plan_cache_mode = force_custom_plan")
        connection.execute("SET jit = off")
        with connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute("DROP TABLE IF EXISTS pg_temp.expected, pg_temp.told")
            connection.execute(sql("integrity/compare/temporary"))

    def entity_span(self, after: str | None, records: int) -> Span:
        """Return a slice of entities with about `records` records, behind that code or from the first."""
        row = self._connection.execute(
            sql("integrity/compare/entities"), {"after": after, "records": records}
        ).fetchone()
        assert row is not None
        return after, row[0]

    def fingerprint(self, span: Span) -> tuple[str, str]:
        """Return fingerprints of the slice's records and history. A changed row changes one (but for a 64-bit
        collision)."""
        row = self._connection.execute(
            sql("integrity/compare/fingerprint"), {"first": span[0], "last": span[1]}
        ).fetchone()
        assert row is not None
        return row

    def records(self, span: Span = ALL_RECORDS, ids: Collection[UUID] | None = None) -> Records:
        """Compare the records of a slice, or those with these ids, with the rows computed from history."""
        values = {"first": span[0], "last": span[1], "ids": None if ids is None else list(ids)}
        question = sql("integrity/compare/history") if ids is None else sql("integrity/compare/history_of")
        told = self._connection.cursor(binary=True).execute(question, values).fetchall()
        history = pl.DataFrame(told, schema=HISTORY, orient="row")
        made = expected(history, self._known_writers(history["writer"].unique().to_list()))
        self._connection.execute("DELETE FROM expected")
        copy_rows(self._connection, "expected", made.rows, RECORD)
        rows = (
            self._connection.cursor(row_factory=dict_row).execute(sql("integrity/compare/records"), values).fetchall()
        )
        twice = _known_twice(history)
        differences, entities = [], set[str]()
        for row in rows:
            key = (row["record_id"], row["province"], row["department"])
            if row["fields"] == ["known_at"] and key in twice:
                continue  # two workers took the statement over at the same time: either may have come first
            entities |= {uscc for uscc in (row.pop("held_uscc"), row.pop("expected_uscc")) if uscc is not None}
            differences.append(RowDifference(relation="record", **row))
        return Records(tuple(differences), made, frozenset(entities))

    def _known_writers(self, numbers: Collection[int]) -> dict[int, WriterSchema]:
        wanted = [number for number in numbers if number not in self._writers]
        if wanted:
            rows = self._connection.execute(
                "SELECT writer, fingerprint, schema::text FROM writer_schema WHERE writer = ANY(%s)", (wanted,)
            )
            for number, fingerprint, text in rows:
                try:
                    writer = writer_schema(number, text)
                except NotDecodable:
                    continue  # spoiled: statements of this schema do not prove themselves
                if writer.fingerprint == fingerprint:
                    self._writers[number] = writer
        return self._writers

    def credit_views(self, span: Span = ALL_ENTITIES, usccs: Collection[str] | None = None) -> list[RowDifference]:
        """Compare the counts of the entities of a slice, or of these entities, with their records."""
        values = {"after": span[0], "last": span[1], "usccs": None if usccs is None else list(usccs)}
        rows = (
            self._connection.cursor(row_factory=dict_row)
            .execute(sql("integrity/compare/credit_view"), values)
            .fetchall()
        )
        return [RowDifference(relation="credit_view", **row) for row in rows]

    def shared(self, generation: int) -> list[RowDifference]:
        """Compare shared_record with our own records, and its digests with it, if this generation serves."""
        values = {"own": self._own, "partitions": self._partitions, "generation": generation}
        rows = self._connection.cursor(row_factory=dict_row).execute(sql("integrity/compare/shared"), values).fetchall()
        return [RowDifference(province=self._own, **row) for row in rows]

    def foreign_digests(self) -> list[dict[str, Any]]:
        """Return the sets of other provinces whose digest differs from the rows', each with the right digest."""
        values = {"own": self._own, "partitions": self._partitions}
        return (
            self._connection.cursor(row_factory=dict_row)
            .execute(sql("integrity/compare/foreign_digest"), values)
            .fetchall()
        )


def _known_twice(history: pl.DataFrame) -> set[RecordKey]:
    times = history.group_by(*KEY, *RANK).agg(pl.col("known_at").n_unique() > 1).filter("known_at")
    return {(UUID(bytes=record_id), *owner) for record_id, *owner in times.select(KEY).rows()}
