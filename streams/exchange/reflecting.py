"""How far another province's part follows from what this one has told it: 无 is never "has not heard of it yet".

What a province shares of an entity depends on where it is registered, which another province may have told it. Until it has
applied that registration, and has closed its own runs since, its part may lack records that it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from schemas.store import sql
from streams.exchange.applying import Applied

__all__ = ["reflect"]


def reflect(connection: psycopg.Connection[tuple[Any, ...]], applied: Sequence[Applied]) -> None:
    """Note it for the partitions whose checkpoints were applied and compared, in the view's transaction."""
    places = sorted({(one.province, one.partition) for one in applied if one.compared})
    if places:
        values = {"provinces": [province for province, _ in places], "partitions": [place for _, place in places]}
        connection.execute(sql("exchange/reflected"), values)
