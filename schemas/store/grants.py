"""Rights of every kind that nobody declared: to PUBLIC, of columns, functions and sequences,
by membership, attribute or ownership.

schemas/store/roles.py holds the tables' rights of the roles that it knows against its own list; this is for all others. What
they are is SQL (schemas/sql/store/foreign.sql), which gives with each the statement that takes it away. Some only a
superuser may take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from schemas.store.definitions import shipped
from schemas.store.roles import ROLES
from schemas.store.sql_files import sql

__all__ = ["Foreign", "foreign", "remove"]

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, order=True)
class Foreign:
    """One right that nobody declared: whose, and what."""

    role: str
    """A role, or PUBLIC: everybody."""
    what: str
    statement: str = field(compare=False)
    """What takes it away."""

    def __str__(self) -> str:
        """As people are told of it."""
        return f"{self.role}: {self.what}"


def foreign(connection: Connection, others: Iterable[str] = ()) -> list[Foreign]:
    """Return all rights that nobody declared, sorted; `others` are login roles that may be there beside ours."""
    functions = [f"{one.schema}.{one.name}" for one in shipped() if one.kind == "function"]
    values = {"roles": list(ROLES), "others": list(others), "shipped": functions}
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        return sorted(Foreign(*row) for row in connection.execute(sql("store/foreign"), values))


def remove(connections: Sequence[Connection], others: Iterable[str] = ()) -> tuple[list[Foreign], list[Foreign]]:
    """Take away what nobody declared; return what is gone, and what these connections (owner,
    superuser) may not take away."""
    names = list(others)
    before = foreign(connections[0], names)
    for connection in connections:
        for one in foreign(connection, names):
            try:
                with connection.transaction():
                    connection.execute(one.statement)
            except (psycopg.ProgrammingError, psycopg.errors.DependentObjectsStillExist):
                continue  # no right to, or gone with another one: what is left is told
    left = foreign(connections[0], names)
    return [one for one in before if one not in left], left
