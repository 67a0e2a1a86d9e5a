"""The fold: which statement of a record counts, and what an entity's credit view is. Pure; no Kafka, no SQL, no Faust.

Rank = (version, digest). The highest rank of a record wins, whatever came first, so that every permutation, duplication
or replay of the same statements gives the same view. The view worker does the same by guarded upsert and by delta
(streams/projection.py); tests hold the two against each other.
"""

from __future__ import annotations

import numpy as np
import polars as pl

__all__ = ["KEY", "RANK", "mark_newest", "newest", "summary"]

KEY = ("record_id", "province", "department")
"""What names a record: its id, and whose it is. The same id said by another department is another record."""

RANK = ("version", "digest_hi", "digest_lo")
"""Columns of the rank, most significant first; the digest halves are signed 64-bit."""


def mark_newest(statements: pl.DataFrame) -> pl.DataFrame:
    """Add the Boolean column `newest`: true for the one row of each record (KEY) that holds its highest rank.

    Equal ranks are the same statement twice; the first row of them is marked.
    """
    place = "__place"
    # Sorted by key alone: a statement has fifty columns, and sorting them all took longer than the fold.
    record = ["record_id", "__owner"]
    ranked = (
        statements.select("record_id", _owner(statements), *RANK)
        .with_row_index(place)
        .sort([*record, *RANK, place], descending=[False, False, True, True, True, False])
    )
    chosen = ranked.filter(pl.struct(record).is_first_distinct())[place]
    marks = np.zeros(statements.height, dtype=np.bool_)
    marks[chosen.to_numpy()] = True
    return statements.with_columns(newest=pl.Series(marks))


def _owner(statements: pl.DataFrame) -> pl.Series:
    # A number for each department: mostly a batch holds few of them, and numbers compare faster than names.
    names = pl.concat_str("province", "department", separator="/").alias("__owner")
    return statements.select(names.rank("dense").cast(pl.UInt32)).to_series()


def newest(statements: pl.DataFrame) -> pl.DataFrame:
    """Fold statements into the state of their records: one row a record, sorted by KEY."""
    return mark_newest(statements).filter("newest").drop("newest").sort(KEY)


def summary(records: pl.DataFrame) -> pl.DataFrame:
    """Return what credit_view holds for these records: counts and XOR digest by uscc and domain, sorted by both.

    `records` counts every record held, whatever its status; penalties and listings only what is in force, a listing
    only while it is not removed.
    """
    in_force = pl.col("status") == "IN_FORCE"
    return (
        records.group_by("uscc", "domain")
        .agg(
            records=pl.len().cast(pl.Int64),
            penalties=(in_force & (pl.col("kind") == "PENALTY")).sum().cast(pl.Int64),
            listings=(in_force & (pl.col("kind") == "LISTING") & pl.col("listing_removed_on").is_null())
            .sum()
            .cast(pl.Int64),
            digest_hi=pl.col("digest_hi").bitwise_xor(),
            digest_lo=pl.col("digest_lo").bitwise_xor(),
        )
        .sort("uscc", "domain")
    )
