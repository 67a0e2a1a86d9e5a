"""A local stack: real servers of one province on this machine, without Docker and without root."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any

import psycopg
from pydantic import SecretStr

from deploy.cluster import topics
from deploy.cluster.access import link_principal, principals
from deploy.local.artifacts import fetch, postgres_artifact
from deploy.local.certificates import have_certificates, make_certificates
from deploy.local.credentials import LOCAL, Parts, write_connection, write_exchange
from deploy.local.kafka import Kafka
from deploy.local.layout import ANY_PORTS, StackLayout, cannot_use
from deploy.local.postgres import Postgres
from deploy.local.processes import Process
from deploy.local.registry import RegistryServer
from deploy.settings import Settings, settings
from schemas import catalogue
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.files.private import open_private, private_folder
from schemas.servers.connection import Approval, Connection, Exchange, Peer
from schemas.store.database import migrate

__all__ = ["SERVERS", "ServerStatus", "Stack", "Told"]

SERVERS = ("postgres", "kafka", "registry")
"""Servers in the order of their start."""

Told = Callable[[str], None]

_migrating = threading.Lock()
"""Alembic keeps its state in its module: one database at a time."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server or worker: its pid while it runs, its port and its log."""

    name: str
    pid: int | None
    address: str | None
    log: str


@dataclass(frozen=True)
class Stack:
    """The servers and workers of one stack, by name. `tell` receives progress messages."""

    name: str
    known: Settings = field(default_factory=settings)
    tell: Told = lambda _: None
    lists_classes: bool = False
    """Whether its Java servers list their loaded classes, for an archive of them."""

    @cached_property
    def layout(self) -> StackLayout:
        """Its folder, ports and secrets."""
        return StackLayout(self.name, self.known.stack_folder(self.name))

    @cached_property
    def postgres(self) -> Postgres:
        """Its database server."""
        (archive,) = fetch(postgres_artifact(platform.machine()), self.known.cache_folder, self.known.maven)
        return Postgres(self.layout, archive)

    @cached_property
    def kafka(self) -> Kafka:
        """Its broker."""
        return Kafka(self.layout, fetch("kafka", self.known.cache_folder, self.known.maven), self.lists_classes)

    @cached_property
    def registry(self) -> RegistryServer:
        """Its schema registry."""
        (archive,) = fetch("registry", self.known.cache_folder, self.known.maven)
        return RegistryServer(self.layout, self.postgres, archive, self.lists_classes)

    def up(
        self,
        *,
        province: str | None = None,
        base_port: int | None = None,
        workers: bool = True,
        secure: bool = False,
        shared: bool = False,
    ) -> Connection:
        """Start every server that does not run, set it up, and return its connection. Running ones are left alone.

        `province` is by default the stack's own, else Beijing. `base_port` is the first of its ten ports; ANY_PORTS
        finds free ones for a new stack and keeps those of an older one. `secure` counts on the first start: servers
        that encrypt and authenticate (docs/security.md). `shared` is a stack that shares the machine with others
        (deploy/local/provinces.py): it stays so.

        Raises UsageError, in one line, for every foreseeable mistake.
        """
        chosen = catalogue.load()
        province = province or self.province or "beijing"
        chosen.province(province)
        with self._exclusively():
            if base_port and any(self.process(name).pid for name in SERVERS):
                raise UsageError(f"the stack {self.name!r} runs: `xinliu down` first, then move it with --base-port")
            self.layout.prepare(base_port, secure=secure, shared=shared)
            if self.layout.secure:
                if not have_certificates(self.layout.tls) and any(self.process(name).pid for name in SERVERS):
                    raise UsageError(f"the stack {self.name!r} runs without TLS for its registry: `xinliu down` first")
                make_certificates(self.layout.tls)
                self.registry.let_in(principals(chosen, province))
            self._start_servers()
            parts = self._parts(province)
            connection = parts.admin() if self.layout.secure else self._connection(province)
            self._check_province(connection.database.get_secret_value(), province)
            self._set_up(connection, chosen)
            if self.layout.secure:
                self.tell("rights and credentials are brought up to date")
                connection = parts.settle(chosen, self.known, self._asked_for())
            write_connection(self.layout.folder / "connection.json", connection)
            if workers:
                self._start_workers()
        return connection

    def connection(self) -> Connection:
        """Return its connection, as the last `up` wrote it."""
        return Connection.model_validate(self._written("connection.json"))

    @property
    def province(self) -> str | None:
        """Province of the servers; None before the first start."""
        return self._written("connection.json").get("province")

    def fetch(self) -> None:
        """Download and unpack every program: several stacks that start at once would otherwise all do it."""
        assert self.postgres.binaries.exists()
        assert self.kafka.jars
        self.registry.unpacked()

    def archive_classes(self) -> None:
        """Make missing archives of the Java servers' classes, with a temporary stack.

        It takes a minute of CPU time, which a dozen starts of both servers save again (docs/testing.md).
        """
        if all(server.classes.file.exists() for server in (self.kafka, self.registry)):
            return
        self.tell("the classes of Kafka and the schema registry are archived, once")
        stack = Stack(f"classes-{os.getpid()}", self.known, lists_classes=True)
        try:
            stack.up(base_port=ANY_PORTS, workers=False, shared=True)
            stack.down()  # a listing is complete when its server has ended
            for server in (stack.kafka, stack.registry):
                server.classes.make()
        finally:
            if stack.layout.folder.exists():
                stack.reset()

    def peer(self, origin: str) -> Peer:
        """Return this province's servers as the push links of another one reach them."""
        parts = self._parts(self.province or "")
        kafka = parts.of(link_principal(origin)).kafka if self.layout.secure else self.kafka.cluster()
        return Peer(kafka=kafka, registry=self.registry.address(link_principal(origin)))

    def share(self, exchange: Exchange) -> None:
        """Let the stack share records with others from now on; workers with other exchange settings are stopped."""
        with self._exclusively():
            if self._exchange() == exchange:
                return
            for name in self.layout.workers:
                self._stop(f"worker-{name}")
            write_exchange(self.layout.folder / "exchange.json", exchange)
            province = self.province or ""
            connection = self._parts(province).share(exchange) if self.layout.secure else self._connection(province)
            write_connection(self.layout.folder / "connection.json", connection)

    def start_workers(self) -> None:
        """Start the workers that do not run."""
        with self._exclusively():
            self._start_workers()

    def _start_servers(self) -> None:
        # Fetched first: no server starts if a program is missing.
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
        with _migrating:
            migrate(connection.database.get_secret_value())
        with Registry(connection.registry) as contracts:
            for name in CONTRACTS:
                contracts.register(name)
        topics.apply(connection.kafka, topics.wanted(chosen, connection.province))

    def _start_workers(self) -> None:
        for name in self.layout.workers:
            worker = self.process(f"worker-{name}")
            if worker.pid is None:
                self.tell(f"the {name} worker is starting")
                port = self.layout.ports.metrics(name)
                self.layout.check_port(port, f"the {name} worker's metrics")
                command = [sys.executable, "-m", "xinliu", "--stack", self.name, "worker", name, "--instance", name]
                command += ["--metrics-port", str(port)]
                worker.start(command, environment={"XINLIU_HOME": str(self.known.home_folder)})

    def down(self) -> None:
        """Stop workers, then servers, cleanly; data stay."""
        with self._exclusively():
            for name in self.layout.workers:
                self._stop(f"worker-{name}")
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
            "registry": f"http{'s' * self.layout.secure}://127.0.0.1:{ports.registry}/apis/ccompat/v7",
            **{f"worker-{name}": f"http://127.0.0.1:{ports.metrics(name)}/metrics" for name in self.layout.workers},
        }
        names = [*SERVERS, *(f"worker-{worker}" for worker in self.layout.workers)]
        return tuple(
            ServerStatus(name, self.process(name).pid, addresses.get(name), str(self.process(name).log))
            for name in names
        )

    def reset(self) -> None:
        """Stop everything and delete all data of the stack."""
        if self.layout.exists:
            self.down()
        shutil.rmtree(self.layout.folder, ignore_errors=False)

    def kill(self, name: str) -> None:
        """End one server or worker as a power cut would; for tests of crash recovery."""
        self.process(name).kill()

    def stop(self, name: str) -> None:
        """Stop one server or worker cleanly; for tests of operation without it."""
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
        process = self.process(name)
        if not process.stop():
            self.tell(f"{name} did not end in time and was killed; nothing is lost, its log: {process.log}")

    def process(self, name: str) -> Process:
        """Return one server or worker, running or not."""
        return Process(name, self.layout.folder)

    def _connection(self, province: str) -> Connection:
        return Connection(
            province=province,
            kafka=self.kafka.cluster(),
            registry=self.registry.address(),
            database=SecretStr(self.postgres.conninfo("xinliu", "xinliu")),
            reader_database=SecretStr(self.postgres.conninfo("xinliu_reader", "xinliu")),
            exchange=self._exchange(),
            approval=LOCAL,
        )

    def _asked_for(self) -> Approval | None:
        asked = self.known.approval
        return None if asked is None else Approval(required=asked, hours=self.known.approval_hours)

    def _parts(self, province: str) -> Parts:
        return Parts(self.layout, self.kafka, self.postgres, self.registry, province, self._exchange())

    def _exchange(self) -> Exchange | None:
        found = self._written("exchange.json")
        return Exchange.model_validate(found) if found else None

    def _written(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.layout.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except PermissionError:
            raise UsageError(f"the stack {self.name!r} belongs to another user: run this as that user") from None
        except OSError as error:
            raise UsageError(cannot_use(self.layout.folder, error)) from error
        except ValueError:
            found = None
        if not isinstance(found, dict):
            file = self.layout.folder / name
            raise UsageError(f"{file} is damaged: remove it, and start the stack again")
        return found

    def _check_province(self, database: str, province: str) -> None:
        if (held := self.province) not in (None, province):
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
            private_folder(folder, mode=0o711)  # PostgreSQL's user passes through
            lock = open_private(folder / "lock")
        except OSError as error:
            raise UsageError(cannot_use(folder, error)) from error
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
