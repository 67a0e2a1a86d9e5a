"""The schema registry: any with Confluent's API; ours is Apicurio. Subjects are the records' full names."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import fastavro

from schemas.contracts.avro import SHIPPED, fingerprint, named_by, own_fingerprint, parsed, source
from schemas.contracts.codec import NotDecodable, decode, unframe
from schemas.contracts.lookups import Lookups
from schemas.errors import Retryable, UsageError
from schemas.servers.registry import RegistryAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka.schema_registry import RegisteredSchema, Schema

    from schemas.contracts.avro import Headers

__all__ = ["COMPATIBILITY", "Registry", "WriterSchema", "not_named", "not_shipped", "writer_schema"]

COMPATIBILITY = "FULL_TRANSITIVE"
"""Every version can read every other: statements stay in the log for years, and provinces upgrade at their own time."""

_LONGEST = 1 << 18
"""Maximum length of a schema, in characters; ours has 8,000."""

_ANYBODY = ("",)


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """The schema of a message's writer, as the registry returned it for the message's schema id."""

    id: int
    name: str
    fingerprint: str
    """SHA-256 of the parsing canonical form: unlike the id it means the same in every registry."""
    schema: Any = field(repr=False, compare=False)
    """The schema as JSON."""
    parsed: Any = field(repr=False, compare=False)
    """The schema as fastavro parses it."""
    text: str = field(init=False, repr=False, compare=False)
    """The schema as JSON text, made once."""

    def __post_init__(self) -> None:
        """Build the text."""
        object.__setattr__(self, "text", json.dumps(self.schema))


def writer_schema(schema_id: int, text: str) -> WriterSchema:
    """Return the writer's schema in a registry's text. Raises NotDecodable (UNKNOWN_SCHEMA) if it is none."""
    try:
        schema = json.loads(text)
        json.dumps(schema, ensure_ascii=False).encode()  # a lone surrogate is no text
        if "\\u0000" in text or len(text) > _LONGEST:
            raise ValueError(f"U+0000, or more than {_LONGEST} characters")  # PostgreSQL could not store it
        # Forced, since a schema may claim to be parsed already.
        parsed = fastavro.parse_schema(json.loads(text), _force=True)
        name = str(parsed["name"]) if isinstance(parsed, dict) and "name" in parsed else ""
        return WriterSchema(schema_id, name, fingerprint(schema), schema, parsed)
    except Exception as error:  # a hostile schema must not stop its readers
        raise NotDecodable("UNKNOWN_SCHEMA", f"schema id {schema_id} is no Avro schema: {error}"[:200]) from error


def not_named(known: WriterSchema, named: bytes) -> NotDecodable:
    """Return the error for a message whose schema id has another schema than its header names."""
    said = named[:64].decode("ascii", "replace")
    return NotDecodable(
        "SCHEMA_DIFFERS", f"it names the schema {said}, and schema id {known.id} means {known.fingerprint}"
    )


def not_shipped(known: WriterSchema) -> NotDecodable:
    """Return the error for a message with a schema that was neither shipped nor accepted."""
    return NotDecodable(
        "SCHEMA_NOT_BELIEVED",
        f"schema id {known.id} means {known.fingerprint}, which is no version of a contract that is known here",
    )


def _ids(found: Iterable[RegisteredSchema]) -> dict[str, int]:
    return {
        fingerprint(json.loads(known.schema.schema_str or "")): known.schema_id
        for known in found
        if known.schema_id is not None and known.schema is not None
    }


def _avro(schema: Any) -> Schema:
    from confluent_kafka.schema_registry import Schema

    return Schema(json.dumps(schema, ensure_ascii=False), "AVRO")


class Registry:
    """Client of the registry: ids of our contracts and schemas of writers, cached for the life of the process.

    Everything but `register` only reads, by GET. Every call raises Retryable if the registry does not answer, and
    UsageError if it forbids the call. The library is imported at its use: the import takes a quarter of a second, and
    most commands need no registry.
    """

    def __init__(self, address: RegistryAddress | str) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self._address = RegistryAddress.of(address)
        self._client = SchemaRegistryClient({"timeout": 10, "max.retries": 1, **self._address.client()})
        self._writers: dict[int, WriterSchema] = {}
        self._asked_at: dict[int, float] = {}
        self._lookups = Lookups()
        self._ids: dict[str, int] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the registry; the cache stays."""
        self._client.close()

    def register(self, name: str, schema: Any = None) -> int:
        """Register a record of our contracts and return its schema id; nothing changes if it is registered already.

        `schema` is another version of it, as JSON. Only `xinliu schemas register` and `xinliu up` call this. Raises
        UsageError if the registry refuses it as incompatible.
        """
        text = _avro(source(name) if schema is None else schema)
        try:
            if name in self._client.get_subjects():
                return int(self._client.register_schema(name, text))
            schema_id: int = self._client.register_schema(name, text)
            self._client.set_compatibility(name, COMPATIBILITY)
        except Exception as error:  # _failure converts it to our errors
            raise self._failure(error, f"{name} is not compatible with its registered versions") from error
        return schema_id

    def schema_id(self, name: str) -> int:
        """Return the schema id of a record of our contracts, in this version of the code.

        Raises UsageError if the registry does not have it.
        """
        if name not in self._ids:
            self._ids[name] = self.id_of(name, own_fingerprint(name))
        return self._ids[name]

    def id_of(self, name: str, wanted: str) -> int:
        """Return the id of a record's version by its fingerprint. Raises UsageError if the registry lacks it."""
        known = self._latest(name)
        if wanted not in known:
            known = self.ids(name)
        if wanted not in known:
            raise UsageError(
                f"the schema registry at {self._address} has no {name} with the fingerprint {wanted[:16]}…:"
                " whoever may write there registers it (`xinliu schemas register`)"
            )
        return known[wanted]

    def _latest(self, name: str) -> dict[str, int]:
        """Return the newest version of a subject in the form of `ids`: mostly it is the wanted one."""
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            return _ids([self._client.get_latest_version(name)])
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return {}
            raise self._failure(error, "") from error
        except Exception as error:  # _failure converts it to our errors
            raise self._failure(error, "") from error

    def believed(
        self, schema_id: int, named: bytes | None = None, askers: Callable[[], Collection[str]] = lambda: _ANYBODY
    ) -> WriterSchema:
        """Return the writer's schema of an id, if it is the schema that the message's writer meant and is trusted.

        `named` is the message's header SCHEMA: the fingerprint of its writer's schema. A message without it was written
        with a version that we shipped. Raises NotDecodable (UNKNOWN_SCHEMA, SCHEMA_DIFFERS, SCHEMA_NOT_BELIEVED).
        """
        known = self.writer(schema_id, askers)
        if named is None:
            self._must_be_shipped(known)
        elif known.fingerprint.encode() != named:
            raise not_named(known, named)
        return known

    def read(self, name: str, value: bytes | None, headers: Headers | None) -> dict[str, Any]:
        """Return the record of our contracts in a message. Raises NotDecodable if there is none."""
        schema_id, body = unframe(value or b"")
        known = self.believed(schema_id, named_by(headers))
        if known.name != name:
            raise NotDecodable("UNEXPECTED_RECORD", f"a {known.name or 'schema without a name'} is no {name}")
        return dict(decode(known.parsed, body, parsed(name)))

    def _must_be_shipped(self, known: WriterSchema) -> None:
        if known.fingerprint not in SHIPPED:
            raise not_shipped(known)

    def writer(self, schema_id: int, askers: Callable[[], Collection[str]] = lambda: _ANYBODY) -> WriterSchema:
        """Return the writer's schema of an id; `askers`, called if the id is unknown, names the senders.

        Raises NotDecodable (UNKNOWN_SCHEMA) if the registry has none, or the look-ups are spent (Lookups).
        """
        known = self._writers.get(schema_id)
        if known is None:
            known = self._writers[schema_id] = self._looked_up(schema_id, askers())
            self._asked_at[schema_id] = monotonic()
        return known

    def _looked_up(self, schema_id: int, askers: Collection[str]) -> WriterSchema:
        from confluent_kafka.schema_registry import SchemaRegistryError

        asker = self._lookups.begin(schema_id, askers)
        try:
            known = writer_schema(schema_id, self._client.get_schema(schema_id).schema_str or "")
        except NotDecodable as error:
            self._lookups.missing(schema_id, askers, error)
            raise
        except Exception as error:  # _failure converts it to our errors
            if isinstance(error, SchemaRegistryError) and error.http_status_code == 404:
                unknown = self._not_found(schema_id)
                self._lookups.missing(schema_id, askers, unknown)
                raise unknown from error
            self._lookups.found(asker)
            raise self._failure(error, "") from error
        self._lookups.found(asker)
        return known

    def forget(self, schema_id: int, *, older: float = 0.0) -> None:
        """Drop the schema of this id from the cache if it was looked up at least so many seconds ago."""
        if monotonic() - self._asked_at.get(schema_id, 0.0) >= older:
            self._writers.pop(schema_id, None)

    def versions(self, name: str) -> dict[int, Any]:
        """Return the registered schemas of a subject, as JSON, by version; empty if there is no such subject."""
        try:
            if name not in self._client.get_subjects():
                return {}
            return {
                version: json.loads(self._client.get_version(name, version).schema.schema_str or "")
                for version in self._client.get_versions(name)
            }
        except Exception as error:  # _failure converts it to our errors
            raise self._failure(error, "") from error

    def ids(self, name: str) -> dict[str, int]:
        """Return the schema ids of a subject's versions by fingerprint; empty if there is no such subject."""
        try:
            if name not in self._client.get_subjects():
                return {}
            return _ids(self._client.get_version(name, version) for version in self._client.get_versions(name))
        except Exception as error:  # _failure converts it to our errors
            raise self._failure(error, "") from error

    def ask(self) -> None:
        """Check that the registry answers."""
        try:
            self._client.get_subjects()
        except Exception as error:  # _failure converts it to our errors
            raise self._failure(error, "") from error

    def _failure(self, error: Exception, refused: str) -> Exception:
        from confluent_kafka.schema_registry import SchemaRegistryError

        if isinstance(error, SchemaRegistryError):
            if error.http_status_code in (401, 403):
                return UsageError(
                    f"the schema registry at {self._address} does not let {self._address.user or 'anybody'} do that"
                    f" (HTTP {error.http_status_code}): see docs/security.md, and whose credentials"
                    " XINLIU_REGISTRY_SECURITY names"
                )
            if error.http_status_code in (409, 422):
                return UsageError(f"{refused}: {error.error_message}; `xinliu schemas check` says why")
        return Retryable(f"the schema registry at {self._address} does not answer: {error}", server="registry")

    @staticmethod
    def _not_found(schema_id: int) -> NotDecodable:
        return NotDecodable("UNKNOWN_SCHEMA", f"the registry has no schema with the id {schema_id}")
