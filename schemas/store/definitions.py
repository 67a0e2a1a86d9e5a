"""Comparison of a database's tables, views, functions and triggers with the shipped ones, by fingerprint.

`shipped.csv` has the result of the migrations on PostgreSQL 18 (`python -m tests.shipped` writes it). The views of
`serving` depend on the present generations, and are compared with the output of schemas.store.serving_views for these.
This module changes nothing.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from schemas.store.serving_views import STATES, differing_views
from schemas.store.sql_files import sql

__all__ = ["SHIPPED", "Definition", "DefinitionDifference", "as_shipped", "differences", "fingerprints", "shipped"]

Connection = psycopg.Connection[Any]

VERSION = 18
"""Version of PostgreSQL: another version prints the same definitions differently."""
SHIPPED = Path(__file__).parent / "shipped.csv"
GENERATION = "generation"
_GENERATIONS = """
SELECT schema_name, state = ANY(%s) OR generation IN (SELECT s.generation FROM xinliu.serving s) FROM xinliu.generation
"""
_COLUMNS = re.compile(r"(?:^ {8,}(?:\w+\.)?\w+,?\n)+", re.MULTILINE)
"""Expanded `*` within a view of a generation: the columns at its creation. They pass under their own names into views
that are compared, and such a view does not exist without a column that it needs.
"""
_IN_GENERATION = re.compile(r"g[0-9]+")


@dataclass(frozen=True, slots=True, order=True)
class Definition:
    """An object of the database: its schema (`generation` for each of them), its kind, and its name there."""

    schema: str
    kind: str
    name: str

    def __str__(self) -> str:
        """Its text in reports."""
        place = f"{self.schema}." if self.schema and self.name else self.schema
        return f"{self.kind} {place}{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class DefinitionDifference:
    """One object that differs from the shipped one."""

    difference: str
    """MISSING, EXTRA or CHANGED."""
    what: Definition

    def __str__(self) -> str:
        """Its text in reports."""
        return f"{self.difference} {self.what}"


@cache
def shipped() -> Mapping[Definition, str]:
    """Return the fingerprint of every object that the migrations create."""
    with SHIPPED.open(encoding="utf-8", newline="") as file:
        return {Definition(schema, kind, name): text for schema, kind, name, text in csv.reader(file)}


def differences(connection: Connection) -> list[DefinitionDifference]:
    """Return all objects that differ from the shipped ones, sorted; the connection is in autocommit."""
    version = connection.info.server_version // 10_000
    if version != VERSION:
        told = f"PostgreSQL {version}: definitions are known as PostgreSQL {VERSION} tells them"
        return [DefinitionDifference("CHANGED", Definition("", "server", told))]
    known = {str(schema): bool(shown) for schema, shown in connection.execute(_GENERATIONS, (list(STATES),))}
    generations = {schema for schema, shown in known.items() if shown}
    # A generation being filled has fewer indexes, tables of its own, no reader; a dropped one waits for its readers.
    found = {one: text for one, text in fingerprints(connection).items() if known.get(one.schema, True)}
    wanted = dict(_wanted(generations))
    differing = [DefinitionDifference("MISSING", one) for one in wanted.keys() - found.keys()]
    differing += [DefinitionDifference("EXTRA", one) for one in found.keys() - wanted.keys()]
    differing += [
        DefinitionDifference("CHANGED", one)
        for one in found.keys() & wanted.keys()
        if wanted[one] not in ("", found[one])
    ]
    with _named_in_full(connection):
        changed = [
            DefinitionDifference("CHANGED", Definition("serving", "view", name)) for name in differing_views(connection)
        ]
    return sorted({*differing, *changed})


def fingerprints(connection: Connection) -> dict[Definition, str]:
    """Return the fingerprint of every object in this database."""
    with _named_in_full(connection):
        rows = connection.execute(sql("store/objects")).fetchall()
    return {
        Definition(schema, kind, name.replace(f"{schema}.", "") if schema else name): _fingerprint(schema, text)
        for schema, kind, name, text in rows
    }


def as_shipped(found: Mapping[Definition, str]) -> dict[Definition, str]:
    """Return the rows of `shipped.csv` for a database as the migrations leave it, with one generation."""
    kept = {}
    for one, text in found.items():
        schema = GENERATION if _IN_GENERATION.fullmatch(one.schema) else one.schema
        # The definition of a view of serving follows from the generations.
        kept[Definition(schema, one.kind, one.name)] = "" if schema == "serving" else text
    return kept


def _wanted(generations: Collection[str]) -> Iterator[tuple[Definition, str]]:
    for one, text in shipped().items():
        if one.schema != GENERATION:
            yield one, text
            continue
        for schema in generations:
            yield Definition(schema, one.kind, one.name), text


def _fingerprint(schema: str, text: str) -> str:
    if _IN_GENERATION.fullmatch(schema):
        text = re.sub(rf"\b{schema}\.", f"{GENERATION}.", text)
        if "UNION" not in text:
            text = _COLUMNS.sub("", text)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextmanager
def _named_in_full(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        yield
