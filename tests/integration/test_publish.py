"""Publishing on a real broker: the same bytes every time, nothing lost in silence, and waiting for receipts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from producers import NotDelivered, Publisher, PublisherConfig
from producers.files.import_file import Import, import_file
from schemas.catalogue import Department, load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, encode, frame, unframe
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.records.partitioning import partitions_of
from schemas.servers.connection import Connection
from tests.commands import without_stack
from tests.statements import registered
from tests.unit.importing import penalty, write

SECONDS = 30.0


@dataclass(frozen=True)
class Source:
    """A department whose topics only this test writes."""

    connection: Connection
    department: Department

    def row(self, number: int, **changes: str) -> dict[str, str]:
        authority, name = self.department.authorities[0]
        own = {"CF_CFJG": name, "CF_CFJGDM": authority, "CF_SJLY": name, "CF_SJLYDM": authority}
        return penalty(CF_WSH=f"测〔2025〕{number}号", CF_XDR_SHXYM=generate(number % 7 + 1), **own | changes)

    def imported(self, path: Path) -> Import:
        return import_file(path, self.department, load())

    def config(self, **changes: Any) -> PublisherConfig:
        return PublisherConfig(self.connection.kafka, self.connection.registry, self.department.key, **changes)

    def messages(self) -> list[Message]:
        return everything(self.connection.kafka.servers, self.department.records_topic)

    def command(self, *words: str) -> Result:
        app = without_stack("publish")
        words = ("publish", *words, "--department", self.department.key, "--json")
        return CliRunner().invoke(app, words, obj=lambda: self.connection)


def everything(kafka: str, topic: str) -> list[Message]:
    """Return all records of a topic, partition by partition."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex, "enable.auto.commit": False})
    try:
        found: list[Message] = []
        for partition in consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=SECONDS)
            consumer.assign([TopicPartition(topic, partition, first)])
            deadline = monotonic() + SECONDS
            while first < end and (not found or found[-1].partition() != partition or found[-1].offset() < end - 1):
                found.extend(message for message in consumer.consume(1000, 0.5) if message.error() is None)
                assert monotonic() < deadline, f"{topic}/{partition} cannot be read to its end"
        return found
    finally:
        consumer.close()


def statements(messages: Sequence[Message]) -> list[tuple[int | None, bytes, bytes]]:
    """Return partition, key and value of what is no marker."""
    return [(m.partition(), m.key() or b"", m.value() or b"") for m in messages if m.key() is not None]


@pytest.fixture
def source(stack: Connection, request: pytest.FixtureRequest) -> Source:
    """A department for this test alone, chosen by name."""
    return Source(stack, load().department("beijing", request.param))


def using(department: str) -> pytest.MarkDecorator:
    """Give a test a department of its own."""
    return pytest.mark.parametrize("source", [department], indirect=True, ids=[department])


@using("meteorology")
def test_the_same_file_twice_gives_the_same_bytes(source: Source, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [source.row(number) for number in range(50)])
    for name, encoding in (("a.csv", "utf-8"), ("b.csv", "gb18030")):
        copy = write(tmp_path / name, [source.row(number) for number in range(50)], encoding=encoding)
        done = source.command(str(copy))
        assert (done.exit_code, json.loads(done.stdout)["sent"]) == (0, 50), done.output
    first, second = (sorted(part) for part in _halves(statements(source.messages())))
    assert first == second
    assert path.exists()


def _halves(sent: list[tuple[int | None, bytes, bytes]]) -> tuple[list[Any], list[Any]]:
    by_partition = [[one for one in sent if one[0] == partition] for partition in sorted({one[0] or 0 for one in sent})]
    halves = [(part[: len(part) // 2], part[len(part) // 2 :]) for part in by_partition]
    return [one for half, _ in halves for one in half], [one for _, half in halves for one in half]


CRASH = """
import os, sys
from pathlib import Path
from producers import Publisher, PublisherConfig
from producers.files.import_file import import_file
from schemas.catalogue import load
path, kafka, registry = sys.argv[1:]
found = import_file(Path(path), load().department("beijing", "press"), load())
publisher = Publisher(PublisherConfig(kafka, registry, "press"))
for place, statement in enumerate(found.outgoing[:30]):
    publisher.publish_encoded(statement.uscc, statement.body)
    if place == 19:
        publisher.flush()
os.kill(os.getpid(), 9)
"""
"""Half the file is out, a quarter is on its way, no handler runs."""


@using("press")
def test_a_crash_half_way_and_the_whole_file_again_change_nothing(source: Source, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [source.row(number) for number in range(40)])
    crash = [sys.executable, "-c", CRASH, str(path), *(source.connection.kafka.servers, str(source.config().registry))]
    assert subprocess.run(crash, check=False, timeout=SECONDS).returncode == -9
    assert 20 <= len(statements(source.messages())) < 40
    with Publisher(source.config()) as publisher:
        for statement in source.imported(path).outgoing:
            publisher.publish_encoded(statement.uscc, statement.body)
    sent = statements(source.messages())
    assert {value[5:] for _, _, value in sent} == {statement.body for statement in source.imported(path).outgoing}
    assert len({(key, value) for _, key, value in sent}) == 40


@using("sports")
def test_places_partitions_and_markers(source: Source, tmp_path: Path) -> None:
    found = source.imported(write(tmp_path / "a.csv", [source.row(number) for number in range(60)]))
    as_of = datetime(2025, 9, 2, 4, 0, tzinfo=UTC)
    with Publisher(source.config(), track=True) as publisher:
        for statement in found.outgoing:
            publisher.publish_encoded(statement.uscc, statement.body)
        markers = publisher.mark(as_of)
    by_place = {(m.partition(), m.offset()): m for m in source.messages()}
    partitions, offsets = publisher.offsets
    for place, statement in enumerate(found.outgoing):
        message = by_place[partitions[place], offsets[place]]
        assert (message.value() or b"")[5:] == statement.body
        assert offsets[place] < markers[partitions[place]]
    codes = [statement.uscc for statement in found.outgoing]
    assert list(partitions) == partitions_of(pl.Series(codes), len(markers)).tolist()
    said = [decode(parsed("xinliu.Marker"), unframe(by_place[at].value() or b"")[1]) for at in markers.items()]
    assert len({marker["marker_id"] for marker in said}) == 1
    assert {marker["as_of"] for marker in said} == {as_of}
    assert set(markers) == set(range(source.department.partitions))


@using("telecom")
def test_a_tiny_queue_is_back_pressure_and_no_error(source: Source, tmp_path: Path) -> None:
    found = source.imported(write(tmp_path / "a.csv", [source.row(number) for number in range(200)]))
    with Publisher(source.config(queue_messages=5)) as publisher:
        for statement in found.outgoing:
            publisher.publish_encoded(statement.uscc, statement.body)
    assert len(statements(source.messages())) == 200


@pytest.fixture
def narrow(stack: Connection) -> Iterator[str]:
    """A department's topic that takes 20,000 bytes a batch."""
    department = f"narrow-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(stack.kafka.client({}))
    topic = NewTopic(f"records.{department}", 1, config={"max.message.bytes": "20000"})
    for future in admin.create_topics([topic]).values():
        future.result(SECONDS)
    yield department
    for future in admin.delete_topics([topic.topic]).values():
        future.result(SECONDS)


def test_a_record_that_the_broker_refuses_is_an_error(stack: Connection, narrow: str) -> None:
    config = PublisherConfig(stack.kafka, stack.registry, narrow)
    with pytest.raises(NotDelivered, match="1 of the records"), Publisher(config) as publisher:
        publisher.publish_encoded("91110000101623741K", os.urandom(100_000))


def test_a_topic_that_is_not_there_is_one_clear_line(stack: Connection) -> None:
    with pytest.raises(UsageError, match="topics apply"), Publisher(PublisherConfig(stack.kafka, stack.registry, "nobody")) as publisher:  # fmt: skip
        publisher.mark(datetime.now(UTC))


class Chain:
    """Answers as the relay does: exceptions first, then the watermark that passes them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._producer = Producer(source.connection.kafka.client({"linger.ms": 0}))
        self._schema = registered(source.connection.registry, "xinliu.Receipt")
        self._statement = registered(source.connection.registry, "xinliu.Statement")

    def answer(self, refuse: str, flag: str) -> None:
        """Wait for the markers, then tell: one refused, one flagged (twice, as at-least-once may), another's, the rest."""
        deadline = monotonic() + SECONDS
        while not self._marked(messages := self._source.messages()):
            assert monotonic() < deadline
        exceptions = [self._exception(messages, refuse, "REFUSED"), self._exception(messages, flag, "FLAGGED")]
        stranger = {**exceptions[0], "offset": 1_000_000}
        self._send(exceptions=[*exceptions, stranger])
        self._send(exceptions=exceptions)
        for partition in range(self._source.department.partitions):
            end = max(m.offset() or 0 for m in messages if m.partition() == partition) + 1
            self._send(watermark=[{"partition": partition, "next_offset": end, "as_of": datetime.now(UTC)}])
        assert self._producer.flush(SECONDS) == 0

    def _marked(self, messages: list[Message]) -> bool:
        return len({m.partition() for m in messages if m.key() is None}) == self._source.department.partitions

    def _exception(self, messages: list[Message], number: str, outcome: str) -> dict[str, Any]:
        for message in messages:
            schema_id, body = unframe(message.value() or b"")
            if schema_id != self._statement:
                continue  # a marker, or a row that was refused before it was sent
            said = decode(parsed("xinliu.Statement"), body)
            if said["penalty"]["document_number"] == number:
                return {
                    "partition": message.partition(),
                    "offset": message.offset(),
                    "record_id": said["record_id"],
                    "version": said["version"],
                    "outcome": outcome,
                    "findings": [{"code": "TEST", "field": "uscc", "message": "试验"}],
                }
        raise AssertionError(f"{number} was not published")

    def _send(self, *, watermark: Sequence[Any] = (), exceptions: Sequence[Any] = ()) -> None:
        receipt = {
            "department": self._source.department.key,
            "issued_at": datetime.now(UTC),
            "watermark": list(watermark),
            "exceptions": list(exceptions),
        }
        body = frame(self._schema, encode("xinliu.Receipt", receipt))
        self._producer.produce(self._source.department.receipts_topic, body)


def beside(work: Callable[[], None], command: Callable[[], Result]) -> Result:
    """Run a command while other work goes on."""
    with ThreadPoolExecutor(1) as pool:
        future: Future[None] = pool.submit(work)
        done = command()
        future.result(SECONDS)
    return done


@using("post")
def test_wait_tells_what_became_of_every_line(source: Source, tmp_path: Path) -> None:
    rows = [source.row(number) for number in range(20)] + [source.row(99, CF_SY="")]
    path = write(tmp_path / "a.csv", rows)
    chain = Chain(source)
    done = beside(
        lambda: chain.answer("测〔2025〕3号", "测〔2025〕5号"),
        lambda: source.command(str(path), "--wait", "--timeout", "30", "--rejects", str(tmp_path / "r.csv")),
    )
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert (said["sent"], said["refused"], said["refused_by_intake"], said["flagged"]) == (20, 1, 1, 1)
    assert (said["visible"], said["waited_seconds"] < SECONDS) == (True, True)
    assert [(error["line"], error["code"]) for error in said["errors"]] == [(5, "TEST"), (22, "REQUIRED")]
    assert [(remark["line"], remark["code"]) for remark in said["remarks"]] == [(7, "TEST")]
    assert len((tmp_path / "r.csv").read_text(encoding="utf-8-sig").splitlines()) == 3


@using("cyberspace")
def test_wait_that_runs_out_of_time_still_tells_what_is_known(source: Source, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [source.row(1), source.row(2, CF_SY="")])
    rejects = tmp_path / "r.csv"
    rejects.write_text("earlier", encoding="utf-8")
    done = source.command(str(path), "--wait", "--timeout", "1", "--rejects", str(rejects))
    assert getattr(done.exception, "exit_code", None) == 3
    assert "--timeout" in str(done.exception)
    said = json.loads(done.stdout)
    assert (said["sent"], said["visible"], [error["line"] for error in said["errors"]]) == (1, None, [3])
    assert said["rejects_file"] == str(rejects), "every row is confirmed"
    assert len(rejects.read_text(encoding="utf-8-sig").splitlines()) == 2


@using("veterans")
def test_dry_run_sends_nothing_and_no_marker_vouches_for_nothing(source: Source, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [source.row(1)])
    assert source.command(str(path), "--dry-run").exit_code == 0
    assert source.messages() == []
    assert source.command(str(path), "--no-marker").exit_code == 0
    (message,) = source.messages()
    assert message.key() == generate(2).encode()
