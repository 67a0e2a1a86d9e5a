"""Settings, read once from the environment (XINLIU_…) and the stack's own connection file; nowhere else.

If neither is given, a province's servers are those of the local stack `default`.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import UsageError
from schemas.servers.connection import Approval, Connection, Exchange, IntakeLimits, LookTimes, WorkerTimes
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress

__all__ = ["Settings", "connection", "redacted", "settings"]

_QUOTING = (
    "in a URL, write @ : / ? # % and blanks of a password as %40 %3A %2F %3F %23 %25 %20; elsewhere put it in quotes"
)


class Settings(BaseSettings):
    """Settings of a person or a deployment; every name is an environment variable with the prefix XINLIU_.

    >>> Settings(province="beijing").province
    'beijing'
    """

    model_config = SettingsConfigDict(env_prefix="XINLIU_", frozen=True, extra="ignore")

    stack: str = "default"
    """Name of the local stack of the commands."""
    home: Path | None = None
    """Folder of local stacks; by default a folder of the user's own, /var/lib/xinliu for root."""
    cache: Path | None = None
    """Folder of downloaded servers; by default `cache` in the home folder."""
    maven: str | None = None
    """Address of a Maven repository for the Java servers, instead of Maven Central."""
    catalogue: Path | None = None
    """Folder of the catalogue's CSV files, instead of the shipped one."""

    province: str | None = None
    """With kafka, registry and, if the process has one, database: the servers of a real installation."""
    kafka: str | None = None
    kafka_security: Path | None = None
    """Properties file with this process's Kafka credentials (docs/security.md); none without authentication."""
    registry: str | None = None
    registry_security: Path | None = None
    """Properties file with this process's registry credentials (docs/security.md); none if it does not authenticate."""
    database: SecretStr | None = None
    reader_database: SecretStr | None = None
    exchange: Path | None = None
    """JSON file with signing key, keyring and peers (docs/exchange.md), if the province shares records with others."""

    intake_stop_consecutive: int = Field(default=1_000, ge=1)
    """Number of refused messages of a department in a row that stops its intake."""
    intake_stop_window: int = Field(default=5_000, ge=1)
    """Minimum number of a department's last messages over which the ratio is counted."""
    intake_stop_ratio: float = Field(default=0.5, gt=0, le=1)
    """Share of refused messages among them that stops its intake."""
    intake_stop_per_hour: int = Field(default=50_000, ge=1)
    """Quarantine entries per hour beyond which intake stops, however many good messages come with them."""

    worker_session: float = Field(default=15, ge=6, le=60)
    """Seconds without a heartbeat after which a worker's partitions go to the others of its group."""
    worker_idle_in_transaction: float = Field(default=20, ge=1)
    """Seconds after which PostgreSQL ends a worker's idle transaction."""

    database_roles: str = Field(default="", pattern=r"^([a-z0-9_]{1,63}(,[a-z0-9_]{1,63})*)?$")
    """Login roles that the database server may have beside ours, by commas; `xinliu access plan` reports all others."""

    worker_audit: float = Field(default=5, gt=0)
    """Minimum seconds from one pass of the audit over the rows to the next."""
    worker_definitions: float = Field(default=120, gt=0)
    """Seconds from one check of definitions and rights to the next."""

    operators: str = Field(default="", pattern=r"^([a-z0-9]{1,30}(,[a-z0-9]{1,30})*)?$")
    """Names of operators, separated by commas, with their own Kafka principal (operator-zhang), beside those in the
    file."""
    operators_file: Path | None = None
    """File with their names, one per line (deploy/people.py); by default `operators` in the home folder, or in a local
    stack's."""
    approval: bool | None = None
    """Whether decisions of two people need another person's approval; by default yes, and no in a local stack. On a
    cluster with authentication, `xinliu access apply` (or `up`) sets it for the installation, and no other process's
    setting counts.
    """
    approval_hours: float = Field(default=24, gt=0)
    """Hours for which an approval lets a step begin."""

    @property
    def people(self) -> tuple[str, ...]:
        """Operators with a principal of their own, from the environment."""
        return tuple(filter(None, self.operators.split(",")))

    @property
    def others(self) -> tuple[str, ...]:
        """Allowed other login roles."""
        return tuple(filter(None, self.database_roles.split(",")))

    @property
    def intake_limits(self) -> IntakeLimits:
        """The limits in the workers' form."""
        return IntakeLimits(
            consecutive=self.intake_stop_consecutive,
            window=self.intake_stop_window,
            ratio=self.intake_stop_ratio,
            per_hour=self.intake_stop_per_hour,
        )

    @property
    def times(self) -> WorkerTimes:
        """The time-outs in the workers' form."""
        return WorkerTimes(session=self.worker_session, idle_in_transaction=self.worker_idle_in_transaction)

    @property
    def looks(self) -> LookTimes:
        """The intervals of the view worker's checks."""
        return LookTimes(audit=self.worker_audit, definitions=self.worker_definitions)

    @property
    def home_folder(self) -> Path:
        """Folder with `stacks` and `cache`."""
        if self.home is not None:
            return self.home
        if os.geteuid() == 0:
            return Path("/var/lib/xinliu")
        state = os.environ.get("XDG_STATE_HOME")
        return (Path(state) if state else Path.home() / ".local" / "state") / "xinliu"

    @property
    def cache_folder(self) -> Path:
        """Folder of downloaded servers, shared by all stacks."""
        return self.cache or self.home_folder / "cache"

    def people_file(self, stack: str | None = None) -> Path:
        """File with the names of people with a principal: that of a local stack, or the installation's."""
        return self.operators_file or (self.home_folder if stack is None else self.stack_folder(stack)) / "operators"

    def stack_folder(self, name: str | None = None) -> Path:
        """Folder of one local stack."""
        return self.home_folder / "stacks" / (name or self.stack)


@cache
def settings() -> Settings:
    """Return the settings, read once. Raises UsageError if one is invalid."""
    try:
        return Settings()
    except ValidationError as error:
        worst = error.errors()[0]
        name = f"XINLIU_{'_'.join(str(part) for part in worst['loc']).upper()}"
        raise UsageError(f"{name}={worst['input']!r}: {worst['msg']}") from None


def connection(stack: str | None = None) -> Connection:
    """Return the connection to the province's servers: from the settings, or that of a local stack.

    Raises UsageError if only some of the servers are set, or the stack was never started.
    """
    known = settings()
    # Without a database: departments and intake have none.
    given = {name: getattr(known, name) for name in ("province", "kafka", "registry")}
    others = {"database": known.database, "reader_database": known.reader_database}
    for name, text in others.items():
        _check(f"XINLIU_{name.upper()}", text)
    if stack is None and all(given.values()):
        if known.kafka_security is not None and known.kafka is not None:
            given["kafka"] = Cluster.from_file(known.kafka, known.kafka_security)
        if known.registry_security is not None and known.registry is not None:
            given["registry"] = RegistryAddress.from_file(known.registry, known.registry_security)
        return Connection.model_validate(
            {
                **given,
                "intake_limits": known.intake_limits,
                "times": known.times,
                "looks": known.looks,
                "database_roles": known.others,
                "approval": Approval(required=known.approval is not False, hours=known.approval_hours),
                "exchange": _exchange(known.exchange),
                **{name: value for name, value in others.items() if value},
            }
        )
    if stack is None and any(value for name, value in {**given, **others}.items() if name != "province"):
        missing = ", ".join(f"XINLIU_{name.upper()}" for name, value in given.items() if not value)
        raise UsageError(f"some servers are set and some are not: set {missing} too, or none of them")
    name = stack or known.stack
    file = known.stack_folder(name) / "connection.json"
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        required = Approval(**plain.pop("approval", {})).required if known.approval is None else known.approval
        approval = Approval(required=required, hours=known.approval_hours)
        return Connection(
            **plain,
            intake_limits=known.intake_limits,
            times=known.times,
            looks=known.looks,
            approval=approval,
            database_roles=known.others,
        )
    except FileNotFoundError:
        raise UsageError(f"there is no local stack {name!r}: start one with `xinliu up`") from None
    except PermissionError:
        raise UsageError(f"{file} belongs to another user: run this as the user who started the stack") from None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}; is XINLIU_HOME a folder?") from None
    except (ValueError, TypeError) as error:
        raise UsageError(f"{file} is damaged ({error}): `xinliu up` writes it anew") from None


def _check(name: str, database: SecretStr | None) -> None:
    """Raise UsageError if libpq would read part of a password as another parameter, such as a host, and print it."""
    if database is None or not (text := database.get_secret_value()):
        return
    wrong = f"{name} is no connection string of PostgreSQL"
    try:
        parts = {key: str(value) for key, value in conninfo_to_dict(text).items()}
    except ProgrammingError:  # its message quotes the unreadable text
        raise UsageError(f"{wrong}: {_QUOTING}") from None
    # Only a URL has separators that a password may contain, and would then read as another URL.
    places = "".join(parts.get(key, "") for key in ("host", "dbname")) if "://" in text.partition("=")[0] else ""
    ports = parts.get("port", "").split(",")
    if set("@?#") & set(places) or not all(not port or port.isdecimal() for port in ports):
        raise UsageError(f"{wrong}: {_QUOTING}")


def _exchange(file: Path | None) -> Exchange | None:
    if file is None:
        return None
    try:
        return Exchange.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read XINLIU_EXCHANGE={file}: {type(error).__name__}") from None
    except ValidationError as error:
        worst = error.errors(include_input=False)[0]
        raise UsageError(f"{file}: {'.'.join(map(str, worst['loc'])) or 'the file'}: {worst['msg']}") from None


def redacted(known: Connection) -> dict[str, str]:
    """Return the connection as text for display, without passwords."""
    shown = {}
    for name, value in known:
        if isinstance(value, Cluster):
            shown[name] = value.servers
            if value.security:
                shown["kafka_security"] = " ".join(f"{key}={part}" for key, part in value.shown().items())
        elif isinstance(value, RegistryAddress):
            shown[name] = value.url if value.user is None else f"{value.url} user={value.user}"
        elif isinstance(value, SecretStr) and value:
            parts = conninfo_to_dict(value.get_secret_value())
            shown[name] = " ".join(f"{key}={part}" for key, part in parts.items() if key != "password")
        elif isinstance(value, Exchange):
            shown[name] = f"keyring={value.keyring} peers={','.join(sorted(value.peers)) or 'none'}"
        elif isinstance(value, IntakeLimits | WorkerTimes | LookTimes | Approval):
            shown[name] = " ".join(f"{key}={part}" for key, part in value)
        elif value:
            shown[name] = str(value)
    return shown
