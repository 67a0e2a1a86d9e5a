"""The past comes back: older databases, older registries, topics made anew, records deleted before they were read."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from deploy.deadline import wait_until
from deploy.local.stack import Stack
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import encode, frame
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests import warm
from tests.offline import INTAKE_GROUP, VIEW_GROUP, assert_view_is_the_fold, ends_of, lag, log_of, view_caught_up
from tests.statements import framed, penalty, put
from tests.workers import Worker, workers

pytestmark = pytest.mark.timeout(280)

STATEMENT = "xinliu.Statement"


def fresh(count: int, key: str) -> list[dict[str, Any]]:
    """Return statements of a department about entities of their own."""
    run = uuid.uuid4().hex[:8]
    entity = 8_000_000 + int(run, 16) % 100_000 * 10
    return [penalty(f"昔{run}-{n}", entity=entity + n % 10, key=key) for n in range(count)]


def settle(connection: Connection, topic: str, running: tuple[Worker, ...]) -> None:
    """Wait until everything is folded and committed."""

    def settled() -> bool:
        for worker in running:
            assert worker.runs, worker.log[-3000:]
        return (
            lag(connection, INTAKE_GROUP, [topic]) == 0
            and view_caught_up(connection)
            and lag(connection, VIEW_GROUP, ["accepted", "quarantine"]) == 0
        )

    assert wait_until(settled, seconds=120, every=0.5), [worker.log[-1500:] for worker in running]


def command(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `xinliu` on the local stack."""
    return warm.run(
        [sys.executable, "-m", "xinliu", "--stack", stack.name, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_database_put_back_to_an_older_backup_catches_up(
    stack: Connection, local_stack: Stack, tmp_path: Path
) -> None:
    since = ends_of(stack, "accepted")
    with workers(stack, tmp_path, "intake", "view") as running:
        put(stack, "records.survey", framed(stack, fresh(300, "survey")))
        settle(stack, "records.survey", running)
        saved = command(local_stack, "backup", str(tmp_path / "older"), "--json")  # while the workers run
        assert saved.returncode == 0, saved.stderr
        put(stack, "records.survey", framed(stack, fresh(200, "survey")))
        settle(stack, "records.survey", running)
        assert assert_view_is_the_fold(stack, since) == 500
        refused = command(local_stack, "restore", str(tmp_path / "older"), "--only", "database")
        assert refused.returncode == 2
        assert "stop the workers" in refused.stderr
    restored = command(local_stack, "restore", str(tmp_path / "older"))
    assert restored.returncode == 0, restored.stderr
    assert not view_caught_up(stack)
    with workers(stack, tmp_path, "intake", "view") as running:
        settle(stack, "records.survey", running)
        assert assert_view_is_the_fold(stack, since) == 500


def test_a_backup_that_is_damaged_or_foreign_is_refused_and_changes_nothing(
    stack: Connection, local_stack: Stack, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    assert command(local_stack, "backup", str(folder)).returncode == 0
    again = command(local_stack, "backup", str(folder))
    assert again.returncode == 2
    assert "is not empty" in again.stderr
    table = folder / "database" / "g1.record.copy.gz"
    whole = table.read_bytes()
    table.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = command(local_stack, "restore", str(folder))
    assert damaged.returncode == 2
    assert "is not what was backed up" in damaged.stderr
    table.write_bytes(whole)
    manifest = folder / "database" / "manifest.json"
    known = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**known, "of": "tianjin"}))
    foreign = command(local_stack, "restore", str(folder))
    assert foreign.returncode == 2
    assert "backup of tianjin" in foreign.stderr
    assert command(local_stack, "restore", str(tmp_path / "nothing")).returncode == 2


def test_an_id_that_the_registry_issues_twice_is_noticed(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    older, newest = tmp_path / "older", tmp_path / "newest"
    assert command(local_stack, "backup", str(older)).returncode == 0
    evolved = copy.deepcopy(source(STATEMENT))
    evolved["fields"].append({"name": f"later_{uuid.uuid4().hex[:6]}", "type": ["null", "string"], "default": None})
    with SchemaRegistryClient({"url": stack.registry.url}) as client:
        evolved_id = client.register_schema(STATEMENT, Schema(json.dumps(evolved), "AVRO"))
    accepted = command(local_stack, "schemas", "accept", fingerprint(evolved), "--reason", "下一版")
    assert accepted.returncode == 0, accepted.stderr
    # What a newer publisher would send: the fields that we know, and its own, null, behind them.
    values = [frame(evolved_id, encode(STATEMENT, statement) + b"\x00") for statement in fresh(20, "survey")]
    since = ends_of(stack, "accepted")
    with workers(stack, tmp_path, "intake", "view") as running:
        put(stack, "records.survey", values)
        settle(stack, "records.survey", running)
        assert assert_view_is_the_fold(stack, since) == 20
    assert command(local_stack, "backup", str(newest)).returncode == 0
    # Both are put back; then the registry gives the id away again.
    assert command(local_stack, "restore", str(older)).returncode == 0
    with SchemaRegistryClient({"url": stack.registry.url}) as client:
        given = 0
        while given < evolved_id:
            name = f"Other{uuid.uuid4().hex[:6]}"
            other = {"type": "record", "name": name, "fields": [{"name": "x", "type": "long"}]}
            given = client.register_schema(name, Schema(json.dumps(other), "AVRO"))
        assert given == evolved_id
    view = Worker(stack, "view", tmp_path)
    assert view.wait(120) == 4
    assert "meant another schema when it was accepted" in view.log
    assert "xinliu restore" in view.log
    assert command(local_stack, "restore", str(newest), "--only", "registry").returncode == 0
    with workers(stack, tmp_path, "intake", "view") as running:
        settle(stack, "records.survey", running)
        assert assert_view_is_the_fold(stack, since) == 20


@pytest.mark.parametrize("before", [30, 5], ids=["fewer records than before", "more records than before"])
def test_a_topic_that_is_made_anew_is_read_from_its_beginning(stack: Connection, tmp_path: Path, before: int) -> None:
    topic = "records.science"
    admin = AdminClient(stack.kafka.client({}))
    with workers(stack, tmp_path, "intake", "view") as running:
        put(stack, topic, framed(stack, fresh(before, "science")), partition=0)
        settle(stack, topic, running)
    admin.delete_topics([topic])[topic].result(30)
    assert wait_until(lambda: topic not in admin.list_topics(timeout=10).topics, seconds=30)

    def made() -> bool:
        # The broker may still be deleting the old one.
        return admin.create_topics([NewTopic(topic, 2, 1)])[topic].exception() is None

    assert wait_until(made, seconds=30, every=0.5)
    news = framed(stack, fresh(15, "science"))
    put(stack, topic, news, partition=0)
    with workers(stack, tmp_path, "intake", "view") as running:
        settle(stack, topic, running)
        assert set(news) <= {message.value() for message in log_of(stack, "accepted")}


def test_a_topic_made_anew_while_members_keep_their_names_is_read(stack: Connection, tmp_path: Path) -> None:
    """The broker gives a member that comes back the assignment of before: without this topic, which did not exist then."""
    topic, admin = "records.sports", AdminClient(stack.kafka.client({}))

    def shared_out() -> bool | None:
        try:
            described = admin.describe_consumer_groups([INTAKE_GROUP], request_timeout=15)[INTAKE_GROUP].result()
        except KafkaException:
            return None  # the coordinator starts or moves
        places = [tp.topic for member in described.members for tp in member.assignment.topic_partitions]
        return topic in places if places else None  # while they are shared out, nobody has any

    def intake() -> Worker:
        return Worker(stack, "intake", tmp_path, "--instance", "one", "--metrics-port", "0")

    first = intake()
    assert wait_until(lambda: shared_out() is True, seconds=60, every=0.5), first.log[-3000:]
    admin.delete_topics([topic])[topic].result(30)
    assert wait_until(lambda: shared_out() is False, seconds=60, every=0.5), first.log[-3000:]
    first.kill()
    assert wait_until(
        lambda: admin.create_topics([NewTopic(topic, 2, 1)])[topic].exception() is None, seconds=30, every=0.5
    )
    second = intake()
    try:
        put(stack, topic, framed(stack, fresh(15, "sports")), partition=0)
        assert wait_until(lambda: lag(stack, INTAKE_GROUP, [topic]) == 0, seconds=120, every=0.5), second.log[-3000:]
        assert wait_until(lambda: "worker.reads_again" in second.log, seconds=30), second.log[-3000:]
    finally:
        second.stop()
    assert "worker.partitions_unread" in second.log


def test_records_that_were_deleted_unread_are_never_passed_over_in_silence(
    stack: Connection, local_stack: Stack, tmp_path: Path
) -> None:
    topic = "records.justice"
    with workers(stack, tmp_path, "intake", "view") as running:
        put(stack, topic, framed(stack, fresh(10, "justice")), partition=0)
        settle(stack, topic, running)
    put(stack, topic, framed(stack, fresh(20, "justice")), partition=0)
    end = ends_of(stack, topic)[0]
    admin = AdminClient(stack.kafka.client({}))
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, end - 5)]).values()
    deleted.result(30)
    intake = Worker(stack, "intake", tmp_path)
    assert intake.wait(90) == 4
    assert f"records {end - 20} to {end - 6} were deleted before intake took them over" in intake.log
    shown = json.loads(command(local_stack, "positions", "show", "--json").stdout)
    assert [row["remark"] for row in shown if row["topic"] == topic and row["partition"] == 0] == [
        f"outside the log: records {end - 20} to {end - 6} are gone"
    ]
    healthy = command(local_stack, "positions", "accept-loss", topic, "1", "--reason", "try")
    assert healthy.returncode == 2
    done = command(local_stack, "positions", "accept-loss", topic, "0", "--reason", "retention was 1 day")
    assert done.returncode == 0, done.stderr
    with workers(stack, tmp_path, "intake", "view") as running:
        settle(stack, topic, running)
    with connect(stack.database.get_secret_value()) as store:
        held = store.execute(
            "SELECT held_since, data_as_of FROM source_freshness WHERE department = 'justice'"
        ).fetchone()
    assert held is not None
    assert held[0] is not None, "无 must not be said while records are missing"
