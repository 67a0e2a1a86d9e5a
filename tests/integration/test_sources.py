"""Sources: 正常, 迟, 中断, exactly at their limits, by the limits of the day, for readers, metrics and readings of the past."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from consumers.report.credit_view import CreditView, read
from consumers.report.token import Moment
from deploy.cluster.topics import wanted as wanted_topics
from schemas.catalogue import load
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.kafka.ranges import Logs
from streams.projection.positions import PROJECTED, load_catalogue, prepare

Store = psycopg.Connection[tuple[Any, ...]]
NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
TINY = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """The first generation as a worker prepares it, without a worker."""
    known = load()
    departments = known.departments(stack.province)
    facts = Logs(stack.kafka).describe([*PROJECTED, *(d.records_topic for d in departments)])
    assert {d.records_topic for d in departments} <= {topic.name for topic in wanted_topics(known, stack.province)}
    with connect(stack.database.get_secret_value(), generation=1, autocommit=True) as connection:
        load_catalogue(connection, known, stack.province)
        prepare(connection, facts, {d.key: facts[d.records_topic] for d in departments})
        yield connection
        load_catalogue(connection, known, stack.province)
        connection.execute("TRUNCATE input_progress")


@pytest.fixture(autouse=True)
def quiet(store: Store) -> None:
    """Nobody has said anything; every source is expected once a day and 中断 after a week."""
    store.execute("TRUNCATE input_progress, xinliu.heartbeat")
    limit(store, "*", "24 hours", "168 hours")


def limit(store: Store, department: str, every: str, after: str, since: str = "2023-09-01", until: Any = None) -> None:
    """Enter a limit."""
    store.execute("INSERT INTO xinliu.heartbeat VALUES (%s, %s, %s, %s, %s)", (department, since, until, every, after))


def vouch(store: Store, department: str, as_of: datetime, *, partitions: tuple[int, ...] = (0, 1)) -> None:
    """Enter what intake's vectors tell once a marker has come, from every partition of accepted and quarantine."""
    store.execute(
        "INSERT INTO input_progress"
        " (topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at)"
        " SELECT s.topic, s.topic_id, p, o.topic, o.partition, 1, CASE WHEN p = ANY(%s) THEN %s END,"
        " CASE WHEN p = ANY(%s) THEN %s END"
        " FROM source s, generate_series(0, s.partitions - 1) p, position o WHERE s.department = %s"
        " ON CONFLICT (topic, partition, reporter_topic, reporter_partition)"
        " DO UPDATE SET as_of = excluded.as_of, marked_at = excluded.marked_at",
        (list(partitions), as_of, list(partitions), as_of, department),
    )


def told(store: Store, department: str, at: datetime) -> tuple[Any, ...]:
    """Return state, since and whether readers are told 未归集, at a time."""
    row = store.execute(
        "SELECT state, since, silent FROM report.source_at(%s) WHERE department = %s", (at, department)
    ).fetchone()
    assert row is not None
    return row


def test_a_source_that_stops_is_late_and_then_gone_exactly_at_its_limits(store: Store) -> None:
    vouch(store, "tax", NOON)
    day, week = timedelta(hours=24), timedelta(hours=168)
    assert told(store, "tax", NOON) == ("正常", None, False)
    assert told(store, "tax", NOON + day) == ("正常", None, False)
    assert told(store, "tax", NOON + day + TINY) == ("迟", NOON + day, False)
    assert told(store, "tax", NOON + week) == ("迟", NOON + day, False)
    assert told(store, "tax", NOON + week + TINY) == ("中断", NOON + week, True)


def test_a_source_that_was_never_heard_is_gone_since_ever(store: Store) -> None:
    assert told(store, "tax", NOON) == ("中断", None, True)


def test_one_partition_without_a_marker_holds_all_back(store: Store) -> None:
    vouch(store, "tax", NOON, partitions=(0,))
    assert told(store, "tax", NOON) == ("中断", None, True)
    heard = store.execute("SELECT marked_at FROM report.source WHERE department = 'tax'").fetchone()
    assert heard == (NOON,), "that it was heard is told all the same"
    vouch(store, "tax", NOON)
    assert told(store, "tax", NOON) == ("正常", None, False)


def test_a_department_with_a_limit_of_its_own(store: Store) -> None:
    limit(store, "court", "1 hour", "2 hours")
    for department in ("court", "tax"):
        vouch(store, department, NOON)
    later = NOON + timedelta(hours=3)
    assert told(store, "court", later) == ("中断", NOON + timedelta(hours=2), True)
    assert told(store, "tax", later) == ("正常", None, False)


def test_a_limit_holds_on_its_days_in_china_and_those_of_the_past_stay(store: Store) -> None:
    store.execute("UPDATE xinliu.heartbeat SET effective_to = '2026-03-31'")
    limit(store, "*", "1 hour", "2 hours", since="2026-04-01")
    last = datetime(2026, 3, 31, 15, 59, 59, tzinfo=UTC)  # a second before midnight in Beijing
    vouch(store, "tax", last - timedelta(hours=3))
    assert told(store, "tax", last)[0] == "正常"
    assert told(store, "tax", last + timedelta(seconds=1))[0] == "中断"


def test_a_source_without_any_limit_vouches_for_nothing(store: Store) -> None:
    store.execute("TRUNCATE xinliu.heartbeat")
    vouch(store, "tax", NOON)
    assert told(store, "tax", NOON) == ("中断", None, True)


def test_metrics_ask_for_the_same(store: Store) -> None:
    now = datetime.now(UTC)
    vouch(store, "tax", now)
    vouch(store, "court", now - timedelta(days=2))
    vouch(store, "water", now - timedelta(days=8))
    rows = {row[0]: row[2] for row in store.execute(sql("workers/sources"))}
    assert [rows[key] for key in ("tax", "court", "water", "finance")] == ["正常", "迟", "中断", "中断"]
    assert dict(store.execute("SELECT department, state FROM report.source").fetchall()) == rows


def view_of(stack: Connection, **when: Any) -> CreditView:
    """Read an entity of which nobody has said anything."""
    database = (stack.reader_database or stack.database).get_secret_value()
    return read(database, generate(790_001), window_from=date(2022, 1, 1), window_to=date(2026, 12, 31), **when)


def states(view: CreditView) -> dict[str, str]:
    """Return what is said of three domains."""
    return {line.domain: line.state for line in view.domains if line.domain in ("tax", "court", "water")}


def test_past_its_limit_none_becomes_not_collected(store: Store, stack: Connection) -> None:
    now = datetime.now(UTC)
    for department, age in (("tax", 0), ("court", 6), ("water", 8)):
        vouch(store, department, now - timedelta(days=age))
    view = view_of(stack)
    assert states(view) == {"tax": "无", "court": "无", "water": "未归集"}
    found = {one.department: one for one in view.domain_sources}
    assert [found[key].state for key in ("tax", "court", "water")] == ["正常", "迟", "中断"]
    assert found["water"].data_as_of == now - timedelta(days=8)
    assert found["water"].since == now - timedelta(days=1)


def test_two_departments_of_one_domain_are_told_apart(store: Store, stack: Connection) -> None:
    now = datetime.now(UTC)
    vouch(store, "statistics", now)
    vouch(store, "survey", now - timedelta(days=8))
    view = view_of(stack)
    line = next(line for line in view.domains if line.domain == "statistics")
    assert (line.state, line.data_as_of) == ("未归集", now - timedelta(days=8))
    told_apart = [(s.department, s.state) for s in view.domain_sources if s.domain == "statistics"]
    assert told_apart == [("statistics", "正常"), ("survey", "中断")]
    rows = store.execute("SELECT department, state FROM report.domain_source WHERE domain = 'statistics' ORDER BY 1")
    assert rows.fetchall() == told_apart


def test_a_token_is_judged_by_what_was_vouched_for_then_and_by_the_limits_of_then(
    store: Store, stack: Connection
) -> None:
    now = datetime.now(UTC)
    vouch(store, "tax", now - timedelta(days=3))
    before = view_of(stack)
    assert states(before)["tax"] == "无"
    vouch(store, "tax", now)
    again = view_of(stack, moment=Moment.from_token(before.moment.to_token()))
    assert states(again) == states(before)
    assert {s.department: s.state for s in again.sources} == {s.department: s.state for s in before.sources}
    # A stricter limit from tomorrow on says nothing about today; one that held today would.
    tomorrow = (now + timedelta(days=2)).date().isoformat()
    limit(store, "tax", "1 hour", "2 hours", since=tomorrow)
    assert states(view_of(stack, moment=Moment.from_token(before.moment.to_token())))["tax"] == "无"
    store.execute("DELETE FROM xinliu.heartbeat WHERE department = 'tax'")
    limit(store, "tax", "1 hour", "2 hours")
    assert states(view_of(stack, moment=Moment.from_token(before.moment.to_token())))["tax"] == "未归集"


def noted(store: Store) -> list[Any]:
    """Note what the sources vouch for, as the relay does, and return what is kept of tax, oldest first."""
    store.execute(sql("relay/vouched"), {"generation": 1})
    rows = store.execute("SELECT data_as_of FROM xinliu.vouched WHERE department = 'tax' ORDER BY noted_at")
    return [row[0] for row in rows]


def test_what_was_vouched_for_is_kept_never_too_favourably(store: Store) -> None:
    store.execute("TRUNCATE xinliu.vouched")
    assert noted(store) == [], "of a source that was never heard there is nothing to keep"
    vouch(store, "tax", NOON)
    assert noted(store) == [NOON]
    vouch(store, "tax", NOON + timedelta(minutes=9))
    assert noted(store) == [NOON], "not ten minutes further"
    vouch(store, "tax", NOON + timedelta(minutes=12))
    assert noted(store) == noted(store) == [NOON, NOON + timedelta(minutes=12)]
    vouch(store, "tax", NOON + timedelta(minutes=11))
    assert noted(store)[-1] == NOON + timedelta(minutes=11), "a step back counts at once"
    vouch(store, "tax", NOON, partitions=(0,))
    assert noted(store)[-1] is None
    store.execute("UPDATE xinliu.serving SET generation = generation")
    store.execute(sql("relay/vouched"), {"generation": 7})
    assert len(noted(store)) == 4, "readers are told what the serving generation says"


def test_as_of_is_judged_by_what_had_been_vouched_for_then(store: Store, stack: Connection) -> None:
    store.execute("TRUNCATE xinliu.vouched")
    now = datetime.now(UTC).replace(microsecond=0)  # a token keeps milliseconds
    silent, heard = now - timedelta(days=20), now - timedelta(days=10)
    for at, until in ((silent, silent - timedelta(days=9)), (heard, heard)):
        store.execute("INSERT INTO xinliu.vouched VALUES ('tax', %s, %s)", (at, until))
    vouch(store, "tax", now)
    assert states(view_of(stack))["tax"] == "无"
    assert states(view_of(stack, as_of=heard + timedelta(days=7)))["tax"] == "无"
    assert states(view_of(stack, as_of=heard + timedelta(days=7, seconds=1)))["tax"] == "未归集"
    assert states(view_of(stack, as_of=silent + timedelta(days=1)))["tax"] == "未归集", "though it has caught up since"
    assert states(view_of(stack, as_of=silent - timedelta(days=1)))["tax"] == "未归集", "of that time nothing is known"
    first = view_of(stack, as_of=heard + timedelta(days=1))
    again = view_of(stack, moment=Moment.from_token(first.moment.to_token()))
    assert again.sources == first.sources
