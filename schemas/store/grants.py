"""Undeclared rights: to PUBLIC, of columns, functions and sequences, by membership, attribute or ownership.

schemas/store/roles.py checks the tables' rights of the roles that it knows against its own list; this module checks all
other rights. SQL finds them (schemas/sql/store/foreign.sql), each with the statement that revokes it. Some only a
superuser may revoke.
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
    """One undeclared right, and its holder."""

    role: str
    """A role, or PUBLIC: everybody."""
    what: str
    statement: str = field(compare=False)
    """Statement that revokes it."""

    def __str__(self) -> str:
        """Its text in reports."""
        return f"{self.role}: {self.what}"


def foreign(connection: Connection, others: Iterable[str] = ()) -> list[Foreign]:
    """Return all undeclared rights, sorted; `others` are login roles that may exist beside ours."""
    functions = [f"{one.schema}.{one.name}" for one in shipped() if one.kind == "function"]
    values = {"roles": list(ROLES), "others": list(others), "shipped": functions}
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        return sorted(Foreign(*row) for row in connection.execute(sql("store/foreign"), values))


def remove(connections: Sequence[Connection], others: Iterable[str] = ()) -> tuple[list[Foreign], list[Foreign]]:
    """Revoke undeclared rights; return the revoked ones, and those that these (owner, superuser) may not revoke."""
    names = list(others)
    before = foreign(connections[0], names)
    for connection in connections:
        for one in foreign(connection, names):
            try:
                with connection.transaction():
                    connection.execute(one.statement)
            except (psycopg.ProgrammingError, psycopg.errors.DependentObjectsStillExist):
                continue  # no right to revoke it, or gone with another one: the remaining rights are reported
    left = foreign(connections[0], names)
    return [one for one in before if one not in left], left
