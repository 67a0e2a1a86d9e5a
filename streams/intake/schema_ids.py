"""Schema ids: an id stands for one schema for good, and intake reads only schemas that somebody vouches for.

Whoever may write to the registry can let an id stand for another schema, in which two fields have changed places; every
byte would still be read, as something else. So intake identifies a schema by its fingerprint: the one that the message
names, which its department has written; else the one that the id had when it was first seen, which is an event of
`operations`. The schema must also be shipped (schemas/contracts/fingerprints.csv) or accepted by an operator, which is
an event too.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from schemas.contracts.avro import CONTRACTS, SHIPPED
from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import Registry, WriterSchema, not_named, not_shipped
from schemas.operations.event import Operation
from schemas.operations.log import SCHEMA_ACCEPTED
from streams.forwarding.masking import keepable
from streams.kafka.headers import SCHEMA, header
from streams.kafka.records import Record

__all__ = ["SEEN", "Meanings", "SchemaReading", "named_for_keeps"]

log = structlog.get_logger()

SEEN = "SCHEMA_SEEN"
"""An event of intake: the id was seen for the first time and stands for the schema of this fingerprint from now on."""

_AGAIN = 2.0
"""Seconds within which the registry is not asked again about an id."""


def _nowhere(_: Operation) -> None:
    """Write nothing: in a stage by itself, only this process remembers the ids that it has seen."""


@dataclass
class Meanings:
    """Meanings of schema ids, and the schemas that are believed. Every method may be called from any thread.

    `write` writes an event to `operations` in the name of `by`; `changed` is called with all ids that stand for
    something else than they did, whenever there is one more or less.
    """

    write: Callable[[Operation], None] = _nowhere
    by: str = ""
    shipped: Container[str] = SHIPPED
    changed: Callable[[frozenset[int]], None] = lambda _: None
    _accepted: set[str] = field(default_factory=set, init=False)
    _ids: dict[int, str] = field(default_factory=dict, init=False)
    _heard: set[int] = field(default_factory=set, init=False)
    """Ids that have an event in `operations`: if several workers write at once, the first event holds for all."""
    _differing: set[int] = field(default_factory=set, init=False)
    _read: dict[tuple[int, bytes | None], str] = field(default_factory=dict, init=False)
    """Fingerprints that were found to be believed: most messages need only this look-up."""
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    @property
    def ids(self) -> Mapping[int, str]:
        """The fingerprint that each id has meant since it was first seen."""
        return self._ids

    def follow(self, operation: Operation) -> None:
        """Apply an event of `operations`. The meaning that was seen first holds, whoever saw it."""
        told = operation.detail
        if operation.kind == SCHEMA_ACCEPTED:
            with self._lock:
                self._accepted.add(str(told.get("fingerprint")))
        elif operation.kind == SEEN:
            schema_id, fingerprint = told.get("id"), told.get("fingerprint")
            if isinstance(schema_id, int) and isinstance(fingerprint, str):
                with self._lock:
                    meant = self._ids.get(schema_id, fingerprint)
                    if schema_id not in self._heard:
                        self._heard.add(schema_id)
                        self._ids[schema_id] = fingerprint
                    if meant != fingerprint:
                        self._note(schema_id, differs=True)
                    for key in [key for key in self._read if key[0] == schema_id]:
                        del self._read[key]

    def believed(self, known: WriterSchema, named: bytes | None) -> WriterSchema:
        """Return the registry's schema of an id, if a message that names `named` may be read by it.

        Raises NotDecodable (SCHEMA_DIFFERS, SCHEMA_NOT_BELIEVED), and Retryable if Kafka does not take the event.
        """
        if self._read.get((known.id, named)) == known.fingerprint or known.name not in CONTRACTS:
            return known  # records of other names are not read
        with self._lock:
            self.holds(known)
            if named is not None and named != known.fingerprint.encode():
                raise not_named(known, named)  # of this message alone: a department may name any schema
            if known.fingerprint not in self.shipped and known.fingerprint not in self._accepted:
                raise not_shipped(known)
            if known.id not in self._ids:
                # The event is durable before the first message read by this schema is forwarded.
                detail = {"id": known.id, "fingerprint": known.fingerprint, "contract": known.name}
                self.write(Operation(SEEN, None, datetime.now(UTC), self.by, "", detail))
                self._ids[known.id] = known.fingerprint
            self._read[known.id, named] = known.fingerprint
        return known

    def holds(self, known: WriterSchema) -> None:
        """Compare the registry's schema of an id with its first meaning. Raises NotDecodable (SCHEMA_DIFFERS)."""
        with self._lock:
            meant = self._ids.get(known.id, known.fingerprint)
            self._note(known.id, differs=meant != known.fingerprint)
            if meant != known.fingerprint:
                raise NotDecodable(
                    "SCHEMA_DIFFERS", f"schema id {known.id} means {known.fingerprint}, it meant {meant}"
                )

    def _note(self, schema_id: int, *, differs: bool) -> None:
        if differs == (schema_id in self._differing):
            return
        if differs:
            self._differing.add(schema_id)
            log.error(
                "intake.schema_differs", schema_id=schema_id, meant=self._ids.get(schema_id), see="docs/security.md"
            )
        else:
            self._differing.discard(schema_id)
            log.info("intake.schema_holds_again", schema_id=schema_id)
        self.changed(frozenset(self._differing))


@dataclass(frozen=True, slots=True)
class SchemaReading:
    """Schemas by which one stage reads: those of its registry, as far as they are believed."""

    registry: Registry
    meanings: Meanings

    def believed(
        self, schema_id: int, named: bytes | None, askers: Callable[[], Collection[str]] = tuple
    ) -> WriterSchema:
        """Return the writer's schema of an id, for messages of `askers` that name `named`.
        Raises NotDecodable and Retryable."""
        known = self.registry.writer(schema_id, lambda: askers() or ("",))
        try:
            return self.meanings.believed(known, named)
        except NotDecodable:
            # The registry is asked again, since somebody may have mended it; but not at once,
            # since a sender may name wrong schemas often.
            self.registry.forget(schema_id, older=_AGAIN)
            raise

    def meant(self, prefix: bytes) -> bytes:
        """Return the fingerprint by which messages with these bytes as id were read,
        whatever the registry says by now."""
        return self.meanings.ids[int.from_bytes(prefix, "big")].encode()


def named_for_keeps(record: Record) -> list[tuple[str, bytes]]:
    """Return the header SCHEMA of a refused message:
    whoever examines it again must know which schema its department meant.

    A value that is no fingerprint may be anything, a person's number too: an empty value replaces it.
    """
    named = header(record.headers, SCHEMA)
    if named is None:
        return []
    text = named.decode("ascii", "replace")
    whole = re.fullmatch("[0-9a-f]{64}", text) is not None and keepable(text) is not None
    return [(SCHEMA, named if whole else b"")]
