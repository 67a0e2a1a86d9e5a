"""Two clusters and what runs between them: an origin's publisher, link processes, and both logs compared."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from consumers.links import Link
from deploy.deadline import wait_until
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import frame, unframe
from schemas.contracts.registry import Registry
from schemas.exchange.topics import EPOCH, EXCHANGE_PARTITIONS, KNOWN, ORIGIN, SCHEMA, exchange_topic, status_topic
from schemas.servers.connection import Connection, Exchange, Peer
from schemas.servers.kafka import Cluster
from tests.workers import Worker

__all__ = [
    "FAR", "OWN", "Message", "Origin", "assert_same_log", "link_process", "links_to", "log_of", "remake", "running", "whole",
]  # fmt: skip

OWN, FAR = "beijing", "tianjin"
TOPICS = {exchange_topic(OWN): EXCHANGE_PARTITIONS, status_topic(OWN): 1}
STATEMENT = "xinliu.Statement"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a log, as both sides can be asked for it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def origin(self) -> tuple[str, int]:
        """Topic id and offset that the header ORIGIN tells."""
        (told,) = [value for name, value in self.headers if name == ORIGIN]
        _, topic_id, _, offset = told.decode().split(" ")
        return topic_id, int(offset)


def links_to(connection: Connection, folder: Path, **peers: Peer) -> Connection:
    """Return the connection of a province that pushes to these."""
    return connection.model_copy(update={"exchange": Exchange(keyring=folder, peers=peers)})


def log_of(kafka: Cluster, topic: str) -> dict[int, list[Message]]:
    """Return what a reader of committed messages finds in a topic, by partition."""
    consumer = Consumer(
        kafka.client(
            {"group.id": "operator.links", "auto.offset.reset": "error", "isolation.level": "read_committed",
             "enable.partition.eof": True, "fetch.wait.max.ms": 10}
        )
    )  # fmt: skip
    try:
        found: dict[int, list[Message]] = {
            p: [] for p in consumer.list_topics(topic, timeout=15).topics[topic].partitions
        }
        first = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=15)[0] for p in found}
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in first.items()])
        left = set(found)
        while left:
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                if error is None:
                    told = message.offset(), message.key(), message.value(), tuple(message.headers() or ())
                    found[message.partition()].append(Message(*told))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    left.discard(message.partition())
        return found
    finally:
        consumer.close()


class Origin:
    """Writes to the own topics as the publisher does: in transactions, one of them aborted now and then."""

    def __init__(self, connection: Connection, *, seed: int = 1) -> None:
        self._chance = Random(seed)
        self._number = 0
        with Registry(connection.registry) as registry:
            self.schema_id = registry.register(STATEMENT)
        self._schema = fingerprint(source(STATEMENT)).encode()
        self._producer = Producer(
            connection.kafka.client(
                {
                    "transactional.id": f"exchange.{uuid.uuid4().hex}",
                    "compression.type": "lz4",
                    "message.max.bytes": 8 << 20,
                }
            )
        )
        self._producer.init_transactions(30)

    def write(self, count: int, *, aborted: bool = False, size: int = 300, partition: int | None = None) -> None:
        """Write so many messages in one transaction, over all partitions or to one."""
        self._producer.begin_transaction()
        for _ in range(count):
            self._number += 1
            topic, partitions = self._chance.choices(list(TOPICS.items()), (9, 1))[0]
            if partition is not None:
                topic, partitions = exchange_topic(OWN), 1
            self._producer.produce(
                topic,
                frame(
                    self.schema_id,
                    self._chance.randbytes(size if partition is not None else self._chance.randrange(size)),
                ),
                b"%d|%s" % (self._number, b"aborted" if aborted else b"committed"),
                self._chance.randrange(partitions) if partition is None else partition,
                headers=[(SCHEMA, self._schema), (EPOCH, b"0"), (KNOWN, b"%d" % self._number)],
            )
        self._producer.flush(30)  # an aborted transaction leaves its messages in the log
        self._producer.abort_transaction(30) if aborted else self._producer.commit_transaction(30)

    def write_many(self, rounds: int, most: int = 200) -> None:
        """Write rounds of different length, every tenth aborted."""
        for number in range(rounds):
            self.write(self._chance.randrange(1, most), aborted=number % 10 == 9)


def remake(kafka: Cluster, **config: str) -> None:
    """Delete the topics of the exchange and make them again, empty and with other ids."""
    admin = AdminClient(kafka.client({}))
    for future in admin.delete_topics(list(TOPICS)).values():
        future.result(30)
    assert wait_until(lambda: not set(TOPICS) & set(admin.list_topics(timeout=10).topics), seconds=30)
    settings = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(4 << 20), **config}
    for future in admin.create_topics([NewTopic(t, n, 1, config=settings) for t, n in TOPICS.items()]).values():
        future.result(30)
    assert wait_until(lambda: set(TOPICS) <= set(admin.list_topics(timeout=10).topics), seconds=30)


def whole(own: Connection, far: Cluster) -> bool:
    """Tell whether the far side has the last message of every partition; a topic just made anew has no leader for a moment."""
    for topic in TOPICS:
        try:
            there = log_of(far, topic)
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            return False
        for partition, messages in log_of(own.kafka, topic).items():
            if messages and (not there[partition] or max(m.origin[1] for m in there[partition]) < messages[-1].offset):
                return False
    return True


def assert_same_log(own: Connection, far: Connection, *, begins: Mapping[tuple[str, int], int] | None = None) -> int:
    """Hold both logs against each other, to the byte: return how many messages the far side has twice.

    `begins` gives the first offset of a partition that is asked for, where its beginning may be missing.
    """
    twice = 0
    with Registry(own.registry) as ours, Registry(far.registry) as theirs:
        for topic in TOPICS:
            there = log_of(far.kafka, topic)
            for partition, messages in log_of(own.kafka, topic).items():
                once: list[Message] = []
                for message in there[partition]:
                    if once and message.origin[1] <= once[-1].origin[1]:
                        twice += 1
                        first = next(m for m in once if m.origin == message.origin)
                        assert (first.key, first.value, first.headers) == (message.key, message.value, message.headers)
                    else:
                        once.append(message)
                wanted = [m for m in messages if m.offset >= (begins or {}).get((topic, partition), 0)]
                assert [m.origin[1] for m in once] == [m.offset for m in wanted], (topic, partition)
                assert [(m.key, _rest(m)) for m in once] == [(m.key, _rest(m)) for m in wanted]
                _assert_bodies(wanted, once, ours, theirs)
    return twice


def _rest(message: Message) -> tuple[tuple[str, bytes], ...]:
    return tuple(header for header in message.headers if header[0] != ORIGIN)


def _assert_bodies(own: Sequence[Message], far: Sequence[Message], ours: Registry, theirs: Registry) -> None:
    for message, copy in zip(own, far, strict=True):
        schema_id, body = unframe(message.value or b"")
        copied_id, copied = unframe(copy.value or b"")
        assert copied == body
        assert theirs.writer(copied_id).fingerprint == ours.writer(schema_id).fingerprint


@contextmanager
def running(link: Link) -> Iterator[Link]:
    """Run a link in a thread, as a worker process runs its tasks."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            link.run()
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=run, name="link", daemon=True)
    thread.start()
    try:
        yield link
    finally:
        link.stop()
        thread.join(30)
        assert not thread.is_alive(), "the link does not stop"
        assert failed == []


def link_process(connection: Connection, folder: Path, to: str = FAR, *options: str) -> Worker:
    """Start `xinliu worker link` as a deployment does: its peers come from a file."""
    assert connection.exchange is not None
    file = folder / "exchange.json"
    peers: dict[str, Any] = {
        name: {"kafka": {"servers": peer.kafka.servers}, "registry": peer.registry.url}
        for name, peer in connection.exchange.peers.items()
    }
    file.write_text(json.dumps({"keyring": os.fspath(folder), "peers": peers}), encoding="utf-8")
    return Worker(connection, "link", folder, "--to", to, *options, settings={"XINLIU_EXCHANGE": str(file)})
