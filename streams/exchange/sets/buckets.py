"""Buckets: a set of records in parts, each with the XOR of its digests, so that a difference is found without naming everything.

A record's bucket is the first bits of its record_id. The digests of all buckets of a set stand behind one another, 16 bytes
each, in the order of the buckets (schemas/avro/ExchangeStatus.avsc).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import numpy as np

__all__ = ["MOST_BITS", "differing", "packed", "span", "whole"]

MOST_BITS = 12


def packed(bits: int, buckets: Iterable[tuple[int, int, int]]) -> bytes:
    """Return the digests of all buckets from (bucket, digest_hi, digest_lo); those that are not named hold nothing."""
    digests = np.zeros((1 << bits, 2), dtype=">i8")
    for bucket, high, low in buckets:
        digests[bucket] = high, low
    return digests.tobytes()


def whole(bits: int, digests: bytes) -> bool:
    """Tell whether these are the digests of so many buckets: whoever sent them may have put anything there."""
    return 0 <= bits <= MOST_BITS and len(digests) == 16 << bits


def differing(bits: int, one: bytes, other: bytes) -> list[int]:
    """Return the buckets whose digests are not the same.

    >>> differing(1, packed(1, [(0, 1, 2), (1, 3, 4)]), packed(1, [(0, 1, 2), (1, 3, 5)]))
    [1]
    """
    mine, theirs = (np.frombuffer(digests, dtype=">i8").reshape(1 << bits, 2) for digests in (one, other))
    found: Sequence[int] = np.flatnonzero((mine != theirs).any(axis=1)).tolist()
    return list(found)


def span(bits: int, bucket: int) -> tuple[UUID, UUID]:
    """Return the first and the last record_id of a bucket."""
    width = 1 << (128 - bits)
    return UUID(int=bucket * width), UUID(int=(bucket + 1) * width - 1)
