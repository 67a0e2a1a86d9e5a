"""A registry without a server: the writers' schemas of one process, under the interface of schemas.contracts.registry."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection
from typing import Any

import fastavro

from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import NotDecodable
from schemas.contracts.evolution import check
from schemas.contracts.registry import Registry, WriterSchema, writer_schema
from schemas.errors import UsageError

__all__ = ["MemoryRegistry"]


class MemoryRegistry(Registry):
    """Keeps registered schemas in memory, under the rules of a real registry; for benchmarks, drills and tests.

    Ids count from 1. The same schema, including its docs, gets the same id again.
    """

    def __init__(self) -> None:
        self._held: dict[int, WriterSchema] = {}
        self._foreign: dict[int, str] = {}

    def copy(self) -> MemoryRegistry:
        """Return an independent registry with the same content."""
        made = MemoryRegistry()
        made._held, made._foreign = self._held.copy(), self._foreign.copy()
        return made

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def ask(self) -> None:
        """Return at once: it always answers."""

    def register(self, name: str, schema: Any = None) -> int:
        """Register a record of our contracts and return its schema id."""
        return self.add(source(name) if schema is None else schema)

    def schema_id(self, name: str) -> int:
        """Return the schema id of a record of our contracts, and register the record if necessary."""
        return self.register(name)

    def id_of(self, name: str, wanted: str) -> int:
        """Return the id of a record's version by its fingerprint. Raises UsageError if there is none."""
        known = self.ids(name)
        if wanted not in known:
            raise UsageError(f"there is no {name} with the fingerprint {wanted[:16]}…")
        return known[wanted]

    def _must_be_shipped(self, known: WriterSchema) -> None:
        """Accept every schema: only this process has written here."""

    def add(self, schema: Any, *, checked: bool = True) -> int:
        """Register any record's schema and return its id.

        Raises UsageError if it would break a version of the same name. Unchecked, it is accepted as by a registry
        without rules, which is how a foreign writer's schema gets there.
        """
        for known in self._held.values():
            if known.schema == schema:
                return known.id
        parsed = fastavro.parse_schema(copy.deepcopy(schema))
        name = parsed["name"]
        found = check(schema, self.versions(name)) if checked else []
        if found:
            raise UsageError(f"{name} is not compatible with its registered versions: {found[0].message}")
        schema_id = self._next_id()
        self._held[schema_id] = WriterSchema(schema_id, name, fingerprint(schema), copy.deepcopy(schema), parsed)
        return schema_id

    def add_text(self, text: str) -> int:
        """Store any text of another client, a schema or not, and return its id."""
        schema_id = self._next_id()
        self._foreign[schema_id] = text
        return schema_id

    def _next_id(self) -> int:
        return len(self._held) + len(self._foreign) + 1

    def writer(self, schema_id: int, askers: Callable[[], Collection[str]] = tuple) -> WriterSchema:
        """Return the writer's schema of an id. Raises NotDecodable (UNKNOWN_SCHEMA) if there is none."""
        if schema_id in self._foreign:
            return writer_schema(schema_id, self._foreign[schema_id])
        if schema_id not in self._held:
            raise NotDecodable("UNKNOWN_SCHEMA", f"the registry has no schema with the id {schema_id}")
        return self._held[schema_id]

    def forget(self, schema_id: int, *, older: float = 0.0) -> None:
        """Do nothing: there is no cache."""

    def versions(self, name: str) -> dict[int, Any]:
        """Return the registered schemas of a subject, as JSON, by version; empty if there is no such subject."""
        held = [known.schema for known in self._held.values() if known.name == name]
        return {version: json.loads(json.dumps(schema)) for version, schema in enumerate(held, 1)}

    def ids(self, name: str) -> dict[str, int]:
        """Return the schema ids of a subject's versions by fingerprint; empty if there is no such subject."""
        return {known.fingerprint: known.id for known in self._held.values() if known.name == name}
