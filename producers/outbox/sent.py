"""Sent statements of an outbox, by domain and time, for reconciliation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, MetaData, select

from producers.outbox.tables import REFUSAL, TABLE_NAME, RowState, Tables, utc

__all__ = ["SentStatement", "told"]

_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class SentStatement:
    """A statement that the broker has confirmed."""

    record_id: str
    version: int
    digest: str
    """As schemas.records.identity.digest_hex gives it."""
    domain: str
    sent_at: datetime
    partition: int
    offset: int


def told(
    connection: Connection,
    department: str,
    *,
    domain: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    table_name: str = TABLE_NAME,
    schema: str | None = None,
) -> Iterator[SentStatement]:
    """Yield a department's sent statements, in the order in which the broker confirmed them.

    `since` (included) and `until` (excluded) bound the time of confirmation. Sent rows are only kept for a time
    (`xinliu outbox relay --keep`). A statement added twice is yielded twice.
    """
    row = Tables(MetaData(), table_name, schema).rows.c
    query = select(
        row.record_id, row.version, row.digest, row.domain, row.sent_at, row.sent_partition, row.sent_offset
    ).where(row.department == department, row.state == RowState.SENT, row.version != REFUSAL)
    if domain is not None:
        query = query.where(row.domain == domain)
    if since is not None:
        query = query.where(row.sent_at >= since)
    if until is not None:
        query = query.where(row.sent_at < until)
    for found in connection.execute(query.order_by(row.sent_at, row.id).execution_options(yield_per=_AT_ONCE)):
        record_id, version, digest, where, sent_at, partition, offset = found
        yield SentStatement(record_id, version, digest, where, utc(sent_at), partition, offset)
