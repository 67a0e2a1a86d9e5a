"""Duties of the other provinces: repairs, revocations and withdrawals of shared records that they must apply in time.

A duty arises in the transaction that takes its statement out of the outbox. It is done when its province reports on
`status.<province>` that it has applied the checkpoint behind that statement, or a later one (docs/exchange.md).
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
"""Statuses of a statement that takes content away from every province that has it."""


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
    """Return the duties of these entries of the outbox (exchange/outgoing/share.sql), whose runs these checkpoints
    close."""
    by_partition = {one.partition: one for one in closed}
    found = []
    for one in entries:
        if one.status in BODILESS:
            run = by_partition[one.partition]
            known = (one.department, one.epoch, one.version, one.status, one.uscc, one.domain, one.partition)
            found.append(Duty(UUID(one.record_id), *known, run.topic_id, run.sequence))
    return found


def owe(connection: psycopg.Connection[tuple[Any, ...]], duties: Iterable[Duty], published_at: datetime) -> None:
    """Store that every other province must apply these, each within its own term from `published_at` (UTC) on.

    Within the caller's transaction. Idempotent; but if the topic was recreated, the new checkpoint counts.
    """
    rows = [{**asdict(duty), "record_id": str(duty.record_id)} for duty in duties]
    if rows:
        connection.execute(sql("exchange/outgoing/owe"), {"rows": Jsonb(rows), "published_at": published_at})
