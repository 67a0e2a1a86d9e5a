"""What departments are measured by (docs/quality.md), counted once a batch, in the transaction of the batch's effect.

A figure depends on the set of statements alone, never on their order or on where batches begin: a record that is spoken of
once is counted as it comes; of one that was held already, what its statements count for after the batch is entered less what
they counted for before (projection/quality.sql). How long statements took to become visible is a measurement, and counts each once.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from time import time
from typing import Any

import numpy as np
import polars as pl
import psycopg

from schemas.store.sql_files import sql
from streams.monitoring.metrics import VISIBLE_SECONDS

__all__ = ["COUNTED", "LONGEST_LAG", "Counts", "Quality", "counts_of", "visible_counts", "with_receipt"]

LONGEST_LAG = 61
"""Days from a decision to its receipt that are told apart; this one stands for more. 7 working days are always fewer."""

COUNTED = ("department", "reason", "penalty_decided_on", "received_at")
"""Columns of a statement that it is counted by; one of another province has no receipt here, and counts for nobody."""

Counts = Counter[tuple[date, str, str, int]]
"""(China's day of receipt, department, measure, bucket) → how many."""

_CHINA = 8 * 3_600_000
_DAY = 86_400_000
_DAY_OF_RECEIPT = ((pl.col("received_at").dt.epoch("ms") + _CHINA) // _DAY).cast(pl.Int32).cast(pl.Date).alias("day")


def with_receipt(statements: pl.DataFrame, received: pl.Series) -> pl.DataFrame:
    """Add `received_at`: when the broker had received the department's message, from milliseconds since 1970.

    Where that is 0, because an older intake did not say so, it is when `accepted` had the statement.
    """
    at = received.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    known = pl.col("known_at")
    return statements.with_columns(received_at=pl.when(received > 0).then(at).otherwise(known))


def counts_of(statements: pl.DataFrame) -> Counts:
    """Return what statements count for that are each the only one of their record."""
    day = pl.col("day")
    grouped = (
        statements.filter(pl.col("received_at").is_not_null())
        .select("department", "reason", "penalty_decided_on", _DAY_OF_RECEIPT)
        .with_columns(
            lag=pl.when(pl.col("reason") == "PUBLISHED").then(
                (day - pl.col("penalty_decided_on")).dt.total_days().clip(0, LONGEST_LAG)
            )
        )
        .group_by("day", "department", "reason", "lag")
        .len()
    )
    counts = Counts()
    for on, department, reason, lag, n in grouped.rows():
        counts[on, department, "ACCEPTED", 0] += n
        if reason == "CORRECTED":
            counts[on, department, "CORRECTED", 0] += n
        if lag is not None:
            counts[on, department, "PUBLISHED", lag] += n
    return counts


def visible_counts(statements: pl.DataFrame, now: float) -> Counts:
    """Return in how many seconds statements became visible, by place in the bounds of VISIBLE_SECONDS.

    `now`, in seconds since 1970, is when they do; a broker whose clock runs ahead makes it no time at all.
    """
    statements = statements.filter(pl.col("received_at").is_not_null())
    seconds = now - statements["received_at"].dt.epoch("ms").to_numpy() / 1000
    places = np.searchsorted(np.array(VISIBLE_SECONDS.buckets), seconds, side="left")
    grouped = (
        statements.select("department", _DAY_OF_RECEIPT).with_columns(place=pl.Series(places)).group_by(pl.all()).len()
    )
    return Counts({(day, department, "VISIBLE", place): n for department, day, place, n in grouped.rows()})


class Quality:
    """The SQL of the figures, on the connection of a batch's transaction."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def standing(self) -> Counts:
        """Return what the records of the table `suspect` count for, by what history holds of them now."""
        return Counts({row[:4]: row[4] for row in self._connection.execute(sql("projection/quality"))})

    def enter(self, shard: int, alone: pl.DataFrame, news: pl.DataFrame, before: Counts | None = None) -> None:
        """Enter what a batch adds: statements that are alone of their record, and those that history lacked (`news`).

        `before` is what the records of `suspect` counted for, where the batch has any. `shard` is a partition of
        `accepted` whose position this transaction has locked: nobody else writes these rows meanwhile.
        """
        counts = counts_of(alone)
        if before is not None:
            counts.update(self.standing())
            counts.subtract(before)
        counts.update(visible_counts(news, time()))
        rows = sorted((*key, n) for key, n in counts.items() if n)
        if not rows:
            return
        days, departments, measures, buckets, numbers = (list(column) for column in zip(*rows, strict=True))
        self._connection.execute(
            sql("projection/count"),
            {
                "shard": shard,
                "days": days,
                "departments": departments,
                "measures": measures,
                "buckets": buckets,
                "counts": numbers,
            },
        )
