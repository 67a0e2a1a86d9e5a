"""Cases on real servers: Hebei's by its exchange, our own by the command, from opening to close."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.deadline import wait_until
from schemas.calendar.periods import china_day
from schemas.cases.fold import CONTRACT, CaseEvent, in_milliseconds, new_case_id
from schemas.contracts.registry import Registry
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.exchange.carried.cases import case_key, partition_of
from tests import warm
from tests.case_events import event
from tests.exchanges import Sharing, keys, of_province
from tests.offline import log_of
from tests.statements import Statement, framed, penalty, put, registration
from tests.workers import Worker, environment


@dataclass
class Desk:
    """Beijing's servers and workers, and Hebei as it is heard there."""

    connection: Connection
    settings: dict[str, str]
    folder: Path
    far: dict[str, Sharing]
    sent: int = 0
    view: Worker | None = None

    def xinliu(self, *words: str, expect: int = 0, plain: bool = False) -> Any:
        """Run a command and return what it says: with --json, or as a person sees it."""
        ran = warm.run(
            [sys.executable, "-m", "xinliu", *words, *([] if plain else ["--json"])],
            env=environment(self.connection) | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == expect, (ran.stdout[-2000:], ran.stderr[-2000:])
        return ran.stdout if plain else json.loads(ran.stdout) if expect in (0, 1) else ran.stderr

    def case(self, case_id: str) -> dict[str, Any]:
        """Return what `xinliu cases show` says of a case."""
        return dict(self.xinliu("cases", "show", case_id))

    def state(self, case_id: str) -> str | None:
        """Return what the table has of a case."""
        return self.ask("SELECT state FROM xinliu.case_state WHERE case_id = %s", case_id)

    def ask(self, query: str, *values: Any) -> Any:
        """Return the one value that PostgreSQL answers with, None where it has none."""
        with connect(self.connection.database.get_secret_value(), autocommit=True) as store:
            row = store.execute(query, values).fetchone()
        return None if row is None else row[0]

    def publish(self, *statements: Statement) -> None:
        """Say something as the tax department, and wait until it is seen."""
        put(self.connection, "records.tax", list(framed(self.connection, statements)))
        last = statements[-1]
        query = "SELECT version FROM record WHERE record_id = %s AND department = 'tax' AND province = 'beijing'"
        assert wait_until(lambda: self.ask(query, last["record_id"]) == last["version"], seconds=120)

    def far_says(self, province: str, *said: CaseEvent | Statement) -> None:
        """Let another province say something in one run, as its link brings it here."""
        sharing = self.far[province]
        begin = len(sharing.log)
        for one in said:
            if isinstance(one, CaseEvent):
                sharing.carry(CONTRACT, asdict(one), case_key(one).encode())
            else:
                sharing.say(one)
        sharing.checkpoint()
        producer = Producer(self.connection.kafka.client({"acks": "all"}))
        with Registry(self.connection.registry) as registry:
            for sent in sharing.log[begin:]:
                key, value, headers = sent.arrived(registry.register(sent.name))
                producer.produce(sent.topic, value, key, sent.partition, headers=headers)
        assert producer.flush(30) == 0


@pytest.fixture(scope="module")
def desk(own_stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Both workers of Beijing, which shares with the others."""
    folder = tmp_path_factory.mktemp("desk")
    ring = folder / "keyring"
    signers = keys(ring, "beijing", "hebei", "tianjin")
    (private,) = [path for path in (folder / "keyring-private").iterdir() if "beijing" in path.name]
    file = folder / "exchange.json"
    file.write_text(json.dumps({"keyring": str(ring), "signing_key": str(private)}))
    settings = {"XINLIU_EXCHANGE": str(file)}
    partition = partition_of(generate(ENTITY))
    now = datetime.now(UTC)
    far = {one: Sharing(one, signers[one], partition, made_at=now) for one in ("hebei", "tianjin")}
    made = Desk(own_stack, settings, folder, far)
    intake = Worker(own_stack, "intake", folder, settings=settings)
    made.view = Worker(own_stack, "view", folder, "--instance", "desk", settings=settings)
    try:
        yield made
    finally:
        for worker in (intake, made.view):
            if worker.runs:
                assert worker.stop() == 0, worker.log[-3000:]


ENTITY = 430_001


def told(kind: str, case_id: str, record: Statement, **fields: Any) -> CaseEvent:
    """Return an event of now about this record."""
    about = {"uscc": record["subject"]["uscc"], "record_id": record["record_id"], "department": record["department"]}
    return replace(event(kind, case=case_id, **about, **fields), at=in_milliseconds(datetime.now(UTC)))


def test_a_case_that_hebei_leads_is_answered_by_the_department_here_and_closed_there(desk: Desk) -> None:
    first = penalty("异地1号", entity=ENTITY)
    desk.publish(first)
    case_id = new_case_id("hebei", china_day(datetime.now(UTC)), b"e2e")
    moved = of_province("hebei", registration(entity=ENTITY, since=date(2026, 1, 5)))
    opened = told("OPENED", case_id, first, version=first["version"])
    desk.far_says("hebei", moved, opened, told("ACCEPTED", case_id, first))
    desk.far_says("hebei", told("FORWARDED", case_id, first))
    assert wait_until(lambda: desk.state(case_id) == "FORWARDED", seconds=60)

    (one,) = desk.xinliu("cases", "list", "--mine")["cases"]
    assert (one["case"], one["lead"], one["led_rightly"], one["late"]) == (case_id, "hebei", True, False)
    assert {step["step"] for step in one["steps"] if not step["done_at"]} == {"MARK", "ANSWER"}
    assert [row["case"] for row in desk.xinliu("show", generate(ENTITY))["cases"]] == [case_id]
    assert f"异议 已转办 {case_id}" in desk.xinliu("show", generate(ENTITY), plain=True)

    assert "answered" in desk.xinliu("cases", "close", case_id, expect=2)
    assert "is no CORRECTED" in desk.xinliu(
        "cases", "answer", case_id, "--outcome", "corrected", "--reason", "x", expect=2
    )
    wrong = desk.xinliu("cases", "forward", case_id, expect=2)
    assert "once" in wrong
    noted = desk.xinliu("cases", "note", case_id, "--reason", "已通知办案科室")
    assert noted["event"]["province"] == "beijing"

    marked = {**first, "version": first["version"] + 1, "reason": "DISPUTED", "disputed_since": date(2026, 11, 24)}
    desk.publish(marked)
    assert desk.case(case_id)["marked_at"]
    assert "bears the mark still" in desk.xinliu(
        "cases", "answer", case_id, "--outcome", "upheld", "--reason", "x", expect=2
    )
    corrected = {**first, "version": first["version"] + 2, "reason": "CORRECTED"}
    desk.publish(corrected)
    dry = desk.xinliu("cases", "answer", case_id, "--outcome", "corrected", "--reason", "罚款数额有误", "--dry-run")
    assert dry["dry_run"]
    assert desk.case(case_id)["state"] == "FORWARDED"
    answer = desk.xinliu("cases", "answer", case_id, "--outcome", "corrected", "--reason", "罚款数额有误")["event"]
    assert answer["version"] == corrected["version"]
    assert desk.case(case_id)["state"] == "ANSWERED", "at once, whether or not the view has taken it over"
    assert wait_until(lambda: desk.state(case_id) == "ANSWERED", seconds=30)
    shared = "SELECT shared_at IS NOT NULL FROM xinliu.case_event WHERE event_id = %s"
    assert wait_until(lambda: bool(desk.ask(shared, answer["event_id"])), seconds=60), "it is told to the others"
    assert f"case|{case_id}|{answer['event_id']}" in told_by_us(desk.connection, partition_of(generate(ENTITY)))

    closed = told("CLOSED", case_id, first, answer=answer["event_id"])
    # Whoever is neither leads nor answers: Tianjin's word is refused, and changes nothing.
    forged = replace(closed, province="tianjin")
    desk.far_says("tianjin", forged)
    entry = "SELECT findings::text FROM quarantine WHERE topic = 'exchange.tianjin'"
    assert wait_until(lambda: desk.ask(entry) is not None, seconds=60)
    assert "hebei to say" in desk.ask(entry)
    assert desk.state(case_id) == "ANSWERED"
    desk.far_says("hebei", closed)
    assert wait_until(lambda: desk.state(case_id) == "CLOSED", seconds=60)
    shown = desk.case(case_id)
    assert (shown["outcome"], shown["void"]) == ("CORRECTED", [])
    assert [one["kind"] for one in shown["events"]] == [
        "OPENED",
        "ACCEPTED",
        "FORWARDED",
        "NOTED",
        "ANSWERED",
        "CLOSED",
    ]
    assert desk.xinliu("show", generate(ENTITY))["cases"] == []


def told_by_us(connection: Connection, partition: int) -> set[str]:
    """Return the keys of the case events in a partition of our exchange, without their contents' digests."""
    return {
        key.decode().rpartition("|")[0]
        for key, place in ((message.key(), message.partition()) for message in log_of(connection, "exchange.beijing"))
        if place == partition and key.startswith(b"case|")
    }


def log_of_cases(connection: Connection) -> int:
    """Return how many messages the topic has."""
    consumer = Consumer(connection.kafka.client({"group.id": "none", "enable.auto.commit": False}))
    try:
        return int(consumer.get_watermark_offsets(TopicPartition("cases", 0), timeout=15)[1])
    finally:
        consumer.close()


def test_a_case_of_our_own_by_the_command_with_reminders_and_a_worker_that_was_away(desk: Desk) -> None:
    first = penalty("本地1号", entity=ENTITY + 1)
    elsewhere = penalty("外迁1号", entity=ENTITY)
    desk.publish(first)
    desk.publish(elsewhere)
    there = desk.xinliu("cases", "open", elsewhere["record_id"], "--procedure", "objection", "--reason", "x", expect=2)
    assert "registered in hebei" in there
    person = desk.xinliu(
        "cases", "open", first["record_id"], "--procedure", "objection", "--reason", "11010119900307123X", expect=2
    )
    assert "PERSONAL_IDENTIFIER" in person
    opened = desk.xinliu("cases", "open", first["record_id"], "--procedure", "objection", "--reason", "金额有误")[
        "event"
    ]
    case_id = opened["case_id"]
    again = desk.xinliu("cases", "open", first["record_id"], "--procedure", "objection", "--reason", "再", expect=2)
    assert case_id in again, "the same case is not opened twice, projected or not"
    desk.xinliu("cases", "accept", case_id)
    # The mark is due on the next working day: it is reminded of at once, and of nothing twice.
    assert wait_until(lambda: desk.ask(REMINDED, case_id) >= 1, seconds=60)
    before = desk.ask(REMINDED, case_id)

    assert desk.view is not None
    desk.view.kill()
    desk.xinliu("cases", "forward", case_id, "--reason", "转税务部门")
    assert desk.case(case_id)["state"] == "FORWARDED", "read from the topic, while no view runs"
    assert desk.state(case_id) == "ACCEPTED"
    desk.view = Worker(desk.connection, "view", desk.folder, "--instance", "desk", settings=desk.settings)
    assert wait_until(lambda: desk.state(case_id) == "FORWARDED", seconds=90), desk.view.log[-3000:]
    assert desk.ask(REMINDED, case_id) == before

    disputed = {**first, "version": first["version"] + 1, "reason": "DISPUTED", "disputed_since": date(2026, 11, 24)}
    upheld = {**first, "version": first["version"] + 2, "reason": "UPHELD"}
    desk.publish(disputed, upheld)
    assert "answered" in desk.xinliu("cases", "close", case_id, expect=2)
    desk.xinliu("cases", "answer", case_id, "--outcome", "upheld", "--reason", "核查无误")
    desk.xinliu("cases", "close", case_id)
    shown = desk.case(case_id)
    assert (shown["state"], shown["outcome"], shown["answer_version"]) == ("CLOSED", "UPHELD", upheld["version"])
    late = desk.xinliu("cases", "note", case_id, "--reason", "迟到", expect=2)
    assert "has ended" in late
    assert case_id not in {one["case"] for one in desk.xinliu("cases", "list")["cases"]}
    assert case_id in {one["case"] for one in desk.xinliu("cases", "list", "--all")["cases"]}
    assert log_of_cases(desk.connection) >= len(shown["events"])


REMINDED = "SELECT count(*) FROM xinliu.case_event WHERE case_id = %s AND kind = 'REMINDED'"
