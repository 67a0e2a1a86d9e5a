"""Comparison of history with the log of truth: statements that history lost, or that nobody ever accepted.

If a record has gone, or was forged, together with its history and its counts, the tables agree with each other; only
the log shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import polars as pl
import structlog

from schemas.records.identity import accepted_key
from schemas.store.sql_files import sql
from streams.integrity.accepted import WholeLog
from streams.integrity.comparison import Connection, RowDifference, Span
from streams.integrity.log_set import LogSet, Sums, hashed, statements

__all__ = ["LogAudit", "LogFound"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LogFound:
    """The differences of a slice: MISSING statements of the log that history lacks, EXTRA ones that the log lacks."""

    differences: Sequence[RowDifference] = ()
    read: Mapping[int, int] = field(default_factory=dict)
    """The offsets up to which the log was read, by partition."""
    unfounded: frozenset[UUID] = frozenset()
    """Records with a statement that a tombstone took out of the log though nothing erases it: history keeps it."""

    @property
    def ids(self) -> list[UUID]:
        """The records that differ."""
        return sorted({row.record_id for row in self.differences if row.record_id is not None})


class LogAudit:
    """Follows the log, and compares history with it on one connection, whose search_path names the generation."""

    def __init__(self, connection: Connection, log_of: WholeLog, *, own: str) -> None:
        self._connection, self._log, self._own = connection, log_of, own
        self._set = LogSet()
        self._whole = True
        self._excused: dict[int, tuple[int, int]] = {}
        """Statements that history need not have, by hash, with their places: found once, not searched in the log
        again."""

    def follow(self) -> Iterator[None]:
        """Read on to the tables' position, in batches. Compares nothing with a log that lost its beginning."""
        read = self._folded()
        if any(read.get(partition, 0) < offset for partition, offset in self._set.next_offsets.items()):
            self._set = LogSet()  # the tables were put back to an older state
            self._excused.clear()
        begins = {partition: first for partition, first in self._log.beginnings(list(read)).items() if first}
        self._whole = not begins
        for partition, first in sorted(begins.items()):
            log.error(
                "audit.log_lost_its_beginning", partition=partition, begins_at=first, see="xinliu replay plan --all"
            )
        if self._whole:
            yield from self._follow(read)

    def sums(self, span: Span) -> Sums | None:
        """Return the log's sums for a slice, as far as it was read; None if the log is not whole."""
        return self._set.sums(*span) if self._whole else None

    def agrees(self, span: Span) -> bool:
        """Return whether history has the same sums as the log, in the caller's snapshot."""
        if not self._whole:
            return True
        read = self._set.next_offsets
        values = {
            "first": span[0], "last": span[1], "own": self._own, "partitions": list(read), "read": list(read.values()),
        }  # fmt: skip
        row = self._connection.execute(sql("integrity/compare/sums"), values).fetchone()
        assert row is not None
        return Sums(*row) == self._set.sums(*span)

    def look(self, span: Span) -> LogFound:
        """Compare each statement of a slice with the log, in a snapshot of its own."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            read = self._folded()
            values = {"first": span[0], "last": span[1], "own": self._own}
            rows = self._connection.execute(sql("integrity/compare/keys"), values).fetchall()
        for _ in self._follow(read):
            pass
        hashes = hashed([accepted_key(row[0].hex, *row[1:5]) for row in rows])
        held, erased = self._set.holds(hashes), self._set.erased(hashes)
        extra, unfounded = [], set[UUID]()
        for row, is_held, is_erased in zip(rows, held.tolist(), erased.tolist(), strict=True):
            record_id, live, ours, province, department = row[0], *row[5:]
            if is_held or not live or ours:
                continue
            if is_erased:
                unfounded.add(record_id)
                log.error("audit.unfounded", record_id=record_id.hex, version=row[2])
            else:
                extra.append(_difference("EXTRA", record_id, province, department))
        lost = set(self._set.within(*span).tolist()) - set(hashes.tolist())
        missing = [_difference("MISSING", record_id) for record_id in sorted(self._lost(lost, read))] if lost else []
        return LogFound((*extra, *missing), read, frozenset(unfounded))

    def _lost(self, hashes: set[int], read: Mapping[int, int]) -> set[UUID]:
        """Return the records of statements with these hashes, except statements that history need not have."""
        excused = set(self._connection.execute(sql("integrity/compare/excused")).fetchall())
        wanted = {hash_of for hash_of in hashes if self._excused.get(hash_of) not in excused}
        if not wanted:
            return set()  # to search for a statement takes a pass over the whole log
        found: dict[int, UUID] = {}
        for part in self._log.keys({}, read):
            for offset, key, _, hash_of in statements(part.keys).filter(pl.col("hash").is_in(list(wanted))).rows():
                found[hash_of] = UUID(key[:32])
                if (part.partition, offset) in excused:
                    self._excused[hash_of] = part.partition, offset
        return {record_id for hash_of, record_id in found.items() if self._excused.get(hash_of) not in excused}

    def _follow(self, read: Mapping[int, int]) -> Iterator[None]:
        for part in self._log.keys(self._set.next_offsets, read):
            self._set.take(part.partition, part.keys, part.next_offset)
            yield

    def _folded(self) -> dict[int, int]:
        rows = self._connection.execute("SELECT partition, next_offset FROM position WHERE topic = 'accepted'")
        return {partition: offset for partition, offset in rows}


def _difference(how: str, record_id: UUID, province: str | None = None, department: str | None = None) -> RowDifference:
    return RowDifference(
        relation="record_history", difference=how, record_id=record_id, province=province, department=department
    )
