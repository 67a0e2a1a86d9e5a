"""Who may do what, on a stack with TLS, SCRAM, rights and roles: everyone tries everything, for real."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from deploy.cluster import access, acls, topics
from deploy.cluster.access import Right
from deploy.deadline import wait_until
from deploy.local.layout import WORKERS
from producers import Cluster, Publisher, PublisherConfig
from producers.receipts import Receipts
from schemas import catalogue
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store import roles
from schemas.store.database import connect
from tests.attempts import Attempt, differences
from tests.exposition import is_ready
from tests.secure import Secure, command_lines, installation, xinliu
from tests.statements import penalty
from tests.wire import FORBIDDEN, GROUP_OPERATIONS, TOPIC_OPERATIONS, Wire, connected

CATALOGUE = catalogue.load()
RIGHTS = access.wanted(CATALOGUE, "beijing")
PRINCIPALS = access.principals(CATALOGUE, "beijing")


def file_of(folder: Path, *numbers: str) -> Path:
    """Write a department's file: one row a document number."""
    rows = []
    for row in (penalty(number, entity=900_011) for number in numbers):
        body, subject = row["penalty"], row["subject"]
        rows.append(
            {
                "CF_XDR_MC": subject["name"],
                "CF_XDR_SHXYM": subject["uscc"],
                "CF_XDR_LB": subject["kind"],
                "CF_WSH": body["document_number"],
                "CF_WFXW": body["violation_type"],
                "CF_SY": body["facts"],
                "CF_YJ": body["basis"],
                "CF_CFLB": body["categories"],
                "CF_NR": body["content"],
                "CF_NR_FK": str(body["fine"]),
                "CF_JDRQ": body["decided_on"].isoformat(),
                "CF_YXQ": "2099-12-31",
                "CF_CFJG": body["authority_name"],
                "CF_CFJGDM": row["authority"],
                "CF_SJLY": body["authority_name"],
                "CF_SJLYDM": row["authority"],
                "更新时间": "2026-06-01 08:00:00",
            }
        )
    path = folder / "penalties.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_becomes_a_view(secure: Secure, tmp_path: Path) -> None:
    sent = xinliu(
        secure, "publish", str(file_of(tmp_path, "密1号", "密2号")), "--department", "tax", "--wait", "--json"
    )
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["visible"] is True
    shown = xinliu(secure, "show", generate(900_011), "--json")
    numbers = [row["document_number"] for row in json.loads(shown.stdout)["penalties"]]
    assert sorted(numbers) == ["密1号", "密2号"], shown.stderr  # of one day, by the record's id


def test_a_refusal_says_who_may_not_and_where_to_look(secure: Secure) -> None:
    court = secure.principals["department-court"]
    with (
        pytest.raises(UsageError, match="does not let department-court do that"),
        Publisher(PublisherConfig(court.kafka, court.registry, "tax")) as publisher,
    ):
        publisher.publish(penalty("外1号"))
    with pytest.raises(UsageError, match="or connect as this department"):
        Receipts(court.kafka, court.registry, "tax")
    with pytest.raises(UsageError, match="does not let department-court do that"):
        acls.rights_on_cluster(court.kafka)


def test_everything_is_as_declared_after_up(secure: Secure) -> None:
    done = xinliu(secure, "access", "plan", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    passwords = secure.secrets
    assert secure.stack.up(secure=True) == secure.connection
    assert secure.secrets == passwords
    assert {*PRINCIPALS, access.ADMIN} == set(secure.principals)


def test_rights_that_nobody_declared_are_taken_away(secure: Secure) -> None:
    admin = secure.principals["admin"]
    stray = Right("department-tax", "TOPIC", "PREFIXED", "records.", "READ")
    acls.apply(admin.kafka, [*RIGHTS, stray])
    acls.give(admin.kafka, {"department-dissolved": "once"})
    with psycopg.connect(admin.database.get_secret_value(), autocommit=True) as owner:
        owner.execute("GRANT DELETE ON g1.writer_schema TO xinliu_worker")
        owner.execute("REVOKE SELECT ON report.entity FROM xinliu_reader")
    wanted = {
        ("remove", "department-tax", "READ topic records.…"),
        ("remove", "department-dissolved", "credential: no such department any more"),
        ("remove", "xinliu_worker", "DELETE table g1.writer_schema"),
        ("create", "xinliu_reader", "SELECT table report.entity"),
    }
    for command, code in (("plan", 1), ("apply", 0)):
        done = xinliu(secure, "access", command, "--json")
        assert done.returncode == code, done.stderr
        assert {(c["action"], c["principal"], c["what"]) for c in json.loads(done.stdout)} == wanted
    assert xinliu(secure, "access", "plan").returncode == 0


def test_a_password_is_issued_to_an_installation_and_exchanged(secure: Secure, tmp_path: Path) -> None:
    def connects(file: Path) -> bool:
        quiet = {"log_level": 0, "socket.timeout.ms": 3000}
        cluster = Cluster.from_file(secure.connection.kafka.servers, file)
        try:
            return "records.water" in AdminClient(cluster.client(quiet)).list_topics(timeout=4).topics
        except KafkaException:
            return False

    environment = installation(secure, "admin", tmp_path)
    first, second = tmp_path / "first.properties", tmp_path / "second.properties"
    for file in (first, second):
        done = xinliu(secure, "access", "issue", "department-water", str(file), **environment)
        assert done.returncode == 0, done.stderr
        assert file.stat().st_mode & 0o077 == 0
        assert connects(file)
    assert not connects(first)
    assert xinliu(secure, "access", "issue", "department-water", str(second), **environment).returncode == 2
    shown = xinliu(secure, "config", **environment)
    assert "sasl.username=admin" in shown.stdout
    assert not any(secret in shown.stdout + shown.stderr for secret in secure.secrets)
    # The stack's own file of this department opens no door now; the next start gives it a password again.
    (secure.stack.layout.folder / "principals" / "department-water.json").unlink()
    secure.stack.up()


def test_no_secret_in_logs_processes_or_output(secure: Secure) -> None:
    secrets = secure.secrets
    assert len(secrets) > 50
    folder = secure.stack.layout.folder
    told = [xinliu(secure, *words) for words in (["config"], ["up", "--json"])]
    places = {f"output {number}": done.stdout + done.stderr for number, done in enumerate(told)}
    places |= {str(log): log.read_text(encoding="utf-8", errors="replace") for log in (folder / "logs").iterdir()}
    for worker in WORKERS:
        url = f"http://127.0.0.1:{secure.stack.layout.ports.metrics(worker)}"
        assert wait_until(lambda url=url: is_ready(url), seconds=60)
        places |= {
            f"{url}/{page}": requests.get(f"{url}/{page}", timeout=10).text for page in ("metrics", "ready", "health")
        }
    places["command lines"] = "\n".join(secure.command_lines | command_lines())
    assert str(folder / "format.args") in places["command lines"], "the storage was formatted, and somebody saw it"
    assert {place for place, text in places.items() if any(secret in text for secret in secrets)} == set()
    open_to_others = [
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(parent.stat().st_mode & 0o007 == 0 for parent in file.parents if parent != folder)
        and file.stat().st_mode & 0o077
        and any(secret.encode() in file.read_bytes() for secret in secrets)
    ]
    assert open_to_others == []


def test_nobody_comes_in_without_a_password_or_a_certificate(secure: Secure) -> None:
    kafka = secure.connection.kafka
    ports = secure.stack.layout.ports
    plain = Cluster.of(kafka.servers)
    wrong = Cluster(servers=kafka.servers, security={**kafka.security, "sasl.password": SecretStr("wrong")})
    nameless = Cluster(
        servers=kafka.servers,
        security={"security.protocol": SecretStr("SSL"), "ssl.ca.location": kafka.security["ssl.ca.location"]},
    )
    for cluster in (plain, wrong, nameless):
        admin = AdminClient(cluster.client({"log_level": 0}))

        def shut_out(admin: AdminClient = admin) -> bool:
            with pytest.raises(KafkaException) as caught:
                admin.list_topics(timeout=2)
            return bool(caught.value.args[0].code() == KafkaError._TRANSPORT)  # and not only late

        assert wait_until(shut_out, seconds=30)
    # The controller would obey whoever gets through: it asks for the broker's certificate.
    context = kafka.tls()
    assert context is not None
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        socket.create_connection(("127.0.0.1", ports.controller)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(b"\x00\x00\x00\x0b\x00\x12\x00\x00\x00\x00\x00\x01\x00\x01x")
        assert tls.recv(1) == b"", "the controller answered someone without a certificate"
        raise ConnectionError("closed without an answer")


# --- everyone tries everything: from here on the topics hold what no worker should read -------------------------------


@pytest.fixture(scope="module")
def quiet(secure: Secure) -> Secure:
    """The stack without its workers."""
    for name in ("worker-intake", "worker-view"):
        secure.stack.kill(name)
    return secure


def everyone(secure: Secure, resource: str, names: Sequence[str], attempts: dict[str, tuple[Attempt, ...]]) -> int:
    """Let everyone try everything; return how many tries there were."""
    tries, wrong = 0, []
    for who in PRINCIPALS:
        cluster = secure.connection.acting(who).kafka
        count, found = asyncio.run(differences(cluster, RIGHTS, who, resource, names, attempts))
        tries, wrong = tries + count, wrong + found
    assert wrong == []
    return tries


def test_every_principal_topic_and_operation(quiet: Secure) -> None:
    names = [topic.name for topic in (*topics.wanted(CATALOGUE, "beijing"), *topics.of_authors(()))]
    tries = everyone(quiet, "TOPIC", names, TOPIC_OPERATIONS)
    assert tries == len(PRINCIPALS) * len(names) * 9


def test_every_principal_group_and_transactional_id(quiet: Secure) -> None:
    names = [
        "xinliu-intake",
        "xinliu-view",
        "stranger",
        "department-tax",
        "exchange.beijing",
        "exchange.hebei",
        *(f"{who}.x" for who in PRINCIPALS),
    ]
    tries = everyone(quiet, "GROUP", names, {name: (way,) for name, way in GROUP_OPERATIONS.items()})
    transactions: dict[str, tuple[Attempt, ...]] = {"WRITE": (Wire.transact,), "DESCRIBE": (Wire.find_transactions,)}
    tries += everyone(quiet, "TRANSACTIONAL_ID", names, transactions)
    assert tries == len(PRINCIPALS) * len(names) * 5


def test_rights_are_given_by_the_admin_alone(quiet: Secure) -> None:
    async def asked(connection: Connection) -> tuple[int, int, int]:
        async with connected(connection.kafka) as wire:
            return await wire.list_rights(), await wire.take_rights(), await wire.produce_idempotently()

    refused = FORBIDDEN["CLUSTER"]
    for who in PRINCIPALS:
        writes = any(
            right.principal == who and right.resource == "TOPIC" and right.operation == "WRITE" for right in RIGHTS
        )
        wanted = (0 if who == "operator" else refused, refused, 0 if writes else refused)
        assert asyncio.run(asked(quiet.connection.acting(who))) == wanted, who
    assert acls.plan(quiet.principals["admin"].kafka, RIGHTS) == ()


OPERATIONS = {
    "SELECT": "SELECT 1 FROM {table} LIMIT 0",
    "INSERT": "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE": "UPDATE {table} SET {column} = DEFAULT WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table} CASCADE",
    "ALTER": "ALTER TABLE {table} ADD COLUMN mine integer",
    "DROP": "DROP TABLE {table} CASCADE",
}
_NO_TABLE = ("55000", "42809", "0A000")
"""Answers for views, which cannot be written or truncated whoever tries."""


def tried(connection: psycopg.Connection[Any], statement: str) -> str:
    """Return the error code of a statement whose effect is taken back; empty where it worked."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate or "?"
    return ""


def test_every_role_table_and_operation(quiet: Secure) -> None:
    owner = quiet.principals["admin"].database.get_secret_value()
    with psycopg.connect(owner) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name, min(column_name) FROM information_schema.columns"
            " WHERE table_schema IN ('g1', 'xinliu', 'report', 'public') GROUP BY 1, 2"
        ).fetchall()
    relations = {schema: frozenset(t for s, t, _ in tables if s == schema) for schema, _, _ in tables}
    declared = roles.wanted({schema: names for schema, names in relations.items() if schema != "public"})
    undeclared = relations["g1"] - set(roles.GENERATION), relations["xinliu"] - set(roles.SHARED)
    assert undeclared == (frozenset(), frozenset()), "say in schemas/store/roles.py what the workers may do with these"
    wrong, tries = [], 0
    for role in roles.ROLES:
        conninfo = quiet.stack.postgres.conninfo(role, "xinliu")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for schema, table, column in tables:
                for operation, text in OPERATIONS.items():
                    code = tried(connection, text.format(table=f'{schema}."{table}"', column=f'"{column}"'))
                    allowed = roles.Grant(role, schema, table, operation) in declared
                    tries += 1
                    if allowed == (code in ("42501", *_NO_TABLE)):
                        wrong.append(f"{role} {operation} {schema}.{table}: {code or 'done'}")
            for schema in (*relations, "mine"):
                made = f"CREATE TABLE {schema}.mine ()" if schema != "mine" else "CREATE SCHEMA mine"
                assert tried(connection, made) == "42501", f"{role} {made}"
    assert wrong == []
    assert tries == len(roles.ROLES) * len(tables) * len(OPERATIONS)


def test_the_database_lets_in_roles_over_tls_only(quiet: Secure) -> None:
    without = {who for who, connection in quiet.principals.items() if not connection.database.get_secret_value()}
    assert without == {who for who in PRINCIPALS if who.startswith(("department-", "link"))} | {"intake"}
    with pytest.raises(UsageError, match="this process has no database"):
        connect(quiet.principals["intake"].database.get_secret_value())
    plain = quiet.stack.postgres.conninfo(roles.READER, "xinliu").replace("verify-full", "disable")
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(plain)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(quiet.stack.postgres.conninfo(roles.WORKER, "registry"))
