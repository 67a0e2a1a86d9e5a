"""The expected rows of the table `record`, computed from history alone: pure, no SQL.

A row of history must prove itself: the digest beside a body is that body's, and the body names the record and version
of its row. A row that does not is `unsound`; only the log can say what belongs there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.contracts.columns import FLAT, decode_statements, digests
from schemas.contracts.registry import WriterSchema
from streams.projection.columns import RECORD
from streams.projection.fold import KEY, RANK, mark_newest
from streams.projection.staging import content_keys

__all__ = ["ENVELOPE", "HISTORY", "Expected", "decoded", "expected"]

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
"""Columns of record_history that determine a record (integrity/compare/history.sql); record_id is 16 bytes."""

ENVELOPE = ("record_id", "province", "department", "version", "status", "uscc")
"""Columns that a body and its row of history both have: they must agree. So must reason, if history has stored it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The rows that follow from the history of some records, and the rows of history that do not prove themselves."""

    rows: pl.DataFrame
    """RECORD, one row a record."""
    newest: pl.DataFrame
    """HISTORY, the source row of each record in `rows`."""
    unsound: pl.DataFrame
    """HISTORY; a record whose newest statement is among them has no row in `rows`."""


def expected(history: pl.DataFrame, writers: Mapping[int, WriterSchema]) -> Expected:
    """Return the expected rows of the records with this whole history (HISTORY).

    `writers` are the writer schemas by their numbers in history. A statement with two rows is known since the earlier
    one.
    """
    told = history.sort("known_at", maintain_order=True).with_row_index("row")
    marked = mark_newest(told.with_columns(record_id=pl.col("record_id").bin.encode("hex")))
    whole = told.filter(pl.col("statement").is_not_null())
    sound = _sound(whole, writers)
    newest = told.filter(marked["newest"])
    rows = sound.join(newest.select("row"), on="row", how="semi").sort(KEY)
    # An erased statement proves nothing and need not.
    lost = told.filter(~_erased(told)).join(sound.select("row"), on="row", how="anti")
    return Expected(
        rows.with_columns(content_key=content_keys(rows)).select(RECORD),
        newest.join(rows.select("row"), on="row", how="semi").drop("row"),
        lost.drop("row"),
    )


def _erased(told: pl.DataFrame) -> pl.Series:
    """Return for each row whether it has no content because a row that outranks it erases it."""
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
    """Return the statements (FLAT) of rows with `row`, `writer` and `statement`, without unreadable ones."""
    frames = [FLAT.to_frame()]
    for (number,), part in rows.partition_by("writer", as_dict=True).items():
        writer = writers.get(number)
        if writer is not None:
            frames.append(decode_statements(writer, part["statement"].to_list(), part["row"].to_list()).frame)
    return pl.concat(frames).sort("row")
