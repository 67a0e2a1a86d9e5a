"""Damage done by hand to a generation's tables, and the log that tells what was there: for tests of audit and mending."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import polars as pl

from deploy.deadline import wait_until
from schemas.records.identity import accepted_key
from schemas.store.database import connect
from streams.integrity.accepted import AcceptedStatement, Keys
from streams.projection.batch import Projection
from streams.projection.fold import RANK
from streams.projection.staging import staged
from tests.statements import Statement
from tests.viewstore import WRITER, Store, decoded, tombstones

__all__ = ["ROWS", "MemoryLog", "emptied", "fold", "nobody_audits", "standing"]

ROWS = (
    "SELECT * FROM record ORDER BY record_id, province, department",
    "SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo FROM credit_view ORDER BY 1, 2, 3",
    "SELECT * FROM record_history WHERE statement IS NOT NULL ORDER BY record_id, province, department, epoch, version, digest_hi, digest_lo, accepted_offset",
    "SELECT * FROM foreign_digest WHERE records <> 0 ORDER BY 1, 2, 3",
    "SELECT * FROM former_entity ORDER BY 1, 2",
)
"""Everything that audit and mending answer for: of what was erased, only that it is."""

_TABLES = (
    "record", "record_history", "former_entity", "credit_view", "outbox", "writer_schema", "quality_day", "row_difference",
    "foreign_digest", "foreign_domain", "applied_checkpoint", "position", "exchange_request", "exchange_difference",
)  # fmt: skip


class MemoryLog:
    """The log of truth in memory: what was folded, and what a tombstone has erased since."""

    def __init__(self) -> None:
        self.entries: list[AcceptedStatement] = []
        self.messages: dict[int, list[tuple[int, str, bool]]] = {}
        """By partition: offset, key, and whether it has content."""
        self.first = 0
        self.read_through = 0
        self.meanwhile: Any = None
        """Called once while the log is read: what happens between the look and the lock."""

    def append(self, frame: pl.DataFrame) -> None:
        for row in frame.iter_rows(named=True):
            key = accepted_key(row["record_id"], *(row[name] for name in RANK))
            self.messages.setdefault(row["accepted_partition"], []).append((row["accepted_offset"], key, True))
            self.entries.append(
                AcceptedStatement(
                    row["accepted_partition"], row["accepted_offset"],
                    key, row["epoch"], row["known_at"],
                    row["received_at"], WRITER, row["statement"],
                )
            )  # fmt: skip

    def erase(self, keys: Collection[tuple[int, str]]) -> None:
        gone = {key for _, key in keys}
        self.entries = [entry for entry in self.entries if entry.key not in gone]
        for messages in self.messages.values():
            messages[:] = [(offset, key, live and key not in gone) for offset, key, live in messages]

    def keys(self, since: Mapping[int, int], upto: Mapping[int, int]) -> Iterator[Keys]:
        for partition, end in upto.items():
            told = self.messages.get(partition, ())
            yield Keys(partition, [one for one in told if since.get(partition, 0) <= one[0] < end], end)

    def beginnings(self, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, self.first)

    def close(self) -> None:
        """Nothing is open."""

    def at(self, places: Collection[tuple[int, int]]) -> Sequence[AcceptedStatement]:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return [entry for entry in self.entries if (entry.partition, entry.offset) in set(places)]

    def mentioning(self, usccs: Collection[str], upto: Mapping[int, int]) -> Collection[UUID]:
        self.read_through += 1
        told = [e for e in self.entries if any(u.encode() in e.body for u in usccs) and e.offset < upto[e.partition]]
        return {UUID(entry.key[:32]) for entry in told}

    def about(self, records: Collection[UUID], upto: Mapping[int, int]) -> Sequence[AcceptedStatement]:
        self.read_through += 1
        heads = {record.hex for record in records}
        return [e for e in self.entries if e.key[:32] in heads and e.offset < upto[e.partition]]


def emptied(store: Store) -> None:
    """Empty the tables, with one partition of `accepted` from its beginning."""
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(_TABLES)} RESTART IDENTITY")
        store.execute("INSERT INTO position VALUES ('accepted', 'id', 0, 0)")
        assert Projection(store).writer_number(WRITER.fingerprint, WRITER.schema) == 1


def fold(store: Store, log: MemoryLog, statements: Sequence[Statement]) -> None:
    """Put statements into the log and fold them as the view does: in one transaction with the position."""
    projection = Projection(store)
    with store.transaction():
        standing = projection.lock_positions([("accepted", 0)])
        frame = decoded(list(statements), standing["accepted", 0])
        log.append(frame)  # the log has it before any view
        projection.fold(staged(frame)[0])
        store.execute("UPDATE position SET next_offset = next_offset + %s", (frame.height,))
    log.erase(tombstones(store))


def standing(store: Store) -> list[Any]:
    """Return what stands in all of these tables."""
    return [store.execute(query).fetchall() for query in ROWS]


def nobody_audits(database: str, generation: int) -> None:
    """Wait until no session audits the generation: one ends a moment after its auditor is closed, and keeps others out until then."""
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND objid = %s"
    with connect(database, autocommit=True) as store:
        assert wait_until(lambda: store.execute(held, (generation,)).fetchone() == (0,), seconds=30, every=0.02)
