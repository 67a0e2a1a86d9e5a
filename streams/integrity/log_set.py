"""The set of statements in `accepted`, in memory: 8 bytes a statement, and sums by bucket of record ids.

Tables are compared with the sums, slice by slice; only if these differ, single statements are compared. A repeated key
is one statement; a tombstone removes its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["BITS", "Key", "LogSet", "Sums", "hashed", "statements"]

BITS = 16
"""Number of leading bits of a record id that form its bucket."""
_KEY = r"^[0-9a-f]{32}\|-?[0-9]+\|[0-9a-f]{32}(\|[0-9]+)?$"

Key = tuple[int, str, bool]
"""A message of `accepted`: offset, key (schemas.records.identity.accepted_key), and False for a tombstone."""

_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sums:
    """Number of statements, and XOR of both halves of their digests."""

    statements: int
    digest_hi: int
    digest_lo: int


def statements(messages: Sequence[Key]) -> pl.DataFrame:
    """Return the messages that have the key of a statement, with its hash; others are nobody's statement."""
    frame = pl.DataFrame(messages, schema={"offset": pl.Int64, "key": pl.String, "live": pl.Boolean}, orient="row")
    frame = frame.filter(pl.col("key").str.contains(_KEY))
    return frame.with_columns(pl.Series("hash", hashed(frame["key"].to_list())))


def hashed(keys: Sequence[str]) -> _Hashes:
    """Return the hash of each key, with its bucket in the leading bits, so that the statements of a slice are
    adjacent."""
    if not keys:
        return np.empty(0, dtype=np.uint64)
    text = pl.Series(keys, dtype=pl.String)
    bucket = text.str.slice(0, BITS // 4).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()
    return (bucket << np.uint64(64 - BITS)) | (text.hash(seed=0x78696E).to_numpy() >> np.uint64(BITS))


class LogSet:
    """Follows the log from its beginning; `next_offsets` are the offsets up to which it was read, by partition."""

    def __init__(self) -> None:
        self.next_offsets: dict[int, int] = {}
        self._members: _Hashes = np.empty(0, dtype=np.uint64)
        self._erased: _Hashes = np.empty(0, dtype=np.uint64)
        self._statements = np.zeros(1 << BITS, dtype=np.int64)
        self._digests = np.zeros((2, 1 << BITS), dtype=np.int64)

    def take(self, partition: int, messages: Sequence[Key], next_offset: int) -> None:
        """Take over messages of a partition, in their order, up to an offset."""
        self.next_offsets[partition] = next_offset
        # Of messages with the same key the last one counts, as in compaction.
        frame = statements(messages).unique("key", keep="last", maintain_order=True)
        if frame.is_empty():
            return
        hashes, live = frame["hash"].to_numpy(), frame["live"].to_numpy()
        known = self.holds(hashes)
        came, went = live & ~known, ~live & known
        self._count(frame.filter(pl.Series(came)), 1)
        self._count(frame.filter(pl.Series(went)), -1)
        if went.any():
            self._members = self._members[~np.isin(self._members, hashes[went])]
        self._members = _merged(self._members, hashes[came])
        self._erased = _merged(self._erased[~np.isin(self._erased, hashes[live])], hashes[~live])

    def sums(self, first: UUID, last: UUID) -> Sums:
        """Return the sums of all statements about the records of a slice that begins and ends with a bucket."""
        low, high = first.int >> (128 - BITS), (last.int >> (128 - BITS)) + 1
        xor = np.bitwise_xor.reduce(self._digests[:, low:high], axis=1)
        return Sums(int(self._statements[low:high].sum()), int(xor[0]), int(xor[1]))

    def holds(self, hashes: _Hashes) -> npt.NDArray[np.bool_]:
        """Return for each hash whether a statement in the log has it."""
        return _among(self._members, hashes)

    def erased(self, hashes: _Hashes) -> npt.NDArray[np.bool_]:
        """Return for each hash whether its statement was removed by a tombstone since the log was first read."""
        return _among(self._erased, hashes)

    def within(self, first: UUID, last: UUID) -> _Hashes:
        """Return the hashes of all statements about the records of a slice."""
        shift = 128 - BITS
        low, high = np.uint64(first.int >> shift), np.uint64(last.int >> shift)
        buckets = self._members >> np.uint64(64 - BITS)
        begin, end = np.searchsorted(buckets, low, "left"), np.searchsorted(buckets, high, "right")
        return self._members[begin:end]

    def _count(self, frame: pl.DataFrame, sign: int) -> None:
        if frame.is_empty():
            return
        buckets = frame["key"].str.slice(0, BITS // 4).str.to_integer(base=16, dtype=pl.Int64).to_numpy()
        digests = np.frombuffer(bytes.fromhex("".join(frame["key"].str.split("|").list.get(2))), dtype=">i8")
        np.add.at(self._statements, buckets, sign)
        for half in (0, 1):
            np.bitwise_xor.at(self._digests[half], buckets, digests[half::2].astype(np.int64))


def _merged(held: _Hashes, more: _Hashes) -> _Hashes:
    more = np.setdiff1d(more, held)
    return np.insert(held, np.searchsorted(held, more), more) if len(more) else held


def _among(held: _Hashes, hashes: _Hashes) -> npt.NDArray[np.bool_]:
    if not len(held):
        return np.zeros(len(hashes), dtype=np.bool_)
    among: npt.NDArray[np.bool_] = held[np.minimum(np.searchsorted(held, hashes), len(held) - 1)] == hashes
    return among
