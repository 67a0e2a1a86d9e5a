"""What the table `record` must hold, computed from history alone: pure, no SQL.

History is believed only as far as it proves itself: the digest beside a body is that body's, and the body names the record
and the version that it stands under. What does not is `unsound`, and only the log can say what belongs there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.contracts.columns import FLAT, decode_statements, digests
from schemas.contracts.registry import WriterSchema
from streams.projection.fold import KEY, RANK, mark_newest
from streams.projection.staging import content_keys

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
"""Columns of record_history that say what a record is (integrity/compare/history.sql); record_id is 16 bytes."""

_NOT_HELD = {"row", "has_penalty", "has_listing", "has_registration"}
RECORD = (
    *(name for name in FLAT.names() if name not in _NOT_HELD),
    "digest_hi", "digest_lo", "content_key", "known_at", "epoch",
)  # fmt: skip
"""Columns of the table `record`."""

ENVELOPE = ("record_id", "province", "department", "version", "status", "uscc")
"""What a body says of itself and history says beside it: both must be the same; reason too, where history has kept it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What history makes of some records: their rows, and the rows of history that do not prove themselves."""

    rows: pl.DataFrame
    """RECORD, one row a record."""
    newest: pl.DataFrame
    """HISTORY, the row of each record that `rows` was made from."""
    unsound: pl.DataFrame
    """HISTORY; a record whose newest statement is among them has no row in `rows`."""


def expected(history: pl.DataFrame, writers: Mapping[int, WriterSchema]) -> Expected:
    """Return what the table must hold of the records whose whole history (HISTORY) this is.

    `writers` are the writer schemas by their numbers in history. A statement that stands twice is known since the earlier.
    """
    told = history.sort("known_at", maintain_order=True).with_row_index("row")
    marked = mark_newest(told.with_columns(record_id=pl.col("record_id").bin.encode("hex")))
    whole = told.filter(pl.col("statement").is_not_null())
    sound = _sound(whole, writers)
    newest = told.filter(marked["newest"])
    rows = sound.join(newest.select("row"), on="row", how="semi").sort(KEY)
    # What was erased proves nothing and need not.
    lost = told.filter(~_erased(told)).join(sound.select("row"), on="row", how="anti")
    return Expected(
        rows.with_columns(content_key=content_keys(rows)).select(RECORD),
        newest.join(rows.select("row"), on="row", how="semi").drop("row"),
        lost.drop("row"),
    )


def _erased(told: pl.DataFrame) -> pl.Series:
    """Tell of each row whether it has no content because something that outranks it erases it."""
    empty = told["statement"].is_null()
    if not empty.any():
        return empty
    erases = (pl.col("status") == "REVOKED") | ((pl.col("epoch") > 0) & (pl.col("status") != "IN_FORCE"))
    above = erases.cast(pl.Int32).cum_sum().over(KEY) - erases.cast(pl.Int32) > 0
    ordered = told.sort(RANK, descending=True).with_columns(above=above).sort("row")
    return empty & ordered["above"]


def _sound(whole: pl.DataFrame, writers: Mapping[int, WriterSchema]) -> pl.DataFrame:
    """Return the statements (FLAT, and their places) of the rows that prove themselves."""
    high, low = digests(whole["statement"].to_list()) if whole.height else (whole["digest_hi"], whole["digest_lo"])
    proven = whole.filter((high == whole["digest_hi"]) & (low == whole["digest_lo"]))
    flat = decoded(proven, writers).with_columns(record_id=pl.col("record_id").str.decode("hex", strict=False))
    joined = flat.join(
        proven.select("row", *ENVELOPE, "reason", "digest_hi", "digest_lo", "known_at", "epoch"),
        on=["row", *ENVELOPE],
        how="inner",
        suffix="_told",
    )
    return joined.filter(pl.col("reason_told").is_null() | (pl.col("reason") == pl.col("reason_told")))


def decoded(rows: pl.DataFrame, writers: Mapping[int, WriterSchema]) -> pl.DataFrame:
    """Return the statements (FLAT) of rows with `row`, `writer` and `statement`; those that cannot be read are left out."""
    frames = [FLAT.to_frame()]
    for (number,), part in rows.partition_by("writer", as_dict=True).items():
        writer = writers.get(number)
        if writer is not None:
            frames.append(decode_statements(writer, part["statement"].to_list(), part["row"].to_list()).frame)
    return pl.concat(frames).sort("row")
