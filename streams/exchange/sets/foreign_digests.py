"""Digests of each other province's stored records, by partition and domain, updated with each folded batch."""

from __future__ import annotations

import polars as pl

from schemas.exchange.topics import EXCHANGE_PARTITIONS, WITHDRAWN
from schemas.records.partitioning import partitions_of
from schemas.store.sql_files import sql
from streams.exchange.carried.message import Connection

__all__ = ["add_to_digests"]


def add_to_digests(connection: Connection, taken: pl.DataFrame) -> None:
    """Add to `foreign_digest` the changes by the statements of other provinces (epoch above 0) in a folded batch.

    `taken` is Folded.taken. An entity's partition is the same in every province.
    """
    taken = taken.filter(pl.col("epoch") > 0)
    if taken.is_empty():
        return
    gains = taken.filter(pl.col("status") != WITHDRAWN).select(
        "province", "uscc", "domain", pl.lit(1, dtype=pl.Int64).alias("records"), "digest_hi", "digest_lo"
    )
    losses = pl.DataFrame(schema=gains.schema)
    if "status_held" in taken.columns:
        losses = taken.filter(pl.col("status_held").is_not_null() & (pl.col("status_held") != WITHDRAWN)).select(
            "province",
            pl.col("uscc_held").alias("uscc"),
            pl.col("domain_held").alias("domain"),
            pl.lit(-1, dtype=pl.Int64).alias("records"),
            pl.col("digest_hi_held").alias("digest_hi"),
            pl.col("digest_lo_held").alias("digest_lo"),
        )
    changes = pl.concat([gains, losses])
    delta = (
        changes.with_columns(partition=pl.Series(partitions_of(changes["uscc"], EXCHANGE_PARTITIONS)))
        .group_by("province", "partition", "domain")
        .agg(pl.col("records").sum(), pl.col("digest_hi").bitwise_xor(), pl.col("digest_lo").bitwise_xor())
        .sort("province", "partition", "domain")
    )
    if delta.height:
        names = ("provinces", "partitions", "domains", "records", "high", "low")
        columns = {name: column.to_list() for name, column in zip(names, delta.get_columns(), strict=True)}
        connection.execute(sql("exchange/sets/foreign_digest"), columns)
