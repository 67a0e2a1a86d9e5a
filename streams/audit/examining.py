"""Reading the audit: its entries as they stand, and all of them held against the topic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import psycopg
from psycopg.rows import dict_row

from schemas.connection import Connection
from schemas.errors import Retryable, UsageError
from schemas.registry import Registry
from schemas.store import connect, sql
from streams.audit.chain import Entry
from streams.audit.log import OperationsLog
from streams.audit.verifying import Verdict, verify

__all__ = ["entries", "examined"]


def entries(
    database: str,
    *,
    since: datetime | None = None,
    kind: str | None = None,
    by: str | None = None,
    replay: str | None = None,
    heads: bool = True,
) -> list[Entry]:
    """Return the entries that fit, in their order. Raises UsageError where there is no audit yet, Retryable without an answer."""
    names = {"since": since, "kind": kind, "by": by, "replay": replay, "heads": heads}
    try:
        with connect(database, autocommit=True) as store, store.cursor(row_factory=dict_row) as cursor:
            return [Entry.from_row(row) for row in cursor.execute(sql("trail/entries"), names)]
    except psycopg.errors.UndefinedTable:
        raise UsageError("the database has no audit yet: run `xinliu migrate`") from None
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error


def examined(connection: Connection, tell: Callable[[int, int], None] = lambda read, end: None) -> Verdict:
    """Hold the whole table against the whole topic; workers may go on meanwhile. `tell` hears how far the topic is read."""
    principal = connection.kafka.setting("sasl.username") or "operator"
    with Registry(connection.registry) as registry:
        log = OperationsLog(connection.kafka, registry, principal=principal)
        try:
            messages = log.to_end(tell)
            before = log.end
            rows = entries(connection.database.get_secret_value())
            # What was written meanwhile may stand in the table already.
            messages += log.to_end()
        finally:
            log.close()
    return verify(rows, messages, topic_id=log.topic_id, first=log.first, anchored_before=before)
