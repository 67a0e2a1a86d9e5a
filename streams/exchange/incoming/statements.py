"""Statements of other provinces in a batch that the view folds: origin, epoch and mending mark from their headers."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from schemas.errors import ContractBroken
from schemas.exchange.topics import EPOCH, MEND
from streams.kafka.headers import ORIGIN, Origin, header
from streams.kafka.records import Record
from streams.projection.staging import MENDS

__all__ = ["last_of", "of_exchange"]

_TOLD = pl.Schema({"row": pl.UInt32(), "told": pl.String(), "told_epoch": pl.Int64(), MENDS: pl.Boolean()})


def of_exchange(statements: pl.DataFrame, records: Sequence[Record], rows: Sequence[int]) -> pl.DataFrame:
    """Give the statements at these rows the epoch from their headers, and no receipt: no department of ours sent them.

    Raises ContractBroken if one speaks for another province than the one whose exchange it came by: intake cannot have
    let it through, and nothing that comes by an exchange may change our own records.
    """
    told = pl.DataFrame([_told(row, records[row]) for row in rows], schema=_TOLD, orient="row")
    frame = statements.join(told, on="row", how="left", maintain_order="left")
    foreign = pl.col("told").is_not_null()
    wrong = frame.filter(foreign & ((pl.col("province") != pl.col("told")) | (pl.col("told_epoch") < 1)))
    if wrong.height:
        record = records[int(wrong["row"][0])]
        raise ContractBroken(
            f"{record.topic}/{record.partition}@{record.offset} came by the exchange of {wrong['told'][0]} and speaks for"
            f" {wrong['province'][0]}: intake refuses that; who else writes to accepted?"
        )
    return frame.with_columns(
        pl.col("told_epoch").fill_null(pl.col("epoch")).alias("epoch"),
        pl.when(foreign).then(None).otherwise(pl.col("received_at")).alias("received_at"),
        pl.col(MENDS).fill_null(False),
    ).drop("told", "told_epoch")


def last_of(records: Sequence[Record], rows: Sequence[int]) -> dict[tuple[str, int], int]:
    """Return the offset in `accepted` of the last statement of each province in each partition."""
    last: dict[tuple[str, int], int] = {}
    for row in rows:
        record = records[row]
        province = Origin.from_bytes(header(record.headers, ORIGIN) or b"").province or ""
        place = (province, record.partition)
        last[place] = max(last.get(place, -1), record.offset)
    return last


def _told(row: int, record: Record) -> tuple[int, str | None, int, bool]:
    origin = Origin.from_bytes(header(record.headers, ORIGIN) or b"")
    epoch = header(record.headers, EPOCH) or b""
    if not epoch.isdigit():
        raise ContractBroken(f"{record.topic}/{record.partition}@{record.offset} came by an exchange without an epoch")
    return row, origin.province, int(epoch), header(record.headers, MEND) is not None
