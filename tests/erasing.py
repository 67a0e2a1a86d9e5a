"""What tests of erasure ask of the real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from producers import Publisher, PublisherConfig
from producers.receipts import Receipts
from schemas.contracts.codec import encode
from schemas.records.identity import digest, digest_hex
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.offline import lag, log_of, view_caught_up
from tests.statements import Statement

__all__ = ["key", "published", "publisher_of", "settled", "tombstones", "values"]


@contextmanager
def publisher_of(connection: Connection, department: str = "tax") -> Iterator[Publisher]:
    """A department's own program."""
    with Publisher(PublisherConfig(connection.kafka, connection.registry, department), track=True) as publisher:
        yield publisher


def published(connection: Connection, statements: list[Statement]) -> list[dict[str, Any]]:
    """Publish, wait until all is visible, and return what receipts say of them."""
    receipts = Receipts(connection.kafka, connection.registry, "tax")
    try:
        with publisher_of(connection) as publisher:
            publisher.publish_many(statements)
            publisher.flush()
        places = list(zip(*publisher.offsets, strict=True))
        told = [one for told, _ in receipts.watch_past(dict(sorted(places)), 60) for one in told]
        return [one for one in told if (one["partition"], one["offset"]) in places]
    finally:
        receipts.close()


def key(statement: Statement) -> bytes:
    """Return the key of a statement in `accepted`."""
    told = digest_hex(*digest(encode("xinliu.Statement", statement)))
    return f"{statement['record_id']}|{statement['version']}|{told}".encode()


def values(connection: Connection) -> bytes:
    """Return all that `accepted` holds, read from the beginning."""
    return b"\n".join(message.value() or b"" for message in log_of(connection, "accepted"))


def tombstones(connection: Connection, record_id: str) -> set[bytes]:
    """Return the keys of a record that have a tombstone."""
    log = log_of(connection, "accepted")
    return {m.key() for m in log if m.value() is None and m.key().startswith(record_id.encode())}


def settled(connection: Connection) -> bool:
    """Tell whether the view has read everything, its own tombstones too, and the relay published everything."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        row = store.execute("SELECT count(*) FROM outbox").fetchone()
    return row == (0,) and view_caught_up(connection) and lag(connection, "xinliu-view", ["accepted"]) == 0
