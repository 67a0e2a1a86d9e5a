"""Log entries that vouch for backups: an `operations` event with manifest digests and database positions.

Many people may be able to write to a backup, and to its own checksums beside it. A backup that the log does not name is
not restored, unless a person insists, with a reason that the log keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.backup.backup import manifest_of
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken, Retryable, UsageError
from schemas.operations.log import OperationsWriter, held_operations
from schemas.operations.operators import operator_event
from schemas.servers.connection import Connection

__all__ = ["BACKUP_MADE", "ask", "vouch", "write"]

BACKUP_MADE = "BACKUP_MADE"


def vouch(connection: Connection, folder: Path, of: Mapping[str, str]) -> None:
    """Log that these backups were made: folder within `folder` → source of the backup.

    Raises Retryable if the event cannot be written.
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
    """Check that the log vouches for these manifests: folder within `folder` → digest.

    Raises UsageError if it does not, or cannot be read.
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
        # By name: the registry's backup does not pass for the database's. An incomplete event vouches for nothing.
        if not any(isinstance(manifests, dict) and manifests.get(name) == digest for manifests in made):
            raise UsageError(
                f"{folder / name} is no backup that operations vouches for: it was changed, made elsewhere, or never finished. Use"
                " another one; where the log that knew of it is lost, `--unvouched` with a --reason puts it back"
            )


def write(connection: Connection, kind: str, detail: Mapping[str, object], reason: str) -> None:
    """Write an event of backups as the operator of this process. Raises Retryable if a server does not answer."""
    event = operator_event(connection.kafka, kind, reason, detail)
    with Registry(connection.registry) as registry:
        OperationsWriter(connection.acting("operator").kafka, registry).write(event)
