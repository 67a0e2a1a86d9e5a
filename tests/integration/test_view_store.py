"""The store keeps by delta what the pure fold computes at once: any order, any duplication, any cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.columns import decode_statements, digests
from schemas.connection import Connection
from schemas.contracts import fingerprint, parsed, source
from schemas.registry import WriterSchema
from schemas.store import connect, sql
from streams.fold import newest, summary
from streams.projection import Projection, staged
from tests.statements import Statement, listing, penalty, registration, state

NAME = "xinliu.Statement"
WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
GENERATION = 999
TABLES = ("record", "record_history", "former_entity", "credit_view", "quarantine", "outbox", "writer_schema")
Store = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """A generation of its own, so that workers of other tests do not meet these rows."""
    with connect(stack.database.get_secret_value(), generation=GENERATION, autocommit=True) as connection:
        with connection.transaction():
            connection.execute(f"CREATE SCHEMA g{GENERATION}")
            connection.execute(sql("generation"))
        yield connection
        connection.execute(f"DROP SCHEMA g{GENERATION} CASCADE")


def decoded(statements: list[Statement], first_offset: int) -> pl.DataFrame:
    """Return statements as the view stage has decoded them."""
    bodies = [encode(NAME, statement) for statement in statements]
    frame = decode_statements(WRITER, bodies, list(range(len(bodies)))).frame
    high, low = digests(bodies)
    count = len(bodies)
    return frame.with_columns(
        pl.Series("writer", [1] * count, dtype=pl.Int16),
        pl.Series("accepted_partition", [0] * count, dtype=pl.Int16),
        pl.Series("accepted_offset", range(first_offset, first_offset + count), dtype=pl.Int64),
        high.alias("digest_hi"),
        low.alias("digest_lo"),
        pl.Series("statement", bodies, dtype=pl.Binary),
        pl.Series("known_at", [datetime(2026, 1, 1, tzinfo=UTC)] * count, dtype=pl.Datetime("ms", "UTC")),
    )


def folded(store: Store, batches: list[list[Statement]]) -> list[Any]:
    """Fold batches into empty tables and return everything that must not depend on their order."""
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    projection, offset = Projection(store), 0
    for batch in batches:
        with store.transaction():
            projection.fold(staged(decoded(batch, offset))[0])
        offset += len(batch)
    queries = (
        "SELECT * FROM record ORDER BY record_id",
        "SELECT uscc, domain, records, penalties, listings, digest_hi, digest_lo FROM credit_view ORDER BY 1, 2",
        "SELECT * FROM entity ORDER BY uscc",
        "SELECT * FROM registration ORDER BY uscc, province",
        "SELECT * FROM former_entity ORDER BY 1, 2",
        "SELECT record_id, version, digest_hi, digest_lo, status, uscc, statement FROM record_history ORDER BY 1, 2, 3, 4",
    )
    return [store.execute(query).fetchall() for query in queries]


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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        == wanted.select("uscc", "domain", "records", "penalties", "listings", "digest_hi", "digest_lo").rows()
    )


def test_a_revocation_erases_content_and_keeps_digests(store: Store) -> None:
    first = penalty("R1", version=1)
    late = penalty("R1", version=2)
    revoked = state(first, "REVOKED", version=3)
    revived = {**penalty("R1", version=4), "reason": "CORRECTED"}
    history = folded(store, [[first], [revoked], [late], [revived]])[-1]
    assert [(row[4], row[6] is None) for row in history] == [
        ("IN_FORCE", True),
        ("IN_FORCE", True),
        ("REVOKED", False),
        ("IN_FORCE", False),
    ]


def test_a_repair_keeps_history_and_leaves_the_view(store: Store) -> None:
    first = penalty("H1", version=1)
    records, view, *_, history = folded(store, [[first], [state(first, "REPAIRED", version=2)]])
    assert [row[2:5] for row in view] == [(1, 0, 0)]
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
