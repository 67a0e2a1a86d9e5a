"""The databases that an outbox may be in: their addresses, their drivers, and what their errors mean."""

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
"""What is used where an address names no driver."""


def database_url(text: str) -> URL:
    """Return a database's address, with the driver that is used where none is named. Raises UsageError where it is none."""
    try:
        url = make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UsageError(
            "--url is no database address: postgresql://user@host/name, mysql://user@host/name or sqlite:///file"
        ) from None
    if url.host is not None and "@" in url.host + (url.database or ""):
        # Part of a password, which whoever cannot reach such a host would tell.
        raise UsageError("--url names a host with an @: write the @ of a password as %40")
    return url


def open_engine(url: URL) -> Engine:
    """Return an engine whose connections notice a server that has gone, and whose errors show no statement's content.

    Raises UsageError where the driver is not installed.
    """
    name = url.get_backend_name()
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": 1, "max_overflow": 1}
    if name == "sqlite":
        options = {"hide_parameters": True}
    elif name == "postgresql":
        # A host that vanished answers nothing at all: without these, a read waits for it for hours.
        options["connect_args"] = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 20_000}  # fmt: skip
    else:
        # MySQL's default level would lock gaps between rows, in which departments insert theirs.
        options |= {"isolation_level": "READ COMMITTED", "connect_args": {"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60}}  # fmt: skip
    try:
        return create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise UsageError(f"the driver {error.name!r} is not installed: pip install {error.name}") from None


@contextmanager
def answering() -> Iterator[None]:
    """Raise what a database says as what it means to whoever asked: Retryable, or UsageError where it refuses.

    Drivers quote statements in their errors, and names of persons in them; only their first line is told.
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        if "no such table" in _first_line(error):  # SQLite says so by the same class as that it is busy
            raise UsageError(f"the database refuses: {_first_line(error)}") from None
        raise Retryable(f"the database does not answer: {_first_line(error)}", server="database") from None
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Retryable(f"the database does not answer: {_first_line(error)}", server="database") from None
        raise UsageError(f"the database refuses: {_first_line(error)}") from None


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
