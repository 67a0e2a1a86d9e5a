"""Recovery of `shared_record` after a database restore, by reading back our own exchange topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from confluent_kafka import Message
from psycopg.types.json import Jsonb

from schemas.contracts.codec import unframe
from schemas.contracts.registry import Registry
from schemas.exchange.topics import EPOCH, WITHDRAWN
from schemas.records.identity import digest
from schemas.store.sql_files import sql
from streams.exchange.outgoing.messages import STATEMENT

__all__ = ["relearn"]

Connection = psycopg.Connection[tuple[Any, ...]]

_MESSAGES = 5_000
_LOWEST = -(2**63)
"""Half of a digest below any other: a withdrawal does not contain the digest of the statement shared before it."""


def relearn(connection: Connection, registry: Registry, messages: Iterable[Message]) -> int:
    """Store the sharing state from these messages of `exchange.<own>`, unless a higher rank is stored.

    Returns how many records changed. It does not decide which records should be shared: once the view has caught up,
    its transactions and the sweep do.
    """
    changed, portion = 0, dict[tuple[str, str], dict[str, Any]]()
    for row in _told(registry, messages):
        key = row["record_id"], row["department"]
        rank = ("epoch", "version", "digest_hi", "digest_lo")
        if key not in portion or [row[name] for name in rank] > [portion[key][name] for name in rank]:
            portion[key] = row
        if len(portion) >= _MESSAGES:
            changed += _take(connection, portion)
            portion = {}
    return changed + (_take(connection, portion) if portion else 0)


def _take(connection: Connection, portion: dict[tuple[str, str], dict[str, Any]]) -> int:
    with connection.transaction():
        # Lanes that share meanwhile compute deltas from the rows that they find: they wait, and find these.
        connection.execute("LOCK TABLE xinliu.shared_record IN SHARE ROW EXCLUSIVE MODE")
        query = sql("exchange/outgoing/relearn") + sql("exchange/outgoing/told") + "SELECT count(*) FROM changed"
        row = connection.execute(query, {"rows": Jsonb(list(portion.values()))}).fetchone()
    assert row is not None
    return int(row[0])


def _told(registry: Registry, messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    for message in messages:
        epoch = dict(message.headers() or ()).get(EPOCH)
        if epoch is None:
            continue  # a checkpoint, or a rider's message
        _, body = unframe(message.value() or b"")
        told = registry.read(STATEMENT, message.value(), message.headers())
        withdrawn = told["status"] == WITHDRAWN
        high, low = (_LOWEST, _LOWEST) if withdrawn else digest(body)
        yield {
            "record_id": told["record_id"],
            "department": told["department"],
            "partition": message.partition(),
            "epoch": int(epoch),
            "state": WITHDRAWN if withdrawn else "SHARED",
            "kind": told["kind"],
            "domain": told["domain"],
            "uscc": told["subject"]["uscc"],
            "version": told["version"],
            "digest_hi": high,
            "digest_lo": low,
            "status": told["status"],
        }
