"""Data as alike as a mass decision's: what is found stays the same, and no row is compared with all others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from uuid import UUID

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from benchmarks.alike import SHAPES, statements
from schemas.servers.connection import Connection
from streams.projection import batch as projection
from streams.projection.batch import Projection
from streams.projection.staging import staged
from tests.examples import examples
from tests.statements import Statement, listing, penalty, state
from tests.viewstore import TABLES, Store, decoded, opened


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """Tables of our own."""
    with opened(stack, 997) as connection:
        yield connection


@st.composite
def alike(draw: st.DrawFn) -> Statement:
    """A statement about one of few companies, with one of few contents and document numbers, as it may come."""
    key = draw(st.sampled_from(["tax", "tax", "market-regulation"]))
    known = {"version": draw(st.integers(1, 2)), "entity": draw(st.integers(0, 2)), "key": key}
    number = draw(st.sampled_from(["一号", "二号"]))
    if draw(st.booleans()):
        made = penalty(number, facts="逾期未申报", content="罚款", decided_on=date(2026, 1, 5), **known)
    elif key == "tax":
        made = listing(number, grounds=draw(st.sampled_from(["标准一", "标准二"])), **known)
    else:
        made = penalty(number, facts="无证经营", content="罚款", decided_on=date(2026, 1, 5), **known)
    ended = draw(st.sampled_from([None, None, None, "REPAIRED"]))
    return made if ended is None else state(made, ended, version=known["version"])


def content(said: Statement) -> tuple[object, ...] | None:
    """Return what makes two statements one decision, or None."""
    body = said["penalty"] or said["listing"]
    if body is None:
        return None
    names = ("decided_on", "facts", "content") if said["penalty"] else ("list", "listed_on", "grounds", "basis")
    return (said["authority"], said["department"], *(body[name] for name in names))


def number_of(said: Statement) -> str:
    """Return its document number or entry id."""
    return str(said["penalty"]["document_number"] if said["penalty"] else said["listing"]["entry_id"])


def expected(said: Statement, others: list[Statement]) -> str | None:
    """Return the lowest record id of those that state the same: of the company, or under the number with another version."""
    twins = [
        UUID(other["record_id"])
        for other in others
        if content(said) is not None
        and content(other) == content(said)
        and other["record_id"] != said["record_id"]
        and (
            other["subject"]["uscc"] == said["subject"]["uscc"]
            or (other["version"] != said["version"] and number_of(other) == number_of(said))
        )
    ]
    return str(min(twins)) if twins else None


@given(data=st.data())
@examples(80, HealthCheck.function_scoped_fixture)
def test_possible_duplicates_are_those_of_the_definition(store: Store, data: st.DataObject) -> None:
    said = data.draw(st.lists(alike(), min_size=1, max_size=14))
    ids = data.draw(st.permutations(range(1, len(said) + 1)))
    said = [{**one, "record_id": UUID(int=number).hex} for one, number in zip(said, ids, strict=True)]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(said)), max_size=3)) | {len(said)})
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    folding = Projection(store)
    for begin, end in zip([0, *cuts], cuts, strict=False):
        with store.transaction():
            found = folding.fold(staged(decoded(said[begin:end], begin))[0]).findings
        told = {begin + one.row: one.detail for one in found if one.code == "POSSIBLE_DUPLICATE"}
        wanted = {row: expected(said[row], said[:end]) for row in range(begin, end)}
        assert told == {row: twin for row, twin in wanted.items() if twin is not None}


def test_of_a_mass_decision_no_more_than_so_many_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_MOST_TWINS", 3)
    said = [
        penalty("一号", entity=n, version=1 + (n == 6), facts="未开业", content="吊销", decided_on=date(2026, 1, 5))
        for n in range(7)
    ]
    for place, one in enumerate(said, 1):
        one["record_id"] = UUID(int=place).hex
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    with store.transaction():
        found = Projection(store).fold(staged(decoded(said, 0))[0]).findings
    # The one with another version is told of the first party; of the many parties none looks as far as to it.
    assert [(one.row, one.detail) for one in found if one.code == "POSSIBLE_DUPLICATE"] == [(6, str(UUID(int=1)))]


def rows_read(store: Store, shape: str, count: int) -> int:
    """Return how many rows of the tables are read while so many statements of a shape are folded, in four batches."""
    frame = statements(shape, count)
    with store.transaction():
        store.execute(f"TRUNCATE {', '.join(TABLES)}")
    folding, read = Projection(store), 0
    for begin in range(0, count, count // 4):
        batch = frame[begin : begin + count // 4].with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
        with store.transaction():
            folding.fold(staged(batch)[0])
            row = store.execute(
                "SELECT sum(COALESCE(idx_tup_fetch, 0) + seq_tup_read)::bigint FROM pg_stat_xact_user_tables"
                " WHERE schemaname = current_schema()"
            ).fetchone()
            assert row is not None
            read += int(str(row[0]))
    return read


@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_the_data_are_four_times_the_rows_read(store: Store, shape: str) -> None:
    few, many = rows_read(store, shape, 80), rows_read(store, shape, 320)
    assert many <= 4 * few + 320 * 12, f"{few} rows for 80 statements, {many} for 320"
