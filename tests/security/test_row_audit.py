"""Rows that the owner of the tables changes are named and mended by the worker of a province that shares nothing (F6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import psycopg
import pytest

from deploy.deadline import wait_until
from schemas.identifiers.uscc import generate
from schemas.store.database import connect
from streams.projection.batch import Projection
from streams.projection.staging import staged
from tests.exposition import scrape
from tests.secure import Secure, xinliu
from tests.statements import framed, penalty, put
from tests.viewstore import WRITER, decoded

Owner = psycopg.Connection[Any]
ENTITY, FORGED = 915_001, 915_002


@pytest.fixture(scope="module")
def owner(secure: Secure) -> Iterator[Owner]:
    """A connection as the owner of the tables, when two penalties of an entity are there."""
    put(
        secure.principals["department-tax"],
        "records.tax",
        framed(secure.connection, [penalty(f"表{n}号", entity=ENTITY) for n in (1, 2)]),
    )
    with connect(secure.principals["admin"].database.get_secret_value(), generation=1, autocommit=True) as connection:
        assert wait_until(lambda: len(held(connection)[0]) == 2, seconds=120)
        yield connection


def held(owner: Owner, entity: int = ENTITY) -> tuple[list[Any], ...]:
    """Return all that the tables hold of an entity."""
    return tuple(
        owner.execute(f"SELECT * FROM {table} WHERE uscc = %s ORDER BY 1, 2", (generate(entity),)).fetchall()
        for table in ("record", "record_history", "credit_view")
    )


def found(secure: Secure) -> float:
    """Return how many rows the worker has found."""
    address = f"http://127.0.0.1:{secure.stack.layout.ports.metrics('view')}"
    return scrape(address).total("xinliu_audit_differences_total")


DAMAGE = {
    "deleted with history and counts": "WITH gone AS (DELETE FROM record WHERE penalty_document_number = '表1号' RETURNING *),"
    " told AS (DELETE FROM record_history h USING gone g WHERE h.record_id = g.record_id)"
    " UPDATE credit_view v SET records = records - 1, penalties = penalties - 1 FROM gone g WHERE v.uscc = g.uscc",
    "a field": "UPDATE record SET penalty_fine = 0 WHERE penalty_document_number = '表2号'",
    "counts": f"DELETE FROM credit_view WHERE uscc = '{generate(ENTITY)}'",
    "history": "UPDATE record_history SET known_at = '2020-01-01', statement = NULL"
    " WHERE record_id = (SELECT record_id FROM record WHERE penalty_document_number = '表1号')",
}


@pytest.mark.parametrize("done", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_the_owner_changes_is_found_and_mended(secure: Secure, owner: Owner, done: str) -> None:
    before, counted = _without_times(held(owner)), found(secure)
    owner.execute(done)  # type: ignore[call-overload]
    assert _without_times(held(owner)) != before
    assert wait_until(lambda: _without_times(held(owner)) == before, seconds=120), held(owner)
    assert wait_until(lambda: found(secure) > counted, seconds=10)
    shown = xinliu(secure, "show", generate(ENTITY), "--json")
    assert len(json.loads(shown.stdout)["penalties"]) == 2


def test_what_nobody_said_is_taken_out(secure: Secure, owner: Owner) -> None:
    # Just as the worker folds: row, history and counts agree with each other, and the content with its digest.
    with owner.transaction():
        projection = Projection(owner)
        number = projection.writer_number(WRITER.fingerprint, WRITER.schema)
        frame = decoded([penalty("假1号", entity=FORGED)], 0).with_columns(writer=pl.lit(number, dtype=pl.Int16))
        projection.fold(staged(frame)[0])
    assert wait_until(lambda: held(owner, FORGED) == ([], [], []), seconds=120), held(owner, FORGED)
    named = owner.execute(
        "SELECT relation, difference FROM row_difference WHERE mended_at IS NOT NULL AND record_id = %s",
        (penalty("假1号", entity=FORGED)["record_id"],),
    ).fetchall()
    assert ("record_history", "EXTRA") in named


def _without_times(rows: tuple[list[Any], ...]) -> tuple[list[Any], ...]:
    *others, counts = rows
    return (*others, [row[:-1] for row in counts])
