"""Writes schemas/store/shipped.csv, from an empty database that is migrated: `python -m tests.shipped`.

To be run where a migration, or a file that makes views or functions, has changed; a test says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from deploy.local.stack import Stack
from schemas.store.database import migrate
from schemas.store.definitions import SHIPPED, as_shipped, fingerprints
from tests.servers import local, local_stack

__all__ = ["database", "written"]


@contextmanager
def database(stack: Stack, name: str) -> Iterator[str]:
    """Make an empty database of that name for a while; yield how its owner connects."""
    server = stack.postgres.conninfo("postgres", "postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER xinliu")
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        connection.execute(f"GRANT CONNECT ON DATABASE {name} TO xinliu_reader")
    try:
        yield stack.postgres.conninfo("xinliu", name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def written(migrated: str) -> str:
    """Return what the file says of a database that was just migrated."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        found = as_shipped(fingerprints(connection))
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(
        (one.schema, one.kind, one.name, text) for one, text in sorted(found.items())
    )
    return file.getvalue()


if __name__ == "__main__":
    with local("shipped"), database(local_stack("shipped"), "shipped") as made:
        migrate(made)
        SHIPPED.write_text(written(made), encoding="utf-8")
