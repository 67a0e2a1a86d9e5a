"""The store keeps by delta what the pure fold computes at once: any order, any duplication, any cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from schemas.contracts.codec import encode_own, frame
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.servers.connection import Connection
from streams.kafka.progress import newest_vectors
from streams.kafka.records import Fetched, Record
from streams.projection.batch import Projection
from streams.projection.fold import newest, summary
from streams.projection.staging import staged
from tests.examples import examples
from tests.statements import Statement, listing, penalty, registration, state
from tests.viewstore import TABLES, Store, decoded, folded, opened, projection_of, take


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """Tables of our own."""
    with opened(stack, 999) as connection:
        yield connection


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """Any statement about a few records of a few entities: versions clash, records move, come back, are revoked."""
    number = draw(st.integers(0, 3))
    version, entity = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    kind = draw(st.sampled_from(["PENALTY", "LISTING", "REGISTRATION"]))
    if kind == "REGISTRATION":
        made = registration(
            version=version,
            entity=entity,
            province=draw(st.sampled_from(["beijing", "hebei"])),
            name=draw(st.sampled_from("甲乙")),
            since=date(2015, 1, draw(st.integers(1, 2))),
        )
    elif kind == "PENALTY":
        made = penalty(
            f"P{number}", version=version, entity=entity, original_entity=0, content=draw(st.sampled_from("甲乙"))
        )
    else:
        made = listing(f"L{number}", version=version, entity=entity)
    status = draw(st.sampled_from(["IN_FORCE", "IN_FORCE", "IN_FORCE", "REPAIRED", "REVOKED"]))
    return made if status == "IN_FORCE" else state(made, status, version=version)


@given(data=st.data())
@examples(60, HealthCheck.function_scoped_fixture)
def test_any_order_any_duplication_any_cut_gives_the_same_tables(store: Store, data: st.DataObject) -> None:
    said = data.draw(st.lists(statements(), min_size=1, max_size=14))
    again = said + data.draw(st.lists(st.sampled_from(said), max_size=8))
    shuffled = data.draw(st.permutations(again))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=5)) | {len(shuffled)})
    batches = [shuffled[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False) if begin < end]
    straight, other = folded(store, [said]), folded(store, batches)
    assert other == straight
    frame = decoded(said, 0)
    wanted = summary(newest(frame))
    assert (
        straight[1]
        == wanted.select(
            "uscc", "province", "domain", "records", "penalties", "listings", "digest_hi", "digest_lo"
        ).rows()
    )


def test_a_revocation_erases_content_and_keeps_digests(store: Store) -> None:
    first = penalty("R1", version=1)
    late = penalty("R1", version=2)
    revoked = state(first, "REVOKED", version=3)
    revived = {**penalty("R1", version=4), "reason": "CORRECTED"}
    history = folded(store, [[first], [revoked], [late], [revived]])[-2]
    assert [(row[4], row[6] is None) for row in history] == [
        ("IN_FORCE", True),
        ("IN_FORCE", True),
        ("REVOKED", False),
        ("IN_FORCE", False),
    ]


def test_a_repair_keeps_history_and_leaves_the_view(store: Store) -> None:
    first = penalty("H1", version=1)
    records, view, *_, history, gone = folded(store, [[first], [state(first, "REPAIRED", version=2)]])
    assert not gone
    assert [row[3:6] for row in view] == [(1, 0, 0)]
    assert all(row[6] is not None for row in history)
    assert len(records) == 1


def test_one_value_that_the_store_refuses_spares_its_neighbours(store: Store) -> None:
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    bad = penalty("N3", facts="前\x00后")
    batch = [penalty(f"N{n}", entity=n) for n in range(3)] + [bad] + [penalty(f"N{n}", entity=n) for n in range(4, 9)]
    with store.transaction():
        frame, refused = staged(decoded(batch, 0))
        Projection(store).fold(frame)
    assert list(refused) == [3]
    assert store.execute("SELECT count(*) FROM record").fetchone() == (8,)


@st.composite
def vectors(draw: st.DrawFn) -> dict[str, Any]:
    """What an intake worker, of now or of before, says of one of two input partitions."""
    days = st.none() | st.integers(1, 9).map(lambda day: datetime(2026, 1, day, tzinfo=UTC))
    place = {"topic": "records.tax", "topic_id": "t", "partition": draw(st.integers(0, 1))}
    return place | {"next_offset": draw(st.integers(1, 9)), "as_of": draw(days), "marked_at": draw(days)}


@given(data=st.data())
@examples(60, HealthCheck.function_scoped_fixture)
def test_any_order_any_duplication_any_cut_of_vectors_vouches_for_the_same(store: Store, data: st.DataObject) -> None:
    said = data.draw(st.lists(vectors(), min_size=1, max_size=8))
    shuffled = data.draw(st.permutations([*said, *data.draw(st.lists(st.sampled_from(said), max_size=4))]))
    cut = data.draw(st.integers(0, len(shuffled)))
    registry = MemoryRegistry()
    schema_id = registry.register("xinliu.Progress")

    def record(one: dict[str, Any]) -> Record:
        value = encode_own("xinliu.Progress", {"written_at": datetime(2026, 1, 10, tzinfo=UTC), "inputs": [one]})
        return Fetched("accepted", 0, 0, 0, b"", frame(schema_id, value), ())

    def highest(partition: int, name: str) -> Any:
        known = [one[name] for one in said if one["partition"] == partition and one[name] is not None]
        return max(known, default=None)

    with store.transaction():
        store.execute("TRUNCATE input_progress")
    projection = Projection(store)
    for batch in (shuffled[:cut], shuffled[cut:]):
        projection.progress(newest_vectors(registry, [record(one) for one in batch]))
    held = store.execute("SELECT partition, next_offset, as_of, marked_at FROM input_progress ORDER BY 1").fetchall()
    assert held == [
        (partition, *(highest(partition, name) for name in ("next_offset", "as_of", "marked_at")))
        for partition in sorted({one["partition"] for one in said})
    ]


@pytest.mark.parametrize("batches", [1, 40])
def test_a_batch_reads_what_it_speaks_of_and_no_more_of_a_table_of_which_the_planner_knows_nothing(
    store: Store, batches: int
) -> None:
    """As on the first day: nothing has analysed the tables, and plans may have been made when they were empty."""
    many = [penalty(f"多{number}", entity=number % 700, content=f"内容{number}") for number in range(4_000)]
    size = len(many) // batches
    take(store, [many[start : start + size] for start in range(0, len(many), size)])
    news = [penalty(f"新{number}", entity=number, content=f"新内容{number}") for number in range(20)]
    again = [penalty(f"多{number}", version=2, entity=number, content=f"改{number}") for number in range(20)]
    read = "SELECT sum(COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname = %s"
    store.execute("SELECT pg_stat_force_next_flush()")  # else what was read before counts here, too
    with store.transaction():
        projection_of(store).fold(staged(decoded(news + again, len(many)))[0])
        rows = {
            name: store.execute(read, (name,)).fetchall()[0][0] for name in ("record", "record_history", "credit_view")
        }
    assert {name: int(count) for name, count in rows.items() if count > 400} == {}, (
        "of 4,000 records, for 40 statements"
    )
