"""Real servers for tests: containers where an engine and the images are at hand, local processes elsewhere.

XINLIU_TEST_BACKEND=local|containers forces one. XINLIU_TEST_STACK names the local stack and keeps its data after the
run; without it every run has a stack of its own, so that two runs at once do not meet.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket
from tempfile import gettempdir

import docker
import psycopg
import requests
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from docker.errors import DockerException
from psycopg import sql

from deploy.cluster import topics
from deploy.deadline import wait_until
from deploy.local import postgres as postgres_servers
from deploy.local.layout import ANY_PORTS
from deploy.local.stack import SERVERS, Stack
from schemas import catalogue
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection
from schemas.store.database import migrate

__all__ = ["backend", "containers", "emptied", "local", "local_stack", "starting"]

IMAGES = {
    "postgres": "postgres:18",
    "kafka": "apache/kafka:4.3.0",
    "registry": "apicurio/apicurio-registry:3.3.3",
}
# What PostgreSQL has written the operating system keeps, whichever process is killed; no test cuts the power. A commit waits
# 2 to 6 ms for a disk, and most of a database that is made anew is waiting.
postgres_servers.SETTINGS["fsync"] = postgres_servers.SHARED_SETTINGS["fsync"] = "off"

_PROVINCE = "beijing"
_MIGRATED = "migrated"
"""A database as the migrations leave it."""


def backend() -> str:
    """Return the forced backend, or containers only where nothing would have to be downloaded for them."""
    forced = os.environ.get("XINLIU_TEST_BACKEND")
    if forced:
        if forced not in {"local", "containers"}:
            raise ValueError(f"XINLIU_TEST_BACKEND is {forced!r}: set it to local or containers")
        return forced
    return "containers" if _images_at_hand() else "local"


def _images_at_hand() -> bool:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    client = docker.from_env(version="1.44", timeout=5)  # with a version given, nothing is asked before the try
    try:
        return set(IMAGES.values()) <= {tag for image in client.images.list() for tag in image.tags}
    except (DockerException, requests.RequestException):
        return False
    finally:
        client.close()


def local_stack(part: str = "") -> Stack:
    """Return this run's local stack, running or not; that of one `part` of its tests where one is named."""
    name = os.environ.get("XINLIU_TEST_STACK") or f"test-{os.getpid()}"
    return Stack(f"{name}-{part}" if part else name)


@contextmanager
def starting() -> Iterator[None]:
    """Start servers in here: lanes of one run take turns, since all at once would each take longer than is waited for."""
    with (Path(gettempdir()) / f"xinliu-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def local(part: str = "") -> Iterator[Connection]:
    """Run local server processes, from empty data."""
    stack = local_stack(part)
    if stack.layout.folder.exists():
        stack.reset()
    try:
        # Small ones, that share the machine: their start takes little of the compiler.
        with starting():
            connection = stack.up(province=_PROVINCE, base_port=ANY_PORTS, workers=False, shared=True)
        _keep_migrated(stack)
        yield connection
    finally:
        if os.environ.get("XINLIU_TEST_STACK"):
            stack.down()
        elif stack.layout.folder.exists():
            stack.reset()


def emptied(stack: Stack) -> Connection:
    """Make local servers as good as new: topics that were written to, groups and databases are made again; what does
    not run is started.

    That takes a second, where new servers take fifteen. The registry alone keeps what it was told: there, as with any
    other, the contracts are not the first schemas.
    """
    for server in SERVERS:
        stack.start(server)
    _forget_topics(stack.connection())
    with psycopg.connect(stack.postgres.conninfo("postgres", "postgres"), autocommit=True) as server:
        names = server.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
        for (name,) in names.fetchall():
            if name not in ("registry", _MIGRATED):
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        # Copied, where migrations would take half of the time.
        server.execute(f"CREATE DATABASE xinliu OWNER xinliu TEMPLATE {_MIGRATED}")
        server.execute("REVOKE ALL ON DATABASE xinliu FROM PUBLIC")
    return stack.up(workers=False)


def _keep_migrated(stack: Stack) -> None:
    with psycopg.connect(stack.postgres.conninfo("postgres", "postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {_MIGRATED} TEMPLATE xinliu")


def _new_topics(admin: AdminClient) -> set[str]:
    """Return the topics that are as declared and to which nothing was ever written: most of them."""
    declared = {topic.name: topic.partitions for topic in topics.wanted(catalogue.load(), _PROVINCE)}
    found = {name: sorted(topic.partitions) for name, topic in admin.list_topics(timeout=30).topics.items()}
    alike = [name for name, partitions in declared.items() if len(found.get(name, ())) == partitions]
    asked = {TopicPartition(name, partition): OffsetSpec.latest() for name in alike for partition in found[name]}
    ends = admin.list_offsets(asked, request_timeout=30) if asked else {}
    return set(alike) - {at.topic for at, end in ends.items() if end.result().offset}


def _forget_topics(connection: Connection) -> None:
    admin = AdminClient(connection.kafka.client({}))

    new = _new_topics(admin)

    def left() -> list[str]:
        return [name for name in admin.list_topics(timeout=30).topics if not name.startswith("__") and name not in new]

    def groups() -> list[str]:
        return [group.group_id for group in admin.list_consumer_groups().result().valid]

    def no_group_is_left() -> bool:
        if not (known := groups()):
            return True
        for future in admin.delete_consumer_groups(known).values():
            try:
                future.result()
            except KafkaException as error:
                # A worker that was killed is a member until its session ends.
                if error.args[0].code() not in (KafkaError.NON_EMPTY_GROUP, KafkaError.GROUP_ID_NOT_FOUND):
                    raise
        return not groups()

    if names := left():
        for deleted in admin.delete_topics(names).values():
            deleted.result()
    if not wait_until(lambda: not left() and no_group_is_left(), seconds=60):
        raise TimeoutError(f"Kafka still has the topics {left()} and the groups {groups()}")


@contextmanager
def containers() -> Iterator[Connection]:
    """Run the same servers in containers, on loopback ports, from empty data."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

    kafka_port, postgres_port, registry_port = _free_ports(3)
    with ExitStack() as running:
        network = running.enter_context(Network())

        def run(name: str, inside: int, outside: int, environment: dict[str, str]) -> None:
            container = DockerContainer(IMAGES[name]).with_network(network).with_network_aliases(name)
            container.ports[inside] = ("127.0.0.1", outside)
            for key, value in environment.items():
                container.with_env(key, value)
            running.enter_context(container)

        run("postgres", 5432, postgres_port, {"POSTGRES_USER": "xinliu", "POSTGRES_PASSWORD": "test"})
        run("kafka", kafka_port, kafka_port, _kafka(kafka_port))
        database = f"host=127.0.0.1 port={postgres_port} user=xinliu password=test dbname=xinliu connect_timeout=5"
        reader = database.replace("user=xinliu ", "user=xinliu_reader ")
        _prepare(database)
        run("registry", 8080, registry_port, _registry())
        url = f"http://127.0.0.1:{registry_port}/apis/ccompat/v7"
        if not wait_until(lambda: _answers(url), seconds=120):
            raise TimeoutError("the schema registry's container does not answer")
        connection = Connection.model_validate(
            {
                "province": _PROVINCE,
                "kafka": f"127.0.0.1:{kafka_port}",
                "registry": url,
                "database": database,
                "reader_database": reader,
                "approval": {"required": False},
            }
        )
        migrate(database)
        with Registry(url) as contracts:
            for name in CONTRACTS:
                contracts.register(name)
        topics.apply(connection.kafka, topics.wanted(catalogue.load(), _PROVINCE))
        yield connection


def _kafka(port: int) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"CLIENT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"CLIENT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "CLIENT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_MESSAGE_MAX_BYTES": str(8 << 20),
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }


def _registry() -> dict[str, str]:
    return {
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "postgresql",
        "APICURIO_DATASOURCE_URL": "jdbc:postgresql://postgres:5432/registry",
        "APICURIO_DATASOURCE_USERNAME": "xinliu",
        "APICURIO_DATASOURCE_PASSWORD": "test",
    }


def _prepare(database: str) -> None:
    def answers() -> bool:
        try:
            psycopg.connect(database).close()
        except psycopg.OperationalError:
            return False
        return True

    if not wait_until(answers, seconds=90):
        raise TimeoutError("PostgreSQL's container does not answer")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE registry")
        connection.execute("CREATE ROLE xinliu_reader LOGIN PASSWORD 'test'")


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/subjects", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
