"""Schemas mean what they meant: who may write to the registry, and what comes of it where somebody does (findings F1, F1b)."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
import requests
from confluent_kafka import Producer

from consumers.links.schema_ids import Translation
from deploy.deadline import wait_until
from producers import Publisher, PublisherConfig
from producers.receipts import Receipts
from schemas.contracts.avro import schema_header
from schemas.contracts.codec import encode, frame, unframe
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from tests.exposition import address, is_ready, scrape
from tests.registry_between import between, swapped
from tests.secure import Secure, installation, xinliu
from tests.statements import Statement, penalty
from tests.workers import Worker

STATEMENT = "xinliu.Statement"
READ = (
    "/apis/ccompat/v7/subjects",
    "/apis/ccompat/v7/schemas/ids/1",
    "/apis/ccompat/v7/subjects/xinliu.Statement/versions/latest",
)
WRITES = (
    ("POST", "/apis/ccompat/v7/subjects/xinliu.Statement/versions"),
    ("POST", "/apis/ccompat/v7/subjects/xinliu.Statement"),
    ("DELETE", "/apis/ccompat/v7/subjects/xinliu.Statement"),
    ("PUT", "/apis/ccompat/v7/config/xinliu.Statement"),
    ("PUT", "/apis/ccompat/v7/mode"),
    ("POST", "/apis/ccompat/v6/subjects/x/versions"),
    ("GET", "/apis/registry/v3/users/me"),
    ("GET", "/apis/registry/v3/admin/export"),
    ("POST", "/apis/registry/v3/admin/import"),
    ("PUT", "/apis/registry/v3/admin/config/properties/apicurio.rest.deletion.artifact.enabled"),
    ("DELETE", "/apis/registry/v3/groups/default/artifacts/xinliu.Statement"),
    ("POST", "/apis/registry/v3/groups/default/artifacts"),
    ("POST", "/apis/registry/v2/groups/default/artifacts"),
    ("GET", "/apis/registry/v2/admin/export"),
    ("PATCH", "/apis/anything/else"),
    ("GET", "/ui/"),
    ("GET", "/"),
    ("GET", "/apis/ccompat/../registry/v3/admin/config/properties"),
    ("GET", "/apis/ccompat/%2e%2e/registry/v3/admin/config/properties"),
    ("GET", "//apis/registry/v3/users/me"),
)
"""Every kind of path that only `admin` may take."""


def asked(connection: Connection, method: str, path: str, *, as_whom: bool) -> int:
    """Ask the registry, with or without this principal's password, and return the status."""
    known = connection.registry
    assert known.password is not None
    request = requests.Request(method, "https://host/", json={"schema": '"string"'} if method != "GET" else None)
    with requests.Session() as session:
        made = session.prepare_request(request)
        if as_whom:
            made.prepare_auth((str(known.user), known.password.get_secret_value()))
        made.url = known.url.removesuffix("/apis/ccompat/v7") + path  # as it stands: nothing is made straight
        return session.send(made, verify=str(known.ca), timeout=10).status_code


def test_nobody_does_anything_without_a_password_and_departments_only_read(secure: Secure) -> None:
    tax = secure.principals["department-tax"]
    for method, path in (*(("GET", path) for path in READ), *WRITES):
        assert asked(tax, method, path, as_whom=False) in (401, 403), (method, path)
    assert {asked(tax, "GET", path, as_whom=True) for path in READ} == {200}
    for name in ("department-tax", "intake", "view", "link", "link-tianjin", "operator", "report"):
        known = secure.principals[name]
        assert asked(known, "GET", READ[0], as_whom=True) == 200, name
        for method, path in WRITES if name == "department-tax" else WRITES[:4]:
            assert asked(known, method, path, as_whom=True) == 403, (name, method, path)
    plain = tax.registry.url.replace("https://", "http://")
    with pytest.raises(requests.RequestException):  # nothing is spoken in the clear
        requests.get(plain, timeout=5).raise_for_status()


def test_the_registry_says_no_in_words(secure: Secure) -> None:
    known = secure.principals["department-tax"].registry
    with (
        Registry(known) as reading,
        pytest.raises(UsageError, match=r"does not let department-tax do that \(HTTP 403\)"),
    ):
        reading.register(STATEMENT)
    anybody = known.model_copy(update={"user": None, "password": None})
    with Registry(anybody) as nobody, pytest.raises(UsageError, match=r"does not let anybody do that \(HTTP 401\)"):
        nobody.schema_id(STATEMENT)
    assert known.password is not None
    assert known.password.get_secret_value() not in xinliu(secure, "config").stdout
    assert xinliu(secure, "schemas", "register").returncode == 0, "the operator's command acts as admin"


SAID = (0.5, 300.0)


def fines(connection: Connection, uscc: str) -> list[tuple[float, float]]:
    """Return fine and confiscated of each penalty that readers are shown."""
    with psycopg.connect(connection.database.get_secret_value()) as store:
        rows = store.execute(
            "SELECT penalty_fine, penalty_confiscated FROM g1.record WHERE uscc = %s AND kind = 'PENALTY'", (uscc,)
        )
        return [(float(fine), float(confiscated)) for fine, confiscated in rows.fetchall()]


def refused(connection: Connection) -> list[str]:
    """Return the codes of every open entry of tax."""
    with psycopg.connect(connection.database.get_secret_value()) as store:
        rows = store.execute(
            "SELECT findings FROM g1.quarantine WHERE topic = 'records.tax' AND state = 'OPEN'"
        ).fetchall()
    return [found["code"] for (findings,) in rows for found in findings]


def test_behind_a_registry_that_takes_no_write_all_goes_on_and_an_id_that_changed_its_meaning_is_refused(
    secure: Secure, tmp_path: Path
) -> None:
    owner, tax = secure.principals["admin"], secure.principals["department-tax"]
    first, second, third = generate(905_001), generate(905_002), generate(905_003)
    secure.stack.stop("worker-intake")
    secure.stack.stop("worker-view")
    started: list[Worker] = []
    with between(owner.registry) as registry:

        def start(name: str, logs: str) -> Worker:
            (tmp_path / logs).mkdir(exist_ok=True)
            known = installation(secure, name, tmp_path) | {"XINLIU_REGISTRY": registry.url}
            known.pop("XINLIU_REGISTRY_SECURITY")
            options = ("--instance", name, "--metrics-port", "0")
            started.append(Worker(secure.principals[name], name, tmp_path / logs, *options, settings=known))
            return started[-1]

        def said(entity: int, number: str) -> Statement:
            kinds = "罚款;没收违法所得;没收非法财物"
            return penalty(number, entity=entity, fine=Decimal("0.5"), confiscated=Decimal(300), categories=kinds)

        try:
            intake, _ = start("intake", "before"), start("view", "before")
            receipts = Receipts(tax.kafka, registry.url, "tax")
            with closing(receipts), Publisher(PublisherConfig(tax.kafka, registry.url, "tax")) as publisher:
                publisher.publish(said(905_001, "义1号"))
                markers = publisher.mark(datetime.now(UTC))
                exceptions = [one for found, _ in receipts.watch_past(markers, 90) for one in found]
            assert exceptions == []
            assert fines(owner, first) == [SAID]
            with Registry(registry.url) as own, Registry(registry.url) as peer:
                link = Translation(own, peer, names=("own registry", "peer registry"))
                known_id = own.schema_id(STATEMENT)
                assert unframe(link.of(frame(known_id, b"body")) or b"") == (known_id, b"body")
            assert registry.refused == [], "nobody tries to write"

            intake.kill()
            registry.lie = swapped
            intake = start("intake", "after")
            told = [encode(STATEMENT, said(905_002, "义2号")), encode(STATEMENT, said(905_003, "义3号"))]
            producer = Producer(tax.kafka.client({}))
            for body, headers in zip(
                told, ([schema_header(STATEMENT)], []), strict=True
            ):  # the second: an older producer
                producer.produce("records.tax", frame(known_id, body), headers=headers)
            assert producer.flush(30) == 0
            assert wait_until(lambda: refused(owner).count("SCHEMA_DIFFERS") == 2, seconds=90), intake.log[-3000:]
            assert (fines(owner, second), fines(owner, third)) == ([], [])
            assert fines(owner, first) == [SAID]
            assert scrape(address(intake)).value("xinliu_schemas_differing") == 1
            with (
                Registry(registry.url) as told_lies,
                pytest.raises(UsageError, match=r"has no xinliu\.Statement with the fingerprint"),
            ):
                told_lies.schema_id(STATEMENT)
            registry.lie = lambda schema: schema
        finally:
            for worker in started:
                if worker.runs:
                    worker.stop()
            secure.stack.up()
    layout = secure.stack.layout
    url = f"http://127.0.0.1:{layout.ports.metrics('intake')}"
    log = layout.folder / "logs" / "worker-intake.log"
    assert wait_until(lambda: is_ready(url), seconds=90), log.read_text(encoding="utf-8")[-3000:]
    entries = [one["entry"] for one in _open(secure)]
    done = xinliu(
        secure, "quarantine", "redrive", *entries, "--reason", "注册中心已复原", "--wait", "--timeout", "100", "--json"
    )
    assert done.returncode == 0, done.stderr + log.read_text(encoding="utf-8")[-4000:]
    assert wait_until(lambda: (fines(owner, second), fines(owner, third)) == ([SAID], [SAID]), seconds=60)


def _open(secure: Secure) -> list[dict[str, str]]:
    listed = xinliu(secure, "quarantine", "list", "--code", "SCHEMA_DIFFERS", "--json")
    return list(json.loads(listed.stdout)["entries"])
