"""Beijing and Hebei as they run, with nobody playing the other: a case from opening to close, a repair that is owed, a promotion."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.deadline import wait_until
from deploy.local.provinces import Provinces
from schemas.calendar.periods import china_day
from schemas.exchange.keys import Signer
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests import warm
from tests.exchanges import Sharing, entities, of_province, shared
from tests.generations import rebuilt, serving
from tests.servers import local_stack, starting
from tests.statements import Statement, framed, penalty, put, registered, registration, state
from tests.workers import environment

ENTITY = 431_001
USCC = generate(ENTITY)
SOON = 60.0


@dataclass
class Desk:
    """Where people of one province type."""

    connection: Connection

    def xinliu(self, *words: str, expect: int = 0) -> Any:
        """Run a command and return what it says, with --json."""
        ran = warm.run(
            [sys.executable, "-m", "xinliu", *words, "--json"],
            env=environment(self.connection), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ran.returncode == expect, (words, ran.stdout[-2000:], ran.stderr[-2000:])
        return json.loads(ran.stdout) if expect in (0, 1) else ran.stderr

    def publish(self, *statements: Statement) -> None:
        """Let departments of this province say something."""
        for one in statements:
            put(self.connection, f"records.{one['department']}", list(framed(self.connection, [one])))

    def ask(self, query: str, *values: Any) -> Any:
        """Return the one value that PostgreSQL answers with, None where it has none."""
        with connect(self.connection.database.get_secret_value(), generation=serving(self.connection)) as store:
            row = store.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]

    def version(self, record: Statement) -> int | None:
        """Return which version of a record of Beijing's this province holds."""
        found = self.ask(
            "SELECT version FROM record WHERE record_id = %s AND province = 'beijing' AND status <> 'WITHDRAWN'",
            record["record_id"],
        )
        return None if found is None else int(found)

    def case(self, case_id: str) -> dict[str, Any]:
        """Return what the table has of a case: nothing before it has come here."""
        found = self.ask("SELECT to_jsonb(c) FROM report.case_standing c WHERE case_id = %s", case_id)
        return dict(found or {})


@pytest.fixture(scope="module")
def desks(backend: str) -> Iterator[dict[str, Desk]]:
    """Both provinces with their workers and links."""
    if backend != "local":
        pytest.skip("several provinces share a machine with the local backend alone")
    provinces = Provinces(("beijing", "hebei"), prefix=f"{local_stack().name}-two")
    provinces.reset()
    try:
        with starting():
            connections = provinces.up()
        yield {name: Desk(connection) for name, connection in connections.items()}
    finally:
        provinces.reset()


@pytest.mark.timeout(600)
def test_a_case_is_opened_in_one_province_answered_in_the_other_and_closed(desks: dict[str, Desk]) -> None:
    beijing, hebei = desks["beijing"], desks["hebei"]
    first = penalty("跨省1号", entity=ENTITY)
    hebei.publish(registration(entity=ENTITY, province="hebei", since=date(2026, 1, 5)))
    beijing.publish(first)
    assert wait_until(lambda: hebei.version(first) == first["version"], seconds=SOON)
    assert wait_until(
        lambda: beijing.ask("SELECT province FROM registration WHERE uscc = %s AND current", USCC) == "hebei",
        seconds=SOON,
    )

    opened = hebei.xinliu("cases", "open", first["record_id"], "--procedure", "objection", "--reason", "处罚金额有误")
    case_id = opened["event"]["case_id"]
    assert case_id.startswith("hebei-")
    hebei.xinliu("cases", "accept", case_id)
    hebei.xinliu("cases", "forward", case_id)
    assert wait_until(lambda: beijing.case(case_id).get("state") == "FORWARDED", seconds=SOON), "routed to the source"
    (waiting,) = beijing.xinliu("cases", "list", "--mine")["cases"]
    assert (waiting["case"], waiting["lead"]) == (case_id, "hebei")

    beijing.publish(
        {**first, "version": first["version"] + 1, "reason": "DISPUTED", "disputed_since": date(2026, 11, 24)}
    )
    for desk in desks.values():
        assert wait_until(lambda desk=desk: desk.case(case_id)["marked_at"] is not None, seconds=SOON), (
            "marked everywhere"
        )
    beijing.publish({**first, "version": first["version"] + 2, "reason": "CORRECTED"})
    assert wait_until(lambda: beijing.version(first) == first["version"] + 2, seconds=SOON)
    assert "answered" in hebei.xinliu("cases", "close", case_id, expect=2), "not before it is answered"
    beijing.xinliu("cases", "answer", case_id, "--outcome", "corrected", "--reason", "罚款应为0.2万元")
    assert wait_until(lambda: hebei.case(case_id)["state"] == "ANSWERED", seconds=SOON)
    assert wait_until(lambda: hebei.case(case_id)["arrived_at"] is not None, seconds=SOON), (
        "what the answer names is here"
    )
    hebei.xinliu("cases", "close", case_id)
    assert wait_until(lambda: beijing.case(case_id)["state"] == "CLOSED", seconds=SOON)
    assert hebei.xinliu("cases", "show", case_id)["state"] == "CLOSED"


@pytest.mark.timeout(600)
def test_a_repair_is_owed_until_the_other_province_says_that_it_has_applied_it(desks: dict[str, Desk]) -> None:
    beijing, hebei = desks["beijing"], desks["hebei"]
    first = penalty("跨省2号", entity=ENTITY)
    beijing.publish(first)
    assert wait_until(lambda: hebei.version(first) == first["version"], seconds=SOON)
    repaired = state(first, "REPAIRED", version=5)
    beijing.publish(repaired)

    def owed() -> dict[str, Any]:
        # Tianjin and Shanxi, which do not run here, owe it for ever.
        found = beijing.xinliu("exchange", "duties", "--province", "hebei")["duties"]
        return next((one for one in found if one["record_id"] == first["record_id"]), {})

    assert wait_until(lambda: owed().get("state") == "ACKNOWLEDGED", seconds=SOON, every=0.5), owed()
    assert (owed()["status"], owed()["version"]) == ("REPAIRED", repaired["version"])
    assert owed()["acknowledged_at"] <= owed()["due_at"]
    assert hebei.version(first) == repaired["version"]
    assert hebei.ask("SELECT count(*) FROM report.mutual_penalty WHERE record_id = %s", first["record_id"]) == 0


@pytest.mark.timeout(600)
def test_all_of_a_province_follows_what_is_promoted_and_goes_on_sharing(desks: dict[str, Desk]) -> None:
    beijing, hebei = desks["beijing"], desks["hebei"]
    said = penalty("跨省3号", entity=ENTITY)
    beijing.publish(said)
    assert wait_until(lambda: hebei.version(said) == said["version"], seconds=SOON)
    # Who receives, who shares, and back: links, mending and what is acknowledged are of the generation that serves.
    for desk in (hebei, beijing):
        first = serving(desk.connection)
        replay, second = rebuilt(desk.connection)
        for words in (("promote", replay), ("rollback",)):
            switched = desk.xinliu("replay", *words, "--reason", "对照后启用")
            assert switched["new"] == serving(desk.connection) == (second if words[0] == "promote" else first)
            said = {**said, "version": said["version"] + 1, "reason": "CORRECTED"}
            beijing.publish(said)
            for one in (beijing, hebei):
                assert wait_until(lambda one=one, said=said: one.version(said) == said["version"], seconds=SOON), words
            assert wait_until(lambda: hebei.ask("SELECT count(*) FROM report.exchange_unequal") == 0, seconds=SOON), (
                hebei.ask("SELECT jsonb_agg(to_jsonb(u)) FROM report.exchange_unequal u")
            )


@pytest.mark.timeout(600)
def test_what_a_stolen_key_says_takes_over_nothing_and_goes_when_the_true_province_speaks(
    desks: dict[str, Desk],
) -> None:
    """Whoever has Hebei's key, and its link's right to write here, signs a run of his own between two of Hebei's."""
    beijing, hebei = desks["beijing"], desks["hebei"]
    entity = entities(1, 1, first=431_010)[0]
    uscc, now = generate(entity), datetime.now(UTC)
    beijing.publish(registration(entity=entity, name="京信行业协会", since=date(2010, 6, 10)))
    named = "SELECT name FROM report.entity WHERE uscc = %s"
    assert wait_until(lambda: beijing.ask(named, uscc) == "京信行业协会", seconds=SOON)
    exchange = hebei.connection.exchange
    assert exchange is not None and exchange.signing_key is not None
    thief = Sharing("hebei", Signer.from_file(exchange.signing_key), partition=1, topic_id="stolen" * 3, made_at=now)
    epoch = int(now.timestamp() * 1000)
    claim = registration(entity=entity, name="已注销的公司(假)", version=3, since=china_day(now) - timedelta(days=1))
    said = [
        of_province("hebei", claim),
        shared("hebei", "伪造1号", entity=entity),
        shared("hebei", "伪造2号", entity=entity, fine=Decimal(-5)),
    ]
    for one in said:
        thief.say(one, epoch=epoch)
    thief.checkpoint()
    ids = {name: registered(beijing.connection.registry, name) for name in ("xinliu.Statement", "xinliu.Checkpoint")}
    producer = Producer(beijing.connection.kafka.client({"acks": "all"}))
    for sent in thief.log:
        key, value, headers = sent.arrived(ids[sent.name])
        producer.produce(sent.topic, value, key, sent.partition, headers=headers)
    assert producer.flush(30) == 0

    of_it = "SELECT count(*) FROM record_history WHERE province = 'hebei' AND uscc = %s"
    assert wait_until(lambda: beijing.ask(of_it, uscc) >= 2, seconds=SOON), "signed, and within bounds: believed"
    assert beijing.ask(named, uscc) == "京信行业协会"
    assert beijing.ask("SELECT here FROM report.mutual_place(%s)", uscc)
    refused = "SELECT count(*) FROM quarantine WHERE topic = 'exchange.hebei' AND findings @> '[{\"code\": \"NEGATIVE_AMOUNT\"}]'"
    assert wait_until(lambda: beijing.ask(refused) == 1, seconds=SOON)

    honest = penalty("跨省9号", entity=entity, province="hebei")
    hebei.publish(honest)
    held = "SELECT array_agg(penalty_document_number) FROM record WHERE province = 'hebei' AND uscc = %s AND status <> 'WITHDRAWN'"
    assert wait_until(lambda: beijing.ask(held, uscc) == ["跨省9号"], seconds=2 * SOON), beijing.ask(held, uscc)
    assert beijing.xinliu("exchange", "contested") == []
