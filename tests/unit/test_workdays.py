"""Working days: the calendar of the file and nothing guessed; a year that is not there is an error."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calendar.workdays import NoCalendar, Workdays, deadline
from schemas.catalogue import load
from schemas.catalogue.time_rows import DeadlineRow, HolidayRow
from schemas.errors import UsageError

CALENDAR = Workdays(load().time.holidays)
DAY = timedelta(days=1)
days = st.dates(CALENDAR.first, CALENDAR.last)


def row(working: str, name: str, first: date, last: date) -> HolidayRow:
    """Return a line of holidays.csv."""
    return HolidayRow.model_validate(
        {"working": working, "name_zh": name, "effective_from": first, "effective_to": last, "source": "a test", "illustrative": "yes"}
    )  # fmt: skip


@pytest.mark.parametrize("year", [2025, 2026])
def test_a_year_has_as_many_working_days_as_the_calendar_gives(year: int) -> None:
    worked = [one for one in CALENDAR.days() if one.working and one.day.year == year]
    # 365 days, 104 of them Saturdays and Sundays, 13 holidays by law: 调休 moves days and takes none away.
    assert len(worked) == 365 - 104 - 13


@pytest.mark.parametrize(
    ("day", "count", "end"),
    [
        (date(2026, 11, 23), 1, date(2026, 11, 24)),
        (date(2026, 11, 27), 1, date(2026, 11, 30)),
        (date(2026, 9, 30), 7, date(2026, 10, 15)),
        (date(2026, 2, 13), 1, date(2026, 2, 14)),
        (date(2026, 2, 14), 4, date(2026, 2, 27)),
        (date(2026, 2, 14), 5, date(2026, 2, 28)),
        (date(2025, 12, 31), 1, date(2026, 1, 4)),
        (date(2026, 10, 3), 1, date(2026, 10, 8)),
    ],
    ids=[
        "tomorrow",
        "over a weekend",
        "国庆",
        "a Saturday that is worked",
        "春节",
        "and its 调休",
        "new year",
        "from a holiday",
    ],
)
def test_a_term_skips_what_is_not_worked(day: date, count: int, end: date) -> None:
    assert CALENDAR.add(day, count) == end


@given(days, st.integers(1, 60))
def test_a_term_is_what_walking_day_by_day_gives(start: date, count: int) -> None:
    day, left = start, count
    while left and day < CALENDAR.last:
        day += DAY
        left -= CALENDAR.on(day).working
    if left:
        with pytest.raises(NoCalendar, match="no calendar for 2027"):
            CALENDAR.add(start, count)
        return
    assert CALENDAR.add(start, count) == day
    assert CALENDAR.between(start, day) == count
    skipped = CALENDAR.skipped(start, day)
    assert len(skipped) + count == (day - start).days
    assert all(one.why and start < one.day < day for one in skipped)


@given(days, days, days)
def test_working_days_between_add_up(one: date, other: date, third: date) -> None:
    assert CALENDAR.between(one, other) + CALENDAR.between(other, third) == CALENDAR.between(one, third)


@pytest.mark.parametrize("day", [date(2024, 12, 31), date(2027, 1, 1)])
def test_a_year_without_data_is_an_error_and_no_guess(day: date) -> None:
    for ask in (CALENDAR.on, lambda day: CALENDAR.add(day, 1), lambda day: CALENDAR.between(date(2026, 1, 5), day)):
        with pytest.raises(NoCalendar, match=rf"no calendar for {day.year} \(it holds 2025 to 2026\)"):
            ask(day)


def test_a_holiday_may_begin_in_the_year_before() -> None:
    calendar = Workdays([row("no", "元旦", date(2022, 12, 31), date(2023, 1, 2))])
    assert (calendar.first, calendar.last) == (date(2023, 1, 1), date(2023, 12, 31))
    assert calendar.add(date(2023, 1, 1), 1) == date(2023, 1, 3)


def test_no_calendar_at_all_is_an_error() -> None:
    with pytest.raises(NoCalendar, match="holds no year"):
        Workdays([])


def test_a_term_has_at_least_one_day() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        CALENDAR.add(date(2026, 5, 6), 0)


def test_a_province_may_have_a_deadline_of_its_own() -> None:
    rows = list(load().time.deadlines)
    (common,) = (one for one in rows if one.deadline == "objection-source")
    own = DeadlineRow.model_validate({**common.model_dump(), "province": "tianjin", "working_days": 5})
    assert deadline([*rows, own], "objection-source", "tianjin", date(2026, 5, 6)).working_days == 5
    assert deadline([*rows, own], "objection-source", "beijing", date(2026, 5, 6)).working_days == 7
    assert deadline(rows, "report-penalty", "hebei", date(2026, 5, 6)).working_days == 7
    with pytest.raises(UsageError, match="no deadline 'report-penalty' holds in beijing on 2017-12-31"):
        deadline(rows, "report-penalty", "beijing", date(2017, 12, 31))
