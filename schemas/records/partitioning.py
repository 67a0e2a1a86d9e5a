"""Kafka's partitioner on columns: murmur2 as the Java client, librdkafka (murmur2_random) and aiokafka compute it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["partitions_of"]

_SEED = np.uint32(0x9747B28C)
_M = np.uint32(0x5BD1E995)


def partitions_of(keys: pl.Series, count: int) -> NDArray[np.int32]:
    """Return the partition, out of `count`, of every key (UTF-8 text).

    Hashes all keys of one length at once; USCCs are 18 bytes each, so that is one pass. An empty key is hashed too:
    unlike a missing key, it has a fixed partition.
    """
    raw = keys.cast(pl.Binary)
    lengths = raw.bin.size().to_numpy()
    placed = np.zeros(len(keys), dtype=np.int32)
    for length in np.unique(lengths):
        chosen = lengths == length
        joined = b"".join(raw.filter(pl.Series(chosen)).to_list())
        matrix = np.frombuffer(joined, dtype=np.uint8).reshape(int(chosen.sum()), int(length))
        placed[chosen] = (_murmur2(matrix) & np.uint32(0x7FFFFFFF)).astype(np.int64) % count
    return placed


def _murmur2(keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
    rows, length = keys.shape
    h = np.full(rows, _SEED ^ np.uint32(length), dtype=np.uint32)
    whole = length // 4
    words = np.ascontiguousarray(keys[:, : whole * 4]).view("<u4") if whole else np.empty((rows, 0), dtype=np.uint32)
    with np.errstate(over="ignore"):
        for column in range(whole):
            k = words[:, column] * _M
            k ^= k >> np.uint32(24)
            h = (h * _M) ^ (k * _M)
        tail = keys[:, whole * 4 :].astype(np.uint32)
        for place in reversed(range(length - whole * 4)):
            h ^= tail[:, place] << np.uint32(8 * place)
        if length % 4:
            h *= _M
        h ^= h >> np.uint32(13)
        h *= _M
        h ^= h >> np.uint32(15)
    return h
