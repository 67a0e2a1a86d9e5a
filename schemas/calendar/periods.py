"""Periods: how long a record is published, which records count for a report, which were in force on a day.

Pure arithmetic over the catalogue's rows on time (schemas.catalogue.time_rows). PostgreSQL computes the same in
schemas/sql/report/time.sql; tests/integration/test_time_sql.py compares the two. Days are China's.

Months count by 民法典 第二百零一至二百零三条: the start day is not counted, and the last day is the day of the same number, or the
last day of a month that has none (31 January and one month: 28 or 29 February).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from schemas.calendar.clock import CHINA
from schemas.catalogue.rows import Row
from schemas.catalogue.time_rows import UNSTATED, LevelRow, TimeRows, WindowRow
from schemas.errors import UsageError

__all__ = [
    "Period", "Periods", "add_months", "china_day", "listing_in_force", "penalty_in_force", "phase",
]  # fmt: skip

R = TypeVar("R", bound=Row)

_DAY = timedelta(days=1)


def china_day(time: datetime) -> date:
    """Return the day in China at a time, which must have a zone.

    >>> from datetime import UTC
    >>> china_day(datetime(2025, 12, 31, 16, 0, tzinfo=UTC))
    datetime.date(2026, 1, 1)
    """
    return time.astimezone(CHINA).date()


def add_months(day: date, months: int) -> date:
    """Return the day some months later, or earlier if `months` is negative.

    Raises OverflowError outside the years 1 to 9999.

    >>> add_months(date(2024, 2, 29), 12), add_months(date(2025, 8, 31), -6)
    (datetime.date(2025, 2, 28), datetime.date(2025, 2, 28))
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError(f"{day} and {months} months is no day of a calendar")
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def penalty_in_force(decided_on: date, valid_until: date, on: date) -> bool:
    """Return whether a penalty is in force on a day by its own dates: 处罚决定日期 to 处罚有效期, both days included."""
    return decided_on <= on <= valid_until


def listing_in_force(listed_on: date, valid_until: date | None, removed_on: date | None, on: date) -> bool:
    """Return whether a list entry is in force on a day by its own dates.

    From 列入日期 to 有效期至 (included) if it states one, and only until the day before 移出日期.
    """
    return listed_on <= on and (valid_until is None or on <= valid_until) and (removed_on is None or on < removed_on)


def phase(first: date, last: date | None, on: date) -> str:
    """Return the place of a day relative to a period: NOT_YET, DURING or OVER; without a last day it is never over."""
    if on < first:
        return "NOT_YET"
    return "DURING" if last is None or on <= last else "OVER"


@dataclass(frozen=True, slots=True)
class Period:
    """The period of publication of a record, both days included, and the two decisions on one day.

    `publish_to` is None if no term is stated; `basis` is its source: STATED (the record's own date), LEVEL_MAXIMUM,
    LEVEL_MINIMUM (the level's, if the record's own date lies outside or is missing), LIST_PERIOD, REMOVED (移出),
    NO_TERM, or NO_RULE (no line of levels.csv applies on that day). `repair_from` is the first day of applications for
    repair (penalty) or early removal (listing), None if there is no rule or it counts from a day that no record
    carries. `in_window` is None if no window is given and no rule on it applies; `publishable` and `reportable` are
    None on days before their first rule.
    """

    publish_from: date
    publish_to: date | None
    publish_basis: str
    repair_from: date | None
    in_force: bool
    in_window: bool | None
    publishable: bool | None
    reportable: bool | None


class Periods:
    """The rules on time of one catalogue."""

    def __init__(self, rows: TimeRows) -> None:
        self._levels, self._lists, self._windows, self._visibility = (
            rows.levels,
            rows.list_periods,
            rows.windows,
            rows.visibility,
        )

    def window(self, kind: str, on: date) -> WindowRow | None:
        """Return the rule on a report's window for PENALTY or LISTING on a day; None before the first."""
        return _holding((row for row in self._windows if row.kind == kind), on)

    def level(self, level: str | None, on: date) -> LevelRow | None:
        """Return the rule on a level on a day; that of 未标明 for None."""
        return _holding((row for row in self._levels if row.level == (UNSTATED if level is None else level)), on)

    def longest_window(self, last: date) -> tuple[date, date]:
        """Return the longest window (涵盖时间范围) of a report that ends on that day, both days included.

        Raises UsageError if no rule on it applies on that day.
        """
        rules = [self.window(kind, last) for kind in ("PENALTY", "LISTING")]
        found = [rule.max_months for rule in rules if rule is not None]
        if len(found) < len(rules):
            begins = max(
                min(row.effective_from for row in self._windows if row.kind == k) for k in ("PENALTY", "LISTING")
            )
            raise UsageError(
                f"no rule on a report's window holds on {last}: the first begins on {begins} (windows.csv)"
            )
        return add_months(last, -min(found)), last

    def penalty(
        self, *, decided_on: date, valid_until: date, publish_until: date | None, level: str | None, status: str,
        window_from: date | None, on: date,
    ) -> Period:  # fmt: skip
        """Return the period of a penalty by the rules of a day.

        Published from 处罚决定日期 until its own 公示截止期, never shorter nor longer than its level allows; without one, as long
        as the level allows. Reportable if 处罚决定日期 lies in `window_from`..`on` (by default the longest window).
        """
        rule = self.level(level, on)
        if rule is None:
            last, basis = publish_until, "NO_RULE" if publish_until is None else "STATED"
            repair = None
        else:
            shortest, longest = add_months(decided_on, rule.min_months), add_months(decided_on, rule.max_months)
            stated = publish_until or longest
            last = max(min(stated, longest), shortest)
            basis = "STATED" if last == publish_until else "LEVEL_MINIMUM" if stated < shortest else "LEVEL_MAXIMUM"
            repair = None if rule.repair_after_months is None else add_months(decided_on, rule.repair_after_months)
        begins = self._window_from("PENALTY", on) if window_from is None else window_from
        counts = None if begins is None else _inside(decided_on, decided_on, begins, on)
        case = ("PENALTY", UNSTATED if level is None else level, status, phase(decided_on, last, on))
        in_force = penalty_in_force(decided_on, valid_until, on)
        return self._period(decided_on, last, basis, repair, in_force, case, counts, on)

    def listing(
        self, *, list_key: str, listed_on: date, valid_until: date | None, removed_on: date | None, status: str,
        window_from: date | None, on: date,
    ) -> Period:  # fmt: skip
        """Return the period of a list entry by the rules of a day.

        Published from 列入日期 until its own 有效期至; without one, as long as its list's rule says, if there is one; and never
        longer than the day before 移出日期. Reportable if 列入..移出 overlaps `window_from`..`on`.
        """
        rule = _holding((row for row in self._lists if row.list == list_key), on)
        term = None if rule is None or rule.months is None else add_months(listed_on, rule.months)
        last, basis = (valid_until, "STATED") if valid_until else (term, "LIST_PERIOD" if term else "NO_TERM")
        if removed_on is not None and (last is None or removed_on <= last):
            last, basis = removed_on - _DAY, "REMOVED"
        early = None
        if rule is not None and rule.early_exit_months is not None and rule.early_exit_counts_from == "listed_on":
            early = add_months(listed_on, rule.early_exit_months)
        begins = self._window_from("LISTING", on) if window_from is None else window_from
        counts = None if begins is None else _inside(listed_on, removed_on or date.max, begins, on)
        case = ("LISTING", "", status, phase(listed_on, last, on))
        in_force = listing_in_force(listed_on, valid_until, removed_on, on)
        return self._period(listed_on, last, basis, early, in_force, case, counts, on)

    def _window_from(self, kind: str, on: date) -> date | None:
        rule = self.window(kind, on)
        return None if rule is None else add_months(on, -rule.max_months)

    def _period(
        self, first: date, last: date | None, basis: str, repair: date | None, in_force: bool,
        case: tuple[str, str, str, str], counts: str | None, on: date,
    ) -> Period:  # fmt: skip
        # The line for the web ignores the report's window; without a rule on the window nothing is reportable yet.
        publishable = self._decide("publishable", (*case, counts or ""), on)
        reportable = None if counts is None else self._decide("reportable", (*case, counts), on)
        in_window = None if counts is None else counts == "DURING"
        return Period(first, last, basis, repair, in_force, in_window, publishable, reportable)

    def _decide(self, decision: str, case: tuple[str, str, str, str, str], on: date) -> bool | None:
        for row in self._visibility:
            if row.decision == decision and row.holds(on) and row.fits(*case):
                return row.answer == "yes"
        return None


def _inside(first: date, last: date, window_from: date, window_to: date) -> str:
    """Return whether the span first..last lies behind (NOT_YET), in or over (DURING), or before (OVER) a window."""
    if first > window_to:
        return "NOT_YET"
    return "OVER" if last < window_from else "DURING"


def _holding(rows: Iterable[R], on: date) -> R | None:
    return next((row for row in rows if row.holds(on)), None)
