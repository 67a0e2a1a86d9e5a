"""Records with their periods: when they are published, whether they were in force, whether a report prints them.

The rules are the database's (the view worker loads them from the catalogue), read in the transaction of the records, so
that `show` and SQL readers give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any, TypeVar

import psycopg

from schemas.calendar.periods import Periods
from schemas.catalogue.rows import Row as CatalogueRow
from schemas.catalogue.time_rows import LevelRow, ListPeriodRow, TimeRows, VisibilityRow, WindowRow
from schemas.errors import UsageError

__all__ = ["Timed", "rules_of", "window_of"]

Row = dict[str, Any]
R = TypeVar("R", bound=CatalogueRow)


def rules_of(connection: psycopg.Connection[Row]) -> Periods:
    """Return the database's rules on time. Raises UsageError if none were loaded."""

    def rows(table: str, model: type[R]) -> tuple[R, ...]:
        found = connection.execute(
            f"SELECT {', '.join(model.model_fields)} FROM xinliu.{table} ORDER BY place"
        ).fetchall()
        return tuple(model.model_validate(row) for row in found)

    windows = rows("report_window", WindowRow)
    if not windows:
        raise UsageError("the database holds no rules on time yet: start the view worker of this version once")
    return Periods(
        TimeRows(
            rows("level", LevelRow),
            rows("list_period", ListPeriodRow),
            windows,
            rows("visibility", VisibilityRow),
            (),
            (),
        )
    )


def window_of(rules: Periods, first: date | None, last: date) -> tuple[date, date]:
    """Return the window; the longest one if no first day is given.

    Raises UsageError if it is longer than the rule allows, or ends before it begins.
    """
    earliest, _ = rules.longest_window(last)
    if first is None:
        return earliest, last
    if first > last:
        raise UsageError(f"--from {first} lies behind --to {last}")
    if first < earliest:
        rule = rules.window("PENALTY", last)
        assert rule is not None
        raise UsageError(
            f"--from {first} is too early: a report ending on {last} begins on {earliest} at the earliest, {rule.max_months}"
            f" months back ({rule.source}); `--on DAY` shows what was in force on any day"
        )
    return first, last


class Timed:
    """Adds each record's period of publication, and selects the records of a window, or in force on a day."""

    def __init__(self, rules: Periods, window: tuple[date, date] | None, on: date | None) -> None:
        last = on if window is None else window[1]
        assert last is not None
        self._rules, self._on, self.day = rules, on, last
        self._from = None if window is None else window[0]

    def anchors(self) -> dict[str, Any]:
        """Return, by kind of record, the date that counts for a report's window, and the window's maximum length."""
        found = {kind: self._rules.window(kind, self.day) for kind in ("PENALTY", "LISTING")}
        names = ("anchor", "anchor_zh", "max_months", "source", "illustrative")
        return {kind: {name: getattr(rule, name) for name in names} for kind, rule in found.items() if rule is not None}

    def penalties(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """Return the selected penalties, each with its period."""
        return self._kept(
            (
                row,
                self._rules.penalty(
                    decided_on=row["decided_on"],
                    valid_until=row["valid_until"],
                    publish_until=row["publish_until"],
                    level=row["level"],
                    status="IN_FORCE",
                    window_from=self._from,
                    on=self.day,
                ),
            )
            for row in rows
        )

    def listings(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """Return the selected list entries, each with its period."""
        return self._kept(
            (
                row,
                self._rules.listing(
                    list_key=row["list"],
                    listed_on=row["listed_on"],
                    valid_until=row["valid_until"],
                    removed_on=row["removed_on"],
                    status="IN_FORCE",
                    window_from=self._from,
                    on=self.day,
                ),
            )
            for row in rows
        )

    def counted(self, rows: Iterable[Row]) -> list[Row]:
        """Return the records that make a domain's line 有: those that a report prints; on a day, those in force.

        If no rule answers, all records in the window count: never a 无 for want of a rule.
        """
        if self._on is not None:
            return list(rows)
        return [row for row in rows if (row["in_window"] if row["reportable"] is None else row["reportable"])]

    def _kept(self, pairs: Iterable[tuple[Row, Any]]) -> tuple[Row, ...]:
        timed = (row | asdict(period) for row, period in pairs)
        return tuple(row for row in timed if row["in_force" if self._on is not None else "in_window"])
