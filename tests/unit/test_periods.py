"""Periods: months at their ends, publication within the level's bounds, the two decisions apart, windows and their rule."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.report.periods import Timed, window_of
from schemas.calendar.periods import Period, Periods, add_months, china_day, listing_in_force, penalty_in_force, phase
from schemas.catalogue import load
from schemas.errors import UsageError
from schemas.rules.content import outside_level

RULES = Periods(load().time)
TODAY = date(2026, 11, 25)
OPEN = date(2099, 12, 31)
days = st.dates(date(1900, 1, 1), date(2999, 12, 31))
levels = st.sampled_from([None, "轻微", "一般", "严重"])


def of_penalty(**said: Any) -> Period:
    """Return the period of a penalty, as of today and in the longest window unless said otherwise."""
    plain = {"decided_on": date(2026, 5, 6), "valid_until": OPEN, "publish_until": None, "level": "一般"}
    return RULES.penalty(**{**plain, "status": "IN_FORCE", "window_from": None, "on": TODAY, **said})


def of_listing(**said: Any) -> Period:
    """Return the period of a list entry, as of today and in the longest window unless said otherwise."""
    plain = {"list_key": "TAX", "listed_on": date(2026, 5, 6), "valid_until": None, "removed_on": None}
    return RULES.listing(**{**plain, "status": "IN_FORCE", "window_from": None, "on": TODAY, **said})


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2024, 2, 29), -60, date(2019, 2, 28)),
        (date(2026, 12, 31), 3, date(2027, 3, 31)),
        (date(2026, 1, 15), 0, date(2026, 1, 15)),
    ],
)
def test_months_end_where_their_month_ends(day: date, months: int, later: date) -> None:
    assert add_months(day, months) == later


@given(days, st.integers(-600, 600))
def test_months_are_counted_as_polars_counts_them(day: date, months: int) -> None:
    (later,) = pl.Series([day]).dt.offset_by(f"{months}mo")
    assert add_months(day, months) == later


@given(days, days, st.integers(0, 120))
def test_what_begins_later_ends_no_sooner(one: date, other: date, months: int) -> None:
    first, second = sorted([one, other])
    assert add_months(first, months) <= add_months(second, months)


def test_a_day_outside_the_calendar_is_an_error() -> None:
    with pytest.raises(OverflowError):
        add_months(date(9999, 12, 1), 1)


@given(days, levels, st.none() | days)
def test_no_penalty_is_published_outside_its_levels_bounds(
    decided: date, level: str | None, until: date | None
) -> None:
    rule = RULES.level(level, TODAY)
    assert rule is not None
    period = of_penalty(decided_on=decided, level=level, publish_until=until)
    shortest, longest = add_months(decided, rule.min_months), add_months(decided, rule.max_months)
    assert period.publish_from == decided
    assert period.publish_to is not None
    assert shortest <= period.publish_to <= longest
    inside = until is not None and shortest <= until <= longest
    assert (period.publish_basis == "STATED") == inside
    assert period.publish_to == (until if inside else shortest if until is not None and until < shortest else longest)


@given(days, levels.filter(bool), st.none() | days)
def test_the_rule_on_publish_until_says_the_same_in_columns(decided: date, level: str, until: date | None) -> None:
    frame = pl.DataFrame(
        {"penalty_publish_until": [until], "penalty_level": [level], "penalty_decided_on": [decided]},
        schema={"penalty_publish_until": pl.Date, "penalty_level": pl.String, "penalty_decided_on": pl.Date},
    )
    (told,) = frame.select(outside_level(load().time.levels, TODAY).fill_null(False)).to_series()
    assert told == (
        until is not None and of_penalty(decided_on=decided, level=level, publish_until=until).publish_to != until
    )


@pytest.mark.parametrize(
    ("said", "publish_to", "basis"),
    [
        ({"level": "一般"}, date(2027, 5, 6), "LEVEL_MAXIMUM"),
        ({"level": "一般", "publish_until": date(2026, 6, 1)}, date(2026, 8, 6), "LEVEL_MINIMUM"),
        ({"level": "一般", "publish_until": date(2026, 12, 1)}, date(2026, 12, 1), "STATED"),
        ({"level": "一般", "publish_until": date(2030, 1, 1)}, date(2027, 5, 6), "LEVEL_MAXIMUM"),
        ({"level": None}, date(2029, 5, 6), "LEVEL_MAXIMUM"),
        ({"level": "严重", "decided_on": date(2024, 2, 29)}, date(2027, 2, 28), "LEVEL_MAXIMUM"),
        ({"on": date(2026, 3, 31), "decided_on": date(2026, 3, 1)}, None, "NO_RULE"),
        ({"on": date(2026, 3, 31), "publish_until": date(2030, 1, 1)}, date(2030, 1, 1), "STATED"),
    ],
    ids=[
        "longest",
        "before the bounds",
        "within",
        "after",
        "no level",
        "29 February",
        "before the rules",
        "its own then",
    ],
)
def test_how_long_a_penalty_is_published(said: dict[str, Any], publish_to: date | None, basis: str) -> None:
    period = of_penalty(**said)
    assert (period.publish_to, period.publish_basis) == (publish_to, basis)


@pytest.mark.parametrize(
    ("said", "publish_to", "basis", "publishable"),
    [
        ({}, date(2029, 5, 6), "LIST_PERIOD", True),
        ({"list_key": "COURT"}, None, "NO_TERM", True),
        ({"list_key": "COURT", "valid_until": date(2026, 10, 1)}, date(2026, 10, 1), "STATED", False),
        ({"removed_on": date(2026, 11, 25)}, date(2026, 11, 24), "REMOVED", False),
        ({"removed_on": date(2026, 5, 6)}, date(2026, 5, 5), "REMOVED", False),
        ({"valid_until": date(2026, 6, 1), "removed_on": date(2026, 7, 1)}, date(2026, 6, 1), "STATED", False),
        ({"list_key": "UNKNOWN"}, None, "NO_TERM", True),
    ],
    ids=[
        "by its list",
        "no term",
        "its own",
        "removed today",
        "removed the same day",
        "expired, removed later",
        "no list",
    ],
)
def test_how_long_a_listing_is_published(
    said: dict[str, Any], publish_to: date | None, basis: str, publishable: bool
) -> None:
    period = of_listing(**said)
    assert (period.publish_to, period.publish_basis, period.publishable) == (publish_to, basis, publishable)
    assert period.reportable, "it overlaps the window whatever the web shows"


@pytest.mark.parametrize(
    ("said", "publishable", "reportable"),
    [
        ({"level": "轻微"}, False, True),
        ({"level": "轻微", "on": date(2026, 5, 6)}, False, True),
        ({"level": "一般"}, True, True),
        ({"level": "一般", "decided_on": date(2025, 1, 1)}, False, True),
        ({"level": "严重", "decided_on": date(2021, 11, 25)}, False, True),
        ({"level": "严重", "decided_on": date(2021, 11, 24)}, False, False),
        ({"decided_on": TODAY}, True, True),
        ({"decided_on": date(2026, 11, 26)}, False, False),
        ({"status": "REPAIRED"}, False, False),
        ({"status": "REVOKED"}, False, False),
        ({"on": date(2026, 3, 31), "decided_on": date(2026, 3, 1)}, None, True),
        ({"on": date(2023, 8, 31), "decided_on": date(2023, 3, 1)}, None, None),
    ],
    ids=[
        "minor", "minor, on its day", "general", "its period is over", "five years ago", "and a day", "decided today",
        "decided tomorrow", "repaired", "revoked", "before the levels", "before all rules",
    ],
)  # fmt: skip
def test_publishable_is_not_reportable(said: dict[str, Any], publishable: bool | None, reportable: bool | None) -> None:
    period = of_penalty(**said)
    assert (period.publishable, period.reportable) == (publishable, reportable)


def test_repair_may_be_applied_for_after_the_shortest_period() -> None:
    assert [of_penalty(level=level).repair_from for level in ("轻微", "一般", "严重", None)] == [
        date(2026, 5, 6), date(2026, 8, 6), date(2027, 5, 6), None,
    ]  # fmt: skip
    assert of_listing(list_key="WORK_SAFETY").repair_from == date(2027, 5, 6)
    assert of_listing(list_key="WAGE_ARREARS").repair_from is None, "it counts from a correction that no record dates"


def test_in_force_by_its_own_dates_both_days_included() -> None:
    first, last = date(2026, 1, 1), date(2026, 6, 30)
    assert [penalty_in_force(first, last, first + timedelta(n)) for n in (-1, 0, 180, 181)] == [
        False,
        True,
        True,
        False,
    ]
    removed = date(2026, 3, 1)
    assert [listing_in_force(first, last, removed, day) for day in (first, removed - timedelta(1), removed)] == [
        True, True, False,
    ]  # fmt: skip
    assert listing_in_force(first, None, None, OPEN)
    assert not listing_in_force(first, last, None, last + timedelta(1))


@given(days, st.none() | days, days)
def test_a_day_lies_in_one_phase(first: date, last: date | None, on: date) -> None:
    assert phase(first, last, on) == ("NOT_YET" if on < first else "DURING" if last is None or on <= last else "OVER")


def test_the_year_begins_eight_hours_sooner_in_china() -> None:
    assert china_day(datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC)) == date(2025, 12, 31)
    assert china_day(datetime(2025, 12, 31, 16, 0, tzinfo=UTC)) == date(2026, 1, 1)


def test_the_window_is_five_years_at_most_and_the_error_names_the_rule() -> None:
    assert window_of(RULES, None, TODAY) == (date(2021, 11, 25), TODAY)
    assert window_of(RULES, None, date(2024, 2, 29)) == (date(2019, 2, 28), date(2024, 2, 29))
    assert window_of(RULES, TODAY, TODAY) == (TODAY, TODAY)
    with pytest.raises(UsageError, match=r"2021-11-25 at the earliest, 60 months back \(北京市六部门通知 2025-08-19"):
        window_of(RULES, date(2021, 11, 24), TODAY)
    with pytest.raises(UsageError, match="lies behind"):
        window_of(RULES, date(2026, 11, 26), TODAY)


def test_before_the_first_rule_there_is_no_window() -> None:
    assert window_of(RULES, None, date(2023, 9, 1))[1] == date(2023, 9, 1)
    with pytest.raises(UsageError, match="the first begins on 2023-09-01"):
        window_of(RULES, None, date(2023, 8, 31))


def test_what_no_rule_answers_still_counts() -> None:
    timed = Timed(RULES, (date(2019, 1, 1), date(2023, 8, 31)), None)
    row = {"decided_on": date(2023, 3, 1), "valid_until": OPEN, "publish_until": None, "level": None}
    kept = timed.penalties([row, {**row, "decided_on": date(2018, 12, 31)}])
    assert [(one["decided_on"], one["reportable"]) for one in kept] == [(date(2023, 3, 1), None)]
    assert len(timed.counted(kept)) == 1
