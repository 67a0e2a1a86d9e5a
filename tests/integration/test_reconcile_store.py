"""The comparison itself against a real PostgreSQL: whatever the two sides hold, exactly what differs is named."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from schemas.reconciliation.manifest import LINES, ManifestScope, lines_parts, newest, summary
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.kafka.headers import Origin
from streams.reconciliation.manifests import Stated, keep
from streams.reconciliation.reconciler import Reconciler
from tests.examples import examples

GENERATION = 998
NOW = datetime(2026, 7, 1, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(seconds=1)
SCOPE = ManifestScope("tax", "PENALTY")
Store = psycopg.Connection[tuple[Any, ...]]
Rank = tuple[int, int, int]


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """A generation of its own, whose one source has two partitions."""
    with connect(stack.database.get_secret_value(), generation=GENERATION, autocommit=True) as connection:
        with connection.transaction():
            connection.execute(f"CREATE SCHEMA g{GENERATION}")
            connection.execute(sql("generation"))
        connection.execute("INSERT INTO source VALUES ('records.tax', 'id', 'tax', 2)")
        connection.execute("INSERT INTO position VALUES ('accepted', 'a', 0, 0), ('quarantine', 'q', 0, 0)")
        yield connection
        connection.execute(f"DROP SCHEMA g{GENERATION} CASCADE")


@pytest.fixture
def reconciler(stack: Connection, store: Store) -> Iterator[Reconciler]:
    """One over empty tables."""
    store.execute("TRUNCATE record, manifest, manifest_lines, record_difference, outbox, input_progress, quarantine")
    made = Reconciler(stack.database.get_secret_value(), province="beijing", generation=GENERATION)
    yield made
    made.close()


def hold(
    store: Store, records: Mapping[str, Rank], *, known_at: datetime = BEFORE, stated_at: datetime = BEFORE
) -> None:
    """Put records into the table as the view would."""
    rows = [(record_id, *rank, stated_at, known_at) for record_id, rank in records.items()]
    with store.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO record (record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name,"
            " subject_kind, province, domain, department, authority, stated_at, known_at) VALUES (%s, %s, %s, %s, 'PENALTY',"
            " 'IN_FORCE', 'PUBLISHED', 'u', 'n', 'k', 'beijing', 'tax', 'tax', 'a', %s, %s) ON CONFLICT (record_id, province, department) DO UPDATE"
            " SET (version, digest_hi, digest_lo, known_at) = (excluded.version, excluded.digest_hi, excluded.digest_lo,"
            " excluded.known_at)",
            rows,
        )


def pass_to(store: Store, partition: int, offset: int) -> None:
    """Let every partition of accepted and quarantine tell that this input partition is forwarded so far."""
    for reporter in ("accepted", "quarantine"):
        store.execute(
            "INSERT INTO input_progress VALUES ('records.tax', 'id', %s, %s, 0, %s, NULL)"
            " ON CONFLICT (topic, partition, reporter_topic, reporter_partition) DO UPDATE SET next_offset = %s",
            (partition, reporter, offset, offset),
        )


def state(store: Store, manifest: Mapping[str, Any], *partitions: int, offset: int = 5) -> None:
    """Keep copies of a manifest, as the view does."""
    for partition in partitions or (0, 1):
        origin = Origin("records.tax", "id", partition, offset)
        keep(store, [Stated(origin, NOW, manifest, None)])


def told(store: Store) -> list[dict[str, Any]]:
    """Return the answers, oldest first."""
    return [row[0] for row in store.execute("SELECT payload FROM outbox WHERE kind = 'RECONCILED' ORDER BY id")]


def frame(records: Mapping[str, Rank], stated_at: datetime = BEFORE) -> pl.DataFrame:
    """Return what a department has told."""
    rows = [(record_id, *rank, stated_at) for record_id, rank in records.items()]
    return newest(pl.DataFrame(rows, schema=LINES, orient="row"))


def compared(
    store: Store, reconciler: Reconciler, records: pl.DataFrame, scope: ManifestScope = SCOPE
) -> dict[str, str]:
    """Go through the whole exchange and return the differences by record."""
    manifest = summary(records, "tax", scope, made_at=NOW)
    state(store, manifest)
    pass_to(store, 0, 6)
    pass_to(store, 1, 6)
    assert reconciler.compare_one()
    first = told(store)[-1]
    assert (first["manifest_id"], first["part"]) == (manifest["manifest_id"], 0)
    found: dict[str, str] = {}
    for part in lines_parts(records, manifest, first["buckets"], most=50):
        state(store, part, 0)
        assert reconciler.compare_one()
        answer = told(store)[-1]
        assert answer["part"] == part["part"]
        found |= {one["record_id"]: one["difference"] for one in answer["differences"]}
    row = store.execute(
        "SELECT state, wanted FROM manifest WHERE manifest_id = %s", (manifest["manifest_id"],)
    ).fetchone()
    assert row == ("DIFFERS" if found else "EQUAL", [])
    return found


RANKS = st.tuples(st.integers(1, 3), st.integers(-5, 5), st.integers(-(1 << 63), (1 << 63) - 1))
IDS = st.uuids().map(lambda one: one.hex)


def kind_of(stated: Rank | None, held: Rank | None) -> str | None:
    """Say in plain words what a difference is."""
    if stated == held:
        return None
    if stated is None:
        return "UNKNOWN"
    if held is None:
        return "MISSING"
    return "OLDER_HERE" if stated[0] > held[0] else "NEWER_HERE" if stated[0] < held[0] else "CONTENT"


@examples(40, HealthCheck.function_scoped_fixture)
@given(same=st.dictionaries(IDS, RANKS, max_size=120), there=st.dictionaries(IDS, RANKS, max_size=5), data=st.data())
def test_exactly_what_differs_is_named(
    store: Store, reconciler: Reconciler, same: dict[str, Rank], there: dict[str, Rank], data: st.DataObject
) -> None:
    store.execute("TRUNCATE record, manifest, manifest_lines, record_difference, outbox")
    stated, held = dict(same) | there, dict(same)
    for record_id in data.draw(st.lists(st.sampled_from(sorted(same)), unique=True, max_size=6)) if same else ():
        side = data.draw(st.sampled_from((stated, held)))
        change = data.draw(st.one_of(st.none(), RANKS))
        side.update({record_id: change}) if change else side.pop(record_id)
    hold(store, held)
    found = compared(store, reconciler, frame(stated))
    expected = {one: kind_of(stated.get(one), held.get(one)) for one in stated.keys() | held.keys()}
    assert found == {one: kind for one, kind in expected.items() if kind}
    open_ones = store.execute("SELECT record_id, difference FROM record_difference WHERE closed_at IS NULL").fetchall()
    assert {record_id.hex: difference for record_id, difference in open_ones} == found
    hold(store, stated)
    store.execute("DELETE FROM record WHERE record_id <> ALL(%s::uuid[])", (list(stated),))
    assert compared(store, reconciler, frame(stated)) == {}, "mended, and closed"
    assert store.execute("SELECT count(*) FROM record_difference WHERE closed_at IS NULL").fetchone() == (0,)


def test_a_manifest_overtakes_nothing(store: Store, reconciler: Reconciler) -> None:
    manifest = summary(frame({}), "tax", SCOPE, made_at=NOW)
    assert not reconciler.compare_one()
    state(store, manifest, 0)
    pass_to(store, 0, 6)
    assert not reconciler.compare_one(), "its copy of the other partition has not come"
    state(store, manifest, 1)
    assert not reconciler.compare_one(), "of the other partition nothing is told yet"
    pass_to(store, 1, 5)
    assert not reconciler.compare_one(), "the copy itself is not passed yet"
    store.execute("UPDATE input_progress SET next_offset = 6 WHERE partition = 1 AND reporter_topic = 'accepted'")
    assert not reconciler.compare_one(), "a partition of the log may still hold records before it"
    pass_to(store, 1, 6)
    assert reconciler.compare_one()
    assert not reconciler.compare_one(), "once"
    assert [one["state"] for one in told(store)] == ["EQUAL"]


def test_what_came_after_the_manifest_is_no_difference(store: Store, reconciler: Reconciler) -> None:
    ids = [uuid.uuid4().hex for _ in range(5)]
    stated = {one: (1, 1, 1) for one in ids[:4]}
    hold(store, {ids[0]: (1, 1, 1)})
    hold(store, {ids[1]: (2, 1, 1), ids[4]: (1, 1, 1)}, known_at=AFTER)  # changed, and new
    hold(store, {ids[2]: (2, 1, 1)})  # newer, and known before
    hold(store, {ids[3]: (0, 1, 1)}, known_at=AFTER)  # an older one came late
    assert compared(store, reconciler, frame(stated)) == {ids[2]: "NEWER_HERE", ids[3]: "OLDER_HERE"}


def test_months_beside_the_scope_are_counted_and_left_alone(store: Store, reconciler: Reconciler) -> None:
    june, may = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 5, 31, 15, 59, tzinfo=UTC)
    ids = [uuid.uuid4().hex for _ in range(4)]
    hold(store, {ids[0]: (1, 1, 1), ids[1]: (1, 2, 2)}, stated_at=june)
    hold(store, {ids[2]: (1, 3, 3), ids[3]: (1, 4, 4)}, stated_at=may)
    month = ManifestScope("tax", "PENALTY", "2026-06", "2026-06")
    # The department has ids[2] in a newer version, of June: named once, as that.
    records = frame({ids[0]: (1, 1, 1), ids[1]: (1, 2, 2), ids[2]: (2, 3, 3)}, june)
    assert compared(store, reconciler, records, month) == {ids[2]: "OLDER_HERE"}
    first = next(one for one in told(store) if one["part"] == 0)
    assert (first["held"], first["outside"]) == (2, 2)
    assert first["periods"] == [{"period": "2026-06", "stated": 3, "held": 2}]
    # A manifest of another month cannot close it, one of everything can.
    assert compared(store, reconciler, frame({}), ManifestScope("tax", "PENALTY", "2026-07", None)) == {}
    opened = "SELECT count(*) FROM record_difference WHERE closed_at IS NULL"
    assert store.execute(opened).fetchone() == (1,)
    hold(store, {ids[2]: (2, 3, 3)})
    everything = frame({ids[0]: (1, 1, 1), ids[1]: (1, 2, 2), ids[2]: (2, 3, 3), ids[3]: (1, 4, 4)})
    assert compared(store, reconciler, everything) == {}
    assert store.execute(opened).fetchone() == (0,)


def test_a_newer_manifest_takes_the_place_of_those_that_wait(store: Store, reconciler: Reconciler) -> None:
    manifests = [summary(frame({}), "tax", SCOPE, made_at=NOW) for _ in range(20)]
    for number, manifest in enumerate(manifests):
        for partition in (0, 1):
            origin = Origin("records.tax", "id", partition, number)
            keep(store, [Stated(origin, NOW + timedelta(seconds=number), manifest, None)])
    pass_to(store, 0, 100)
    pass_to(store, 1, 100)
    assert reconciler.compare_one()
    assert not reconciler.compare_one(), "twenty statements of one department cost one comparison"
    answers = {one["manifest_id"]: one["state"] for one in told(store)}
    assert answers == {**{one["manifest_id"]: "REFUSED" for one in manifests}, manifests[-1]["manifest_id"]: "EQUAL"}


def test_a_department_that_lost_its_data_is_told_within_bounds(store: Store, reconciler: Reconciler) -> None:
    rng = random.Random(1)
    hold(store, {f"{rng.getrandbits(128):032x}": (1, 1, n) for n in range(1_200)})
    manifest = summary(frame({}), "tax", SCOPE, made_at=NOW)
    state(store, manifest)
    pass_to(store, 0, 6)
    pass_to(store, 1, 6)
    assert reconciler.compare_one()
    (part,) = lines_parts(frame({}), manifest, told(store)[-1]["buckets"])
    state(store, part, 0)
    assert reconciler.compare_one()
    answers = [one for one in told(store) if one["part"] == 1]
    assert [(len(one["differences"]), one["complete"]) for one in answers] == [(500, False), (500, False), (200, True)]
    assert len({found["record_id"] for one in answers for found in one["differences"]}) == 1_200


def test_a_comparison_that_breaks_off_leaves_nothing_and_is_made_again(
    store: Store, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [uuid.uuid4().hex for _ in range(3)]
    hold(store, {ids[0]: (1, 1, 1)})
    records = frame({one: (1, 1, 1) for one in ids})
    manifest = summary(records, "tax", SCOPE, made_at=NOW)
    state(store, manifest)
    pass_to(store, 0, 6)
    pass_to(store, 1, 6)
    whole = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM record_difference), (SELECT string_agg(state, ',') FROM manifest)"  # fmt: skip

    def breaks(*_: Any) -> None:
        raise psycopg.OperationalError("the server is gone")

    for part in (manifest, *lines_parts(records, manifest, [0])):
        if part["part"]:
            state(store, part, 0)
        before = store.execute(whole).fetchone()
        with monkeypatch.context() as patched:
            patched.setattr("streams.reconciliation.reconciler.announce", breaks)
            with pytest.raises(psycopg.OperationalError):
                reconciler.compare_one()
        assert store.execute(whole).fetchone() == before
        assert reconciler.compare_one()
    assert store.execute(whole).fetchone() == (2, 2, "DIFFERS")


def test_nothing_is_told_of_what_another_department_holds(store: Store, reconciler: Reconciler) -> None:
    theirs, mine = uuid.uuid4().hex, uuid.uuid4().hex
    hold(store, {theirs: (7, 1, 1), mine: (1, 1, 1)})
    store.execute("UPDATE record SET department = 'finance' WHERE record_id = %s", (theirs,))
    assert compared(store, reconciler, frame({theirs: (1, 1, 1), mine: (1, 1, 1)})) == {theirs: "MISSING"}
    assert [one["held_version"] for one in told(store)[-1]["differences"]] == [None]


@pytest.mark.parametrize("count", [10, 500, 5_000])
def test_only_buckets_that_differ_are_asked_for(store: Store, reconciler: Reconciler, count: int) -> None:
    rng = random.Random(count)
    same: dict[str, Rank] = {f"{rng.getrandbits(128):032x}": (1, n, -n) for n in range(count)}
    hold(store, same)
    pass_to(store, 0, 6)
    pass_to(store, 1, 6)
    odd = next(iter(same))
    for records, differ in ((same, set[str]()), ({**same, odd: (2, 7, 7)}, {odd})):
        manifest = summary(frame(records), "tax", SCOPE, made_at=NOW)
        state(store, manifest)
        assert reconciler.compare_one()
        wanted = [int(one[:3], 16) >> (12 - manifest["bits"]) for one in differ]
        assert (told(store)[-1]["buckets"], told(store)[-1]["state"]) == (wanted, "DIFFERS" if wanted else "EQUAL")
