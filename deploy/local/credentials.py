"""Principals of a secure local stack: the credentials of each, and its connection file for commands."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from deploy.cluster import access, acls, installation, quotas
from deploy.local.kafka import Kafka
from deploy.local.layout import StackLayout
from deploy.local.postgres import Postgres
from deploy.local.registry import RegistryServer
from deploy.people import people
from deploy.settings import Settings
from schemas.catalogue import Catalogue
from schemas.files.private import private_folder, write_private
from schemas.operations.topics import STEWARD
from schemas.servers.connection import Approval, Connection, Exchange
from schemas.servers.kafka import Cluster
from schemas.store import roles

__all__ = ["LOCAL", "Parts", "known_to", "write_connection", "write_exchange"]

LOCAL = Approval(required=False)
"""A person who tries something out on their own machine has nobody to ask."""

_ROLE = {
    access.ADMIN: roles.OWNER,
    STEWARD: roles.OWNER,
    "view": roles.WORKER,
    "operator": roles.OPERATOR,
    "report": roles.READER,
}
"""Principal of Kafka → role of PostgreSQL; the others do not use the database."""


@dataclass(frozen=True)
class Parts:
    """The principals of one secure stack. `exchange` has its province's exchange settings, None without exchange."""

    layout: StackLayout
    kafka: Kafka
    postgres: Postgres
    registry: RegistryServer
    province: str
    exchange: Exchange | None = None

    @property
    def folder(self) -> Path:
        """Folder of the connection files."""
        return self.layout.folder / "principals"

    def admin(self) -> Connection:
        """Return the administrator's connection, which sets everything up."""
        return self._connection(access.ADMIN, self.layout.password(access.ADMIN))

    def settle(self, catalogue: Catalogue, known: Settings, approval: Approval | None = None) -> Connection:
        """Grant rights and credentials by the catalogue, revoke others; return the operator's connection.

        A principal keeps its password from one start to the next. People have rights here, and a password that was
        issued to them. `approval` is whether two people are required; None keeps the present rule, and if there is
        none, two are not required.
        """
        cluster = self.kafka.cluster()
        users, held = acls.credentials(cluster), self._passwords()
        named = people(known, known.people_file(self.layout.name), users)
        installation.settle(self.admin(), named, approval, default=LOCAL)
        acls.apply(cluster, access.wanted(catalogue, self.province, named))
        quotas.apply(cluster, quotas.wanted(catalogue, self.province, named))
        names = access.principals(catalogue, self.province)
        new = {name: secrets.token_urlsafe(18) for name in names if name not in users or name not in held}
        # Set before they are written: a password in a file always works.
        acls.give(cluster, new)
        private_folder(self.folder)
        for name in names:  # all of them: the stack may have moved to other ports
            write_connection(self._file(name), self._connection(name, new.get(name) or held[name]))
        write_connection(self._file(access.ADMIN), self.admin())
        acls.withdraw(cluster, access.gone(users, access.principals(catalogue, self.province, named)))
        for name in held.keys() - {*names, access.ADMIN}:
            self._file(name).unlink()
        operator = self._connection("operator", new.get("operator") or held["operator"])
        return operator.model_copy(update={"principals": self.folder})

    def of(self, name: str) -> Connection:
        """Return a principal's connection from its file."""
        return Connection.model_validate_json(self._file(name).read_bytes())

    def share(self, exchange: Exchange) -> Connection:
        """Write each principal's part of the exchange settings to its file; return the operator's connection."""
        for file in self.folder.glob("*.json"):
            known = self.of(file.stem)
            write_connection(file, known.model_copy(update={"exchange": known_to(file.stem, exchange)}))
        return self.of("operator").model_copy(update={"principals": self.folder})

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _passwords(self) -> dict[str, str]:
        found = {}
        for file in self.folder.glob("*.json"):
            known = Connection.model_validate_json(file.read_bytes())
            found[file.stem] = known.kafka.setting("sasl.password") or ""
        return found

    def _connection(self, name: str, password: str) -> Connection:
        role = _ROLE.get(name)
        database = self.postgres.conninfo(role, "xinliu") if role else ""
        reader = self.postgres.conninfo(roles.READER, "xinliu") if role and role != roles.WORKER else None
        return Connection(
            province=self.province,
            kafka=self.kafka.cluster(name, password),
            registry=self.registry.address(name),
            database=SecretStr(database),
            reader_database=SecretStr(reader) if reader else None,
            exchange=known_to(name, self.exchange),
            approval=LOCAL,
        )


def known_to(name: str, exchange: Exchange | None) -> Exchange | None:
    """Return a principal's part of the exchange settings: the view signs, links reach peers, others verify."""
    if exchange is None or name not in ("intake", "view", "link", "operator"):
        return None
    return Exchange(
        signing_key=exchange.signing_key if name == "view" else None,
        keyring=exchange.keyring,
        peers=exchange.peers if name == "link" else {},
    )


def write_connection(file: Path, connection: Connection) -> None:
    """Write a connection with its secrets, readable by its owner only."""
    plain: dict[str, object] = {
        "province": connection.province,
        "kafka": _plain(connection.kafka),
        "registry": connection.registry.plain(),
        "database": connection.database.get_secret_value(),
    }
    if connection.reader_database is not None:
        plain["reader_database"] = connection.reader_database.get_secret_value()
    if connection.principals is not None:
        plain["principals"] = str(connection.principals)
    if connection.approval != Approval():
        plain["approval"] = connection.approval.model_dump()
    if connection.exchange is not None:
        plain["exchange"] = _plain_exchange(connection.exchange)
    write_private(file, json.dumps(plain, indent=1).encode())


def write_exchange(file: Path, exchange: Exchange) -> None:
    """Write the exchange settings of a province, with the secrets of its links, readable by its owner only."""
    write_private(file, json.dumps(_plain_exchange(exchange), indent=1).encode())


def _plain_exchange(exchange: Exchange) -> dict[str, object]:
    return {
        "signing_key": str(exchange.signing_key) if exchange.signing_key else None,
        "keyring": str(exchange.keyring),
        "peers": {
            province: {"kafka": _plain(peer.kafka), "registry": peer.registry.plain()}
            for province, peer in exchange.peers.items()
        },
    }


def _plain(cluster: Cluster) -> object:
    if not cluster.security:
        return cluster.servers
    security = {name: text.get_secret_value() for name, text in cluster.security.items()}
    return {"servers": cluster.servers, "security": security}
