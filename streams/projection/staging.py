"""Staging: statements made ready for the projection, without a database."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from schemas.contracts.columns import FLAT
from streams.projection.fold import mark_newest

__all__ = ["MENDS", "STAGED", "content_keys", "ranked", "staged"]

STAGED = (
    *FLAT.names(),
    "digest_hi",
    "digest_lo",
    "statement",
    "accepted_partition",
    "accepted_offset",
    "writer",
    "known_at",
    "received_at",
    "epoch",
)
"""Columns of the projection's input: FLAT, the digest, the Avro body, its place in `accepted` and its writer schema,
the broker's time of it and of the department's own message (null for another province's), and the epoch.
A batch with statements of other provinces also has MENDS."""

MENDS = "mends"
"""Column: true if another province pushed a statement again because a set differed (schemas.exchange.topics.MEND)."""

_UUID = r"^[0-9a-f]{32}$"


def staged(statements: pl.DataFrame, *, ordered: bool = True) -> tuple[pl.DataFrame, dict[int, str]]:
    """Make statements (STAGED) ready for `Projection.fold`: the newest marked; sorted by record_id if `ordered`.

    Rows that no table can store are left out and returned with the reason. No database is needed, so that the next
    batch can be made ready while the last one is written.
    """
    nul = pl.any_horizontal(pl.col(pl.String).str.contains("\x00", literal=True))
    kept = pl.col("record_id").str.contains(_UUID) & ~nul.fill_null(False)
    refused = {row: "a text holds U+0000, or record_id is no uuid" for row in statements.filter(~kept)["row"]}
    return ranked(statements.filter(kept) if refused else statements, ordered=ordered), refused


def ranked(statements: pl.DataFrame, *, ordered: bool = True) -> pl.DataFrame:
    """Return statements (STAGED) with computed columns and the newest of each marked; `ordered` sorts by record_id."""
    marked = mark_newest(statements)
    computed = marked.with_columns(
        content_key=content_keys(marked),
        again=~pl.col("record_id").is_unique(),
        disputed=pl.col("disputed_since").is_not_null(),
        removed=pl.col("listing_removed_on").is_not_null(),
        record_id=pl.col("record_id").str.decode("hex"),
        decided_on=pl.col("penalty_decided_on"),
        row=pl.col("row").cast(pl.Int32),
    )
    # Workers that fold the same records must lock them in one order, or they deadlock.
    return computed.sort("record_id") if ordered else computed


def content_keys(statements: pl.DataFrame) -> pl.Series:
    """Return the content keys: equal for two statements of one authority about the same facts, null without content.

    8 bytes of BLAKE2b as Int64: this never changes.
    """
    texts = statements.select(
        pl.when(pl.col("penalty_facts").is_not_null())
        .then(_joined("authority", "penalty_decided_on", "penalty_facts", "penalty_content"))
        .when(pl.col("listing_grounds").is_not_null())
        .then(_joined("authority", "listing_list", "listing_listed_on", "listing_grounds", "listing_basis"))
    ).to_series()
    blake = hashlib.blake2b
    hashed = b"".join([blake(text or b"", digest_size=8).digest() for text in texts.cast(pl.Binary).to_list()])
    keys = pl.Series(np.frombuffer(hashed, dtype=">i8").astype(np.int64))
    return keys.set(texts.is_null(), None)


def _joined(*names: str) -> pl.Expr:
    return pl.concat_str([pl.col(name) for name in names], separator="\x1f", ignore_nulls=True)
