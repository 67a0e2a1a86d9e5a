"""The fold: which statement of a record counts, and an entity's credit view. Pure: no Kafka, no SQL, no Faust.

Rank = (epoch, version, digest). The highest rank of a record wins, whatever came first, so that every permutation,
duplication or replay of the same statements gives the same view. The view worker does the same by guarded upsert and by
delta (streams/projection/batch.py); tests compare the two.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas.exchange.topics import WITHDRAWN

__all__ = ["KEY", "RANK", "mark_newest", "newest", "summary"]

KEY = ("record_id", "province", "department")
"""The key of a record: its id and its owner. The same id from another department is another record."""

RANK = ("epoch", "version", "digest_hi", "digest_lo")
"""Columns of the rank, most significant first; the digest halves are signed 64-bit. `epoch` is 0 for departments of
this province; other provinces begin a new one when they withdraw a record or share it anew
(schemas/exchange/topics.py)."""


def mark_newest(statements: pl.DataFrame) -> pl.DataFrame:
    """Add the Boolean column `newest`: true for the one row of each record (KEY) with its highest rank.

    Rows of equal rank are the same statement twice; the first of them is marked.
    """
    place, record = "__place", ["record_id", "__owner"]
    # Sort the key columns alone: a statement has fifty columns, and sorting them all took longer than the fold.
    ranked = (
        statements.select("record_id", _owner(statements), *RANK)
        .with_row_index(place)
        .sort([*record, *RANK, place], descending=[False, False, *(True for _ in RANK), False])
    )
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in record)
    chosen = ranked.filter(begins)[place]
    marks = np.zeros(statements.height, dtype=np.bool_)
    marks[chosen.to_numpy()] = True
    return statements.with_columns(newest=pl.Series(marks))


def _owner(statements: pl.DataFrame) -> pl.Series:
    # A number for each owner: numbers compare faster than names, and most batches have one owner and need none.
    if max(statements[name].n_unique() for name in ("province", "department")) <= 1:
        return pl.repeat(0, statements.height, dtype=pl.UInt32, eager=True).alias("__owner")
    names = statements.select(pl.concat_str("province", "department", separator="/"))
    return names.to_series().rank("dense").cast(pl.UInt32).alias("__owner")


def newest(statements: pl.DataFrame) -> pl.DataFrame:
    """Fold statements into the state of their records: one row for each record, sorted by KEY."""
    return mark_newest(statements).filter("newest").drop("newest").sort(KEY)


def summary(records: pl.DataFrame) -> pl.DataFrame:
    """Return credit_view of these records: counts and XOR digest by uscc, province and domain, sorted by them.

    `records` counts every record, whatever its status, except those that another province withdrew; `penalties` and
    `listings` count only records in force, a listing only while it is not removed.
    """
    records = records.filter(pl.col("status") != WITHDRAWN)
    in_force = pl.col("status") == "IN_FORCE"
    return (
        records.group_by("uscc", "province", "domain")
        .agg(
            records=pl.len().cast(pl.Int64),
            penalties=(in_force & (pl.col("kind") == "PENALTY")).sum().cast(pl.Int64),
            listings=(in_force & (pl.col("kind") == "LISTING") & pl.col("listing_removed_on").is_null())
            .sum()
            .cast(pl.Int64),
            digest_hi=pl.col("digest_hi").bitwise_xor(),
            digest_lo=pl.col("digest_lo").bitwise_xor(),
        )
        .sort("uscc", "province", "domain")
    )
