"""Manifests: both sides sum up the same set, narrowing names exactly what differs, and nothing hostile gets through."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.reconciliation.dialogue import scopes
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, encode
from schemas.contracts.columns import digests
from schemas.reconciliation.manifest import (
    LINES,
    ManifestScope,
    bits_for,
    bucket_range,
    differing,
    lines_parts,
    manifest_fault,
    newest,
    summary,
    total,
)
from streams.projection.fold import summary as credit_view
from streams.reconciliation.manifests import answer, harmless
from tests.statements import penalty

TAX = ManifestScope("tax", "PENALTY")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
Record = tuple[str, int, int, int, datetime]


def lines(records: Mapping[str, tuple[int, int, int]], stated_at: datetime = NOW) -> pl.DataFrame:
    """Return records, by id version and digest, as LINES."""
    rows = [(record_id, *rank, stated_at) for record_id, rank in records.items()]
    return pl.DataFrame(rows, schema=LINES, orient="row")


def summed(records: Mapping[str, tuple[int, int, int]], bits: int) -> list[dict[str, int]]:
    """Sum up records by bucket as the platform does in SQL, in plain words."""
    found: dict[int, dict[str, int]] = {}
    for record_id, (_, high, low) in records.items():
        bucket = int(record_id[:3], 16) >> (12 - bits)
        row = found.setdefault(bucket, {"bucket": bucket, "count": 0, "digest_hi": 0, "digest_lo": 0})
        row["count"] += 1
        row["digest_hi"] ^= high
        row["digest_lo"] ^= low
    return list(found.values())


RANKS = st.tuples(st.integers(1, 5), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-(1 << 63), (1 << 63) - 1))
SIDES = st.dictionaries(st.uuids().map(lambda one: one.hex), RANKS, max_size=300)


@given(SIDES, st.data())
def test_narrowing_by_buckets_finds_exactly_the_records_that_differ(
    here: dict[str, tuple[int, int, int]], data: st.DataObject
) -> None:
    there = dict(here)
    for record_id in data.draw(st.lists(st.sampled_from(sorted(here)), unique=True, max_size=8)) if here else ():
        change = data.draw(st.one_of(st.none(), RANKS))
        if change is None:
            del there[record_id]
        else:
            there[record_id] = change
    there |= data.draw(st.dictionaries(st.uuids().map(lambda one: one.hex), RANKS, max_size=4))
    differ = {one for one in here.keys() | there.keys() if here.get(one) != there.get(one)}

    told = summary(newest(lines(there)), "tax", TAX, made_at=NOW)
    assert manifest_fault(told) is None
    wanted = differing(told["buckets"], summed(here, told["bits"]), "bucket")
    assert wanted == sorted({int(one[:3], 16) >> (12 - told["bits"]) for one in differ})
    sent: dict[str, tuple[int, int, int]] = {}
    for part in lines_parts(newest(lines(there)), told, wanted, most=100):
        assert manifest_fault(part) is None
        assert decode(parsed("xinliu.Manifest"), encode("xinliu.Manifest", part)) == part
        sent |= {row["record_id"]: (row["version"], row["digest_hi"], row["digest_lo"]) for row in part["lines"]}
    held = {one: rank for one, rank in here.items() if int(one[:3], 16) >> (12 - told["bits"]) in wanted}
    assert {one for one in sent.keys() | held.keys() if sent.get(one) != held.get(one)} == differ


def test_the_digest_is_that_of_the_credit_view() -> None:
    statements = [penalty(f"摘{n}", version=1 + n % 3, entity=n % 7) for n in range(50)]
    high, low = digests([encode("xinliu.Statement", statement) for statement in statements])
    frame = pl.DataFrame(
        {
            "record_id": [one["record_id"] for one in statements],
            "version": [one["version"] for one in statements],
            "digest_hi": high,
            "digest_lo": low,
            "stated_at": pl.Series([one["stated_at"] for one in statements], dtype=pl.Datetime("ms", "UTC")),
            "uscc": [one["subject"]["uscc"] for one in statements],
            "province": "beijing",
            "domain": "tax",
            "status": "IN_FORCE",
            "kind": "PENALTY",
            "listing_removed_on": None,
        }
    )
    view = credit_view(frame)
    told = summary(newest(frame.select(LINES.names())), "tax", TAX, made_at=NOW)
    assert len(view) == 7
    both = (view["records"].sum(), view["digest_hi"].bitwise_xor(), view["digest_lo"].bitwise_xor())
    assert total(told["buckets"]) == total(told["periods"]) == both


def test_of_a_record_its_newest_statement_counts() -> None:
    record_id = uuid.uuid4().hex
    august, september = datetime(2025, 8, 31, 15, 59, tzinfo=UTC), datetime(2025, 8, 31, 16, 0, tzinfo=UTC)
    rows = [(record_id, 1, 9, 9, august), (record_id, 2, -5, 0, september), (record_id, 2, -6, 8, august)]
    (row,) = newest(pl.DataFrame(rows, schema=LINES, orient="row")).rows(named=True)
    assert (row["version"], row["digest_hi"]) == (2, -5), "the highest rank, as the view folds"
    assert row["period"] == "2025-09", "the month is China's"


def test_months_and_what_lies_beside_them() -> None:
    begin, before = ManifestScope("tax", "PENALTY", "2025-12", "2025-12").bounds()
    assert begin is not None
    assert before is not None
    assert (begin.astimezone(UTC), before.astimezone(UTC)) == (
        datetime(2025, 11, 30, 16, tzinfo=UTC),
        datetime(2025, 12, 31, 16, tzinfo=UTC),
    )
    assert TAX.bounds() == (None, None)
    one = newest(lines({uuid.uuid4().hex: (1, 1, 1)}, datetime(2025, 11, 1, tzinfo=UTC)))
    assert summary(one, "tax", ManifestScope("tax", "PENALTY", "2025-12", None), made_at=NOW)["buckets"] == []
    assert summary(one, "tax", ManifestScope("tax", "PENALTY", None, "2025-11"), made_at=NOW)["buckets"] != []


def test_the_scope_of_files_is_their_months() -> None:
    rows = [
        ("tax", "PENALTY", "2025-03"),
        ("tax", "PENALTY", "2025-09"),
        ("tax", "LISTING", "2024-01"),
    ]
    records = pl.DataFrame(rows, schema=["domain", "kind", "period"], orient="row")
    tax = load().department("beijing", "tax")
    assert scopes(records, tax, first=None, last=None, whole=False) == (
        ManifestScope("tax", "LISTING", "2024-01", "2024-01"),
        ManifestScope("tax", "PENALTY", "2025-03", "2025-09"),
    )
    from_then = scopes(records, tax, first="2020-01", last=None, whole=False)
    assert from_then[1] == ManifestScope("tax", "PENALTY", "2020-01", "2025-09")
    nothing = records.filter(kind="LISTING").clear()
    assert scopes(nothing, tax, first=None, last=None, whole=True) == (ManifestScope("tax", "LISTING"), TAX), (
        "none at all"
    )


def test_buckets_grow_with_the_set_and_are_ranges_of_the_key() -> None:
    assert [bits_for(count) for count in (0, 63, 64, 500, 10_000, 10**6, 10**9)] == [0, 0, 1, 3, 8, 12, 12]
    assert bucket_range(0, 0) == (str(uuid.UUID(int=0)), str(uuid.UUID(int=(1 << 128) - 1)))
    low, high = bucket_range(0xABC, 12)
    assert (low[:4], high[:4]) == ("abc0", "abcf")


def test_a_part_holds_whole_buckets_and_no_more_than_a_message_takes() -> None:
    records = newest(lines({f"{n:03x}{uuid.uuid4().hex[3:]}": (1, n, n) for n in range(4096)}))
    told = summary(records, "tax", TAX, made_at=NOW)
    every = sorted(row["bucket"] for row in told["buckets"])
    parts = list(lines_parts(records, told, every, most=1_000))
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert all(len(part["lines"]) <= 1_000 for part in parts)
    assert sorted(row["bucket"] for part in parts for row in part["buckets"]) == every
    with pytest.raises(ValueError, match="at most 10 are compared by name"):
        list(lines_parts(records, told, every, most=10))


def _told() -> dict[str, Any]:
    return summary(newest(lines({f"{n:032x}": (1, n, n) for n in range(200)})), "tax", TAX, made_at=NOW)


def _part() -> dict[str, Any]:
    records = newest(lines({f"{n:032x}": (1, n, n) for n in range(200)}))
    (part,) = lines_parts(records, summary(records, "tax", TAX, made_at=NOW), [0, 1])
    return part


ROW = {"count": 1, "digest_hi": 0, "digest_lo": 0}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"manifest_id": "x\0"}, "manifest_id"),
        ({"kind": "OTHER"}, "kind"),
        ({"bits": 13}, "bits"),
        ({"part": -1}, "part out of range"),
        ({"first_period": "2025-13"}, "a period is not written"),
        ({"first_period": "2026-08", "last_period": "2026-01"}, "lies before the first"),
        ({"first_period": "2026-08"}, "does not speak of"),
        ({"periods": [{"period": "x", **ROW}]}, "a period is not written"),
        ({"periods": [{"period": f"{1000 + n // 12}-{n % 12 + 1:02}", **ROW} for n in range(1_201)]}, "more than"),
        ({"buckets": [{"bucket": 0, **ROW}] * 2}, "twice"),
        ({"buckets": [{"bucket": 99, **ROW}]}, "its bits do not make"),
        ({"buckets": [{"bucket": 0, **ROW, "count": -1}]}, "a count below 0"),
        ({"buckets": [{"bucket": 0, **ROW, "count": 1 << 62}]}, "a count below 0 or above"),
        ({"buckets": [{"bucket": 0, **ROW, "digest_hi": 1 << 70}]}, "64 bits"),
        ({"buckets": []}, "do not sum up the same records"),
        ({"lines": [{"record_id": "0" * 32, "version": 1, "digest_hi": 0, "digest_lo": 0}]}, "lines in part 0"),
    ],
)
def test_sums_that_contradict_themselves_are_refused(changes: dict[str, Any], why: str) -> None:
    told = manifest_fault(_told() | changes)
    assert told is not None
    assert why in told


LINE = {"record_id": "f" * 32, "version": 1, "digest_hi": 0, "digest_lo": 0}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lines": [LINE | {"record_id": "F" * 32}]}, "record_id"),
        ({"lines": [LINE, LINE]}, "or twice"),
        ({"lines": [LINE], "bits": 12}, "does not name"),
        ({"lines": []}, "do not sum up"),
        ({"lines": [LINE | {"version": 1 << 63}]}, "64 bits"),
        ({"lines": [LINE] * 12_001}, "more than"),
    ],
)
def test_lines_that_contradict_themselves_are_refused(changes: dict[str, Any], why: str) -> None:
    told = manifest_fault(_part() | changes)
    assert told is not None
    assert why in told


def test_an_honest_manifest_is_not_refused() -> None:
    assert manifest_fault(_told()) is None
    assert manifest_fault(_part()) is None
    assert manifest_fault(summary(newest(lines({})), "tax", TAX, made_at=NOW)) is None


NUMBERS = st.one_of(st.integers(-3, 13), st.integers(-(1 << 63), (1 << 63) - 1))
TEXTS = st.one_of(st.text(max_size=40), st.sampled_from(["2025-09", "a" * 32, "PENALTY", "0" * 32, "\0" * 32]))
SUMS = {"count": NUMBERS, "digest_hi": NUMBERS, "digest_lo": NUMBERS}
ANY_MANIFEST = st.fixed_dictionaries(
    {
        "manifest_id": TEXTS,
        "part": NUMBERS,
        "domain": st.just("tax"),
        "kind": TEXTS,
        "first_period": st.none() | TEXTS,
        "last_period": st.none() | TEXTS,
        "bits": NUMBERS,
        "periods": st.lists(st.fixed_dictionaries({"period": TEXTS, **SUMS}), max_size=3),
        "buckets": st.lists(st.fixed_dictionaries({"bucket": NUMBERS, **SUMS}), max_size=3),
        "lines": st.lists(
            st.fixed_dictionaries({"record_id": TEXTS, "version": NUMBERS, "digest_hi": NUMBERS, "digest_lo": NUMBERS}),
            max_size=3,
        ),
    }
)


@given(ANY_MANIFEST)
def test_whatever_is_in_it_a_manifest_is_whole_or_has_a_fault(manifest: dict[str, Any]) -> None:
    if manifest_fault(manifest) is None:
        count, high, low = total(manifest["buckets"])
        assert 0 <= count < 1 << 62
        assert all(-(1 << 63) <= half < 1 << 63 for half in (high, low))
        ManifestScope("tax", "PENALTY", manifest["first_period"], manifest["last_period"]).bounds()
    told = answer(harmless(manifest) | {"kind": "PENALTY"}, "REFUSED", NOW, message=manifest_fault(manifest))
    assert "\\u0000" not in json.dumps(told)
    receipt = {"department": "tax", "issued_at": NOW, "watermark": [], "exceptions": []}
    encode("xinliu.Receipt", receipt | {"reconciliation": told | {"compared_at": NOW}})
