"""The databases of an outbox: their addresses, their drivers, and the meaning of their errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, NoSuchModuleError, OperationalError

from schemas.errors import Retryable, UsageError

__all__ = ["answering", "database_url", "open_engine"]

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""The driver for an address that names none."""


def database_url(text: str) -> URL:
    """Return a database's address, with the default driver if it names none. Raises UsageError if it is no address."""
    try:
        url = make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UsageError(
            "--url is no database address: postgresql://user@host/name, mysql://user@host/name or sqlite:///file"
        ) from None
    if url.host is not None and "@" in url.host + (url.database or ""):
        # Part of a password: the error for an unreachable host would show it.
        raise UsageError("--url names a host with an @: write the @ of a password as %40")
    return url


def open_engine(url: URL) -> Engine:
    """Return an engine whose connections notice a lost server and whose errors show no content of a statement.

    Raises UsageError if the driver is not installed.
    """
    name = url.get_backend_name()
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": 1, "max_overflow": 1}
    if name == "sqlite":
        options = {"hide_parameters": True}
    elif name == "postgresql":
        # A host that vanished does not answer at all: without these options a read waits for it for hours.
        options["connect_args"] = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 20_000}  # fmt: skip
    else:
        # MySQL's default level would lock gaps between rows, into which departments insert theirs.
        options |= {"isolation_level": "READ COMMITTED", "connect_args": {"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60}}  # fmt: skip
    try:
        return create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise UsageError(f"the driver {error.name!r} is not installed: pip install {error.name}") from None


@contextmanager
def answering() -> Iterator[None]:
    """Raise a database's error as the caller's: Retryable, or UsageError if the database refuses.

    Drivers quote statements, and the names of persons in them, in their errors; only the first line is reported.
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        if "no such table" in _first_line(error):  # SQLite raises the same class for this as for a busy database
            raise UsageError(f"the database refuses: {_first_line(error)}") from None
        raise Retryable(f"the database does not answer: {_first_line(error)}", server="database") from None
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Retryable(f"the database does not answer: {_first_line(error)}", server="database") from None
        raise UsageError(f"the database refuses: {_first_line(error)}") from None


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
