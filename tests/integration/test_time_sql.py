"""SQL and Python compute the same periods, decisions and working days, by the shipped rules and by any others."""

from __future__ import annotations

import itertools
import random
from dataclasses import astuple, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from schemas.calendar.periods import Periods, add_months, china_day
from schemas.calendar.workdays import NoCalendar, Workdays, deadline
from schemas.catalogue import load
from schemas.catalogue.time_rows import TimeRows
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from streams.projection.time_rules import load_time

SHIPPED = load().time
Store = psycopg.Connection[Any]

BASES = (date(2024, 2, 29), date(2026, 5, 31))
PHASES = ("*", "*", "NOT_YET", "DURING", "OVER")


class Cases:
    """Cases by the thousand, drawn so that days lie exactly a rule's months apart, or one beside: where mistakes are."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._one = self._draw.choice

    def day(self) -> date:
        """Return a day."""
        if self._draw.random() < 0.2:
            return date(2018, 1, 1) + timedelta(self._draw.randrange(5_000))
        months = self._one((-60, -36, -12, -3, 0, 0, 0, 3, 12, 36))
        return add_months(self._one(BASES), months) + timedelta(self._one((-1, 0, 0, 0, 1)))

    def perhaps(self) -> date | None:
        """Return a day, or none."""
        return self.day() if self._draw.random() < 0.7 else None

    def penalty(self) -> dict[str, Any]:
        """Return what the period of a penalty is computed from."""
        return {
            "decided_on": self.day(),
            "valid_until": self.day(),
            "publish_until": self.perhaps(),
            "level": self._one((None, "轻微", "一般", "严重", "未标明", "别的")),
            **self._asked(),
        }

    def listing(self) -> dict[str, Any]:
        """Return what the period of a list entry is computed from."""
        return {
            "list_key": self._one((*load().lists, "UNKNOWN")),
            "listed_on": self.day(),
            "valid_until": self.perhaps(),
            "removed_on": self.perhaps(),
            **self._asked(),
        }

    def _asked(self) -> dict[str, Any]:
        status = self._one(("IN_FORCE", "IN_FORCE", "IN_FORCE", "REPAIRED", "REVOKED"))
        return {"status": status, "window_from": self.perhaps(), "on": self.day()}

    def rules(self) -> TimeRows:
        """Return other rules than the shipped ones: of other days, in another order, with other months."""
        months = [self._draw.randrange(40) for _ in range(20)]
        visibility = self._draw.sample(SHIPPED.visibility, len(SHIPPED.visibility))
        return replace(
            SHIPPED,
            levels=tuple(
                self._other(
                    row, min_months=low, max_months=low + months[place], repair_after_months=self._one((None, low))
                )
                for place, row in enumerate(SHIPPED.levels)
                for low in (months[-place],)
            ),
            list_periods=tuple(self._other(row, months=self._one((None, *months))) for row in SHIPPED.list_periods),
            windows=tuple(self._other(row, max_months=1 + self._one(months)) for row in SHIPPED.windows),
            visibility=tuple(
                self._other(
                    row,
                    answer=self._one(("yes", "no")),
                    level=self._one(("*", "*", "未标明", "轻微", "一般")),
                    publication=self._one(PHASES),
                    report_window=self._one(PHASES),
                )
                for row in visibility
            ),
        )

    def _other(self, row: Any, **values: Any) -> Any:
        first = self.day()
        last = first + timedelta(self._draw.randrange(2_000)) if self._draw.random() < 0.3 else None
        return row.model_copy(update={"effective_from": first, "effective_to": last, **values})


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


def agree(undone: Store, rules: Periods, cases: Cases, count: int) -> None:
    """Hold SQL against Python."""
    of_penalties = [cases.penalty() for _ in range(count)]
    of_listings = [cases.listing() for _ in range(count)]
    assert computed(undone, "penalty", of_penalties) == [astuple(rules.penalty(**case)) for case in of_penalties]
    assert computed(undone, "listing", of_listings) == [astuple(rules.listing(**case)) for case in of_listings]


@pytest.mark.parametrize("seed", range(5))
def test_sql_and_python_agree_by_the_shipped_rules(undone: Store, seed: int) -> None:
    agree(undone, Periods(SHIPPED), Cases(seed), 2_000)


@pytest.mark.parametrize("seed", range(100, 130))
def test_sql_and_python_agree_by_any_rules(undone: Store, seed: int) -> None:
    cases = Cases(seed)
    rows = cases.rules()
    load_time(undone, rows)
    agree(undone, Periods(rows), cases, 300)


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
