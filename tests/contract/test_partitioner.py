"""Who writes with which client does not matter: every one puts a USCC where every other does."""

from __future__ import annotations

import asyncio
import csv
import uuid
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.identifiers.uscc import generate
from schemas.records.partitioning import partitions_of
from schemas.servers.connection import Connection

PARTITIONS = 12
VECTORS = Path(__file__).parents[1] / "data" / "uscc_vectors.csv"


def real_codes() -> list[str]:
    with VECTORS.open(encoding="utf-8", newline="") as file:
        return [row["code"] for row in csv.DictReader(file)]


@pytest.fixture
def topic(stack: Connection) -> Iterator[str]:
    name = f"partitioner-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": stack.kafka.servers})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


def by_librdkafka(kafka: str, topic: str, codes: list[str]) -> dict[str, int]:
    """Return where the broker has them, by delivery report: murmur2_random is what our producers set."""
    places: dict[str, int] = {}

    def delivered(error: object, message: Message) -> None:
        key = message.key()
        partition = message.partition()
        assert error is None, error
        assert isinstance(key, bytes)
        assert partition is not None
        places[key.decode()] = partition

    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "acks": "all"})
    for code in codes:
        producer.produce(topic, b"x", key=code.encode(), on_delivery=delivered)
    assert producer.flush(60) == 0
    return places


async def by_aiokafka(kafka: str, topic: str, codes: list[str]) -> dict[str, int]:
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        sent = [await producer.send(topic, b"x", key=code.encode()) for code in codes]
        return {code: (await written).partition for code, written in zip(codes, sent, strict=True)}


def test_three_clients_agree_on_a_thousand_codes(stack: Connection, topic: str) -> None:
    codes = [*real_codes(), *(generate(number * 7919) for number in range(1000))]
    ours = dict(zip(codes, partitions_of(pl.Series(codes), PARTITIONS).tolist(), strict=True))
    assert by_librdkafka(stack.kafka.servers, topic, codes) == ours
    assert asyncio.run(by_aiokafka(stack.kafka.servers, topic, codes)) == ours
    assert set(ours.values()) == set(range(PARTITIONS))
