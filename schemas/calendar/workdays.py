"""Working days (工作日): the State Council's calendar from holidays.csv, and terms counted by it.

A term in working days begins on the day after its start day. A year that is missing in the file is an error, never a
guess that it has no holidays. PostgreSQL has the same calendar with one row per day: xinliu.workday.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from schemas.catalogue.time_rows import ANY, DeadlineRow, HolidayRow
from schemas.errors import UsageError

__all__ = ["CalendarDay", "NoCalendar", "Workdays", "deadline"]

_DAY = timedelta(days=1)
_WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")


class NoCalendar(UsageError):
    """A day outside the years of holidays.csv: add the year (see docs/time.md)."""


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One day: whether it is worked, why (周三, 周六, 国庆节, 调休…), and the number of working days up to it."""

    day: date
    working: bool
    why: str
    ordinal: int


class Workdays:
    """The calendar: every day from 1 January of the first year of the file to 31 December of the last."""

    def __init__(self, rows: Iterable[HolidayRow]) -> None:
        marked = {day: row for row in rows for day in _span(row)}
        # A holiday of the first year may begin in the last days of the year before, which the file lacks.
        years = {row.effective_to.year for row in marked.values() if row.effective_to is not None}
        if not years:
            raise NoCalendar("holidays.csv holds no year: add the State Council's calendar (docs/time.md)")
        self.first, self.last = date(min(years), 1, 1), date(max(years), 12, 31)
        self._days: list[CalendarDay] = []
        day, count = self.first, 0
        while day <= self.last:
            working, why = _kind(day, marked.get(day))
            count += working
            self._days.append(CalendarDay(day, working, why, count))
            day += _DAY
        self._ordinals = [one.ordinal for one in self._days]

    def days(self) -> Iterator[CalendarDay]:
        """Return every day, in order."""
        return iter(self._days)

    def on(self, day: date) -> CalendarDay:
        """Return one day. Raises NoCalendar outside the years of the file."""
        if not self.first <= day <= self.last:
            raise NoCalendar(
                f"holidays.csv has no calendar for {day.year} (it holds {self.first.year} to {self.last.year}):"
                " add the year before counting working days in it"
            )
        return self._days[(day - self.first).days]

    def add(self, day: date, working_days: int) -> date:
        """Return the last day of a term of so many working days (at least 1) that counts from a day.

        Raises NoCalendar if it begins or ends outside the years of the file.
        """
        if working_days < 1:
            raise UsageError(f"a term of {working_days} working days is none: it has at least 1")
        wanted = self.on(day).ordinal + working_days
        place = bisect_left(self._ordinals, wanted)
        if place == len(self._days):
            self.on(self.last + _DAY)
        return self._days[place].day

    def between(self, day: date, until: date) -> int:
        """Return the number of working days after a day, up to and including another; negative the other way round."""
        return self.on(until).ordinal - self.on(day).ordinal

    def skipped(self, day: date, until: date) -> tuple[CalendarDay, ...]:
        """Return the days off after a day, up to and including another."""
        first, last = (self.on(day).day - self.first).days, (self.on(until).day - self.first).days
        return tuple(one for one in self._days[first + 1 : last + 1] if not one.working)


def deadline(rows: Iterable[DeadlineRow], key: str, province: str, on: date) -> DeadlineRow:
    """Return the term that applies in a province on a day; its own line takes precedence over that of all provinces.

    Raises UsageError, with the known ones, if there is none.
    """
    holding = [row for row in rows if row.holds(on) and row.province in (province, ANY)]
    found = sorted((row for row in holding if row.deadline == key), key=lambda row: row.province == ANY)
    if not found:
        raise UsageError(
            f"no deadline {key!r} holds in {province} on {on}: choose one of"
            f" {', '.join(sorted({row.deadline for row in holding})) or 'none'} (deadlines.csv)"
        )
    return found[0]


def _span(row: HolidayRow) -> Iterator[date]:
    day = row.effective_from
    while day <= (row.effective_to or row.effective_from):
        yield day
        day += _DAY


def _kind(day: date, row: HolidayRow | None) -> tuple[bool, str]:
    if row is None:
        return day.weekday() < 5, _WEEKDAYS[day.weekday()]
    name = "、".join(row.name_zh)
    return (True, f"{name}调休") if row.working == "yes" else (False, name)
