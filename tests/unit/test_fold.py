"""The fold does not mind order, duplicates or cuts: always the same frames, and those of a naive maximum."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import xor
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streams.projection.fold import KEY, RANK, mark_newest, newest, summary

Row = dict[str, Any]

SCHEMA = pl.Schema(
    {
        "record_id": pl.String(),
        "province": pl.String(),
        "department": pl.String(),
        "epoch": pl.Int64(),
        "version": pl.Int64(),
        "digest_hi": pl.Int64(),
        "digest_lo": pl.Int64(),
        "uscc": pl.String(),
        "domain": pl.String(),
        "kind": pl.String(),
        "status": pl.String(),
        "listing_removed_on": pl.Date(),
    }
)

LONGS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2)


def _row(record: str, rank: tuple[int, int, int], department: str = "tax", epoch: int = 0) -> Row:
    """A statement whose content follows from record and rank, as a digest has it: equal ranks, equal statements."""
    version, high, low = rank
    seed = epoch * 97 + version * 31 + high * 7 + low
    return {
        "record_id": record,
        "province": "beijing",
        "department": department,
        "epoch": epoch,
        "version": version,
        "digest_hi": high,
        "digest_lo": low,
        "uscc": "AB"[seed % 2],
        "domain": ("tax", "court")[seed // 2 % 2],
        "kind": ("PENALTY", "LISTING")[seed // 4 % 2],
        "status": ("IN_FORCE", "REPAIRED", "REVOKED")[seed // 8 % 3],
        "listing_removed_on": (None, 20_000)[seed // 24 % 2],
    }


RANKS = st.tuples(st.integers(1, 3) | LONGS, LONGS, LONGS)
ROWS = st.lists(
    st.builds(
        _row,
        st.sampled_from("abcdef"),
        RANKS,
        st.sampled_from(["tax", "tax", "court"]),
        st.sampled_from([0, 0, 0, 1, 2]),
    ),
    max_size=40,
)


def _frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def _bytes(frame: pl.DataFrame) -> bytes:
    # Not Arrow's own bytes: what stands in the place of a null is left to chance there.
    return f"{frame.schema}\n{frame.write_ndjson()}".encode()


def _naive(rows: list[Row]) -> dict[tuple[str, ...], Row]:
    held: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in KEY)
        other = held.get(key)
        if other is None or [row[name] for name in RANK] > [other[name] for name in RANK]:
            held[key] = row
    return held


@given(ROWS)
def test_newest_is_the_naive_maximum(rows: list[Row]) -> None:
    expected = _frame([row for _, row in sorted(_naive(rows).items())])
    assert _bytes(newest(_frame(rows))) == _bytes(expected)


@given(ROWS)
def test_summary_is_the_naive_count(rows: list[Row]) -> None:
    records = _naive(rows).values()
    expected = []
    for uscc, domain in sorted({(row["uscc"], row["domain"]) for row in records}):
        held = [row for row in records if (row["uscc"], row["domain"]) == (uscc, domain)]
        in_force = [row for row in held if row["status"] == "IN_FORCE"]
        expected.append(
            {
                "uscc": uscc,
                "province": "beijing",
                "domain": domain,
                "records": len(held),
                "penalties": sum(row["kind"] == "PENALTY" for row in in_force),
                "listings": sum(row["kind"] == "LISTING" and row["listing_removed_on"] is None for row in in_force),
                "digest_hi": reduce(xor, (row["digest_hi"] for row in held)),
                "digest_lo": reduce(xor, (row["digest_lo"] for row in held)),
            }
        )
    assert summary(newest(_frame(rows))).to_dicts() == expected


@given(ROWS, st.data())
def test_any_order_any_duplicates_any_cuts_give_the_same_bytes(rows: list[Row], data: st.DataObject) -> None:
    once = newest(_frame(rows))
    again = data.draw(st.lists(st.sampled_from(rows), max_size=20)) if rows else []
    told = data.draw(st.permutations(rows + again))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(told)), max_size=6)) | {0, len(told)})
    held = _frame([])
    for start, end in pairwise(cuts):
        held = newest(pl.concat([held, _frame(told[start:end])]))
    assert _bytes(held) == _bytes(once)
    assert _bytes(summary(held)) == _bytes(summary(once))


@given(ROWS)
def test_one_row_of_each_record_is_marked_and_the_order_kept(rows: list[Row]) -> None:
    marked = mark_newest(_frame(rows * 2))
    assert marked.drop("newest").equals(_frame(rows * 2))
    chosen = marked.filter("newest").select(KEY)
    assert chosen.is_unique().all()
    assert set(chosen.rows()) == {tuple(row[name] for name in KEY) for row in rows}


def test_the_digest_decides_between_equal_versions_as_signed_numbers() -> None:
    rows = [_row("a", (1, -1, 5)), _row("a", (1, 0, -9)), _row("a", (1, 0, -8))]
    assert newest(_frame(rows))["digest_lo"].to_list() == [-8]


def test_a_later_epoch_counts_whatever_the_version() -> None:
    rows = [_row("a", (9, 0, 0), epoch=1), _row("a", (2, 0, 0), epoch=2), _row("a", (3, 0, 0), epoch=1)]
    assert newest(_frame(rows)).select("epoch", "version").rows() == [(2, 2)]


def test_the_same_id_said_by_another_department_is_another_record() -> None:
    rows = [_row("a", (1, 0, 0)), _row("a", (9, 0, 0), "court"), _row("a", (2, 0, 0))]
    assert newest(_frame(rows)).select("department", "version").rows() == [("court", 9), ("tax", 2)]
