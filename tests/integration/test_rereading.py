"""`accepted` read again on the real broker: single messages, and everything about some records or entities."""

from __future__ import annotations

import uuid
from uuid import UUID

import pytest
from confluent_kafka import Producer

from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import encode, frame
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.topics import EPOCH
from schemas.identifiers.uscc import generate
from schemas.records.identity import accepted_key, digest
from schemas.servers.connection import Connection
from streams.integrity.accepted import Accepted
from streams.kafka.headers import RECEIVED, SCHEMA
from tests.statements import Statement, penalty

NAME = "xinliu.Statement"


def said(connection: Connection, statements: list[Statement | str], *, epoch: int = 0) -> list[tuple[int, str]]:
    """Write statements, or tombstones of keys, into partition 2 of accepted; return offset and key of each."""
    with Registry(connection.registry) as registry:
        schema_id = registry.register(NAME)
    producer = Producer(connection.kafka.client({"acks": "all"}))
    placed: list[tuple[int, str]] = []
    for statement in statements:
        headers: list[tuple[str, str | bytes | None]] = []
        if isinstance(statement, str):
            key, value = statement, None
        else:
            body = encode(NAME, statement)
            key = accepted_key(statement["record_id"], epoch, statement["version"], *digest(body))
            value = frame(schema_id, body)
            headers = [
                (SCHEMA, fingerprint(source(NAME)).encode()),
                (RECEIVED, b"1767225600000"),
                (EPOCH, b"%d" % epoch),
            ]
        producer.produce(
            "accepted", value, key.encode(), partition=2, headers=headers,
            on_delivery=lambda error, message, key=key: placed.append((message.offset() or 0, key)),
        )  # fmt: skip
        assert producer.flush(30) == 0
    return placed


def test_what_was_accepted_is_read_again(stack: Connection) -> None:
    stamp = uuid.uuid4().hex[:8]
    entity = int(stamp, 16) % 10**6 + 3 * 10**6
    kept = penalty(f"RR1-{stamp}", entity=entity)
    corrected = penalty(f"RR1-{stamp}", entity=entity, version=2, content="改")
    erased = penalty(f"RR2-{stamp}", entity=entity)
    other = penalty(f"RR3-{stamp}", entity=entity + 1)
    placed = said(stack, [kept, corrected, erased, other])
    placed += said(stack, [placed[2][1]])
    end = placed[-1][0] + 1
    with Registry(stack.registry) as registry:
        log = Accepted(stack.kafka, registry)
        try:
            found = log.at([(2, placed[0][0]), (2, placed[3][0]), (2, end + 1_000)])
            assert sorted(entry.key for entry in found) == sorted([placed[0][1], placed[3][1]])
            ids = [UUID(one["record_id"]) for one in (kept, erased)]
            about = log.about(ids, {2: end})
            assert {entry.key for entry in about} == {placed[0][1], placed[1][1]}
            assert all(entry.received_at is not None and entry.epoch == 0 for entry in about)
            assert {entry.body for entry in about} == {encode(NAME, kept), encode(NAME, corrected)}
            assert [entry.key for entry in log.about(ids, {2: placed[1][0]})] == [placed[0][1]], "the end is not read"
            assert log.mentioning([generate(entity)], {2: end}) == {UUID(kept["record_id"])}
            assert log.mentioning([generate(entity + 1)], {2: end}) == {UUID(other["record_id"])}
            with pytest.raises(Retryable, match="ends at"):
                log.about(ids, {2: end + 10**6})
        finally:
            log.close()
