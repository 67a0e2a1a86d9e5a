"""Sets in buckets, and what another province's answer about them may say."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.exchange.sets.buckets import differing, is_complete, packed, span
from streams.exchange.sets.requests import set_fault

LONG = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.integers(0, 12), st.dictionaries(st.integers(0, 4095), st.tuples(LONG, LONG)), st.data())
def test_exactly_the_buckets_that_differ_are_found(
    bits: int, digests: dict[int, tuple[int, int]], data: st.DataObject
) -> None:
    one = {bucket % (1 << bits): digest for bucket, digest in digests.items()}
    changed = set(data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=5)))
    other = {b: one.get(b, (0, 0)) for b in one.keys() | changed} | {
        b: (one.get(b, (0, 0))[0], one.get(b, (0, 0))[1] ^ 1) for b in changed
    }
    mine, theirs = (packed(bits, [(b, *digest) for b, digest in held.items()]) for held in (one, other))
    assert is_complete(bits, mine)
    assert differing(bits, mine, theirs) == sorted(changed)


@given(st.integers(0, 12), st.integers(0, (1 << 128) - 1))
def test_every_record_is_in_the_span_of_its_bucket_alone(bits: int, number: int) -> None:
    bucket = number >> (128 - bits)
    first, last = span(bits, bucket)
    assert first <= UUID(int=number) <= last
    assert span(bits, 0)[0].int == 0
    assert bucket == 0 or span(bits, bucket - 1)[1].int == first.int - 1


@pytest.mark.parametrize(("bits", "length"), [(-1, 16), (13, 16 << 13), (8, 0), (8, (16 << 8) - 1), (8, 16 << 9)])
def test_what_is_no_question_is_known(bits: int, length: int) -> None:
    assert not is_complete(bits, bytes(length))


LINE = {"record_id": "ab" + "0" * 30, "department": "tax", "epoch": 1, "version": 2, "digest_hi": 3, "digest_lo": 4}
SET: dict[str, Any] = {
    "province": "hebei", "partition": 1, "domain": "tax", "bits": 8, "buckets": [0xAB, 3], "asked_by": "beijing", "lines": [LINE],
}  # fmt: skip


def test_an_honest_set_passes() -> None:
    assert set_fault(SET, "hebei", 1) is None
    assert set_fault({**SET, "buckets": [], "lines": []}, "hebei", 1) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"province": "beijing"},
        {"partition": 2},
        {"bits": 13},
        {"bits": -1},
        {"buckets": [0xAB, 0xAB]},
        {"buckets": [0xAB, 256]},
        {"buckets": [3]},
        {"domain": "tax\x00"},
        {"lines": [{**LINE, "record_id": "zz" + "0" * 30}]},
        {"lines": [{**LINE, "record_id": "ab"}]},
        {"lines": [{**LINE, "version": 1 << 63}]},
        {"lines": [{**LINE, "department": "x" * 100}]},
    ],
)
def test_a_set_that_its_province_may_not_say_is_refused(claims: dict[str, Any]) -> None:
    assert set_fault({**SET, **claims}, "hebei", 1) is not None
