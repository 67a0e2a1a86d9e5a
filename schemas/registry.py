"""The schema registry: any with Confluent's API; ours is Apicurio. Subjects are the records' full names."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fastavro

from schemas.codec import NotDecodable
from schemas.contracts import fingerprint, source
from schemas.errors import Retryable, UsageError
from schemas.lookups import Lookups

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

__all__ = ["COMPATIBILITY", "Registry", "WriterSchema", "writer_schema"]

COMPATIBILITY = "FULL_TRANSITIVE"
"""Every version can read every other: statements live in the log for years, and provinces upgrade when they can."""

_LONGEST = 1 << 18
"""Longest schema that is read, in characters; ours has 8,000."""

_ANYBODY = ("",)


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """The schema that a message was written with, as the registry gave it for the message's schema id."""

    id: int
    name: str
    fingerprint: str
    """SHA-256 of the parsing canonical form: unlike the id it means the same in every registry."""
    schema: Any = field(repr=False, compare=False)
    """The schema as JSON."""
    parsed: Any = field(repr=False, compare=False)
    """The schema as fastavro has parsed it."""
    text: str = field(init=False, repr=False, compare=False)
    """The schema as JSON text, made once."""

    def __post_init__(self) -> None:
        """Make the text."""
        object.__setattr__(self, "text", json.dumps(self.schema))


def writer_schema(schema_id: int, text: str) -> WriterSchema:
    """Return the writer's schema that a registry holds as this text. Raises NotDecodable (UNKNOWN_SCHEMA) where it is none."""
    try:
        schema = json.loads(text)
        json.dumps(schema, ensure_ascii=False).encode()  # a lone surrogate is no text
        if "\\u0000" in text or len(text) > _LONGEST:
            raise ValueError(f"U+0000, or more than {_LONGEST} characters")  # PostgreSQL could not keep it
        # Forced, since a schema may say of itself that it has been parsed.
        parsed = fastavro.parse_schema(json.loads(text), _force=True)
        name = str(parsed["name"]) if isinstance(parsed, dict) and "name" in parsed else ""
        return WriterSchema(schema_id, name, fingerprint(schema), schema, parsed)
    except Exception as error:  # a hostile schema must not stop its readers
        raise NotDecodable("UNKNOWN_SCHEMA", f"schema id {schema_id} is no Avro schema: {error}"[:200]) from error


def _avro(schema: Any) -> Schema:
    from confluent_kafka.schema_registry import Schema

    return Schema(json.dumps(schema, ensure_ascii=False), "AVRO")


class Registry:
    """Registers our contracts and looks up writers' schemas; answers are cached for the life of the process.

    Every call raises Retryable where the registry does not answer. The library is imported where it is used: it takes a
    quarter of a second, and most commands ask no registry.
    """

    def __init__(self, url: str) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self._url = url
        # Where nothing is encrypted, no certificate is looked at: to load those that are trusted takes longer than an answer.
        trusted = {"ssl.ca.location": False} if url.startswith("http://") else {}
        self._client = SchemaRegistryClient({"url": url, "timeout": 10, "max.retries": 1, **trusted})
        self._writers: dict[int, WriterSchema] = {}
        self._lookups = Lookups()
        self._ids: dict[str, int] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the registry; what is cached stays known."""
        self._client.close()

    def register(self, name: str) -> int:
        """Register a record of our contracts and return its schema id; nothing changes where it is there already.

        Raises UsageError where the registry refuses it as incompatible.
        """
        if name not in self._ids:
            schema = _avro(source(name))
            try:
                if name not in self._client.get_subjects():
                    self._ids[name] = self._client.register_schema(name, schema)
                    self._client.set_compatibility(name, COMPATIBILITY)
                else:
                    self._ids[name] = self._client.register_schema(name, schema)
            except Exception as error:  # sorted into ours by _failure
                raise self._failure(error, f"{name} is not compatible with its registered versions") from error
        return self._ids[name]

    def adopt(self, writer: WriterSchema) -> int:
        """Register a schema that another registry holds, under its record's name, and return its id here.

        Raises UsageError where it is no record's, or this registry refuses it as incompatible.
        """
        if not writer.name:
            raise UsageError(f"schema {writer.id} is no record's, so it has no subject")
        known = self.ids(writer.name)
        if writer.fingerprint in known:
            return known[writer.fingerprint]
        try:
            schema_id: int = self._client.register_schema(writer.name, _avro(writer.schema))
            if not known:
                self._client.set_compatibility(writer.name, COMPATIBILITY)
        except Exception as error:  # sorted into ours by _failure
            raise self._failure(error, f"{writer.name} is not compatible with its versions there") from error
        return schema_id

    def writer(self, schema_id: int, askers: Callable[[], Collection[str]] = lambda: _ANYBODY) -> WriterSchema:
        """Return the writer's schema of an id; `askers` names whose messages bear it, and is called where it is not known yet.

        Raises NotDecodable (UNKNOWN_SCHEMA) where the registry has none, or too many unknown ids were asked for (Lookups).
        """
        known = self._writers.get(schema_id)
        if known is None:
            known = self._writers[schema_id] = self._looked_up(schema_id, askers())
        return known

    def _looked_up(self, schema_id: int, askers: Collection[str]) -> WriterSchema:
        from confluent_kafka.schema_registry import SchemaRegistryError

        asker = self._lookups.begin(schema_id, askers)
        try:
            known = writer_schema(schema_id, self._client.get_schema(schema_id).schema_str or "")
        except NotDecodable as error:
            self._lookups.missing(schema_id, askers, error)
            raise
        except Exception as error:  # sorted into ours by _failure
            if isinstance(error, SchemaRegistryError) and error.http_status_code == 404:
                unknown = self._not_found(schema_id)
                self._lookups.missing(schema_id, askers, unknown)
                raise unknown from error
            self._lookups.found(asker)
            raise self._failure(error, "") from error
        self._lookups.found(asker)
        return known

    def versions(self, name: str) -> dict[int, Any]:
        """Return the registered schemas of a subject, as JSON, by version; empty where there is no such subject."""
        try:
            if name not in self._client.get_subjects():
                return {}
            return {
                version: json.loads(self._client.get_version(name, version).schema.schema_str or "")
                for version in self._client.get_versions(name)
            }
        except Exception as error:  # sorted into ours by _failure
            raise self._failure(error, "") from error

    def ids(self, name: str) -> dict[str, int]:
        """Return the schema ids of a subject's versions by fingerprint; empty where there is no such subject."""
        try:
            if name not in self._client.get_subjects():
                return {}
            found = [self._client.get_version(name, version) for version in self._client.get_versions(name)]
            return {
                fingerprint(json.loads(known.schema.schema_str or "")): known.schema_id
                for known in found
                if known.schema_id is not None and known.schema is not None
            }
        except Exception as error:  # sorted into ours by _failure
            raise self._failure(error, "") from error

    def ask(self) -> None:
        """Make sure that the registry answers."""
        try:
            self._client.get_subjects()
        except Exception as error:  # sorted into ours by _failure
            raise self._failure(error, "") from error

    def _failure(self, error: Exception, refused: str) -> Exception:
        from confluent_kafka.schema_registry import SchemaRegistryError

        if isinstance(error, SchemaRegistryError) and error.http_status_code in (409, 422):
            return UsageError(f"{refused}: {error.error_message}; `xinliu schemas check` says why")
        return Retryable(f"the schema registry at {self._url} does not answer: {error}", server="registry")

    @staticmethod
    def _not_found(schema_id: int) -> NotDecodable:
        return NotDecodable("UNKNOWN_SCHEMA", f"the registry has no schema with the id {schema_id}")
