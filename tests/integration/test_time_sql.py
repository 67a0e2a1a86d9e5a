"""SQL and Python compute the same periods, decisions and working days, by the shipped rules and by any others."""

from __future__ import annotations

import itertools
from dataclasses import astuple, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.catalogue.time_rows import TimeRows
from schemas.errors import UsageError
from schemas.periods import Periods, add_months, china_day
from schemas.uscc import generate
from schemas.workdays import NoCalendar, Workdays, deadline
from streams.time_tables import load_time

SHIPPED = load().time
Store = psycopg.Connection[Any]

# Mostly days that lie exactly a rule's months apart, or one day beside: what is wrong is wrong at the bounds.
_near = st.builds(
    lambda day, months, beside: add_months(day, months) + timedelta(beside),
    st.sampled_from([date(2024, 2, 29), date(2026, 5, 31), date(2026, 5, 31)]),
    st.sampled_from([-60, -36, -12, -3, 0, 0, 0, 3, 12, 36]),
    st.sampled_from([-1, 0, 0, 1]),
)
days = st.one_of(_near, _near, _near, st.dates(date(2018, 1, 1), date(2031, 12, 31)))
levels = st.sampled_from([None, "轻微", "一般", "严重", "未标明", "别的"])
statuses = st.sampled_from(["IN_FORCE", "IN_FORCE", "REPAIRED", "REVOKED"])

penalties = st.fixed_dictionaries(
    {"decided_on": days, "valid_until": days, "publish_until": st.none() | days, "level": levels, "status": statuses,
     "window_from": st.none() | days, "on": days}
)  # fmt: skip
listings = st.fixed_dictionaries(
    {"list_key": st.sampled_from([*load().lists, "UNKNOWN"]), "listed_on": days, "valid_until": st.none() | days,
     "removed_on": st.none() | days, "status": statuses, "window_from": st.none() | days, "on": days}
)  # fmt: skip


@st.composite
def catalogues(draw: st.DrawFn) -> TimeRows:
    """Other rules than the shipped ones: that begin and end on other days, in another order, with other months."""
    months = st.integers(0, 40)

    def changed(row: Any, **values: Any) -> Any:
        first = draw(days)
        last = draw(st.none() | st.integers(0, 2_000).map(lambda number: first + timedelta(number)))
        return row.model_copy(update={"effective_from": first, "effective_to": last, **values})

    visibility = draw(st.permutations(SHIPPED.visibility))
    return replace(
        SHIPPED,
        levels=tuple(
            changed(row, min_months=low, max_months=low + draw(months), repair_after_months=draw(st.none() | months))
            for row in SHIPPED.levels
            for low in (draw(months),)
        ),
        list_periods=tuple(changed(row, months=draw(st.none() | months)) for row in SHIPPED.list_periods),
        windows=tuple(changed(row, max_months=draw(st.integers(1, 120))) for row in SHIPPED.windows),
        visibility=tuple(
            changed(
                row,
                answer=draw(st.sampled_from(["yes", "no"])),
                level=draw(st.sampled_from(["*", "*", "未标明", "轻微", "一般"])),
                publication=draw(_phases),
                report_window=draw(_phases),
            )
            for row in visibility
        ),
    )


_phases = st.sampled_from(["*", "*", "NOT_YET", "DURING", "OVER"])
_ORDER = {
    "penalty": ("decided_on", "valid_until", "publish_until", "level", "status", "window_from", "on"),
    "listing": ("list_key", "listed_on", "valid_until", "removed_on", "status", "window_from", "on"),
}
_TYPES = {
    "penalty": "date[], date[], date[], text[], text[], date[], date[]",
    "listing": "text[], date[], date[], date[], text[], date[], date[]",
}


def computed(undone: Store, kind: str, cases: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what SQL says of all cases, in order."""
    columns = [[case[name] for case in cases] for name in _ORDER[kind]]
    unnest = ", ".join(f"%s::{of.strip()}" for of in _TYPES[kind].split(","))
    return undone.execute(
        f"SELECT t.* FROM unnest({unnest}) WITH ORDINALITY AS c(a, b, c, d, e, f, g, place)"
        f" CROSS JOIN LATERAL report.{kind}_period(c.a, c.b, c.c, c.d, c.e, c.f, c.g) t ORDER BY c.place",
        columns,
    ).fetchall()


@given(st.lists(penalties, min_size=60, max_size=60), st.lists(listings, min_size=60, max_size=60))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_sql_and_python_agree_by_the_shipped_rules(
    undone: Store, of_penalties: list[dict[str, Any]], of_listings: list[dict[str, Any]]
) -> None:
    rules = Periods(SHIPPED)
    assert computed(undone, "penalty", of_penalties) == [astuple(rules.penalty(**case)) for case in of_penalties]
    assert computed(undone, "listing", of_listings) == [astuple(rules.listing(**case)) for case in of_listings]


@given(catalogues(), st.lists(penalties, min_size=20, max_size=40), st.lists(listings, min_size=20, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_sql_and_python_agree_by_any_rules(
    undone: Store, rows: TimeRows, of_penalties: list[dict[str, Any]], of_listings: list[dict[str, Any]]
) -> None:
    load_time(undone, rows)
    rules = Periods(rows)
    assert computed(undone, "penalty", of_penalties) == [astuple(rules.penalty(**case)) for case in of_penalties]
    assert computed(undone, "listing", of_listings) == [astuple(rules.listing(**case)) for case in of_listings]


def test_sql_and_python_count_the_same_working_days(undone: Store) -> None:
    calendar = Workdays(SHIPPED.holidays)
    starts = [calendar.first + timedelta(number) for number in range(-3, 733)]
    for count in (1, 3, 7, 20):
        found = dict(
            undone.execute(
                "SELECT d, report.add_workdays(d, %s) FROM unnest(%s::date[]) AS d", (count, starts)
            ).fetchall()
        )
        for day in starts:
            try:
                end: date | None = calendar.add(day, count)
            except NoCalendar:
                end = None
            assert found[day] == end, (day, count)
    between = "SELECT report.workdays_between('2026-09-30', '2026-10-15'), report.workdays_between('2026-12-31', '2027-01-04')"
    assert undone.execute(between).fetchone() == (7, None)


def test_a_term_of_a_province_goes_before_that_of_all_in_sql_too(undone: Store) -> None:
    (common,) = (row for row in SHIPPED.deadlines if row.deadline == "objection-source")
    own = common.model_copy(update={"province": "tianjin", "working_days": 5})
    rows = (*SHIPPED.deadlines, own)
    load_time(undone, replace(SHIPPED, deadlines=rows))
    for key, province in itertools.product((row.deadline for row in rows), load().provinces):
        for day in (date(2026, 5, 6), date(2017, 12, 31)):
            try:
                wanted: int | None = deadline(rows, key, province, day).working_days
            except UsageError:
                wanted = None
            assert undone.execute("SELECT report.deadline_days(%s, %s, %s)", (key, province, day)).fetchone() == (
                wanted,
            )


def test_sql_readers_are_refused_too_long_a_window(undone: Store) -> None:
    states = "SELECT count(*) FROM report.domain_state(%s, %s, '2026-11-25')"
    assert undone.execute(states, (generate(1), date(2021, 11, 25))).fetchone() == (
        len(load().domains(date(2026, 11, 25))),
    )
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="begins on 2021-11-25 at the earliest") as caught:
        undone.execute(states, (generate(1), date(2021, 11, 24)))
    assert "不超过5年" in (caught.value.diag.message_detail or "")


def test_the_day_in_china_is_the_same_in_sql(undone: Store) -> None:
    for time in (datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC), datetime(2025, 12, 31, 16, tzinfo=UTC)):
        assert undone.execute("SELECT report.china_day(%s)", (time,)).fetchone() == (china_day(time),)
