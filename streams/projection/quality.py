"""Quality figures of the departments (docs/quality.md), counted once for each batch, in the transaction of its effect.

A figure depends on the set of statements alone, never on their order or on the bounds of batches. The only statement of
a record is counted as it comes; for a record that was stored already, the batch adds the difference of its statements'
figures after and before (projection/quality.sql). The time until statements become visible is a measurement: each
statement counts once.
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
"""Longest lag from a decision to its receipt with a bucket of its own, in days; it stands for longer ones, too.
7 working days are always fewer."""

COUNTED = ("department", "reason", "penalty_decided_on", "received_at")
"""Columns by which a statement is counted; another province's has no receipt here, and counts for nobody."""

Counts = Counter[tuple[date, str, str, int]]
"""(Day of receipt in China, department, measure, bucket) → number."""

_CHINA = 8 * 3_600_000
_DAY = 86_400_000
_DAY_OF_RECEIPT = ((pl.col("received_at").dt.epoch("ms") + _CHINA) // _DAY).cast(pl.Int32).cast(pl.Date).alias("day")


def with_receipt(statements: pl.DataFrame, received: pl.Series) -> pl.DataFrame:
    """Add `received_at`: when the broker received the department's message, from milliseconds since 1970.

    If `received` is 0, because an older intake did not write it, it is the broker time of the statement in `accepted`.
    """
    at = received.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    known = pl.col("known_at")
    return statements.with_columns(received_at=pl.when(received > 0).then(at).otherwise(known))


def counts_of(statements: pl.DataFrame) -> Counts:
    """Return the counts of statements that are each the only one of their record."""
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
    """Return the counts of statements by the seconds until they became visible (index into VISIBLE_SECONDS.buckets).

    `now`, in seconds since 1970, is when they become visible; a broker whose clock runs ahead makes the time nothing.
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
        """Return the counts of the records in the table `suspect`, from their current history."""
        return Counts({row[:4]: row[4] for row in self._connection.execute(sql("projection/quality"))})

    def enter(self, shard: int, alone: pl.DataFrame, news: pl.DataFrame, before: Counts | None = None) -> None:
        """Enter the counts that a batch adds.

        `alone` are the statements that are the only one of their record, `news` those that history lacked. `before` are
        the counts of the records in `suspect` before the batch, if it has any. `shard` is a partition of `accepted`
        whose position this transaction has locked: nobody else writes these rows meanwhile.
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
