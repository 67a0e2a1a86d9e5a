"""The rule on 公示截止期 as columns: it lies between the shortest and the longest period of the level that is stated."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import polars as pl

from schemas.catalogue.time_rows import LevelRow

__all__ = ["outside_level"]


def outside_level(levels: Iterable[LevelRow], on: date) -> pl.Expr:
    """Return what is true where publish_until lies outside its level's bounds, by the rules of a day.

    Null, so kept, where no level or no 公示截止期 is stated, or no rule on the level holds on that day. Adds months as
    schemas.periods.add_months does, at month ends too.
    """
    holding = {row.level: row for row in levels if row.holds(on)}
    until, level, decided = pl.col("penalty_publish_until"), pl.col("penalty_level"), pl.col("penalty_decided_on")
    # Most statements give neither, and only those that do are worth the arithmetic on months.
    stated = pl.when(until.is_not_null() & level.is_not_null()).then(decided)
    outside = pl.lit(None, dtype=pl.Boolean)
    for name, row in holding.items():
        begins = pl.when(level == name).then(stated)
        bounds = (begins.dt.offset_by(f"{row.min_months}mo"), begins.dt.offset_by(f"{row.max_months}mo"))
        outside = pl.coalesce((until < bounds[0]) | (until > bounds[1]), outside)
    return outside
