"""What vouches for backups: an event of `operations` with the digest of each manifest, and where the database stood.

A backup lies where many can reach it, and its own checksums beside it. What the log does not name is not put back,
unless somebody says so, with a reason that the log keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup.backup import manifest_of
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken, Retryable, UsageError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsWriter, held_operations
from schemas.operations.operators import operator
from schemas.servers.connection import Connection

__all__ = ["BACKUP_MADE", "ask", "vouch", "write"]

BACKUP_MADE = "BACKUP_MADE"


def vouch(connection: Connection, folder: Path, of: Mapping[str, str]) -> None:
    """Write down that these backups were made: by folder within `folder`, what each is of.

    Raises Retryable where that cannot be written.
    """
    found = {name: manifest_of(folder / name, what) for name, what in of.items()}
    detail = {
        "folder": str(folder),
        "manifests": {name: digest for name, (digest, _) in found.items()},
        "positions": {place: at for _, manifest in found.values() for place, at in manifest["positions"].items()},
    }
    try:
        write(connection, BACKUP_MADE, detail, "")
    except Retryable as error:
        raise Retryable(
            f"the backup is made, and operations, which vouches for it, does not take that ({error}): make another one once"
            " Kafka answers"
        ) from error


def ask(connection: Connection, folder: Path, digests: Mapping[str, str]) -> None:
    """Make sure that the log vouches for these manifests: by folder within `folder`, the digest of each.

    Raises UsageError where it does not, or cannot be asked.
    """
    try:
        with Registry(connection.registry) as registry:
            operations = held_operations(connection.acting("operator").kafka, registry)
    except (Retryable, ContractBroken, UsageError) as error:
        raise UsageError(
            f"operations, which vouches for backups, cannot be asked ({error}). Where it is lost, `--unvouched` with a --reason"
            " puts back what nothing vouches for"
        ) from error
    made = [event.detail.get("manifests") for event in operations if event.kind == BACKUP_MADE]
    for name, digest in digests.items():
        # By name: that of the registry is none of the database. An event that is not whole vouches for nothing.
        if not any(isinstance(manifests, dict) and manifests.get(name) == digest for manifests in made):
            raise UsageError(
                f"{folder / name} is no backup that operations vouches for: it was changed, made elsewhere, or never finished. Use"
                " another one; where the log that knew of it is lost, `--unvouched` with a --reason puts it back"
            )


def write(connection: Connection, kind: str, detail: Mapping[str, object], reason: str) -> None:
    """Write an event of backups as who runs this process. Raises Retryable where a server does not answer."""
    event = Operation(kind, None, datetime.now(UTC), operator(connection.kafka), reason, detail)
    with Registry(connection.registry) as registry:
        OperationsWriter(connection.acting("operator").kafka, registry).write(event)
