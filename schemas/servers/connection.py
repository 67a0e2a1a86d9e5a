"""Connection to one province's servers and the settings of its workers: one value for every room's commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.errors import UsageError
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = ["Approval", "Connection", "Exchange", "IntakeLimits", "LookTimes", "Peer", "WorkerTimes"]


class Approval(BaseModel):
    """Whether an operator's plan needs another operator's approval (docs/audit.md); the figures are illustrative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: bool = True
    hours: float = Field(default=24, gt=0)
    """Hours for which an approval lets a step begin."""


class IntakeLimits(BaseModel):
    """Limits of refused messages, beyond which intake stops a department; the figures are illustrative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consecutive: int = Field(default=1_000, ge=1)
    """Number of refused messages in a row."""
    window: int = Field(default=5_000, ge=1)
    """Minimum number of the last messages over which `ratio` is counted."""
    ratio: float = Field(default=0.5, gt=0, le=1)
    """Share of refused messages among the last `window` messages."""
    per_hour: int = Field(default=50_000, ge=1)
    """Number of quarantine entries at once, or their rate per hour over time, whatever messages lie between them."""


class WorkerTimes(BaseModel):
    """Time-outs after which others replace a killed or frozen worker, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: float = Field(default=15, ge=6, le=60)
    """After this time without a heartbeat it loses its partitions to its group; brokers allow no less than 6."""
    idle_in_transaction: float = Field(default=20, ge=1)
    """PostgreSQL ends a transaction that is idle for this time, and with it the lock on its positions."""


class LookTimes(BaseModel):
    """Intervals of the view worker's checks of its tables, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audit: float = Field(default=5, gt=0)
    """Minimum time from the start of one pass over the rows to the start of the next."""
    definitions: float = Field(default=120, gt=0)
    """Time from one check of definitions and rights to the next."""


class Peer(BaseModel):
    """Another province's servers, as a push link of this province reaches them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: Cluster
    """Its cluster, as the principal that may write this province's topics there and nothing else."""
    registry: RegistryAddress
    """Its schema registry, as a principal that may read there."""


class Exchange(BaseModel):
    """Settings of the exchange, beside the province's own servers; a province without them shares nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signing_key: Path | None = None
    """Private key that signs its checkpoints (schemas/exchange/keys.py); only the view worker needs it."""
    keyring: Path
    """Folder with the public keys of all provinces."""
    peers: Mapping[str, Peer] = Field(default_factory=dict)
    """By province: the receivers of pushes; only push links need them."""


class Connection(BaseModel):
    """Addresses and credentials of one province's servers, read once at start by deploy/settings.py.

    >>> Connection(province="beijing", kafka=Cluster.of("127.0.0.1:9092"), database=SecretStr("dbname=xinliu"),
    ...            registry="http://127.0.0.1:8081/apis/ccompat/v7")  # doctest: +ELLIPSIS
    Connection(province='beijing', ...)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    province: str
    """Key of the province in the catalogue."""
    kafka: Cluster
    """The cluster, with the credentials of this process."""
    registry: RegistryAddress
    """The Confluent-compatible API of the schema registry, with this process's credentials; as text its address alone.
    """
    database: SecretStr = SecretStr("")
    """libpq connection string of this process's role; empty if it does not use the database (departments, intake)."""
    reader_database: SecretStr | None = None
    """libpq connection string of the read-only role; if there is none, this process's role reads."""
    principals: Path | None = None
    """Folder with one connection file per principal. Only a secure local stack has one, since it plays every part
    itself; anywhere else a process has its own credentials and no others.
    """

    exchange: Exchange | None = None
    """Settings for sharing records with the other provinces (docs/exchange.md); None if it shares none."""

    intake_limits: IntakeLimits = IntakeLimits()
    """Limits at which intake stops a department."""

    times: WorkerTimes = WorkerTimes()
    """Time-outs of its workers."""

    looks: LookTimes = LookTimes()
    """Intervals of its workers' checks."""

    database_roles: tuple[str, ...] = ()
    """Login roles that the database server may have beside ours, such as monitoring roles."""

    approval: Approval = Approval()
    """Approval by two people, on a cluster without authentication: on by default, off in a local stack. Elsewhere the
    administrator's event in operations counts, and no process's own setting (schemas/operations/two_people.py).
    """

    def acting(self, principal: str) -> Connection:
        """Return the connection of this principal if a local stack plays every part; elsewhere itself.

        Raises UsageError if the stack has no such principal.
        """
        if self.principals is None:
            return self
        file = self.principals / f"{principal}.json"
        try:
            known = Connection.model_validate_json(file.read_bytes())
            return known.model_copy(
                update={
                    name: getattr(self, name)
                    for name in ("approval", "intake_limits", "times", "looks", "database_roles")
                }
            )
        except FileNotFoundError:
            raise UsageError(f"this stack has no principal {principal!r}: `xinliu access show` names them") from None
        except PermissionError:
            raise UsageError(f"{file} belongs to another user: run this as the user who started the stack") from None
        except ValidationError:
            raise UsageError(f"{file} is damaged: `xinliu up` writes it anew") from None
