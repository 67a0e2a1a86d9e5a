"""The figures of the mirror: any order, any duplication and any cut into batches counts the same, and what each figure means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.projection.batch import Projection
from streams.projection.quality import LONGEST_LAG
from streams.projection.staging import staged
from tests.examples import examples
from tests.integration.test_view_store import TABLES, decoded, statements
from tests.offline import assert_figures_are_of_the_set
from tests.statements import Statement, listing, penalty, state

GENERATION = 998
CHINA = ZoneInfo("Asia/Shanghai")
Store = psycopg.Connection[tuple[Any, ...]]
Arrival = tuple[Statement, datetime]


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """A generation of its own, so that workers of other tests do not meet these rows."""
    with connect(stack.database.get_secret_value(), generation=GENERATION, autocommit=True) as connection:
        with connection.transaction():
            connection.execute(f"CREATE SCHEMA g{GENERATION}")
            connection.execute(sql("generation"))
        yield connection
        connection.execute(f"DROP SCHEMA g{GENERATION} CASCADE")


def fold(store: Store, batches: Sequence[Sequence[Arrival]]) -> None:
    """Fold batches of statements, each with its time of receipt, into empty tables."""
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    projection, offset = Projection(store), 0
    for batch in batches:
        frame = decoded([statement for statement, _ in batch], offset)
        received = pl.Series([at for _, at in batch], dtype=frame.schema["received_at"])
        frame = frame.with_columns(received_at=received)
        with store.transaction():
            projection.fold(staged(frame)[0])
        offset += len(batch)


def counted(store: Store) -> Counter[tuple[date, str, int]]:
    """Return the figures: day, measure and bucket; the times to visible, which are no figure of the statements, added up."""
    rows = store.execute(
        "SELECT day, measure, CASE measure WHEN 'VISIBLE' THEN 0 ELSE bucket END, sum(n)::bigint FROM quality_day"
        " GROUP BY 1, 2, 3 HAVING sum(n) <> 0"
    )
    return Counter({tuple(row[:3]): int(row[3]) for row in rows})


def expected(arrivals: Sequence[Arrival]) -> Counter[tuple[date, str, int]]:
    """Return what the figures must be, from the definitions alone."""
    first: dict[str, Arrival] = {}
    for statement, at in arrivals:
        key = repr(sorted(statement.items()))
        if key not in first or at < first[key][1]:
            first[key] = (statement, at)
    said = list(first.values())
    counts: Counter[tuple[date, str, int]] = Counter()
    for statement, at in said:
        day = at.astimezone(CHINA).date()
        counts[day, "ACCEPTED", 0] += 1
        counts[day, "VISIBLE", 0] += 1
        counts[day, "CORRECTED", 0] += statement["reason"] == "CORRECTED"
        rivals = [
            s for s, _ in said if (s["record_id"], s["version"]) == (statement["record_id"], statement["version"])
        ]
        counts[day, "CONFLICT", 0] += len(rivals) > 1
    return +counts


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    """Any statement, received at some time of a few days."""
    minutes = draw(st.integers(0, 3 * 24 * 60))
    return draw(statements()), datetime(2026, 1, 30, 12, tzinfo=UTC) + timedelta(minutes=minutes)


@given(data=st.data())
@examples(60, HealthCheck.function_scoped_fixture)
def test_any_order_any_duplication_any_cut_counts_the_same(store: Store, data: st.DataObject) -> None:
    said = data.draw(st.lists(arrivals(), min_size=1, max_size=14))
    again = [
        (statement, at + timedelta(minutes=data.draw(st.integers(-2000, 2000))))
        for statement, at in data.draw(st.lists(st.sampled_from(said), max_size=8))
    ]
    shuffled = data.draw(st.permutations(said + again))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=5)) | {len(shuffled)})
    batches = [shuffled[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False) if begin < end]
    fold(store, [said + again])
    straight = counted(store)
    fold(store, batches)
    assert_figures_are_of_the_set(store)
    other = counted(store)
    assert {key: n for key, n in other.items() if key[1] != "VISIBLE"} == {
        key: n for key, n in straight.items() if key[1] != "VISIBLE"
    }
    assert sum(n for key, n in other.items() if key[1] == "VISIBLE") == sum(
        n for key, n in straight.items() if key[1] == "VISIBLE"
    )
    wanted = expected(said + again)
    for measure in ("ACCEPTED", "CORRECTED", "CONFLICT"):
        assert {k: n for k, n in other.items() if k[1] == measure} == {
            k: n for k, n in wanted.items() if k[1] == measure
        }


def at(day: str, hour: int = 10) -> datetime:
    """Return an hour of a day in China."""
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=CHINA).astimezone(UTC)


def lateness(store: Store) -> dict[int, int]:
    """Return first publications by days since the decision."""
    rows = store.execute(
        "SELECT bucket, sum(n)::int FROM quality_day WHERE measure = 'PUBLISHED' GROUP BY 1 HAVING sum(n) <> 0"
    )
    return {int(bucket): int(n) for bucket, n in rows}


def published(number: str, *, version: int = 1, decided: str = "2026-03-02", **more: Any) -> Statement:
    """Return a publication of a penalty decided on a day."""
    made = penalty(number, version=version, decided_on=date.fromisoformat(decided), **more)
    return {**made, "reason": "PUBLISHED"}


def test_the_first_publication_alone_says_whether_a_report_was_late(store: Store) -> None:
    first = (published("迟1"), at("2026-03-04"))
    again = (
        published("迟1", version=2),
        at("2026-06-01"),
    )  # published again with a later version: no report of its own
    for batches in ([[first, again]], [[again], [first]], [[first], [again]], [[again, first]]):
        fold(store, batches)
        assert lateness(store) == {2: 1}
    fold(store, [[again]])
    assert lateness(store) == {LONGEST_LAG: 1}, "as long as the first one is not known"


def test_corrections_and_list_entries_are_no_reports(store: Store) -> None:
    fold(store, [[(penalty("迟2", version=2), at("2026-06-01")), (listing("L9"), at("2026-06-01"))]])
    assert lateness(store) == {}


def test_what_was_revoked_is_no_report_in_any_order(store: Store) -> None:
    first = (published("迟3"), at("2026-03-04"))
    revoked = (state(first[0], "REVOKED", version=3), at("2026-03-06"))
    for batches in ([[first], [revoked]], [[revoked], [first]], [[first, revoked]]):
        fold(store, batches)
        assert lateness(store) == {}
        assert store.execute("SELECT count(*) FROM record_history WHERE decided_on IS NOT NULL").fetchone() == (0,)


def test_what_was_folded_before_figures_were_kept_is_not_counted_and_spoils_none(store: Store) -> None:
    first, second = (published("旧1"), at("2026-03-04")), (published("旧1", version=2), at("2026-06-01"))
    fold(store, [[first]])
    store.execute("UPDATE record_history SET reason = NULL, received_at = NULL, decided_on = NULL")
    store.execute("TRUNCATE quality_day")
    frame = decoded([first[0], second[0]], 10)
    with store.transaction():
        Projection(store).fold(staged(frame)[0])
    assert sum(n for key, n in counted(store).items() if key[1] == "ACCEPTED") == 1, "the second version"
    assert lateness(store) == {}, "which publication was the first is not known"


@pytest.mark.parametrize(
    ("received", "late"),
    # Decided on Monday 2 March 2026; without holidays the seventh working day behind it is Wednesday 11 March.
    [("2026-03-02", False), ("2026-03-11", False), ("2026-03-12", True), ("2026-05-01", True), ("2026-06-30", True)],
)
def test_the_seventh_working_day_is_in_time_and_the_next_day_is_late(store: Store, received: str, late: bool) -> None:
    fold(store, [[(published("日1"), at(received, hour=23))]])
    calendar(store)
    assert store.execute("SELECT decided_on, n::int, late FROM quality_lateness").fetchall()[0][1:] == (1, late)


def calendar(store: Store, *free: str) -> None:
    """Make 2026 a year whose weekends and these days are free."""
    store.execute("DELETE FROM xinliu.workday")
    store.execute("DELETE FROM xinliu.deadline")
    store.execute(
        "INSERT INTO xinliu.deadline VALUES"
        " (1, 'report-penalty', '*', '处罚信息报送', 7, '', '2018-01-01', '2026-12-31', '', 'no')"
    )
    store.execute(
        "INSERT INTO xinliu.workday (day, working, why, ordinal)"
        " SELECT d::date, works, '', sum(works::integer) OVER (ORDER BY d)"
        " FROM generate_series(timestamp '2026-01-01', '2026-12-31', '1 day') d,"
        " LATERAL (SELECT EXTRACT(isodow FROM d) < 6 AND d::date <> ALL(%s::date[])) AS of_week (works)",
        (list(free),),
    )


def test_a_holiday_moves_the_deadline_and_a_saturday_behind_it_is_late(store: Store) -> None:
    fold(store, [[(published("日2"), at("2026-03-12"))]])
    calendar(store, "2026-03-05")
    assert store.execute("SELECT late FROM quality_lateness").fetchall() == [(False,)]
    fold(store, [[(published("日3", decided="2026-03-04"), at("2026-03-14"))]])  # its seventh day is Friday 13 March
    calendar(store)
    assert store.execute("SELECT late FROM quality_lateness").fetchall() == [(True,)]


def test_days_that_the_calendar_does_not_know_are_not_judged(store: Store) -> None:
    fold(store, [[(published("日4", decided="2027-03-01"), at("2027-03-20"))]])
    calendar(store)
    assert store.execute("SELECT late FROM quality_lateness").fetchall() == [(None,)]
