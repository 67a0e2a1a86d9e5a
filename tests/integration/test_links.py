"""A push link between two real clusters: what the far side has is what was said, whatever became of the link."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from time import monotonic

import pytest
import requests
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.schema_registry import Schema

from consumers.links import Link
from deploy.deadline import wait_until
from schemas.contracts.avro import source
from schemas.contracts.registry import Registry
from schemas.exchange.topics import exchange_topic
from schemas.operations.log import OperationsReader
from schemas.servers.connection import Connection, Peer
from tests import warm
from tests.links import FAR, OWN, Origin, assert_same_log, link_process, links_to, log_of, remake, running, whole
from tests.workers import environment

pytestmark = pytest.mark.timeout(240)

TOPIC = exchange_topic(OWN)


@pytest.fixture(scope="module")
def far(far_stack: Connection) -> Connection:
    """The peer's servers. Its registry has issued other ids than ours: it held something before."""
    with Registry(far_stack.registry) as registry:
        client = registry._client
        for number in range(3):
            text = json.dumps({"type": "record", "name": f"other.Kind{number}", "fields": []})
            client.register_schema(f"other.Kind{number}", Schema(text, "AVRO"))
        for subject in ("xinliu.Statement", "xinliu.Checkpoint"):
            client.delete_subject(subject, permanent=False)
            client.delete_subject(subject, permanent=True)
            registry.register(
                subject, {**source(subject), "doc": "in other words"}
            )  # the same text would have the same id
    return far_stack


@pytest.fixture(scope="module")
def own(own_stack: Connection, far: Connection, tmp_path_factory: pytest.TempPathFactory) -> Connection:
    """The origin's servers, with the peer among its settings."""
    peer = Peer(kafka=far.kafka, registry=far.registry)
    return links_to(own_stack, tmp_path_factory.mktemp("keys"), **{FAR: peer})


@pytest.fixture(autouse=True)
def _anew(own: Connection, far: Connection) -> None:
    remake(own.kafka)
    remake(far.kafka)


def caught_up(own: Connection, far: Connection) -> bool:
    """Wait until the far side has everything."""
    return wait_until(lambda: whole(own, far.kafka), seconds=60, every=0.3)


def events(connection: Connection) -> list[str]:
    """Return the kinds of what links have told people, in order."""
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        try:
            return [told.kind for told in reader.held()]
        finally:
            reader.close()


def limit(connection: Connection, size: int) -> None:
    """Set how long a message of the exchange may be on a cluster."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient(connection.kafka.client({}))
    resource = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def delete_before(connection: Connection, partition: int, offset: int) -> None:
    """Delete what a log holds before this offset, as its retention would."""
    admin = AdminClient(connection.kafka.client({}))
    for future in admin.delete_records([TopicPartition(TOPIC, partition, offset)]).values():
        future.result(30)


def test_a_link_copies_what_is_committed_and_changes_no_body(own: Connection, far: Connection) -> None:
    origin = Origin(own)
    origin.write_many(20)
    with Registry(far.registry) as theirs:
        before = theirs.ids("xinliu.Statement")
    with running(Link(own, FAR)) as link:
        assert caught_up(own, far)
        origin.write_many(20)
        assert caught_up(own, far)
        assert wait_until(lambda: link.state.lag_messages == 0, seconds=10), link.state
        assert link.state.lag_seconds == 0
    assert assert_same_log(own, far) == 0, "nothing went wrong, so nothing is there twice"
    with Registry(far.registry) as theirs:
        (schema_id,) = theirs.ids("xinliu.Statement").values()
        assert theirs.ids("xinliu.Statement") == before, "a link registers nothing"
    assert schema_id != origin.schema_id, "the two registries have issued different ids"


def test_a_link_killed_again_and_again_loses_and_reorders_nothing(
    own: Connection, far: Connection, tmp_path: Path
) -> None:
    origin, chance = Origin(own, seed=5), Random(5)
    copied = 0
    for _ in range(8):
        worker = link_process(own, tmp_path)
        try:
            before = copied
            begun, wanted = monotonic(), chance.uniform(0.0, 0.6)
            moving = False
            while not moving or monotonic() - begun < wanted:
                origin.write(chance.randrange(1, 400))
                copied = sum(map(len, log_of(far.kafka, TOPIC).values()))
                if not moving and copied > before:
                    moving, begun = True, monotonic()
                assert worker.runs, worker.log
        finally:
            worker.kill()
    worker = link_process(own, tmp_path)
    origin.write(1)  # so that it has copied something, and is not stopped before it has begun
    assert caught_up(own, far), worker.log
    assert worker.stop() == 0
    assert_same_log(own, far)


def test_a_message_that_the_peer_refuses_stops_its_partition_and_no_other(
    own: Connection, far: Connection, tmp_path: Path
) -> None:
    limit(far, 100_000)
    origin = Origin(own)
    origin.write(50)
    origin.write(1, size=150_000, partition=2)
    origin.write(20, partition=2)
    (too_long,) = [m.offset for m in log_of(own.kafka, TOPIC)[2] if len(m.value or b"") > 100_000]
    with running(Link(own, FAR)) as link:
        assert wait_until(lambda: (TOPIC, 2) in link.state.held, seconds=60), link.state
        origin.write(200)
        others = [p for p in range(4) if p != 2]

        def arrived() -> bool:
            ours, theirs = log_of(own.kafka, TOPIC), log_of(far.kafka, TOPIC)
            return all(theirs[p] and theirs[p][-1].origin[1] == ours[p][-1].offset for p in others)

        assert wait_until(arrived, seconds=30, every=0.3), "the other partitions go on"
        held = link.state.held[TOPIC, 2]
        assert held.offset == too_long
        assert "too large" in held.why
        # Offered again, it is the first that a new producer has for the partition: nothing may slip past it then either.
        assert wait_until(lambda: link.state.held[TOPIC, 2].pause > 5.0, seconds=30)
        assert all(m.origin[1] < too_long for m in log_of(far.kafka, TOPIC)[2]), "nothing goes past it"
        shown = links_shown(own, tmp_path)
        assert shown.returncode == 1
        (told,) = json.loads(shown.stdout)
        assert [(one["kind"], one["partition"], one["offset"]) for one in told["standing"]] == [
            ("LINK_HELD", 2, too_long)
        ]
        limit(far, 4 << 20)
        assert caught_up(own, far), link.state
        assert wait_until(lambda: not link.state.held, seconds=15)
    assert_same_log(own, far)
    assert events(own)[-2:] == ["LINK_HELD", "LINK_WENT_ON"]
    shown = links_shown(own, tmp_path)
    assert (shown.returncode, json.loads(shown.stdout)[0]["lag_messages"]) == (0, 0), shown.stdout


def test_a_schema_that_the_far_registry_lacks_stops_the_partition_until_it_is_there(
    own: Connection, far: Connection
) -> None:
    name = "xinliu.test.Clash"
    ours = {"type": "record", "name": name, "fields": [{"name": "a", "type": "string"}]}
    theirs = {"type": "record", "name": name, "fields": [{"name": "a", "type": "long"}]}
    with Registry(own.registry) as one, Registry(far.registry) as other:
        schema_id = one._client.register_schema(name, Schema(json.dumps(ours), "AVRO"))
        other._client.register_schema(name, Schema(json.dumps(theirs), "AVRO"))
        other._client.set_compatibility(name, "FULL_TRANSITIVE")
        origin = Origin(own)
        origin.write(40)
        origin.schema_id, known = schema_id, origin.schema_id
        origin.write(1, partition=1)
        origin.schema_id = known
        origin.write(40)
        with running(Link(own, FAR)) as link:
            assert wait_until(lambda: (TOPIC, 1) in link.state.held, seconds=60), link.state
            assert name in link.state.held[TOPIC, 1].why
            other._client.set_compatibility(name, "NONE")
            other._client.register_schema(name, Schema(json.dumps(ours), "AVRO"))  # as that province's operators do
            assert caught_up(own, far), link.state
    assert_same_log(own, far)


def test_what_the_retention_took_is_told_and_passed(own: Connection, far: Connection) -> None:
    origin = Origin(own)
    origin.write_many(10)
    with running(Link(own, FAR)):
        assert caught_up(own, far)
    had = log_of(far.kafka, TOPIC)[3][-1].origin[1]
    origin.write(100, partition=3)
    begins = log_of(own.kafka, TOPIC)[3][-50].offset
    assert begins > had + 1
    delete_before(own, 3, begins)
    link = Link(own, FAR)
    with running(link):
        assert caught_up(own, far)
    there = [m.origin[1] for m in log_of(far.kafka, TOPIC)[3]]
    assert [offset for offset in there if offset > had] == [
        m.offset for m in log_of(own.kafka, TOPIC)[3] if m.offset > had
    ]
    assert events(own)[-1] == "LINK_GAP"
    assert link.metrics.gaps.labels(FAR, TOPIC)._value.get() == 1


def test_a_log_made_anew_on_either_side_is_pushed_from_its_beginning(own: Connection, far: Connection) -> None:
    origin = Origin(own)
    origin.write_many(10)
    with running(Link(own, FAR)) as link:
        assert caught_up(own, far)
        remake(far.kafka)
        assert caught_up(own, far), "nobody was disconnected, and yet it is noticed"
        origin.write(10)
        assert caught_up(own, far)
    assert_same_log(own, far)
    remake(own.kafka)
    Origin(own).write_many(10)
    with running(link := Link(own, FAR)):
        newest = {p: ms[-1] for p, ms in log_of(own.kafka, TOPIC).items()}

        def arrived() -> bool:
            theirs = log_of(far.kafka, TOPIC)
            return all(theirs[p][-1].value[5:] == m.value[5:] for p, m in newest.items() if m.value)  # type: ignore[index]

        assert wait_until(arrived, seconds=60, every=0.3), link.state
    assert "LINK_RENEWED" in events(own)


def test_a_link_alone_shows_its_metrics(own: Connection, far: Connection, tmp_path: Path) -> None:
    origin = Origin(own)
    origin.write_many(5)
    worker = link_process(own, tmp_path, FAR, "--metrics-port", "0", "--log-json")
    try:
        assert caught_up(own, far), worker.log
        (url,) = [json.loads(line)["address"] for line in worker.log.splitlines() if '"metrics.serving"' in line]

        def settled() -> bool:
            return (
                f'xinliu_link_lag_messages{{peer="{FAR}",topic="{TOPIC}"}} 0.0'
                in requests.get(f"{url}/metrics", timeout=5).text
            )

        assert wait_until(settled, seconds=15)
        text = requests.get(f"{url}/metrics", timeout=5).text
        assert f'xinliu_link_up{{peer="{FAR}"}} 1.0' in text
        sent = sum(map(len, log_of(own.kafka, TOPIC).values()))
        assert f'xinliu_link_sent_total{{peer="{FAR}",topic="{TOPIC}"}} {sent}.0' in text
    finally:
        assert worker.stop() == 0


def test_a_peer_that_nobody_knows_is_a_mistake(own: Connection, tmp_path: Path) -> None:
    worker = link_process(own, tmp_path, "shanxi")
    assert worker.wait(30) == 2
    assert "beijing has no peer 'shanxi'" in worker.log


def links_shown(connection: Connection, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `xinliu exchange links --json`."""
    assert connection.exchange is not None
    file = folder / "shown.json"
    file.write_text(connection.exchange.model_dump_json(), encoding="utf-8")
    return warm.run(
        [sys.executable, "-m", "xinliu", "exchange", "links", "--json"],
        env=environment(connection) | {"XINLIU_EXCHANGE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
