"""Queries over the audit: its entries, and the verification of all of them against the topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import psycopg
from psycopg.rows import dict_row

from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.operations.event import Operation
from schemas.operations.log import TOPIC, held_operations
from schemas.operations.topics import WORKERS_TOPIC, asks, may_say
from schemas.operations.two_people import TwoPeople
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.audit.approvals import unapproved
from streams.audit.chain import UNREADABLE, AuditEntry
from streams.audit.log import OperationMessage, OperationsLog, Span
from streams.audit.verification import AuditFinding, AuditVerdict, anchors_of, verify

__all__ = ["entries", "examined"]


def entries(
    database: str,
    *,
    since: datetime | None = None,
    kind: str | None = None,
    by: str | None = None,
    replay: str | None = None,
    heads: bool = True,
) -> list[AuditEntry]:
    """Return the matching entries, in order. Raises UsageError if no audit exists yet, Retryable without an answer."""
    names = {"since": since, "kind": kind, "by": by, "replay": replay, "heads": heads}
    try:
        with connect(database, autocommit=True) as store, store.cursor(row_factory=dict_row) as cursor:
            return [AuditEntry.from_row(row) for row in cursor.execute(sql("audit/entries"), names)]
    except psycopg.errors.UndefinedTable:
        raise UsageError("the database has no audit yet: run `xinliu migrate`") from None
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error


def examined(connection: Connection, tell: Callable[[int, int], None] = lambda read, end: None) -> AuditVerdict:
    """Verify the whole table against all topics, and the steps against their approvals. Workers may go on meanwhile.

    Calls `tell` with the number of messages read and the total.
    """
    vouched = asks(connection.kafka)
    with Registry(connection.registry) as registry:
        log = OperationsLog(connection.kafka, registry, principal="operator")
        try:
            messages = log.to_end(tell)
            before = {topic: span.end for topic, span in log.spans.items()}
            rows = entries(connection.database.get_secret_value())
            # An event written meanwhile may be in the table already.
            messages += log.to_end()
        finally:
            log.close()
        operations = held_operations(connection.kafka, registry, lenient=True)
    heads_in = WORKERS_TOPIC if vouched else TOPIC
    heads = [message for message in messages if message.topic == heads_in]
    whole = AuditVerdict()
    # Entries of a topic that is gone must be verified too.
    for topic in sorted({*log.spans, *(row.topic for row in rows)}):
        span = log.spans.get(topic, Span("", 0, 0))
        whole.add(
            verify(
                [row for row in rows if row.topic == topic],
                [message for message in messages if message.topic == topic],
                topic_id=span.topic_id,
                first=span.first,
                anchored_before=before.get(heads_in),
                topic=topic,
                anchors=anchors_of(heads, topic),
            )
        )
    _hold_against_approvals(whole, rows, messages, operations, connection)
    return whole


def _hold_against_approvals(
    whole: AuditVerdict,
    rows: Sequence[AuditEntry],
    messages: Sequence[OperationMessage],
    operations: Sequence[Operation],
    connection: Connection,
) -> None:
    if asks(connection.kafka):
        said = (message for message in messages if message.event.kind != UNREADABLE)
        whole.disbelieved = sum(not may_say(message.topic, message.event.kind) for message in said)
    known = {row.event.event_id: row for row in rows}
    for one in unapproved(operations, TwoPeople.of(connection, operations)):
        row = known.get(one.operation.id)
        offset, topic = (row.event.offset, row.topic) if row is not None else (None, TOPIC)
        whole.findings.append(
            AuditFinding(
                "UNAPPROVED", row.sequence if row is not None else 0, offset, one.operation.id, one.text, topic
            )
        )
