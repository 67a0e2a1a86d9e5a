"""The outbox on the real servers: what the broker refuses, schemas of another version, vouching, commands and metrics."""

from __future__ import annotations

import io
import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import fastavro
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from sqlalchemy import MetaData, insert, update

from deploy.deadline import wait_until
from producers.outbox.relay import RelaySettings
from producers.outbox.sender import KafkaSender
from producers.outbox.tables import RowState
from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import decode, encode, unframe
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from tests import warm
from tests.offline import ends_of, log_of
from tests.outboxes import Database, fresh
from tests.relays import RelayProcess, bodies_of, outbox_command, outbox_on, run_outbox, status_of
from tests.statements import penalty
from tests.workers import environment, workers

SECONDS = 30.0


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own."""
    return own_stack


@pytest.fixture
def housing(stack: Connection) -> Iterator[Database]:
    """An outbox of a department that nobody else here publishes for."""
    with outbox_on(stack, "housing-fund") as made:
        yield made


@pytest.fixture
def narrow(stack: Connection) -> Iterator[Database]:
    """A department whose topic takes 20,000 bytes a batch, and its outbox."""
    department = f"narrow-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(stack.kafka.client({}))
    topic = NewTopic(f"records.{department}", 2, config={"max.message.bytes": "20000"})
    for future in admin.create_topics([topic]).values():
        future.result(SECONDS)
    with outbox_on(stack, department) as made:
        yield made
    for future in admin.delete_topics([topic.topic]).values():
        future.result(SECONDS)


def put(narrow: Database, body: bytes, uscc: str = "91110000101623741K") -> None:
    """Add a row past all checks, as a program of another version might."""
    row = {
        "department": narrow.department, "record_id": uuid.uuid4().hex, "version": 1, "domain": "tax", "uscc": uscc,
        "digest": "0" * 32, "writer_schema": fingerprint(source("xinliu.Statement")), "body": body, "state": RowState.WAITING,
    }  # fmt: skip
    with narrow.engine.begin() as connection:
        connection.execute(insert(narrow.rows).values(**row, added_at=fresh()))


def test_a_statement_that_the_broker_refuses_stops_no_other(stack: Connection, narrow: Database) -> None:
    good = [b"good %d " % number + os.urandom(50) for number in range(60)]
    for number, body in enumerate(good):
        put(narrow, body)
        if number in (10, 40):
            put(narrow, os.urandom(100_000))  # random: no compression makes it fit
    put(narrow, os.urandom(2_000_000))  # more than any producer hands over
    sender = KafkaSender(stack.kafka, stack.registry, narrow.department)
    relay = narrow.relay(sender, RelaySettings(mark_every=0.000_001, keep=None))
    relay.drain()
    assert set(bodies_of(stack, narrow.department)) == set(good)
    failed = narrow.store.failed(10)
    assert len(failed) == 3
    assert all("size" in row.reason or "bytes" in row.reason for row in failed), failed
    assert narrow.store.backlog().waiting == 0
    markers = [m for m in log_of(stack, f"records.{narrow.department}") if m.key() is None]
    assert markers == [], "nothing is vouched for while something could not be told"
    told = status_of(stack, narrow, expect=1)
    assert (told["failed"], [row["id"] for row in told["failed_rows"]]) == (3, [row.id for row in failed])

    admin = AdminClient(stack.kafka.client({}))
    widen(admin, f"records.{narrow.department}")
    assert "1 would" in outbox_command(stack, narrow, "retry", str(failed[0].id), "--dry-run")
    assert "3 will" in outbox_command(stack, narrow, "retry")
    relay = narrow.relay(sender, RelaySettings(mark_every=0.000_001, keep=None))
    relay.drain()
    (last,) = narrow.store.failed(10)
    assert "1 will not" in outbox_command(stack, narrow, "discard", str(last.id), "--reason", "误录")
    narrow.relay(sender, RelaySettings(mark_every=0.000_001, keep=None)).drain()
    assert len(bodies_of(stack, narrow.department)) == 62
    assert [m for m in log_of(stack, f"records.{narrow.department}") if m.key() is None]
    assert status_of(stack, narrow)["failed"] == 0


def widen(admin: AdminClient, topic: str) -> None:
    """Let a topic take a megabyte."""
    entry = ConfigEntry("max.message.bytes", "1048588", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(SECONDS)


def test_a_row_of_another_version_is_published_under_its_own_schema(stack: Connection, housing: Database) -> None:
    older: Any = source("xinliu.Statement")
    older["fields"] = [field for field in older["fields"] if field["name"] not in ("registration", "disputed_since")]
    older["doc"] = "as it was"
    with SchemaRegistryClient({"url": stack.registry.url}) as client:
        older_id = client.register_schema("xinliu.Statement", Schema(json.dumps(older, ensure_ascii=False), "AVRO"))
    housing.add(penalty("旧1号", key="housing-fund"), penalty("新1号", key="housing-fund"))
    statement = {key: value for key, value in penalty("旧1号", key="housing-fund").items() if key in [f["name"] for f in older["fields"]]}  # fmt: skip
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(older), statement)
    since = ends_of(stack, "records.housing-fund")
    with housing.engine.begin() as connection:
        change = update(housing.rows).where(housing.rows.c.id == 1)
        connection.execute(change.values(body=out.getvalue(), writer_schema=fingerprint(older)))
    outbox_command(stack, housing, "relay", "--once")
    messages = [m for m in log_of(stack, "records.housing-fund", since) if m.key() is not None]
    with Registry(stack.registry) as registry:
        numbers = {}
        for message in messages:
            schema_id, body = unframe(message.value())
            read = decode(registry.writer(schema_id).parsed, body, parsed("xinliu.Statement"))
            numbers[read["penalty"]["document_number"]] = schema_id
    assert numbers["旧1号"] == older_id != numbers["新1号"]


def test_a_row_of_a_version_that_nobody_knows_waits(stack: Connection, housing: Database) -> None:
    housing.add(penalty("未来1号", key="housing-fund"))
    with housing.engine.begin() as connection:
        connection.execute(update(housing.rows).values(writer_schema="f" * 64))
    with pytest.raises(UsageError, match="newer than this relay"):
        housing.relay(KafkaSender(stack.kafka, stack.registry, "housing-fund")).run()
    assert [state for _, state in housing.states()] == [RowState.WAITING]


@pytest.mark.timeout(500)
def test_the_relay_vouches_by_itself_and_silence_becomes_none(
    stack: Connection, housing: Database, tmp_path: Path
) -> None:
    uscc = generate(4_400_000)

    def state_of() -> str:
        done = warm.run(
            [sys.executable, "-m", "xinliu", "show", uscc, "--json"],
            env=environment(stack), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:  # the view has only just been started
            return done.stderr
        return next(
            str(line["state"]) for line in json.loads(done.stdout)["domains"] if line["domain"] == "housing-fund"
        )

    with (
        workers(stack, tmp_path, "intake", "view"),
        RelayProcess(stack, housing, tmp_path, "--mark-every", "0.5", "--metrics-port", "0") as relay,
    ):
        assert wait_until(lambda: state_of() == "无", seconds=180, every=0.5), relay.log
        housing.add(penalty("箱1号", entity=4_400_000, key="housing-fund"))
        assert wait_until(lambda: state_of() == "有", seconds=180, every=0.5), relay.log
        address = relay.log.partition("address=")[2].split()[0]
        with urlopen(address, timeout=10) as answer:
            figures = dict(
                line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")
            )
        label = '{department="housing-fund"}'
        assert float(figures[f"xinliu_department_outbox_sent_total{label}"]) == 1
        assert float(figures[f"xinliu_department_outbox_leads{label}"]) == 1
        assert float(figures[f"xinliu_department_outbox_waiting_rows{label}"]) == 0
        assert f"xinliu_department_outbox_as_of_timestamp_seconds{label}" in figures
        assert status_of(stack, housing)["relay"] is not None
        assert relay.stop() == 0, relay.log
        assert status_of(stack, housing)["relay"] is None, "the lease is given back"
    assert encode("xinliu.Statement", penalty("箱1号", entity=4_400_000, key="housing-fund")) in bodies_of(
        stack, "housing-fund"
    )


def test_create_makes_the_tables_and_prints_them(stack: Connection, housing: Database) -> None:
    empty = Database(housing.engine, f"{housing.table_name}_made", department="housing-fund")
    printed = outbox_command(stack, empty, "create", "--sql")
    assert "CREATE TABLE" in printed
    assert "BYTEA" in printed
    assert run_outbox(stack, empty, "status").returncode == 2
    assert "outbox create" in run_outbox(stack, empty, "relay", "--once").stderr
    assert "are there" in outbox_command(stack, empty, "create")
    assert status_of(stack, empty)["waiting"] == 0
    empty.outbox.table(metadata := MetaData())
    metadata.drop_all(housing.engine)


def test_mistakes_are_one_line_and_no_password_is_shown(stack: Connection, housing: Database) -> None:
    wrong = Database(housing.engine, housing.table_name, department="nobody")
    assert "nobody" in run_outbox(stack, wrong, "relay", "--once").stderr
    done = run_outbox(stack, housing, "relay", "--once", "--keep", "3", "--keep-forever")
    assert (done.returncode, "choose one" in done.stderr) == (2, True)
    said = run_outbox(stack, housing, "relay", "--once")
    assert said.returncode == 0
    assert str(housing.engine.url.password) not in said.stderr + said.stdout
    no_server = housing.engine.url.set(port=1)
    done = run_outbox(stack, housing, "relay", "--once", url=no_server)
    assert (done.returncode, "does not answer" in done.stderr) == (3, True)
