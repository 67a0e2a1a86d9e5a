"""The committed log of exchange.<province>, read whole and held against its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.contracts.avro import parsed
from schemas.contracts.codec import HEADER, decode
from schemas.exchange.keys import Keyring
from schemas.exchange.topics import EXCHANGE_PARTITIONS, FIRST_HASH, RunHash, exchange_topic
from schemas.servers.connection import Connection

__all__ = ["Logged", "Run", "committed", "verified"]

CONTRACT = "xinliu.Checkpoint"


@dataclass(frozen=True)
class Logged:
    """A committed message."""

    partition: int
    offset: int
    key: str
    headers: list[tuple[str, bytes]]
    value: bytes

    @property
    def body(self) -> bytes:
        """The Avro body."""
        return self.value[HEADER:]

    def header(self, name: str) -> str | None:
        """Return a header's text."""
        return next((value.decode() for key, value in self.headers if key == name), None)


@dataclass(frozen=True)
class Run:
    """A run that its checkpoint was held against."""

    checkpoint: dict[str, Any]
    messages: list[Logged]


def committed(connection: Connection, province: str = "beijing") -> list[Logged]:
    """Return every committed message of exchange.<province>, by partition and offset."""
    topic = exchange_topic(province)
    places = [TopicPartition(topic, partition, 0) for partition in range(EXCHANGE_PARTITIONS)]
    everything = Consumer(
        connection.kafka.client({"group.id": "tests-exchange", "isolation.level": "read_uncommitted"})
    )
    ends = {place.partition: everything.get_watermark_offsets(place, timeout=20)[1] for place in places}
    everything.close()
    consumer = Consumer(
        connection.kafka.client(
            {
                "group.id": "tests-exchange",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "auto.offset.reset": "earliest",
            }
        )
    )
    consumer.assign(places)
    found, open_partitions = list[Logged](), set(range(EXCHANGE_PARTITIONS))
    while open_partitions:
        message = consumer.poll(20)
        assert message is not None, f"{topic} does not end"
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            # What was committed a moment ago is readable once the broker has marked it in each partition.
            if message.offset() >= ends[message.partition()]:
                open_partitions.discard(message.partition())
            continue
        key = (message.key() or b"").decode()
        found.append(
            Logged(message.partition(), message.offset(), key, message.headers() or [], message.value() or b"")
        )
    consumer.close()
    return sorted(found, key=lambda one: (one.partition, one.offset))


def verified(log: Sequence[Logged], keyring: Path) -> list[Run]:
    """Hold the whole log against its checkpoints: signatures, predecessors, sequences, counts, hashes. Returns its runs."""
    known, runs = Keyring(keyring), list[Run]()
    for partition in range(EXCHANGE_PARTITIONS):
        open_run, before, last_hash, sequence = list[Logged](), -1, FIRST_HASH, 0
        for message in (one for one in log if one.partition == partition):
            if not message.key.startswith("checkpoint|"):
                open_run.append(message)
                continue
            told = decode(parsed(CONTRACT), message.body, parsed(CONTRACT))
            known.verify(CONTRACT, message.body, told, received_at=told["made_at"])
            total = RunHash(last_hash)
            for one in open_run:
                total.add(one.offset, one.key.encode(), one.headers, one.body)
            last = open_run[-1].offset if open_run else before
            assert (told["partition"], told["sequence"], told["predecessor"]) == (partition, sequence, before)
            assert (told["predecessor_hash"], told["hash"]) == (last_hash, total.hexdigest())
            assert (told["count"], told["last_offset"]) == (len(open_run), last)
            runs.append(Run(told, open_run))
            open_run, before, last_hash, sequence = [], message.offset, told["hash"], sequence + 1
        assert not open_run, f"partition {partition} ends with messages that no checkpoint covers"
    return runs
