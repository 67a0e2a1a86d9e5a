"""The origin's side of the exchange on real tables: batches folded and shared, and what another province would hold of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg

from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.records.identity import digest
from schemas.records.partitioning import partitions_of
from streams.exchange.outgoing.entries import OutboxEntry
from streams.exchange.outgoing.sharing import Sharing
from streams.projection.staging import staged
from tests.statements import Statement
from tests.viewstore import TABLES, WRITER, decoded, projection_of

__all__ = ["NOW", "Far", "emptied", "fold_and_share", "partition_of", "shared"]

Store = psycopg.Connection[tuple[Any, ...]]

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)

RecordKey = tuple[str, str]
Rank = tuple[int, int, int, int]


def emptied(store: Store) -> None:
    """Empty the generation's tables and what has been shared."""
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}, xinliu.shared_record, xinliu.shared_digest")
        store.execute(
            "INSERT INTO writer_schema (writer, fingerprint, schema) OVERRIDING SYSTEM VALUE VALUES (1, %s, %s)",
            (WRITER.fingerprint, psycopg.types.json.Jsonb(WRITER.schema)),
        )


def fold_and_share(store: Store, sharing: Sharing, batches: Iterable[Sequence[Statement]], *, offset: int = 0) -> int:
    """Fold batches as the view worker does, each in a transaction; return the next offset."""
    projection = projection_of(store)
    for batch in batches:
        with store.transaction():
            folded = projection.fold(staged(decoded(list(batch), offset))[0])
            sharing.share(store, folded.taken)
        offset += len(batch)
    return offset


def partition_of(uscc: str) -> int:
    """Return the partition of an entity."""
    return int(partitions_of(pl.Series([uscc]), EXCHANGE_PARTITIONS)[0])


def shared(store: Store) -> dict[RecordKey, tuple[str, int, int, int]]:
    """Return what the store says is shared and in force: uscc, version, digest by record."""
    rows = store.execute(
        "SELECT replace(record_id::text, '-', ''), department, uscc, version, digest_hi, digest_lo"
        " FROM xinliu.shared_record WHERE state = 'SHARED' AND status = 'IN_FORCE'"
    )
    return {(record_id, department): tuple(rest) for record_id, department, *rest in rows}


@dataclass
class Far:
    """Another province: of what it is told of a record the highest rank holds."""

    said: Mapping[tuple[str, int, int, int], Statement]
    """Statements by record_id, version and digest: what the log would have carried."""
    held: dict[RecordKey, tuple[Rank, str, int, Statement]] = field(default_factory=dict)
    """By record: rank, state, partition, statement."""

    def told(self, entries: Iterable[Sequence[Any]]) -> None:
        """Take entries of the outbox, in any order."""
        for action, partition, record_id, department, epoch, version, high, low, *_ in entries:
            statement = self.said[record_id.replace("-", ""), version, high, low]
            # A withdrawal has a digest of its own; within its epoch nothing else is ever said.
            rank = (epoch, version, *((high, low) if action == "SHARE" else (0, 0)))
            key = (record_id.replace("-", ""), department)
            if key not in self.held or rank > self.held[key][0]:
                self.held[key] = (rank, action, partition, statement)

    def in_force(self) -> dict[RecordKey, tuple[str, int, int, int]]:
        """Return what its readers would see."""
        return {
            key: (statement["subject"]["uscc"], *rank[1:])
            for key, (rank, action, _, statement) in self.held.items()
            if action == "SHARE" and statement["status"] == "IN_FORCE"
        }

    def digests(self) -> dict[tuple[int, str], tuple[int, int, int]]:
        """Return number and XOR of the digests of what is not withdrawn, by partition and domain."""
        found: dict[tuple[int, str], tuple[int, int, int]] = {}
        for rank, action, partition, statement in self.held.values():
            if action == "SHARE":
                place = (partition, statement["domain"])
                n, high, low = found.get(place, (0, 0, 0))
                found[place] = (n + 1, high ^ rank[2], low ^ rank[3])
        return found


def entries(store: Store) -> list[OutboxEntry]:
    """Return every entry that waits in the outbox, oldest first."""
    rows = store.execute("SELECT payload FROM outbox WHERE kind = 'EXCHANGE' ORDER BY id")
    return [OutboxEntry.of(line) for (payload,) in rows for line in payload.split("\n")]


def digests(store: Store) -> dict[tuple[int, str], tuple[int, int, int]]:
    """Return xinliu.shared_digest, without what is empty."""
    rows = store.execute("SELECT partition, domain, records, digest_hi, digest_lo FROM xinliu.shared_digest")
    return {
        (partition, domain): (n, high, low) for partition, domain, n, high, low in rows if (n, high, low) != (0, 0, 0)
    }


def by_digest(statements: Iterable[Statement]) -> dict[tuple[str, int, int, int], Statement]:
    """Return statements by record_id, version and digest."""
    from schemas.contracts.codec import encode

    return {(one["record_id"], one["version"], *digest(encode("xinliu.Statement", one))): one for one in statements}
