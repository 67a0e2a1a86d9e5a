"""Row-by-row writer: fastavro, a Python dictionary, COPY, one guarded upsert; the usual first version of a store.

The row floor and the peers (Faust with `take`, Quix Streams) share it, so that they differ only in how records arrive.
Imports nothing of the project: Quix Streams runs in an environment of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import psycopg

__all__ = ["HISTORY", "Message", "RowWriter", "fold_sql"]

_SCHEMA = Path(__file__).parents[1] / "schemas" / "avro" / "Statement.avsc"
_NARROW = (
    "record_id", "version", "digest_hi", "digest_lo", "status", "uscc", "known_at", "province", "department", "reason",
)  # fmt: skip
HISTORY = (*_NARROW, "accepted_partition", "accepted_offset", "writer", "statement")
_CONTENT = {
    "PENALTY": ("penalty_decided_on", "penalty_facts", "penalty_content"),
    "LISTING": ("listing_list", "listing_listed_on", "listing_grounds", "listing_basis"),
}

Message = tuple[int, int, int, bytes]
"""Partition, offset, broker time in milliseconds, value."""


def fold_sql(columns: Sequence[str]) -> str:
    """Return the guarded upsert from `stage` into `record`, with its deltas into `credit_view`, in one statement."""
    names = ", ".join(columns)
    rank = "({0}.version, {0}.digest_hi, {0}.digest_lo)"
    news = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "record_id")
    penalty = "({0}.status = 'IN_FORCE' AND {0}.kind = 'PENALTY')::int"
    listing = "({0}.status = 'IN_FORCE' AND {0}.kind = 'LISTING' AND {0}.listing_removed_on IS NULL)::int"
    return f"""
    WITH taken AS (
        INSERT INTO record AS held ({names}) SELECT {names} FROM stage ORDER BY record_id
        ON CONFLICT (record_id, province, department) DO UPDATE SET {news}
        WHERE {rank.format("excluded")} > {rank.format("held")}
        RETURNING old.record_id AS had, old.uscc AS old_uscc, old.domain AS old_domain,
            {penalty.format("old")} AS old_penalty, {listing.format("old")} AS old_listing,
            old.digest_hi AS old_hi, old.digest_lo AS old_lo,
            new.uscc AS uscc, new.province AS province, new.domain AS domain, {penalty.format("new")} AS penalty, {listing.format("new")} AS listing,
            new.digest_hi AS hi, new.digest_lo AS lo, new.known_at AS known_at
    ), delta AS (
        SELECT old_uscc AS uscc, province, old_domain AS domain, -1 AS records, -old_penalty AS penalties,
               -old_listing AS listings, old_hi AS hi, old_lo AS lo, known_at
        FROM taken WHERE had IS NOT NULL
        UNION ALL SELECT uscc, province, domain, 1, penalty, listing, hi, lo, known_at FROM taken
    )
    INSERT INTO credit_view AS held (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
    SELECT uscc, province, domain, sum(records), sum(penalties), sum(listings), bit_xor(hi), bit_xor(lo), max(known_at)
    FROM delta GROUP BY uscc, province, domain ORDER BY uscc, province, domain
    ON CONFLICT (uscc, province, domain) DO UPDATE SET
        records = held.records + excluded.records, penalties = held.penalties + excluded.penalties,
        listings = held.listings + excluded.listings, digest_hi = held.digest_hi # excluded.digest_hi,
        digest_lo = held.digest_lo # excluded.digest_lo, changed_at = GREATEST(held.changed_at, excluded.changed_at)
    """


@dataclass(frozen=True, slots=True)
class _Row:
    rank: tuple[int, int, int]
    record: tuple[Any, ...]
    history: tuple[Any, ...]


class RowWriter:
    """Writes batches of messages of `accepted`, one transaction each. `schema_id` is the id of Statement."""

    def __init__(self, database: str, schema_id: int, *, generation: int = 1) -> None:
        self._schema = fastavro.parse_schema(json.loads(_SCHEMA.read_text(encoding="utf-8")))
        self._header = b"\x00" + schema_id.to_bytes(4, "big")
        self._connection = psycopg.connect(database, options="-c timezone=UTC", autocommit=True)
        self._connection.execute(f"SET search_path = g{generation:d}, xinliu, pg_catalog")
        for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
            self._connection.execute(f"SET {setting} = off")
        self._connection.execute("CREATE TEMP TABLE stage ON COMMIT DELETE ROWS AS SELECT * FROM record WITH NO DATA")
        columns = self._connection.execute("SELECT * FROM record LIMIT 0").description or ()
        self.columns = [column.name for column in columns]
        self._fold = fold_sql(self.columns)
        self._writer = self._connection.execute(
            "INSERT INTO writer_schema (fingerprint, schema) VALUES ('benchmark', '{}') ON CONFLICT (fingerprint)"
            " DO UPDATE SET fingerprint = excluded.fingerprint RETURNING writer"
        ).fetchone()[0]  # type: ignore[index]

    def standing(self) -> dict[int, int]:
        """Return the next offset of each partition of `accepted`."""
        rows = self._connection.execute("SELECT partition, next_offset FROM position WHERE topic = 'accepted'")
        return dict(rows.fetchall())

    def prepare(self, messages: Sequence[Message]) -> tuple[Any, dict[int, int]]:
        """Decode messages, leaving out all but statements. Return rows, and the next offset by partition."""
        rows, reached = [], {}
        for partition, offset, received, value in messages:
            reached[partition] = offset + 1
            if value is not None and value[:5] == self._header:
                rows.append(self._row(partition, offset, received, value[5:]))
        return rows, reached

    def write(self, rows: Any, reached: dict[int, int]) -> None:
        """Write prepared rows, and move the positions, in one transaction."""
        newest: dict[Any, _Row] = {}
        for row in rows:
            key = row.record[0]
            if key not in newest or row.rank > newest[key].rank:
                newest[key] = row
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(f"COPY stage ({', '.join(self.columns)}) FROM STDIN") as copy:
                for row in newest.values():
                    copy.write_row(row.record)
            cursor.execute(self._fold)
            with cursor.copy(f"COPY record_history ({', '.join(HISTORY)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row.history)
            self._move(reached)

    def _move(self, reached: dict[int, int]) -> None:
        for partition, offset in reached.items():
            self._connection.execute(
                "UPDATE position SET next_offset = %s WHERE topic = 'accepted' AND partition = %s", (offset, partition)
            )

    def _row(self, partition: int, offset: int, received: int, body: bytes) -> _Row:
        value: Any = fastavro.schemaless_reader(io.BytesIO(body), self._schema, None)
        digest = hashlib.blake2b(body, digest_size=16).digest()
        high, low = (int.from_bytes(half, "big", signed=True) for half in (digest[:8], digest[8:]))
        subject, kind = value["subject"], value["kind"]
        flat = {f"penalty_{name}": part for name, part in (value["penalty"] or {}).items()}
        flat |= {f"listing_{name}": part for name, part in (value["listing"] or {}).items()}
        texts = [value["authority"], *(flat.get(name) for name in _CONTENT[kind])]
        content = hashlib.blake2b("\x1f".join(str(text) for text in texts if text is not None).encode(), digest_size=8)
        flat |= value | {
            "epoch": 0,
            "digest_hi": high,
            "digest_lo": low,
            "uscc": subject["uscc"],
            "subject_name": subject["name"],
            "subject_kind": subject["kind"],
            "known_at": datetime.fromtimestamp(received / 1000, UTC),
            "content_key": int.from_bytes(content.digest(), "big", signed=True),
        }
        narrow = tuple(flat[name] for name in _NARROW)
        return _Row(
            (value["version"], high, low),
            tuple(flat.get(name) for name in self.columns),
            (*narrow, partition, offset, self._writer, body),
        )
