"""Buckets of a set: each has the XOR of its records' digests, to find a difference without naming every record.

A record's bucket is the first bits of its record_id. The digests of a set's buckets are concatenated in their order, 16
bytes each (schemas/avro/ExchangeStatus.avsc).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import numpy as np

__all__ = ["MOST_BITS", "differing", "is_complete", "packed", "span"]

MOST_BITS = 12


def packed(bits: int, buckets: Iterable[tuple[int, int, int]]) -> bytes:
    """Return the digests of all buckets from (bucket, digest_hi, digest_lo); a bucket that is not named is empty."""
    digests = np.zeros((1 << bits, 2), dtype=">i8")
    for bucket, high, low in buckets:
        digests[bucket] = high, low
    return digests.tobytes()


def is_complete(bits: int, digests: bytes) -> bool:
    """Return whether these are the digests of 2 ** bits buckets: a sender may have put anything there."""
    return 0 <= bits <= MOST_BITS and len(digests) == 16 << bits


def differing(bits: int, one: bytes, other: bytes) -> list[int]:
    """Return the buckets whose digests differ.

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
