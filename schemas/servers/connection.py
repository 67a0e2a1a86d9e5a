"""How to reach one province's servers, and what its workers go by: the one value that every room's commands are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.errors import UsageError
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = ["Approval", "Connection", "Exchange", "IntakeLimits", "LookTimes", "Peer", "WorkerTimes"]


class Approval(BaseModel):
    """Whether what an operator plans needs another one's approval (docs/audit.md); the figures are illustrative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: bool = True
    hours: float = Field(default=24, gt=0)
    """For so long after it was given an approval lets a step begin."""


class IntakeLimits(BaseModel):
    """How much of what a department sends may be refused before its intake is stopped; the figures are illustrative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consecutive: int = Field(default=1_000, ge=1)
    """So many messages refused one after the other."""
    window: int = Field(default=5_000, ge=1)
    """How many of the last messages `ratio` is counted over, at least."""
    ratio: float = Field(default=0.5, gt=0, le=1)
    """This share of the last `window` messages refused."""
    per_hour: int = Field(default=50_000, ge=1)
    """So many entries of the quarantine at once, or by and by faster than so many an hour,
    whatever stands between them."""


class WorkerTimes(BaseModel):
    """How long others wait for a worker that was killed or sleeps, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: float = Field(default=15, ge=6, le=60)
    """Without a heartbeat for so long it loses its partitions to the others of its group; brokers allow no less than 6."""
    idle_in_transaction: float = Field(default=20, ge=1)
    """PostgreSQL ends a transaction in which nothing was said for so long, and with it the lock on its positions."""


class LookTimes(BaseModel):
    """How often the view worker looks at whether the tables are what they must be, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audit: float = Field(default=5, gt=0)
    """From the begin of one pass over the rows to that of the next, at least."""
    definitions: float = Field(default=120, gt=0)
    """From one look at definitions and rights to the next."""


class Peer(BaseModel):
    """Another province's servers, as a push link of this one reaches them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: Cluster
    """Its cluster, as the principal that may write this province's topics there and nothing else."""
    registry: RegistryAddress
    """Its schema registry, as whoever may read there."""


class Exchange(BaseModel):
    """What a province that shares with others needs beside its own servers; a province without it shares nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signing_key: Path | None = None
    """Private key that its checkpoints are signed with (schemas/exchange/keys.py); only the view worker needs it."""
    keyring: Path
    """Folder with the public keys of all provinces."""
    peers: Mapping[str, Peer] = Field(default_factory=dict)
    """By province: whom this one pushes to; only push links need them."""


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
    """The cluster, and as whom this process reaches it."""
    registry: RegistryAddress
    """The Confluent-compatible API of the schema registry, and as whom this process reaches it;
    as text its address alone."""
    database: SecretStr = SecretStr("")
    """libpq connection string of this process's role; empty where it has no business there (departments, intake)."""
    reader_database: SecretStr | None = None
    """libpq connection string of the read-only role; where none is given, this process's role reads."""
    principals: Path | None = None
    """Folder with one connection file a principal. Only a secure local stack has one: it plays every part itself;
    anywhere else a process holds its own credentials and no others."""

    exchange: Exchange | None = None
    """How it shares records with the other provinces (docs/exchange.md); None where it does not."""

    intake_limits: IntakeLimits = IntakeLimits()
    """When intake stops a department."""

    times: WorkerTimes = WorkerTimes()
    """How long others wait for its workers."""

    looks: LookTimes = LookTimes()
    """How often they look at what they hold."""

    database_roles: tuple[str, ...] = ()
    """Login roles that the database server may have beside ours: of those who watch it, for example."""

    approval: Approval = Approval()
    """Two people, where the cluster asks nobody who he is: on unless said otherwise; a local stack says otherwise.
    Elsewhere the administrator's word in operations counts, and no process's own (schemas/operations/two_people.py)."""

    def acting(self, principal: str) -> Connection:
        """Return the connection as this principal where a local stack plays every part; elsewhere itself.

        Raises UsageError where the stack has no such principal.
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
