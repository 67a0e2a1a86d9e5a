"""The store: migrations of a province's database, and the connections that workers and readers use.

Generations are PostgreSQL schemas with lasting names (g1, g2…); a connection names its own in the search_path.
Migrations are Alembic revisions in schemas/sql/migrations that run the SQL files beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict

from schemas.errors import Retryable, UsageError
from schemas.store.limits import allow
from schemas.store.roles import grant
from schemas.store.sql_files import SQL

__all__ = ["READER_FILES", "connect", "give_back", "migrate", "serving_generation"]

READER_FILES = (
    "report/time",
    "reader",
    "report/time_views",
    "report/reconciliation",
    "report/quality",
    "report/mutual",
    "report/exchange",
    "report/differences",
    "report/cases",
)
"""The files that make the schema `report`, in this order."""

_OPTIONS = "-c timezone=UTC -c client_connection_check_interval=5s"
"""A query whose client was killed ends within so many seconds, and with it the locks that others wait for."""

APPLICATION = "xinliu"
"""What sessions of ours are called in pg_stat_activity: what a leader's lock is told by (streams/workers/session_guard.py)."""


def migrate(database: str) -> None:
    """Bring the database (a libpq connection string) to the newest revision, and every role to its rights there.

    Nothing happens when it is there.

    Raises Retryable when the server does not answer.
    """
    _must_be_set(database)
    # Only this needs them, and a worker starts half a second sooner without.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import URL, create_engine
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool

    parts = {name: str(value) for name, value in conninfo_to_dict(database).items() if value is not None}
    url = URL.create(
        "postgresql+psycopg",
        username=parts.get("user"),
        password=parts.get("password"),
        host=parts.get("host"),
        port=int(parts["port"]) if parts.get("port") else None,
        database=parts.get("dbname"),
        query={name: parts[name] for name in parts.keys() - {"user", "password", "host", "port", "dbname"}},
    )
    config = Config()
    config.set_main_option("script_location", str(SQL / "migrations"))
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            if MigrationContext.configure(connection).get_current_revision() is None:
                command.upgrade(config, "0001")  # an empty database: its files hold the newest state
                command.stamp(config, "head")
            else:
                command.upgrade(config, "head")
    except OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error.orig}", server="postgres") from error
    from schemas.store.serving_views import expose

    with psycopg.connect(database, autocommit=True) as owner:
        expose(owner)  # a column that a migration adds to a generation is one of the readers' views from then on
        grant(owner)
        allow(owner)


def _must_be_set(database: str) -> None:
    # Left empty, libpq would look for whatever database this machine has.
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE")


def serving_generation(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """Return the number of the generation that serves. Raises UsageError where the database was never migrated."""
    try:
        row = connection.execute("SELECT generation FROM xinliu.serving").fetchone()
    except psycopg.errors.UndefinedTable:
        raise UsageError("the database has no tables yet: run `xinliu up` (or `xinliu migrate`)") from None
    if row is None:
        raise UsageError("the database serves no generation: run `xinliu migrate`")
    generation = row[0]
    assert isinstance(generation, int)
    return generation


def connect(
    database: str, *, generation: int | None = None, autocommit: bool = False
) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection whose search_path is one generation (the serving one unless given), then the shared schema.

    The session speaks UTC. Raises Retryable when the server does not answer.
    """
    _must_be_set(database)
    try:
        connection = psycopg.connect(
            database, autocommit=True, options=_OPTIONS, connect_timeout=10, application_name=APPLICATION
        )
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error
    chosen = serving_generation(connection) if generation is None else generation
    connection.execute(f"SET search_path = g{chosen:d}, xinliu, pg_catalog")
    connection.autocommit = autocommit
    return connection


def give_back(connection: psycopg.Connection[Any], query: LiteralString, values: Sequence[object] = ()) -> None:
    """Give back what a session holds, an advisory lock for example, when the work is over.

    With a lost session it is gone already: whatever ended the work is what is told, and who comes next connects anew.
    """
    try:
        connection.execute(query, values)
    except psycopg.OperationalError:
        connection.close()
