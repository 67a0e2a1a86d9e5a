"""What the table `record` must hold, computed from history alone: pure, no SQL.

History is believed only as far as it proves itself: the digest beside a body is that body's, and the body names the record
and the version that it stands under. What does not is `unsound`, and only the log can say what belongs there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.columns import FLAT, decode_statements, digests
from schemas.registry import WriterSchema
from streams.fold import KEY, RANK, mark_newest
from streams.staging import content_keys

__all__ = ["ENVELOPE", "HISTORY", "RECORD", "Expected", "decoded", "expected"]

HISTORY = pl.Schema(
    {
        "record_id": pl.Binary(),
        "province": pl.String(),
        "department": pl.String(),
        "epoch": pl.Int64(),
        "version": pl.Int64(),
        "digest_hi": pl.Int64(),
        "digest_lo": pl.Int64(),
        "status": pl.String(),
        "uscc": pl.String(),
        "reason": pl.String(),
        "known_at": pl.Datetime("us", "UTC"),
        "accepted_partition": pl.Int16(),
        "accepted_offset": pl.Int64(),
        "writer": pl.Int16(),
        "statement": pl.Binary(),
    }
)
"""Columns of record_history that say what a record is (audit/history.sql); record_id is 16 bytes."""

_NOT_HELD = {"row", "has_penalty", "has_listing", "has_registration"}
RECORD = (
    *(name for name in FLAT.names() if name not in _NOT_HELD),
    "digest_hi", "digest_lo", "content_key", "known_at", "epoch",
)  # fmt: skip
"""Columns of the table `record`."""

ENVELOPE = ("record_id", "province", "department", "version")
"""What a body says of itself and history says beside it: both must be the same."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What history makes of some records: their rows, and the rows of history that do not prove themselves."""

    rows: pl.DataFrame
    """RECORD, one row a record."""
    newest: pl.DataFrame
    """HISTORY, the row of each record that `rows` was made from, with the `row` it has there."""
    unsound: pl.DataFrame
    """HISTORY; a record whose newest row is unsound has no row in `rows`."""


def expected(history: pl.DataFrame, writers: Mapping[int, WriterSchema]) -> Expected:
    """Return what the table must hold of the records whose whole history (HISTORY) this is.

    `writers` are the writer schemas by their numbers in history. A statement that stands twice is known since the earlier.
    """
    told = history.sort("known_at", maintain_order=True)
    bodies = told.filter(pl.col("statement").is_not_null())
    high, low = digests(bodies["statement"].to_list()) if bodies.height else (None, None)
    wrong = bodies.filter((high != bodies["digest_hi"]) | (low != bodies["digest_lo"])) if bodies.height else bodies
    marked = mark_newest(told.with_columns(record_id=pl.col("record_id").bin.encode("hex")))
    newest = told.filter(marked["newest"]).with_row_index("row")
    flat = decoded(newest.filter(pl.col("statement").is_not_null()), writers)
    sound = flat.with_columns(record_id=pl.col("record_id").str.decode("hex", strict=False)).join(
        newest.select("row", *ENVELOPE, "digest_hi", "digest_lo", "known_at", "epoch"),
        on=["row", *ENVELOPE],
        how="inner",
    )
    sound = sound.join(wrong.select(*KEY, *RANK), on=[*KEY, *RANK], how="anti")
    rows = sound.with_columns(content_key=content_keys(sound)).sort(KEY)
    unproven = newest.join(rows, on=KEY, how="anti").drop("row")
    unsound = pl.concat([wrong.join(unproven, on=[*KEY, *RANK], how="anti"), unproven])
    return Expected(rows.select(RECORD), newest.join(rows.select("row"), on="row", how="semi"), unsound)


def decoded(rows: pl.DataFrame, writers: Mapping[int, WriterSchema]) -> pl.DataFrame:
    """Return the statements (FLAT) of rows with `row`, `writer` and `statement`; those that cannot be read are left out."""
    frames = [FLAT.to_frame()]
    for (number,), part in rows.partition_by("writer", as_dict=True).items():
        writer = writers.get(number)
        if writer is not None:
            frames.append(decode_statements(writer, part["statement"].to_list(), part["row"].to_list()).frame)
    return pl.concat(frames).sort("row")
