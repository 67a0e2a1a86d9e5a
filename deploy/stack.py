"""A local stack: real servers of one province on this machine, without Docker and without root."""

from __future__ import annotations

import contextlib
import fcntl
import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic

import psycopg
from pydantic import SecretStr

from deploy import topics
from deploy.artifacts import fetch, postgres_artifact
from deploy.certificates import make_certificates
from deploy.kafka import Kafka
from deploy.layout import WORKERS, Layout
from deploy.parts import Parts, write_connection
from deploy.postgres import Postgres
from deploy.processes import Process
from deploy.registry import RegistryServer
from deploy.settings import Settings, settings
from schemas import catalogue
from schemas.connection import Connection
from schemas.contracts import CONTRACTS
from schemas.errors import Retryable, UsageError
from schemas.registry import Registry
from schemas.store import migrate

__all__ = ["ServerStatus", "Stack"]

SERVERS = ("postgres", "kafka", "registry")

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server or worker: its pid while it runs, and where it listens and logs."""

    name: str
    pid: int | None
    address: str | None
    log: str


@dataclass(frozen=True)
class Stack:
    """The servers and workers of one stack, by name. `tell` is told what is being done."""

    name: str
    known: Settings = field(default_factory=settings)
    tell: Told = lambda _: None

    @cached_property
    def layout(self) -> Layout:
        """Its folder, ports and secrets."""
        return Layout(self.name, self.known.stack_folder(self.name))

    @cached_property
    def postgres(self) -> Postgres:
        """Its database server."""
        (archive,) = fetch(postgres_artifact(platform.machine()), self.known.cache_folder, self.known.maven)
        return Postgres(self.layout, archive)

    @cached_property
    def kafka(self) -> Kafka:
        """Its broker."""
        return Kafka(self.layout, fetch("kafka", self.known.cache_folder, self.known.maven))

    @cached_property
    def registry(self) -> RegistryServer:
        """Its schema registry."""
        (archive,) = fetch("registry", self.known.cache_folder, self.known.maven)
        return RegistryServer(self.layout, self.postgres, archive)

    def up(
        self,
        *,
        province: str = "beijing",
        base_port: int | None = None,
        workers: bool = True,
        secure: bool = False,
    ) -> Connection:
        """Start whatever does not run, set it up, and return how to reach it. What runs already is left alone.

        `secure` counts on the first start: servers that encrypt, and ask everyone who they are (docs/security.md).

        Raises UsageError, in one line, for every foreseeable mistake.
        """
        chosen = catalogue.load()
        chosen.province(province)
        with self._exclusively():
            if base_port is not None and any(self._process(name).pid for name in SERVERS):
                raise UsageError(f"the stack {self.name!r} runs: `xinliu down` first, then move it with --base-port")
            self.layout.prepare(base_port, secure=secure)
            if self.layout.secure:
                make_certificates(self.layout.tls)
            self._start_servers()
            parts = Parts(self.layout, self.kafka, self.postgres, self.registry.url, province)
            connection = parts.admin() if self.layout.secure else self._connection(province)
            self._check_province(connection.database.get_secret_value(), province)
            self._set_up(connection, chosen)
            if self.layout.secure:
                self.tell("rights and credentials are brought up to date")
                connection = parts.settle(chosen)
            write_connection(self.layout.folder / "connection.json", connection)
            if workers:
                self._start_workers()
        return connection

    def _start_servers(self) -> None:
        # Fetched first: nothing is started that could not be finished.
        postgres, kafka, registry = self.postgres, self.kafka, self.registry
        with ThreadPoolExecutor(2) as threads:
            self.tell("PostgreSQL and Kafka are starting")
            broker = threads.submit(_start, kafka)
            _start(postgres)
            self.tell("the schema registry is starting")
            _start(registry)
            broker.result()

    def _set_up(self, connection: Connection, chosen: catalogue.Catalogue) -> None:
        self.tell("tables, schemas and topics are brought up to date")
        migrate(connection.database.get_secret_value())
        with Registry(connection.registry) as contracts:
            for name in CONTRACTS:
                contracts.register(name)
        topics.apply(connection.kafka, topics.wanted(chosen, connection.province))

    def _start_workers(self) -> None:
        for name in WORKERS:
            worker = self._process(f"worker-{name}")
            if worker.pid is None:
                self.tell(f"the {name} worker is starting")
                port = self.layout.ports.metrics(name)
                self.layout.check_port(port, f"the {name} worker's metrics")
                command = [sys.executable, "-m", "xinliu", "--stack", self.name, "worker", name, "--instance", name]
                command += ["--metrics-port", str(port)]
                worker.start(command, environment={"XINLIU_HOME": str(self.known.home_folder)})

    def down(self) -> None:
        """Stop workers, then servers, in good order; data stay."""
        with self._exclusively():
            for name in [f"worker-{worker}" for worker in WORKERS]:
                self._stop(name)
            self.tell("the schema registry and Kafka are stopping")
            with ThreadPoolExecutor(2) as threads:
                list(threads.map(self._stop, ("registry", "kafka")))
            self.tell("PostgreSQL is stopping")
            self.postgres.stop()

    def status(self) -> tuple[ServerStatus, ...]:
        """Return every server and worker, running or not."""
        ports = self.layout.ports
        addresses = {
            "postgres": f"127.0.0.1:{ports.postgres}",
            "kafka": f"127.0.0.1:{ports.kafka}",
            "registry": f"http://127.0.0.1:{ports.registry}/apis/ccompat/v7",
            **{f"worker-{name}": f"http://127.0.0.1:{ports.metrics(name)}/metrics" for name in WORKERS},
        }
        names = [*SERVERS, *(f"worker-{worker}" for worker in WORKERS)]
        return tuple(
            ServerStatus(name, self._process(name).pid, addresses.get(name), str(self._process(name).log))
            for name in names
        )

    def reset(self) -> None:
        """Stop everything and delete all data of the stack."""
        if self.layout.exists:
            self.down()
        shutil.rmtree(self.layout.folder, ignore_errors=False)

    def kill(self, name: str) -> None:
        """End one server or worker as a power cut would; for tests of what survives it."""
        self._process(name).kill()

    def stop(self, name: str) -> None:
        """Stop one server or worker in good order; for tests of what goes on without it."""
        self.postgres.stop() if name == "postgres" else self._stop(name)

    def start(self, name: str) -> None:
        """Start one server again, as it was set up, and wait until it answers."""
        servers: dict[str, Postgres | Kafka | RegistryServer] = {
            "postgres": self.postgres,
            "kafka": self.kafka,
            "registry": self.registry,
        }
        _start(servers[name])

    def _stop(self, name: str) -> None:
        process = self._process(name)
        if not process.stop():
            self.tell(f"{name} did not end in time and was killed; nothing is lost, its log: {process.log}")

    def _process(self, name: str) -> Process:
        return Process(name, self.layout.folder)

    def _connection(self, province: str) -> Connection:
        return Connection(
            province=province,
            kafka=self.kafka.cluster(),
            registry=self.registry.url,
            database=SecretStr(self.postgres.conninfo("xinliu", "xinliu")),
            reader_database=SecretStr(self.postgres.conninfo("xinliu_reader", "xinliu")),
        )

    def _check_province(self, database: str, province: str) -> None:
        file = self.layout.folder / "connection.json"
        if file.exists() and (held := json.loads(file.read_text(encoding="utf-8")).get("province")) != province:
            raise UsageError(
                f"the stack {self.name!r} is of {held}: start {province} as a stack of its own,"
                f" `xinliu --stack {province} up --province {province}`"
            )
        try:
            psycopg.connect(database).close()
        except psycopg.OperationalError as error:
            raise Retryable(f"PostgreSQL does not answer: {error}") from error

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        # Two `xinliu up` at once would start every server twice.
        folder = self.layout.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("w")
        except PermissionError as error:
            raise UsageError(f"cannot write to {folder}: choose a folder of yours with XINLIU_HOME") from error
        with lock:
            started = monotonic()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.tell("another command is working on this stack; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.tell(f"going on after {monotonic() - started:.0f} s")
            yield


def _start(server: Postgres | Kafka | RegistryServer) -> None:
    server.start()
    server.ready()
