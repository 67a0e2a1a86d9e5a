"""The projection of one batch of `accepted` and `quarantine` into one generation of the store, in DESIGN's order.

The caller owns the transaction: everything here commits with it, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from schemas.exchange.topics import WITHDRAWN
from schemas.records.identity import accepted_key
from schemas.servers.connection import WorkerTimes
from schemas.store.binary_copy import BigintArray, UuidArray, copy_rows
from schemas.store.sql_files import sql
from streams.projection.columns import HISTORY, RECORD
from streams.projection.fold import KEY, RANK
from streams.projection.quality import COUNTED, Quality
from streams.projection.staging import MENDS, ranked
from streams.runtime.service import plan_by_index

__all__ = ["TAKEN", "Folded", "PositionMove", "Projection", "StoreFinding"]

Connection = psycopg.Connection[tuple[Any, ...]]

_SUSPECT = (
    "row", "record_id", "province", "department", "epoch", "version", "digest_hi", "digest_lo", "status", "reason",
    "uscc", "disputed", "removed", "accepted_partition", "received_at",
)  # fmt: skip
_TWIN = ("row", "record_id", "version", "content_key", "uscc", "department", "number")
_MOST_TWINS = 100
"""Limit of records of one content and company, or document number, that are searched for a possible duplicate."""
_HELD = {
    "record_id": pl.Binary(),
    "province": pl.String(),
    "department": pl.String(),
    "epoch": pl.Int64(),
    "version": pl.Int64(),
    "digest_hi": pl.Int64(),
    "digest_lo": pl.Int64(),
    "uscc": pl.String(),
    "domain": pl.String(),
    "status": pl.String(),
    "penalty": pl.Boolean(),
    "listing": pl.Boolean(),
}
"""Columns that projection/held.sql returns."""

TAKEN = (*KEY, *RANK, "uscc", "domain", "kind", "status", "accepted_partition")
"""Columns of a statement that was taken. After them stand RANK, uscc, domain and status of the row stored before, named
`…_held`, null if there was none. record_id is 16 bytes."""

_HELD_TAKEN = tuple(f"{name}_held" for name in (*RANK, "uscc", "domain", "status"))

_TOMBSTONES_A_ROW = 1_000
"""Limit of one outbox row, so that no row grows with the number of revocations in a batch."""


@dataclass(frozen=True, slots=True)
class StoreFinding:
    """A finding about one statement from the whole set: row in the batch, outcome and code for the receipt, detail."""

    row: int
    outcome: str
    code: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Folded:
    """The result of a batch of statements: findings for the departments, refused rows with the reason."""

    findings: tuple[StoreFinding, ...]
    refused: Mapping[int, str]
    taken: pl.DataFrame
    """The statements that are now their records' newest (TAKEN), each with the row stored before."""


@dataclass(frozen=True, slots=True)
class PositionMove:
    """A move of a position: topic, its id, partition, expected and next offset."""

    topic: str
    topic_id: str
    partition: int
    expected: int
    next_offset: int


def _above(rank: Sequence[pl.Expr], other: Sequence[pl.Expr]) -> pl.Expr:
    head = rank[0] > other[0]
    return head if len(rank) == 1 else head | ((rank[0] == other[0]) & _above(rank[1:], other[1:]))


_MENDS = pl.col(MENDS) & pl.all_horizontal(pl.col(name) == pl.col(f"{name}_held") for name in RANK)
"""A statement pushed again because a set differed: it replaces the row of its own rank, even if somebody altered it."""

_IN_FORCE = pl.col("status") == "IN_FORCE"
# A record that another province no longer shares counts nowhere, as a new statement and as the stored one.
_COUNTS, _COUNTED = pl.col("status") != WITHDRAWN, pl.col("status_held") != WITHDRAWN
_GAIN = (
    pl.col("uscc"),
    pl.col("province"),
    pl.col("domain"),
    _COUNTS.cast(pl.Int32).alias("records"),
    (_IN_FORCE & (pl.col("kind") == "PENALTY")).cast(pl.Int32).alias("penalties"),
    (_IN_FORCE & (pl.col("kind") == "LISTING") & pl.col("listing_removed_on").is_null())
    .cast(pl.Int32)
    .alias("listings"),
    (_COUNTS.cast(pl.Int64) * pl.col("digest_hi")).alias("digest_hi"),
    (_COUNTS.cast(pl.Int64) * pl.col("digest_lo")).alias("digest_lo"),
    pl.col("known_at").alias("changed_at"),
)
_LOSS = (
    pl.col("uscc_held").alias("uscc"),
    pl.col("province"),
    pl.col("domain_held").alias("domain"),
    (-_COUNTED.cast(pl.Int32)).alias("records"),
    (-pl.col("penalty").cast(pl.Int32)).alias("penalties"),
    (-pl.col("listing").cast(pl.Int32)).alias("listings"),
    (_COUNTED.cast(pl.Int64) * pl.col("digest_hi_held")).alias("digest_hi"),
    (_COUNTED.cast(pl.Int64) * pl.col("digest_lo_held")).alias("digest_lo"),
    pl.col("known_at").alias("changed_at"),
)
"""_GAIN and _LOSS: the deltas of an entity's view by the statement that is taken and by the one that it replaces."""


class Projection:
    """The SQL of the view worker, on one connection whose search_path names the generation. PostgreSQL ends the
    connection if it idles in a transaction for `idle` seconds."""

    def __init__(self, connection: Connection, *, idle: float = WorkerTimes().idle_in_transaction) -> None:
        self._connection = connection
        self._quality = Quality(connection)
        # Plans made for empty tables must suit full ones: row by row through an index, nothing compiled.
        plan_by_index(connection)
        # A worker that sleeps in the middle of a transaction must not keep its positions locked for the others.
        connection.execute(f"SET idle_in_transaction_session_timeout = '{round(idle * 1000)}ms'")
        with connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute("DROP TABLE IF EXISTS pg_temp.stage, pg_temp.delta, pg_temp.suspect, pg_temp.twin")
            connection.execute(sql("projection/stage"))

    def lock_positions(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Lock and return the next offset of these partitions, always in the same order, so that no two deadlock."""
        wanted = sorted(partitions)
        rows = self._connection.execute(
            "SELECT topic, partition, next_offset FROM position"
            " WHERE (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::int[]))"
            " ORDER BY topic, partition FOR UPDATE",
            ([topic for topic, _ in wanted], [partition for _, partition in wanted]),
        ).fetchall()
        return {(topic, partition): offset for topic, partition, offset in rows}

    def advance(self, moves: Sequence[PositionMove]) -> bool:
        """Move positions by compare-and-set; return false if one no longer stands at its expected offset."""
        if not moves:
            return True
        moved = self._connection.execute(
            sql("projection/advance"),
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
        refused: dict[int, str] = {}
        try:
            with self._connection.transaction():
                held, twins, taken = self._take(statements.filter("newest"))
        except psycopg.DataError:
            # One value that PostgreSQL refuses must not fail the other rows. A refused row may have been its record's
            # newest: mark again without it.
            refused = self.refused_of(statements.filter("newest"))
            kept = statements.filter(~pl.col("row").is_in(list(refused)))
            statements = ranked(kept.with_columns(record_id=pl.col("record_id").bin.encode("hex")))
            held, twins, taken = self._take(statements.filter("newest"))
        return Folded((*self._suspects(statements, held["record_id"]), *twins), refused, taken)

    def _take(self, newest: pl.DataFrame) -> tuple[pl.DataFrame, tuple[StoreFinding, ...], pl.DataFrame]:
        # New records are copied straight into the table, which costs PostgreSQL a third of an upsert; only stored
        # records are compared, under lock. If another worker enters a record at the same time, the whole batch fails
        # (UniqueViolation), is tried again, and finds the record stored.
        held = self._held(newest["record_id"])
        known = newest.join(held, on=KEY, how="inner", suffix="_held", maintain_order="left")
        news = newest.join(held, on=KEY, how="anti", maintain_order="left")
        outranks = _above([pl.col(name) for name in RANK], [pl.col(f"{name}_held") for name in RANK])
        outranking = known.filter(outranks | _MENDS if MENDS in known.columns else outranks)
        twins = self._possible_twins(news, newest)
        copy_rows(self._connection, "record", news, RECORD)
        if outranking.height:
            copy_rows(self._connection, "stage", outranking, RECORD)
            self._connection.execute(sql("projection/moved"))
            self._connection.execute(sql("projection/outrank"))
        self._summarise(news, outranking)
        taken = pl.concat([news.select(TAKEN), outranking.select(*TAKEN, *_HELD_TAKEN)], how="diagonal")
        if twins.is_empty():
            return held, (), taken
        number = pl.coalesce("penalty_document_number", "listing_entry_id").alias("number")
        copy_rows(self._connection, "twin", twins.with_columns(number), _TWIN)
        found = self._connection.execute(sql("projection/twins"), {"most": _MOST_TWINS})
        return held, tuple(StoreFinding(*row) for row in found), taken

    def _held(self, record_ids: pl.Series) -> pl.DataFrame:
        if record_ids.is_empty():
            return pl.DataFrame(schema=_HELD)
        rows = self._connection.execute(sql("projection/held"), (UuidArray(record_ids),), binary=True).fetchall()
        return pl.DataFrame(rows, schema=_HELD, orient="row")

    def _possible_twins(self, news: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
        # Queried before the new records are in the table: most contents are then found nowhere.
        told = news.filter(_IN_FORCE & pl.col("content_key").is_not_null() & (pl.col("epoch") == 0))
        if told.is_empty():
            return told
        found = self._connection.execute(
            sql("projection/contents"), (BigintArray(told["content_key"].unique()),)
        ).fetchall()
        here = newest["content_key"].drop_nulls()
        there = pl.Series([key for (key,) in found], dtype=pl.Int64)
        again = pl.concat([here.filter(here.is_duplicated()), there]).unique()
        return told.filter(pl.col("content_key").is_in(again.implode()))

    def _summarise(self, news: pl.DataFrame, outranking: pl.DataFrame) -> None:
        # A correction may move a record: a gain in one entity's view is then a loss in another's.
        gained = pl.concat([news.select(_GAIN), outranking.select(_GAIN)])
        changes = pl.concat([gained, outranking.select(_LOSS)]) if outranking.height else gained
        if changes.is_empty():
            return
        sums = [pl.col(name).sum() for name in ("records", "penalties", "listings")]
        digests = [pl.col(name).bitwise_xor() for name in ("digest_hi", "digest_lo")]
        delta = changes.group_by("uscc", "province", "domain").agg(*sums, *digests, pl.col("changed_at").max())
        delta = delta.sort("uscc", "province", "domain")
        copy_rows(self._connection, "delta", delta, delta.columns)
        row = self._connection.execute(sql("projection/summarise")).fetchone()
        assert row is not None
        (emptied,) = row
        if emptied:
            self._connection.execute(sql("projection/tidy"), {"uscc": emptied})
        self.announce("CHANGES", {"uscc": delta["uscc"].unique().sort().to_list()})

    def _suspects(self, statements: pl.DataFrame, before: pl.Series) -> tuple[StoreFinding, ...]:
        if statements.is_empty():
            return ()
        # A first publication that is the only statement of its record contradicts nothing; most statements are such.
        first = pl.col("reason") == "PUBLISHED"
        suspect = statements.select(~first | pl.col("again") | pl.col("record_id").is_in(before.implode())).to_series()
        suspects, shard = statements.filter(suspect), int(statements["accepted_partition"][0])
        if suspects.is_empty():
            self._append(statements)
            self._quality.enter(shard, statements, statements)
            return ()
        copy_rows(self._connection, "suspect", suspects, _SUSPECT)
        counted = self._quality.standing()
        repeated = [row for (row,) in self._connection.execute(sql("projection/repeated"))]
        # A statement twice in this batch: the first one stays, as it would in two batches.
        news = statements.filter(~pl.col("row").is_in(repeated)).sort("row")
        news = news.unique([*KEY, *RANK], keep="first", maintain_order=True)
        self._append(news)
        if news.height < statements.height:
            self._connection.execute(sql("projection/received"))
        self._connection.execute(sql("projection/former"))
        found = [StoreFinding(*row) for row in self._connection.execute(sql("projection/findings"))]
        self._erase(suspects, [finding.row for finding in found if finding.outcome == "ERASED"])
        self._quality.enter(shard, statements.select(COUNTED).filter(~suspect), news, counted)
        return tuple(finding for finding in found if finding.outcome != "ERASED")

    def _erase(self, suspects: pl.DataFrame, outranked: Sequence[int]) -> None:
        # Statements that a revocation outranks are erased in history, now or long ago if they come again. A tombstone
        # has the key that intake gave the statement, and follows it in its partition. Another province's record (epoch)
        # keeps no content once it is not in force, whatever ended it.
        ended = (pl.col("status") == "REVOKED") | ((pl.col("epoch") > 0) & ~_IN_FORCE)
        revoked = suspects.filter(ended)["record_id"].unique()
        if not outranked and revoked.is_empty():
            return
        if len(revoked):
            self._connection.execute(sql("projection/forget"), (UuidArray(revoked),))
        again = suspects.filter(pl.col("row").is_in(list(outranked)))
        gone = {
            (partition, accepted_key(record_id.hex(), *rank))
            for partition, record_id, *rank in again.select("accepted_partition", "record_id", *RANK).rows()
        } | {
            (partition, accepted_key(record_id.hex, *rank))
            for partition, record_id, *rank in self._connection.execute(sql("projection/erase"))
        }
        ordered = sorted(gone)
        for start in range(0, len(ordered), _TOMBSTONES_A_ROW):
            self.announce("TOMBSTONES", ordered[start : start + _TOMBSTONES_A_ROW])

    def _append(self, statements: pl.DataFrame) -> None:
        copy_rows(self._connection, "record_history", statements, HISTORY)

    def refused_of(self, statements: pl.DataFrame) -> dict[int, str]:
        # Bisection: the batch is halved until each refused row stands alone.
        try:
            with self._connection.transaction():
                copy_rows(self._connection, "stage", statements, RECORD)
                self._connection.execute("TRUNCATE stage")
        except psycopg.DataError as error:
            if statements.height == 1:
                return {int(statements["row"][0]): str(error).splitlines()[0]}
            half = statements.height // 2
            return self.refused_of(statements[:half]) | self.refused_of(statements[half:])
        return {}

    def progress(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Upsert intake's progress vectors; rows as projection/progress.sql names them."""
        if rows:
            self._connection.execute(sql("projection/progress"), {"rows": Jsonb(list(rows))})

    def quarantine(self, entry: Mapping[str, Any]) -> bool:
        """Project one quarantine entry; return false if it is there already."""
        values = {"held_from": None, **entry, "findings": Jsonb(entry["findings"])}
        return self._connection.execute(sql("projection/quarantine"), values).rowcount == 1

    def quarantine_outcome(self, outcome: Mapping[str, Any]) -> None:
        """Project the outcome of a decision about an entry; idempotent."""
        values = {**outcome, "findings": Jsonb(outcome["findings"])}
        self._connection.execute(sql("projection/quarantine_outcome"), values)

    def announce(self, kind: str, payload: Any, department: str | None = None) -> None:
        """Write an outbox row, which the relay publishes once this transaction has committed."""
        self._connection.execute(
            "INSERT INTO outbox (kind, department, payload) VALUES (%s, %s, %s)", (kind, department, Jsonb(payload))
        )

    def writer_number(self, fingerprint: str, schema: Any) -> int:
        """Return the number by which history refers to a writer schema, and enter the schema if it is new."""
        row = self._connection.execute(
            "INSERT INTO writer_schema (fingerprint, schema) VALUES (%s, %s)"
            " ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint RETURNING writer",
            (fingerprint, Jsonb(schema)),
        ).fetchone()
        assert row is not None
        return int(row[0])
