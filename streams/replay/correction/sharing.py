"""Sharing after a correction: records that no longer stand are withdrawn, those with a lower rank are shared anew.

Normal sharing skips a record with a lower rank than the shared one, since a restored database catches up. A correction
lowers the rank on purpose, so it withdraws the shared statement first.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import polars as pl
import psycopg

from schemas.store.sql_files import sql
from streams.exchange.outgoing.sharing import Sharing

__all__ = ["leave", "share_again"]

Connection = psycopg.Connection[tuple[Any, ...]]


def leave(connection: Connection, sharing: Sharing, ids: Collection[UUID], *, own: str) -> int:
    """Withdraw these records if they no longer stand as shared, in the caller's transaction; return their number."""
    return sharing.withdraw(
        connection,
        sql("replay/correction/leaving"),
        {"ids": list(ids), "own": own},
        after=sql("replay/correction/left_shared"),
    )


def share_again(connection: Connection, sharing: Sharing, ids: Collection[UUID], *, own: str) -> int:
    """Decide anew about sharing these records, in the caller's transaction; return how many are shared or followed."""
    rows = connection.execute(
        "SELECT record_id, department FROM record WHERE record_id = ANY(%s) AND province = %s ORDER BY 1, 2",
        (list(ids), own),
    ).fetchall()
    if not rows:
        return 0
    keys = pl.DataFrame(
        {"record_id": [record_id.bytes for record_id, _ in rows], "department": [department for _, department in rows]},
        schema={"record_id": pl.Binary(), "department": pl.String()},
    )
    return sharing.decide_again(connection, keys).shared
