"""SQL and Python compute the same periods and decisions; what is known and what is in force are two axes.

Each test writes in one transaction that is rolled back, so that known_at can be any time and nothing of it stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row, tuple_row

from consumers.reading import CreditView, read_in
from consumers.token import Moment
from schemas.catalogue import load
from schemas.catalogue.time_rows import TimeRows, VisibilityRow
from schemas.codec import encode
from schemas.columns import decode_statements, digests
from schemas.connection import Connection
from schemas.contracts import fingerprint, parsed, source
from schemas.periods import Periods, china_day
from schemas.registry import WriterSchema
from schemas.store import connect
from schemas.uscc import generate
from schemas.workdays import NoCalendar, Workdays
from streams.positions import load_catalogue
from streams.projection import Projection, staged
from streams.time_tables import load_time
from tests.statements import Statement, listing, penalty, state

NAME = "xinliu.Statement"
WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
SHIPPED = load().time
Store = psycopg.Connection[Any]

days = st.dates(date(2018, 1, 1), date(2031, 12, 31))
levels = st.sampled_from([None, "轻微", "一般", "严重", "未标明", "别的"])
statuses = st.sampled_from(["IN_FORCE", "IN_FORCE", "REPAIRED", "REVOKED"])


@pytest.fixture(scope="module")
def database(stack: Connection) -> Iterator[Store]:
    """A connection as the owner."""
    with connect(stack.database.get_secret_value(), generation=1, autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(database: Store) -> Iterator[Store]:
    """A transaction with the catalogue loaded and one partition of each log, rolled back at the end."""
    database.row_factory = tuple_row
    with database.transaction(force_rollback=True):
        load_catalogue(database, load(), "beijing")
        database.execute("DELETE FROM position")
        for topic in ("accepted", "quarantine"):
            database.execute("INSERT INTO position VALUES (%s, 'id-of-' || %s, 0, 1000000)", (topic, topic))
        yield database
    database.row_factory = tuple_row


def tell(store: Store, known_at: datetime, *statements: Statement, offset: int = 0) -> None:
    """Fold statements that the broker took at a time; tokens hold those whose offset is below 1,000,000."""
    store.row_factory = tuple_row
    projection = Projection(store)
    bodies = [encode(NAME, statement) for statement in statements]
    frame = decode_statements(WRITER, bodies, list(range(len(bodies)))).frame
    high, low = digests(bodies)
    count = len(bodies)
    writer = projection.writer_number(WRITER.fingerprint, WRITER.schema)
    frame = frame.with_columns(
        pl.Series("writer", [writer] * count, dtype=pl.Int16),
        pl.Series("accepted_partition", [0] * count, dtype=pl.Int16),
        pl.Series("accepted_offset", [offset] * count, dtype=pl.Int64),
        high.alias("digest_hi"),
        low.alias("digest_lo"),
        pl.Series("statement", bodies, dtype=pl.Binary),
        pl.Series("known_at", [known_at] * count, dtype=pl.Datetime("ms", "UTC")),
    )
    projection.fold(staged(frame)[0])


def asked(store: Store, entity: int, **what: Any) -> CreditView:
    """Return what a reader is told."""
    store.row_factory = dict_row
    return read_in(store, generate(entity), **what)


def numbers(view: CreditView) -> list[str]:
    """Return the numbers of what is shown."""
    return [row["document_number"] for row in view.penalties] + [row["entry_id"] for row in view.listings]


def told(view: CreditView) -> Any:
    """Return everything of an answer but the time at which it was read."""
    return replace(view, moment=replace(view.moment, read_at=datetime(2026, 1, 1, tzinfo=UTC)))


# SQL against Python ---------------------------------------------------------------------------------------------------

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
                row, answer=draw(st.sampled_from(["yes", "no"])), publication=draw(_phases), report_window=draw(_phases)
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


def computed(store: Store, kind: str, cases: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what SQL says of all cases, in order."""
    columns = [[case[name] for case in cases] for name in _ORDER[kind]]
    unnest = ", ".join(f"%s::{of.strip()}" for of in _TYPES[kind].split(","))
    return store.execute(
        f"SELECT t.* FROM unnest({unnest}) WITH ORDINALITY AS c(a, b, c, d, e, f, g, place)"
        f" CROSS JOIN LATERAL report.{kind}_period(c.a, c.b, c.c, c.d, c.e, c.f, c.g) t ORDER BY c.place",
        columns,
    ).fetchall()


@given(st.lists(penalties, min_size=60, max_size=60), st.lists(listings, min_size=60, max_size=60))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_sql_and_python_agree_by_the_shipped_rules(
    store: Store, of_penalties: list[dict[str, Any]], of_listings: list[dict[str, Any]]
) -> None:
    rules = Periods(SHIPPED)
    assert computed(store, "penalty", of_penalties) == [astuple(rules.penalty(**case)) for case in of_penalties]
    assert computed(store, "listing", of_listings) == [astuple(rules.listing(**case)) for case in of_listings]


@given(catalogues(), st.lists(penalties, min_size=20, max_size=40), st.lists(listings, min_size=20, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_sql_and_python_agree_by_any_rules(
    store: Store, rows: TimeRows, of_penalties: list[dict[str, Any]], of_listings: list[dict[str, Any]]
) -> None:
    load_time(store, rows)
    rules = Periods(rows)
    assert computed(store, "penalty", of_penalties) == [astuple(rules.penalty(**case)) for case in of_penalties]
    assert computed(store, "listing", of_listings) == [astuple(rules.listing(**case)) for case in of_listings]


def test_sql_and_python_count_the_same_working_days(store: Store) -> None:
    calendar = Workdays(SHIPPED.holidays)
    starts = [calendar.first + timedelta(number) for number in range(-3, 733)]
    for count in (1, 3, 7, 20):
        found = dict(
            store.execute(
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
    assert store.execute(between).fetchone() == (7, None)


def test_the_day_in_china_is_the_same_in_sql(store: Store) -> None:
    for time in (datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC), datetime(2025, 12, 31, 16, tzinfo=UTC)):
        assert store.execute("SELECT report.china_day(%s)", (time,)).fetchone() == (china_day(time),)


# What is known and what is in force -----------------------------------------------------------------------------------

EARLY, LATE = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)
BETWEEN = datetime(2026, 7, 1, tzinfo=UTC)


def test_a_record_known_late_about_an_early_day(store: Store) -> None:
    tell(store, LATE, penalty("迟1号", entity=1, decided_on=date(2026, 1, 5)))
    assert numbers(asked(store, 1, on=date(2026, 1, 5))) == ["迟1号"]
    assert numbers(asked(store, 1, on=date(2026, 1, 4))) == []
    assert numbers(asked(store, 1, on=date(2026, 1, 5), as_of=BETWEEN)) == []
    assert numbers(asked(store, 1, as_of=BETWEEN)) == []


def test_a_removal_known_later(store: Store) -> None:
    entry = listing("移1号", entity=2, listed_on=date(2026, 2, 1))
    removed = listing(
        "移1号", version=2, entity=2, listed_on=date(2026, 2, 1), removed_on=date(2026, 3, 1), removal_reason="提前移出"
    )
    tell(store, EARLY, entry)
    tell(store, LATE, removed)
    found = {
        (on, as_of): numbers(asked(store, 2, on=on, as_of=as_of))
        for on in (date(2026, 2, 28), date(2026, 3, 1))
        for as_of in (None, BETWEEN)
    }
    assert found == {
        (date(2026, 2, 28), None): ["移1号"],
        (date(2026, 2, 28), BETWEEN): ["移1号"],
        (date(2026, 3, 1), None): [],
        (date(2026, 3, 1), BETWEEN): ["移1号"],
    }
    assert numbers(asked(store, 2)) == ["移1号"], "a report's window still meets it"


def test_a_level_corrected_later(store: Store) -> None:
    tell(store, EARLY, penalty("级1号", entity=3, decided_on=date(2026, 5, 6), level="一般"))
    tell(store, LATE, penalty("级1号", version=2, entity=3, decided_on=date(2026, 5, 6), level="轻微"))
    window = {"window_to": date(2026, 11, 25)}
    (now,) = asked(store, 3, **window).penalties
    (then,) = asked(store, 3, **window, as_of=BETWEEN).penalties
    assert (now["level"], now["publish_to"], now["publishable"], now["reportable"]) == (
        "轻微", date(2026, 8, 6), False, True,
    )  # fmt: skip
    assert (then["level"], then["publish_to"], then["publishable"], then["reportable"]) == (
        "一般", date(2027, 5, 6), True, True,
    )  # fmt: skip


def test_a_repair_hides_and_a_revocation_erases_on_every_day(store: Store) -> None:
    first, second = (penalty(f"修{n}号", entity=4, decided_on=date(2026, 1, 5)) for n in (1, 2))
    tell(store, EARLY, first, second)
    tell(store, LATE, state(first, "REPAIRED", version=2), state(second, "REVOKED", version=2))
    assert numbers(asked(store, 4, on=date(2026, 1, 5))) == []
    then = asked(store, 4, on=date(2026, 1, 5), as_of=BETWEEN)
    assert numbers(then) == ["修1号"]
    assert then.erased == 1


def test_the_year_begins_in_china(store: Store) -> None:
    tell(store, datetime(2025, 12, 31, 16, 30, tzinfo=UTC), penalty("年1号", entity=5, decided_on=date(2025, 12, 30)))
    new_year = datetime.fromisoformat("2026-01-01T00:00:00+08:00")
    assert numbers(asked(store, 5, as_of=new_year)) == []
    assert numbers(asked(store, 5, as_of=datetime.fromisoformat("2026-01-01T00:30:00+08:00"))) == ["年1号"]
    assert numbers(asked(store, 5, as_of=datetime.fromisoformat("2025-12-31T16:30:00+00:00"))) == ["年1号"]


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"window_from": date(2026, 1, 1), "window_to": date(2026, 6, 30)},
        {"as_of": BETWEEN},
        {"on": date(2026, 2, 10)},
        {"on": date(2026, 3, 5), "as_of": BETWEEN},
    ],
    ids=["now", "a window", "as of", "on", "both"],
)
def test_a_token_brings_back_both_axes(store: Store, what: dict[str, Any]) -> None:
    entry = listing("令1号", entity=6, listed_on=date(2026, 2, 1))
    removed = {"listed_on": date(2026, 2, 1), "removed_on": date(2026, 3, 1), "removal_reason": "期满"}
    tell(store, EARLY, entry, penalty("令2号", entity=6, decided_on=date(2026, 1, 5), level="严重"))
    tell(store, LATE, listing("令1号", version=2, entity=6, **removed))
    before = asked(store, 6, **what)
    # What comes later stands behind the positions of the token.
    store.execute("UPDATE position SET next_offset = 3000000")
    later = penalty("令2号", version=2, entity=6, decided_on=date(2026, 1, 5), level="轻微", content="更正")
    tell(store, datetime(2026, 11, 1, tzinfo=UTC), later, offset=2_000_000)
    token = before.moment.to_token()
    again = asked(store, 6, moment=Moment.from_token(token))
    assert told(again) == told(before)
    assert again.moment.to_token() == token
    assert numbers(before), "something was there to compare"


# What SQL readers are told of records ---------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_sql_readers_are_told_is_what_show_tells(store: Store, data: st.DataObject) -> None:
    near = st.dates(date(2021, 1, 1), date(2026, 11, 1))
    entity = data.draw(st.integers(1_000, 999_999))
    said = [
        penalty(
            f"同{n}号", entity=entity, decided_on=first, valid_until=first + timedelta(data.draw(st.integers(0, 2_000))),
            level=data.draw(st.sampled_from([None, "轻微", "一般", "严重"])), publish_until=data.draw(st.none() | near),
        )
        for n, first in enumerate(data.draw(st.lists(near, min_size=1, max_size=6)))
    ]  # fmt: skip
    for n, first in enumerate(data.draw(st.lists(near, min_size=1, max_size=4))):
        left = data.draw(st.none() | st.integers(0, 2_000).map(lambda number, first=first: first + timedelta(number)))
        reason = {"removed_on": left, "removal_reason": "期满"} if left else {}
        said.append(listing(f"同{n}条", entity=entity, listed_on=first, **reason))
    with store.transaction(force_rollback=True):
        tell(store, EARLY, *said)
        day = data.draw(st.dates(date(2023, 9, 1), date(2026, 11, 25)))
        from_sql = {
            row["record_id"]: row
            for function in ("penalties_on", "listings_on")
            for row in _rows(store, f"SELECT * FROM report.{function}(%s, %s)", (generate(entity), day))
        }
        view = asked(store, entity, window_to=day)
        shown = {row["record_id"]: row for row in (*view.penalties, *view.listings)}
        assert shown.keys() == {key for key, row in from_sql.items() if row["in_window"]}
        for key, row in shown.items():
            assert {name: row[name] for name in from_sql[key]} == from_sql[key]
        on = asked(store, entity, on=day)
        assert {row["record_id"] for row in (*on.penalties, *on.listings)} == {
            key for key, row in from_sql.items() if row["in_force"]
        }
        counted = {line.domain: (line.penalties, line.listings) for line in view.domains}
        folded = asked(store, entity, moment=view.moment)
        assert counted == {line.domain: (line.penalties, line.listings) for line in folded.domains}
        today = _rows(store, "SELECT DISTINCT day FROM report.penalty_today WHERE uscc = %s", (generate(entity),))
        assert [row["day"] for row in today] == [china_day(datetime.now(UTC))] * len(today)


def _rows(store: Store, query: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    store.row_factory = dict_row
    return store.execute(query, values).fetchall()


def test_a_decision_that_is_data_changes_what_counts(store: Store) -> None:
    tell(store, EARLY, penalty("微1号", entity=7, decided_on=date(2026, 5, 6), level="轻微"))
    window = {"window_to": date(2026, 11, 25)}

    def state_of_tax() -> str:
        (line,) = (line for line in asked(store, 7, **window).domains if line.domain == "tax")
        return line.state

    assert state_of_tax() == "有"
    first = VisibilityRow.model_validate({
        "decision": "reportable", "kind": "PENALTY", "level": "轻微", "status": "IN_FORCE", "publication": "*",
        "report_window": "*", "answer": "no", "effective_from": "2023-09-01", "source": "a test", "illustrative": "yes",
    })  # fmt: skip
    load_time(store, replace(SHIPPED, visibility=(first, *SHIPPED.visibility)))
    assert state_of_tax() != "有"
    (row,) = asked(store, 7, **window).penalties
    assert row["reportable"] is False
    store.execute("DELETE FROM xinliu.visibility")
    assert state_of_tax() == "有", "for want of a rule nothing becomes 无"
