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
"""Files that create the schema `report`, in this order."""

_OPTIONS = "-c timezone=UTC -c client_connection_check_interval=5s"
"""A query whose client was killed ends within this time, and with it the locks that others wait for."""

APPLICATION = "xinliu"
"""Name of our sessions in pg_stat_activity; it identifies a leader's lock (streams/workers/session_guard.py)."""


def migrate(database: str) -> None:
    """Migrate the database (a libpq connection string) to the newest revision, and grant every role its rights there.

    Nothing happens if it is there already.

    Raises Retryable if the server does not answer, UsageError if the revision of the database is not known here.
    """
    _must_be_set(database)
    # Only this needs them, and a worker starts half a second sooner without.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
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
            revisions = ScriptDirectory.from_config(config)
            current = MigrationContext.configure(connection).get_current_revision()
            if current is None:
                # An empty database: the files that the baseline runs hold the newest state.
                command.upgrade(config, str(revisions.get_base()))
                command.stamp(config, "head")
            elif current in {known.revision for known in revisions.walk_revisions()}:
                command.upgrade(config, "head")
            else:
                raise UsageError(
                    f"the database is of revision {current}, which this version of xinliu does not know: one that is older than"
                    f" {revisions.get_base()} is filled anew from the topics, one that is newer needs the newer xinliu"
                )
    except OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error.orig}", server="postgres") from error
    from schemas.store.serving_views import expose

    with psycopg.connect(database, autocommit=True) as owner:
        expose(owner)  # a column that a migration adds to a generation joins the readers' views here
        grant(owner)
        allow(owner)


def _must_be_set(database: str) -> None:
    # If it is empty, libpq would look for any database of this machine.
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE")


def serving_generation(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """Return the number of the generation that serves. Raises UsageError if the database was never migrated."""
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
    """Open a connection whose search_path is one generation (by default the serving one), then the shared schema.

    The session's time zone is UTC. Raises Retryable if the server does not answer.
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
    """Release a session's resource, such as an advisory lock, when the work is over.

    A lost session has released it already: the error that ended the work is raised, and the next caller reconnects.
    """
    try:
        connection.execute(query, values)
    except psycopg.OperationalError:
        connection.close()
