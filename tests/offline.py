"""The offline fold: what the view must be, computed from the log alone, without the workers' code path."""

from __future__ import annotations

from typing import Any

import polars as pl
import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from deploy.deadline import wait_until
from schemas.contracts.avro import named_by
from schemas.contracts.columns import decode_batch, digests
from schemas.contracts.registry import Registry
from schemas.exchange.topics import EPOCH
from schemas.records.identity import accepted_key
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.kafka.headers import ORIGIN
from streams.projection.fold import newest, summary

__all__ = ["assert_figures_are_of_the_set", "assert_view_is_the_fold", "ends_of", "lag", "log_of", "view_caught_up"]

GROUP = "operator.offline"
VIEW_GROUP, INTAKE_GROUP = "xinliu-view", "xinliu-intake"
_RECORD = ["record_id", "version", "digest_hi", "digest_lo", "kind", "status", "uscc", "domain", "subject_name"]


def log_of(connection: Connection, topic: str, since: dict[int, int] | None = None) -> list[Any]:
    """Return every message that a topic holds, or those from these offsets on (by partition)."""
    consumer = Consumer(connection.kafka.client({"group.id": GROUP, "auto.offset.reset": "error"}))
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=15) for p in partitions}
        if since is not None:
            ends = {p: (max(first, since[p]), end) for p, (first, end) in ends.items()}
        consumer.assign([TopicPartition(topic, p, first) for p, (first, _) in ends.items()])
        found: list[Any] = []
        while any(
            end > first and consumer.position([TopicPartition(topic, p)])[0].offset < end
            for p, (first, end) in ends.items()
        ):
            found.extend(message for message in consumer.consume(10_000, 0.05) if message.error() is None)
        return found
    finally:
        consumer.close()


def ends_of(connection: Connection, topic: str) -> dict[int, int]:
    """Return where each partition of a topic ends: the offset of the next message."""
    consumer = Consumer(connection.kafka.client({"group.id": GROUP}))
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=15)[1] for p in partitions}
    finally:
        consumer.close()


def _statements(connection: Connection, since: dict[int, int] | None) -> tuple[pl.DataFrame, set[bytes]]:
    log = log_of(connection, "accepted", since)
    tombstones = {message.key() for message in log if message.value() is None}
    messages = [message for message in log if message.value() is not None and ORIGIN in dict(message.headers() or [])]
    values = [message.value() for message in messages]
    with Registry(connection.registry) as registry:
        named = [named_by(message.headers()) for message in messages]
        batch = decode_batch(registry, values, named=named, expected={"xinliu.Statement"})
    assert not batch.undecodable
    high, low = digests([value[5:] for value in values])
    return batch.statements.with_columns(
        high.alias("digest_hi"),
        low.alias("digest_lo"),
        pl.Series("key", [message.key() for message in messages]),
        pl.Series(
            "epoch", [int(dict(message.headers() or []).get(EPOCH, b"0")) for message in messages], dtype=pl.Int64
        ),
    ), tombstones


def _settled(connection: Connection, since: dict[int, int] | None) -> tuple[pl.DataFrame, set[bytes]]:
    # What comes while the log is read may be folded already, or not yet: it is read again once the view has all of it.
    while True:
        ends = ends_of(connection, "accepted")
        found = _statements(connection, since)
        wait_until(lambda: view_caught_up(connection), seconds=20)
        if ends_of(connection, "accepted") == ends:
            return found


def assert_view_is_the_fold(connection: Connection, since: dict[int, int] | None = None) -> int:
    """Hold the tables against the fold of the log, cell by cell; return how many records there are.

    With `since`, what `accepted` holds from these offsets on counts; it must be all there is about its entities.
    Compaction may have taken away what a revocation erased: the log without it must give the same view, and history may
    hold more than the log only where it holds no content.
    """
    statements, tombstones = _settled(connection, since)
    records = newest(statements)
    left = newest(statements.filter(~pl.col("key").is_in(list(tombstones))))
    assert left.rows() == records.rows(), "what is erased from the log changes no view that is made of it"
    entities = statements["uscc"].unique().to_list()
    with connect(connection.database.get_secret_value()) as store:
        held = _frame(
            store,
            f"SELECT replace(record_id::text, '-', ''), {', '.join(_RECORD[1:])} FROM record"
            " WHERE uscc = ANY(%s) ORDER BY 1",
            _RECORD,
            entities if since else None,
        )
        expected = records.select(_RECORD).sort("record_id")
        assert held.rows() == expected.rows()
        wanted = summary(records).filter(pl.col("records") > 0)
        viewed = _frame(
            store,
            "SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo FROM credit_view"
            " WHERE uscc = ANY(%s) ORDER BY 1, 2, 3",
            wanted.columns,
            entities if since else None,
        )
        assert viewed.rows() == wanted.select(viewed.columns).rows()
        rank = ["record_id", "epoch", "version", "digest_hi", "digest_lo"]
        told = _frame(
            store,
            "SELECT DISTINCT replace(record_id::text, '-', ''), epoch, version, digest_hi, digest_lo, statement IS NULL"
            " FROM record_history WHERE uscc = ANY(%s) ORDER BY 1, 2, 3, 4, 5",
            [*rank, "erased"],
            entities if since else None,
        )
        there = {tuple(row) for row in statements.select(rank).rows()}
        assert there <= {row[:5] for row in told.rows()}
        assert all(row[:5] in there or row[5] for row in told.rows())
        erased = {accepted_key(*row[:5]).encode() for row in told.rows() if row[5]}
        assert tombstones <= erased, "a tombstone for what history still holds"
        assert_figures_are_of_the_set(store)
    return records.height


def assert_figures_are_of_the_set(store: psycopg.Connection[Any]) -> None:
    """Hold the figures of the departments, entered batch by batch, against what all of history counts for at once."""
    everything = sql("projection/quality").replace(
        "FROM suspect", "FROM record_history"
    )  # not every role may make a table
    at_once = {row[:4]: row[4] for row in store.execute(everything)}
    entered = store.execute(
        "SELECT day, department, measure, bucket, sum(n)::bigint FROM quality_day WHERE measure <> 'VISIBLE'"
        " GROUP BY 1, 2, 3, 4 HAVING sum(n) <> 0"
    )
    assert {row[:4]: row[4] for row in entered} == at_once
    shown = store.execute(
        "SELECT COALESCE(sum(n) FILTER (WHERE measure = 'ACCEPTED'), 0) = COALESCE(sum(n) FILTER (WHERE measure = 'VISIBLE'), 0)"
        " FROM quality_day"
    ).fetchone()
    assert shown == (True,), "each statement became visible once"


def _frame(store: psycopg.Connection[Any], query: str, columns: list[str], entities: list[str] | None) -> pl.DataFrame:
    every = query.replace("WHERE uscc = ANY(%s) ", "") if entities is None else query
    rows = store.execute(every, None if entities is None else [entities]).fetchall()
    return pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)


def view_caught_up(connection: Connection) -> bool:
    """Tell whether the view's positions stand at the ends of the logs."""
    consumer = Consumer(connection.kafka.client({"group.id": GROUP}))
    try:
        with connect(connection.database.get_secret_value()) as store:
            rows = store.execute("SELECT topic, partition, next_offset FROM position").fetchall()
        return bool(rows) and all(
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)[1] == offset
            for topic, partition, offset in rows
        )
    finally:
        consumer.close()


def _committed(consumer: Consumer, places: list[TopicPartition]) -> list[TopicPartition]:
    answers: list[list[TopicPartition]] = []

    def answered() -> bool:
        try:
            answers.append(consumer.committed(places, timeout=15))
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_COORDINATOR:
                raise
        return bool(answers)

    assert wait_until(answered, seconds=30), "the coordinator does not answer"
    return answers[0]


def lag(connection: Connection, group: str, topics: list[str]) -> int:
    """Return how many messages a group has not committed yet: what an operator's lag graph shows."""
    # Not by the AdminClient: librdkafka's crashes the process when the coordinator has just started.
    consumer = Consumer(connection.kafka.client({"group.id": group, "enable.auto.commit": False}))
    try:
        places = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in consumer.list_topics(topic, timeout=15).topics[topic].partitions
        ]
        behind = 0
        for place in _committed(consumer, places):
            _, end = consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout=15)
            behind += end - max(place.offset, 0)
        return behind
    finally:
        consumer.close()
