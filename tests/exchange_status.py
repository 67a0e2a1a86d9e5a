"""Playing provinces on one cluster: their keys, their statuses, and what a database knows of the exchange."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition
from psycopg.rows import dict_row

from deploy.deadline import wait_until
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, frame, unframe
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Keyring, Signer, make_key
from schemas.exchange.topics import status_topic
from schemas.servers.connection import Connection, Exchange
from streams.exchange.status.reader import StatusReader
from streams.exchange.status.recorder import StatusRecorder
from streams.monitoring.endpoint import Outside

__all__ = [
    "OUR_TOPIC", "PROVINCES", "Provinces", "Reading", "Store", "applied", "apply", "believed", "cell", "exchanging", "limit",
    "made", "publish", "published", "refused",
]  # fmt: skip

Store = psycopg.Connection[tuple[Any, ...]]
OUR_TOPIC = "topic-of-beijing"

PROVINCES = ("beijing", "tianjin", "hebei", "shanxi")
RECORD = "xinliu.ExchangeStatus"


def exchanging(connection: Connection, folder: Path) -> Connection:
    """Return the connection with keys of all four provinces; that of its own signs."""
    keyring = folder / "keyring"
    files = {province: make_key(province, folder / province, keyring) for province in PROVINCES}
    signing = folder / connection.province / "signing.json"
    files[connection.province].replace(signing)
    return connection.model_copy(update={"exchange": Exchange(signing_key=signing, keyring=keyring)})


def published(*, sequence: int = 3, offset: int = 30, made_at: datetime | None = None) -> list[dict[str, Any]]:
    """Return the last checkpoints of all four partitions, as a status has them."""
    at = made_at or datetime.now(UTC)
    return [{"partition": p, "sequence": sequence, "offset": offset, "made_at": at} for p in range(4)]


def applied(
    origin: str,
    *,
    sequence: int = 3,
    offset: int = 30,
    made_at: datetime | None = None,
    differs: Sequence[str] = (),
    partitions: Sequence[int] = range(4),
    topic_id: str = "topic-of-beijing",
) -> list[dict[str, Any]]:
    """Return what a status says of one origin; `differs` is of partition 0."""
    at = made_at or datetime.now(UTC)
    return [
        {
            "province": origin,
            "partition": p,
            "topic_id": topic_id,
            "sequence": sequence,
            "offset": offset,
            "made_at": at,
            "applied_at": at,
            "behind": 0,
            "differs": list(differs) if p == 0 else [],
        }
        for p in partitions
    ]


def made(outside: Outside, province: str = "beijing") -> StatusRecorder:
    """Return a recorder that shows its figures there."""
    return StatusRecorder(outside.instruments, province, PROVINCES)


@dataclass(frozen=True)
class Provinces:
    """Says on `status.<p>` whatever a test wants to have said there."""

    connection: Connection
    folder: Path
    registry: Registry

    @property
    def keyring(self) -> Keyring:
        """The public keys of all."""
        return Keyring(self.folder / "keyring")

    @property
    def schema_id(self) -> int:
        """The registry's id of the contract of a status."""
        return self.registry.register(RECORD)

    def last(self, province: str) -> Mapping[str, Any] | None:
        """Return what a province said last, whoever may believe it; None where it has said nothing."""
        consumer = Consumer(self.connection.kafka.client({"group.id": "test-status", "enable.auto.commit": False}))
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(status_topic(province), 0), timeout=20)
            if end == 0:
                return None
            consumer.assign([TopicPartition(status_topic(province), 0, end - 1)])
            message = consumer.poll(20)
            assert message is not None
            return decode(parsed(RECORD), unframe(message.value() or b"")[1])
        finally:
            consumer.close()

    def signer(self, province: str) -> Signer:
        """Return a province's own key."""
        (file,) = (self.folder / province).glob("*.json")
        return Signer.from_file(file)

    def body(self, province: str, *, signer: Signer | None = None, **told: Any) -> bytes:
        """Return a signed status."""
        value: Mapping[str, Any] = {
            "province": province,
            "made_at": datetime.now(UTC),
            "published": [],
            "applied": [],
            "wanted": [],
        }
        return (signer or self.signer(province)).record(RECORD, {**value, **told})

    def say(self, topic_of: str, body: bytes) -> None:
        """Let a message of that body stand on the topic of a province."""
        self.write(topic_of, frame(self.schema_id, body))

    def write(self, topic_of: str, value: bytes) -> None:
        """Let these bytes stand on the topic of a province."""
        producer = Producer(self.connection.kafka.client({"acks": "all"}))
        producer.produce(status_topic(topic_of), value, topic_of.encode(), 0)
        assert producer.flush(30) == 0

    def tell(self, province: str, **told: Any) -> None:
        """Let a province say this of itself."""
        self.say(province, self.body(province, **told))


class Reading:
    """A reader of ours, and what it was asked to push again."""

    def __init__(self, beijing: Connection, others: Provinces) -> None:
        self.outside = Outside("view", ())
        self.wanted: list[tuple[str, datetime, Sequence[Any]]] = []
        self._open = True
        self._reader = StatusReader(
            beijing.database.get_secret_value(),
            beijing.kafka,
            others.registry,
            others.keyring,
            province="beijing",
            provinces=PROVINCES,
            generation=1,
            recorder=made(self.outside),
            wanted=lambda _, who, at, sets: self.wanted.append((who, at, sets)),
        )

    def until(self, store: Store, query: str) -> None:
        """Read until the query says true."""

        def holds() -> bool:
            self._reader.read(0.2)
            row = store.execute(query).fetchone()
            return bool(row and row[0])

        assert wait_until(holds, seconds=20), query

    def read(self) -> int:
        """Read for a moment; return how many were looked at."""
        return self._reader.read(0.2)

    def refused(self, province: str) -> dict[str, int]:
        """Return how many of a province's statuses were refused since this reader was made, by code."""
        found = re.findall(
            rf'^xinliu_exchange_status_refused_total{{code="(\w+)",province="{province}"}} (\d+)',
            self.outside.metrics()[0].decode(),
            re.MULTILINE,
        )
        return {code: int(n) for code, n in found}

    def close(self) -> None:
        """End it."""
        if self._open:
            self._reader.close()
        self._open = False


def publish(store: Store, *, sequence: int = 3, offset: int = 30, made_at: datetime | None = None) -> None:
    """Let our own publisher be so far."""
    for partition in range(4):
        store.execute(
            "INSERT INTO xinliu.published_checkpoint VALUES (%s, %s, %s, %s, '', %s) ON CONFLICT (partition) DO UPDATE"
            ' SET (sequence, "offset", made_at) = (excluded.sequence, excluded."offset", excluded.made_at)',
            (partition, OUR_TOPIC, sequence, offset, made_at or datetime.now(UTC)),
        )


def apply(store: Store, origin: str, *, sequence: int = 3, differs: Sequence[str] = (), complete: bool = True) -> None:
    """Let our view hold what an origin shared."""
    for partition in range(4):
        store.execute(
            "INSERT INTO applied_checkpoint VALUES (%s, %s, %s, %s, %s, '', now(), now(), %s)",
            (origin, partition, f"topic-of-{origin}", sequence, sequence * 10, complete),
        )
    for domain in ("tax", "water"):
        store.execute(
            "INSERT INTO foreign_domain (province, partition, domain, sequence, records, digest_hi, digest_lo, held_records,"
            " held_hi, held_lo, made_at, checked_at) VALUES (%s, 0, %s, %s, 5, 1, 2, %s, 1, 2, now(), now())",
            (origin, domain, sequence, 4 if domain in differs else 5),
        )


def cell(store: Store, origin: str, province: str) -> dict[str, Any]:
    """Return one cell of the matrix."""
    with store.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            "SELECT * FROM report.exchange_matrix WHERE (origin, province) = (%s, %s)", (origin, province)
        ).fetchone()
    assert found is not None
    return found


def limit(store: Store, measure: str, province: str, seconds: int) -> None:
    """Let another limit hold than the catalogue's."""
    store.execute(
        "INSERT INTO xinliu.exchange_limit SELECT 100 + count(*), %(measure)s, %(province)s, '测试', %(seconds)s, '2020-01-01', NULL,"
        " 'a test', 'yes' FROM xinliu.exchange_limit",
        {"measure": measure, "province": province, "seconds": seconds},
    )
    if province == "*":
        store.execute(
            "DELETE FROM xinliu.exchange_limit WHERE (measure, province) = (%s, '*') AND place < 100", (measure,)
        )


def believed(province: str) -> str:
    """Return the question whether a province was heard."""
    return f"SELECT told_at IS NOT NULL FROM xinliu.peer_heard WHERE province = '{province}'"


def refused(province: str) -> str:
    """Return the question whether something on its topic was refused."""
    return f"SELECT refusals > 0 FROM xinliu.peer_heard WHERE province = '{province}'"
