"""What is shared follows a correction: what stands no longer is withdrawn, what stands at a lower rank is told anew.

Sharing itself leaves a record alone that stands below what was told of it, since a restored database catches up; a correction
means it, so it ends what was told first.
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
    """Withdraw what is shared of these records and stands no longer as it was told, in the caller's transaction; return how many."""
    return sharing.withdraw(
        connection,
        sql("replay/correction/leaving"),
        {"ids": list(ids), "own": own},
        after=sql("replay/correction/left_shared"),
    )


def share_again(connection: Connection, sharing: Sharing, ids: Collection[UUID], *, own: str) -> int:
    """Decide anew about what stands of these records, in the caller's transaction; return how many are shared or followed."""
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
