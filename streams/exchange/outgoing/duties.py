"""What the other provinces must apply in time, and say so: repairs, revocations and withdrawals of what had been shared.

A duty arises in the transaction that takes its statement out of the outbox, and is done when its province says on
`status.<province>` that it holds the checkpoint behind that statement, or a later one (docs/exchange.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from schemas.store.sql_files import sql
from streams.exchange.outgoing.entries import OutboxEntry
from streams.exchange.outgoing.signed_log import WrittenCheckpoint

__all__ = ["BODILESS", "Duty", "duties", "owe"]

BODILESS = ("REPAIRED", "REVOKED", "WITHDRAWN")
"""States of a statement that takes content away from whoever holds it."""


@dataclass(frozen=True, slots=True)
class Duty:
    """A statement without a body that was published, and the checkpoint of ours that closed its run."""

    record_id: UUID
    department: str
    epoch: int
    version: int
    status: str
    uscc: str
    domain: str
    partition: int
    topic_id: str
    """Of `exchange.<own>`: sequences count in that log and in no other."""
    sequence: int


def duties(entries: Iterable[OutboxEntry], closed: Iterable[WrittenCheckpoint]) -> list[Duty]:
    """Return what arises from these entries of the outbox (exchange/outgoing/share.sql), whose runs these checkpoints close."""
    by_partition = {one.partition: one for one in closed}
    found = []
    for one in entries:
        if one.status in BODILESS:
            run = by_partition[one.partition]
            known = (one.department, one.epoch, one.version, one.status, one.uscc, one.domain, one.partition)
            found.append(Duty(UUID(one.record_id), *known, run.topic_id, run.sequence))
    return found


def owe(connection: psycopg.Connection[tuple[Any, ...]], duties: Iterable[Duty], published_at: datetime) -> None:
    """Write down that every other province must apply these, each within its own term from `published_at` (UTC) on.

    Within the caller's transaction. Said again, nothing changes; but of a topic that was made anew the new checkpoint counts.
    """
    rows = [{**asdict(duty), "record_id": str(duty.record_id)} for duty in duties]
    if rows:
        connection.execute(sql("exchange/outgoing/owe"), {"rows": Jsonb(rows), "published_at": published_at})
