"""Registrations on the real servers: from a registry's file, and from another province, to what a reader is shown."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from confluent_kafka import Producer
from psycopg.rows import dict_row

from deploy.deadline import wait_until
from producers import FormerName, Publisher, PublisherConfig, Registration
from producers.receipts import Receipts
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import decode, unframe
from schemas.contracts.registry import Registry
from schemas.exchange.topics import EPOCH, KNOWN
from schemas.identifiers.uscc import generate
from schemas.records.identity import accepted_key, digest, digest_hex, registration_id
from schemas.records.partitioning import partitions_of
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.kafka.headers import ORIGIN, RECEIVED, SCHEMA, Origin
from tests.integration.test_chain import write_file, xinliu
from tests.offline import assert_view_is_the_fold, ends_of, log_of, view_caught_up
from tests.statements import Statement, department, framed, put, registration
from tests.workers import workers

REGISTRAR = "market-regulation"
AUTHORITY, AUTHORITY_NAME = department(REGISTRAR).authorities[0]


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own."""
    return own_stack


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


def registry_file(path: Path, *rows: Mapping[str, str]) -> Path:
    """Write a registry's CSV."""
    full = [
        {
            "经营主体名称": "北京甲商贸有限公司",
            "经营主体类型": "企业",
            "登记机关": AUTHORITY_NAME,
            "登记机关代码": AUTHORITY,
            "成立日期": "2015-03-02",
            "更新时间": "2026-06-01 08:00:00",
            **row,
        }
        for row in rows
    ]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in full for key in row)), restval="")
        writer.writeheader()
        writer.writerows(full)
    return path


def register(connection: Connection, path: Path, *rows: Mapping[str, str]) -> dict[str, Any]:
    """Publish a registry's file and wait until it is visible."""
    return dict(xinliu(connection, "publish", str(registry_file(path, *rows)), "--department", REGISTRAR, "--wait"))


def fine(connection: Connection, path: Path, uscc: str, number: str) -> None:
    """Publish a penalty under another name than the registry's and wait until it is visible."""
    file = write_file(path, [{"CF_WSH": number, "CF_XDR_SHXYM": uscc, "CF_XDR_MC": "处罚文书上的名称"}])
    xinliu(connection, "publish", str(file), "--department", "tax", "--wait")


def shown(connection: Connection, uscc: str, *options: str) -> dict[str, Any]:
    """Return what `xinliu show` says."""
    return dict(xinliu(connection, "show", uscc, *options))


def received(connection: Connection, statement: Statement) -> None:
    """Put a statement into `accepted` as if it had come by its own province's exchange, and wait until it is folded."""
    (value,) = framed(connection, [statement])
    uscc, partitions = statement["subject"]["uscc"], len(ends_of(connection, "accepted"))
    epoch, now = 1, b"%d" % round(datetime.now(UTC).timestamp() * 1000)
    key = accepted_key(statement["record_id"], epoch, statement["version"], *digest(value[5:]))
    headers = [
        (ORIGIN, Origin(f"exchange.{statement['province']}", "0", 0, 0).to_bytes()),
        (SCHEMA, fingerprint(source("xinliu.Statement")).encode()),
        (RECEIVED, now),
        (EPOCH, b"%d" % epoch),
        (KNOWN, now),
    ]
    producer = Producer(connection.kafka.client({"acks": "all"}))
    place = int(partitions_of(pl.Series([uscc]), partitions)[0])
    producer.produce("accepted", value, key.encode(), place, headers=headers)
    assert producer.flush(30) == 0
    assert wait_until(lambda: view_caught_up(connection), seconds=30)


def assert_views_agree(connection: Connection, uscc: str) -> None:
    """Hold the SQL views against what `xinliu show` makes of the same registrations."""
    told = shown(connection, uscc)["registered"]
    assert connection.reader_database is not None
    with psycopg.connect(connection.reader_database.get_secret_value(), row_factory=dict_row) as reader:

        def rows(query: str) -> list[dict[str, Any]]:
            found = reader.execute(query, (uscc,)).fetchall()
            return [{k: v.isoformat() if isinstance(v, date) else v for k, v in row.items()} for row in found]

        (entity,) = rows("SELECT * FROM report.entity WHERE uscc = %s")
        names = ("name", "kind", "name_source", "province", "province_source", "since", "until", "name_since")
        assert {name: entity[name] for name in names} == {name: told[name] for name in names}
        assert entity["division_differs"] == told["division_differs"]
        former = rows("SELECT name, last_day FROM report.former_name WHERE uscc = %s ORDER BY last_day, name")
        assert former == told["former_names"]
        moves = (
            "SELECT from_province, left_on, to_province, moved_on FROM report.move WHERE uscc = %s ORDER BY moved_on"
        )
        assert rows(moves) == told["moves"]
        held = rows("SELECT province, current FROM report.registration WHERE uscc = %s ORDER BY since DESC")
        assert held == [{name: one[name] for name in ("province", "current")} for one in told["registrations"]]


def test_the_registry_names_an_entity_and_makes_no_record_of_a_domain(running: Connection, tmp_path: Path) -> None:
    uscc = generate(720_001)
    fine(running, tmp_path / "a.csv", uscc, "登1号")
    before = shown(running, uscc)
    assert (before["name"], before["registered"]["name_source"]) == ("处罚文书上的名称", "STATEMENT")
    assert (before["registered"]["province"], before["registered"]["province_source"]) == ("beijing", "CODE")
    outcome = register(running, tmp_path / "b.csv", {"统一社会信用代码": uscc})
    assert (outcome["kind"], outcome["sent"], outcome["flagged"]) == ("REGISTRATION", 1, 0)
    view = shown(running, uscc)
    assert (view["name"], view["kind"], view["registered"]["name_source"]) == ("北京甲商贸有限公司", "企业", "REGISTRY")
    assert (view["registered"]["province_source"], view["registered"]["since"]) == ("REGISTRY", "2015-03-02")
    counted = ("state", "penalties", "listings", "pending")
    assert [[line[name] for name in counted] for line in view["domains"] if line["state"] in ("有", "待核")] == [
        ["有", 1, 0, 0]
    ]
    assert "registration" not in {line["domain"] for line in view["domains"]}
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        row = store.execute(
            "SELECT records, penalties, listings FROM credit_view WHERE uscc = %s AND domain = 'registration'", (uscc,)
        ).fetchone()
    assert row == (1, 0, 0)
    assert_views_agree(running, uscc)
    assert_view_is_the_fold(running)


def test_those_who_cache_are_told_of_a_registration(running: Connection, tmp_path: Path) -> None:
    uscc = generate(720_002)
    register(running, tmp_path / "a.csv", {"统一社会信用代码": uscc})
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        row = store.execute("SELECT digest_hi, digest_lo FROM credit_view WHERE uscc = %s", (uscc,)).fetchone()
    assert row is not None

    def told() -> list[str]:
        changes = [message.value() for message in log_of(running, "changes") if message.key() == uscc.encode()]
        with Registry(running.registry) as registry:
            return [decode(registry.writer(unframe(v)[0]).parsed, unframe(v)[1])["digest"] for v in changes]

    assert wait_until(lambda: told()[-1:] == [digest_hex(*row)], seconds=30, every=0.5)


def test_records_first_or_registrations_first(running: Connection, tmp_path: Path) -> None:
    one, other = generate(720_010), generate(720_011)
    fine(running, tmp_path / "a.csv", one, "先1号")
    register(running, tmp_path / "b.csv", {"统一社会信用代码": one})
    register(running, tmp_path / "c.csv", {"统一社会信用代码": other})
    fine(running, tmp_path / "d.csv", other, "先2号")

    def plain(uscc: str) -> dict[str, Any]:
        view = shown(running, uscc)
        own = {"record_id": None, "known_at": None}
        view["registered"]["registrations"] = [row | own for row in view["registered"]["registrations"]]
        states = [(line["domain"], line["penalties"], line["listings"]) for line in view["domains"]]
        return view["registered"] | {"states": states, "name": view["name"], "kind": view["kind"]}

    assert plain(one) == plain(other)


def test_a_move_to_another_province_whichever_record_comes_first(running: Connection, tmp_path: Path) -> None:
    for number, order in enumerate(("beijing first", "hebei first")):
        uscc = generate(720_020 + number)
        elsewhere = registration(
            uscc=uscc, province="hebei", name="河北甲商贸有限公司", since=date(2024, 5, 1), authority_name="石家庄市"
        )
        row = {"统一社会信用代码": uscc, "迁出日期": "2024-05-01"}
        if order == "hebei first":
            received(running, elsewhere)
            assert shown(running, uscc)["registered"]["moves"] == []
        register(running, tmp_path / f"{number}.csv", row)
        if order == "beijing first":
            left = shown(running, uscc)["registered"]
            assert (left["province"], left["until"]) == ("beijing", "2024-05-01")
            received(running, elsewhere)
        who = shown(running, uscc)["registered"]
        assert (who["name"], who["province"], who["since"]) == ("河北甲商贸有限公司", "hebei", "2024-05-01")
        assert who["division_differs"], "the code still says Beijing"
        assert who["moves"] == [
            {"from_province": "beijing", "left_on": "2024-05-01", "to_province": "hebei", "moved_on": "2024-05-01"}
        ]
        assert_views_agree(running, uscc)
    assert_view_is_the_fold(running)


def test_renamed_twice_and_what_was_known_before(running: Connection, tmp_path: Path) -> None:
    uscc = generate(720_030)
    fine(running, tmp_path / "a.csv", uscc, "改1号")
    register(running, tmp_path / "1.csv", {"统一社会信用代码": uscc, "经营主体名称": "甲公司"})
    first = shown(running, uscc)
    second = {
        "统一社会信用代码": uscc,
        "经营主体名称": "乙公司",
        "曾用名称": "甲公司|2020-05-31",
        "现名称启用日期": "2020-06-01",
        "更新时间": "2026-06-02 08:00:00",
    }
    third = {
        **second,
        "经营主体名称": "丙公司",
        "曾用名称": "甲公司|2020-05-31;乙公司|2024-01-09",
        "现名称启用日期": "2024-01-10",
        "更新时间": "2026-06-03 08:00:00",
    }
    register(running, tmp_path / "3.csv", third)  # the newest first: order does not matter
    outcome = register(running, tmp_path / "2.csv", second)
    assert outcome["older"] == 1
    view = shown(running, uscc)
    assert view["name"] == "丙公司"
    assert view["registered"]["name_since"] == "2024-01-10"
    assert view["registered"]["former_names"] == [
        {"name": "甲公司", "last_day": "2020-05-31"},
        {"name": "乙公司", "last_day": "2024-01-09"},
    ]
    assert len(view["penalties"]) == 1, "a rename loses no record"
    for option in (("--token", first["token"]), ("--as-of", first["read_at"])):
        past = shown(running, uscc, *option)
        assert past["name"] == "甲公司"
        assert past["registered"] == first["registered"], option
    assert_views_agree(running, uscc)


def test_a_revoked_registration_is_as_if_it_had_never_been(running: Connection, tmp_path: Path) -> None:
    uscc, only = generate(720_040), generate(720_041)
    fine(running, tmp_path / "a.csv", uscc, "撤1号")
    register(
        running, tmp_path / "b.csv", *({"统一社会信用代码": code, "曾用名称": "甲|2020-05-31"} for code in (uscc, only))
    )
    before = shown(running, uscc)
    revoked = {"状态": "已撤销", "更新时间": "2026-06-02 08:00:00"}
    register(running, tmp_path / "c.csv", *({"统一社会信用代码": code, **revoked} for code in (uscc, only)))
    view = shown(running, uscc)
    assert (view["name"], view["registered"]["name_source"]) == ("处罚文书上的名称", "STATEMENT")
    assert (view["registered"]["province_source"], view["registered"]["registrations"]) == ("CODE", [])
    assert view["registered"]["former_names"] == []
    assert_views_agree(running, uscc)
    assert shown(running, only)["name"] is None
    past = shown(running, uscc, "--token", before["token"])
    assert past["erased"] == 1, "its content is gone, and the answer says so"
    assert past["registered"]["registrations"] == []
    # Late: a statement that the revocation outranks.
    assert register(running, tmp_path / "d.csv", {"统一社会信用代码": uscc})["older"] == 1
    assert shown(running, uscc)["registered"]["registrations"] == []


def test_a_department_that_does_not_register_and_a_second_registration(running: Connection) -> None:
    uscc = generate(720_050)
    second = {**registration(uscc=uscc), "record_id": uuid.uuid4().hex}
    person = registration(uscc="362322198709086409")
    by_tax = registration(uscc=uscc, key="tax")
    disguised = {**registration(uscc=uscc), "domain": "market"}
    told = _refused(running, REGISTRAR, [second, person, disguised]) | _refused(running, "tax", [by_tax])
    assert told[REGISTRAR, 0] == {"REGISTRATION_ID"}
    assert "USCC_RESIDENT_ID" in told[REGISTRAR, 1]
    assert "REGISTRATION_DOMAIN" in told[REGISTRAR, 2]
    assert told["tax", 0] == {"WRONG_REGISTRAR"}
    view = shown(running, uscc)
    assert view["registered"]["registrations"] == []
    assert view["registered"]["waiting"] == 2, "the one that claims a domain is not known to be none of it"
    states = {line["domain"]: line["pending"] for line in view["domains"] if line["pending"]}
    assert states == {"market": 1}
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        values = store.execute("SELECT value FROM quarantine WHERE department = %s", (REGISTRAR,)).fetchall()
    assert not any(b"19870908" in bytes(value) for (value,) in values)
    assert_view_is_the_fold(running)


def _refused(connection: Connection, key: str, statements: list[Statement]) -> dict[tuple[str, int], set[str]]:
    receipts = Receipts(connection.kafka, connection.registry, key)
    try:
        places = put(connection, f"records.{key}", framed(connection, statements), partition=0)
        with Publisher(PublisherConfig(connection.kafka, connection.registry, key)) as publisher:
            markers = publisher.mark(datetime.now(UTC))
        told: dict[tuple[str, int], set[str]] = {}
        for exceptions, _ in receipts.watch_past(markers, 60.0):
            for one in exceptions:
                assert one["outcome"] == "REFUSED"
                place = places.index((one["partition"], one["offset"]))
                told[key, place] = {finding["code"] for finding in one["findings"]}
        return told
    finally:
        receipts.close()


def test_a_program_registers_and_two_contents_of_one_version_are_flagged(running: Connection) -> None:
    uscc = generate(720_060, division="130100")
    said = Registration(
        uscc=uscc,
        name="甲公司",
        entity_kind="企业",
        since=date(2024, 5, 1),
        authority=AUTHORITY,
        authority_name=AUTHORITY_NAME,
        former_names=[FormerName("乙公司", date(2020, 5, 31))],
    )
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    receipts = Receipts(running.kafka, running.registry, REGISTRAR)
    try:
        with Publisher(PublisherConfig(running.kafka, running.registry, REGISTRAR)) as publisher:
            named = publisher.register(said, province="beijing", stated_at=moment)
            publisher.register(
                Registration(uscc, "丙公司", "企业", date(2024, 5, 1), AUTHORITY, AUTHORITY_NAME),
                province="beijing",
                stated_at=moment,
            )
            markers = publisher.mark(datetime.now(UTC))
        assert named == registration_id("beijing", uscc)
        codes = {f["code"] for told, _ in receipts.watch_past(markers, 60.0) for one in told for f in one["findings"]}
        assert codes - {"OLDER"} == {"DIVISION_DIFFERS", "VERSION_CONFLICT"}
    finally:
        receipts.close()
    who = shown(running, uscc)["registered"]
    assert len(who["registrations"]) == 1
    assert who["name"] in ("甲公司", "丙公司")
    assert who["division_differs"]
    assert_views_agree(running, uscc)
