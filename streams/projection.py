"""One batch of `accepted` and `quarantine` into one generation of the store: one transaction, in DESIGN's order.

The caller owns the transaction; everything here either happens with it or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from schemas.columns import FLAT
from schemas.copying import copy_rows
from schemas.store import sql
from streams.fold import mark_newest

__all__ = ["STAGED", "Folded", "Move", "Projection", "StoreFinding", "staged"]

Connection = psycopg.Connection[tuple[Any, ...]]

_NOT_HELD = {"row", "has_penalty", "has_listing"}
_RECORD = (
    *(name for name in FLAT.names() if name not in _NOT_HELD),
    "digest_hi",
    "digest_lo",
    "content_key",
    "known_at",
)
_HISTORY = (
    "record_id", "version", "digest_hi", "digest_lo", "status", "uscc", "known_at", "accepted_partition",
    "accepted_offset", "writer", "statement",
)  # fmt: skip
_SUSPECT = ("row", "record_id", "version", "digest_hi", "digest_lo", "status", "reason", "uscc")

STAGED = (
    *FLAT.names(),
    "digest_hi",
    "digest_lo",
    "statement",
    "accepted_partition",
    "accepted_offset",
    "writer",
    "known_at",
)
"""Columns that the projection is given: FLAT, the digest, the Avro body, its place and writer schema in `accepted`, and
when the broker took it."""

_UUID = r"^[0-9a-f]{32}$"


@dataclass(frozen=True, slots=True)
class StoreFinding:
    """What the set of statements says of one of them: row in the batch, outcome and code for the receipt, detail."""

    row: int
    outcome: str
    code: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch of statements did: findings for the departments, rows refused with the reason."""

    findings: tuple[StoreFinding, ...]
    refused: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Move:
    """A position on its way: topic, its id, partition, from where to where."""

    topic: str
    topic_id: str
    partition: int
    expected: int
    next_offset: int


def staged(statements: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, str]]:
    """Make statements (STAGED) ready for `Projection.fold`: sorted by record_id, the newest of each marked.

    Rows that no table can hold are left out and returned with the reason. Needs no database, so that the next batch can
    be made ready while the last one is written.
    """
    nul = pl.any_horizontal(pl.col(pl.String).str.contains("\x00", literal=True))
    kept = pl.col("record_id").str.contains(_UUID) & ~nul.fill_null(False)
    refused = {row: "a text holds U+0000, or record_id is no uuid" for row in statements.filter(~kept)["row"]}
    return _ranked(statements.filter(kept) if refused else statements), refused


def _ranked(statements: pl.DataFrame) -> pl.DataFrame:
    marked = mark_newest(statements)
    return marked.with_columns(
        content_key=_content_keys(marked),
        again=~pl.col("record_id").is_unique(),
        record_id=pl.col("record_id").str.decode("hex"),
        row=pl.col("row").cast(pl.Int32),
    ).sort("record_id")


def _content_keys(statements: pl.DataFrame) -> pl.Series:
    # Equal for two statements of one authority about the same facts; BLAKE2b, because it never changes.
    texts = statements.select(
        pl.when(pl.col("penalty_facts").is_not_null())
        .then(_joined("authority", "penalty_decided_on", "penalty_facts", "penalty_content"))
        .when(pl.col("listing_grounds").is_not_null())
        .then(_joined("authority", "listing_list", "listing_listed_on", "listing_grounds", "listing_basis"))
    ).to_series()
    blake = hashlib.blake2b
    hashed = b"".join([blake((text or "").encode(), digest_size=8).digest() for text in texts.to_list()])
    keys = pl.Series(np.frombuffer(hashed, dtype=">i8").astype(np.int64))
    return keys.set(texts.is_null(), None)


def _joined(*names: str) -> pl.Expr:
    return pl.concat_str([pl.col(name) for name in names], separator="\x1f", ignore_nulls=True)


class Projection:
    """The SQL of the view worker, on one connection whose search_path names the generation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Plans that were made for empty tables must suit full ones: row by row through an index, nothing compiled.
        for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
            connection.execute(f"SET {setting} = off")
        # A worker that sleeps in the middle of a transaction must not keep its positions locked for the others.
        connection.execute("SET idle_in_transaction_session_timeout = '20s'")
        with connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute("DROP TABLE IF EXISTS pg_temp.stage, pg_temp.suspect")
            connection.execute(sql("view/stage"))

    def lock_positions(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return and lock the next offset of these partitions; always in the same order, so that no two deadlock."""
        wanted = sorted(partitions)
        rows = self._connection.execute(
            "SELECT topic, partition, next_offset FROM position"
            " WHERE (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::int[]))"
            " ORDER BY topic, partition FOR UPDATE",
            ([topic for topic, _ in wanted], [partition for _, partition in wanted]),
        ).fetchall()
        return {(topic, partition): offset for topic, partition, offset in rows}

    def advance(self, moves: Sequence[Move]) -> bool:
        """Move positions by compare-and-set; false where one does not stand where it is expected any more."""
        if not moves:
            return True
        moved = self._connection.execute(
            sql("view/advance"),
            {
                "topics": [move.topic for move in moves],
                "topic_ids": [move.topic_id for move in moves],
                "partitions": [move.partition for move in moves],
                "expected": [move.expected for move in moves],
                "next_offsets": [move.next_offset for move in moves],
            },
        )
        return moved.rowcount == len(moves)

    def fold(self, statements: pl.DataFrame) -> Folded:
        """Fold statements, as `staged` returns them, into record, history and credit_view."""
        refused = self._stage(statements)
        if refused:
            # A refused row may have been its record's newest: mark again without it.
            self._connection.execute("TRUNCATE stage")
            kept = statements.filter(~pl.col("row").is_in(list(refused)))
            statements = _ranked(kept.with_columns(record_id=pl.col("record_id").bin.encode("hex")))
            self._copy_newest(statements)
        outcome = self._connection.execute(sql("view/take")).fetchone()
        assert outcome is not None
        known, emptied = outcome
        if emptied:
            self._connection.execute(sql("view/tidy"), {"uscc": emptied})
        findings = self._suspects(statements, known or [])
        twins = self._connection.execute(sql("view/twins"), {"known": known or []}).fetchall()
        return Folded((*findings, *(StoreFinding(*row) for row in twins)), refused)

    def _suspects(self, statements: pl.DataFrame, known: Sequence[int]) -> tuple[StoreFinding, ...]:
        # A statement that is the only one of its record can neither be old nor contradict another: most are.
        before = statements.filter(pl.col("row").is_in(list(known)))["record_id"]
        suspects = statements.filter(pl.col("again") | pl.col("record_id").is_in(before.implode()))
        if suspects.is_empty():
            self._append(statements)
            return ()
        copy_rows(self._connection, "suspect", suspects, _SUSPECT)
        repeated = [row for (row,) in self._connection.execute(sql("view/repeated"))]
        # Said twice in this batch: the first one stays, as it would have in two batches.
        news = statements.filter(~pl.col("row").is_in(repeated)).sort("row")
        self._append(news.unique(["record_id", "version", "digest_hi", "digest_lo"], keep="first", maintain_order=True))
        self._connection.execute(sql("view/former"))
        self._connection.execute(sql("view/erase"))
        return tuple(StoreFinding(*row) for row in self._connection.execute(sql("view/findings")))

    def _append(self, statements: pl.DataFrame) -> None:
        copy_rows(self._connection, "record_history", statements, _HISTORY)

    def _stage(self, statements: pl.DataFrame) -> dict[int, str]:
        # One value that PostgreSQL refuses must not take its neighbours with it: the batch is halved until the row
        # that is refused stands alone.
        try:
            with self._connection.transaction():
                self._copy_newest(statements)
        except psycopg.DataError as error:
            if statements.height == 1:
                return {int(statements["row"][0]): str(error).splitlines()[0]}
            half = statements.height // 2
            return self._stage(statements[:half]) | self._stage(statements[half:])
        return {}

    def _copy_newest(self, statements: pl.DataFrame) -> None:
        copy_rows(self._connection, "stage", statements.filter("newest"), ("row", *_RECORD))

    def progress(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take over intake's vectors; rows as view/progress.sql names them."""
        if rows:
            self._connection.execute(sql("view/progress"), {"rows": Jsonb(list(rows))})

    def quarantine(self, entry: Mapping[str, Any]) -> bool:
        """Project one quarantine entry; false where it is there already."""
        values = {**entry, "findings": Jsonb(entry["findings"])}
        return self._connection.execute(sql("view/quarantine"), values).rowcount == 1

    def announce(self, kind: str, payload: Any, department: str | None = None) -> None:
        """Write an outbox row: what must leave once this transaction has committed."""
        self._connection.execute(
            "INSERT INTO outbox (kind, department, payload) VALUES (%s, %s, %s)", (kind, department, Jsonb(payload))
        )

    def writer_number(self, fingerprint: str, schema: Any) -> int:
        """Return the number under which history refers to a writer schema, entering it when it is new."""
        row = self._connection.execute(
            "INSERT INTO writer_schema (fingerprint, schema) VALUES (%s, %s)"
            " ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint RETURNING writer",
            (fingerprint, Jsonb(schema)),
        ).fetchone()
        assert row is not None
        return int(row[0])
