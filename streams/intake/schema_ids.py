"""What schema ids mean to intake: an id stands for one schema for good,
and only schemas that somebody vouches for are read.

Whoever may write to the registry can let an id stand for another schema, in which two fields have changed places; every
byte would still be read, as something else. So a schema counts by its fingerprint: the one that the message names,
which its department has written; else the one that the id had when it was first seen, which is an event of
`operations`. And it must be one that was shipped (schemas/contracts/fingerprints.csv), or that an operator has accepted, which is
an event, too.
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
"""An event of intake: this id was first seen, and stands for the schema of this fingerprint from now on."""

_AGAIN = 2.0
"""Seconds for which what the registry said of an id is not asked anew."""


def _nowhere(_: Operation) -> None:
    """For a stage by itself: what it has seen is remembered by this process."""


@dataclass
class Meanings:
    """Remembers what each id means, and which schemas are believed. Every method may be called from any thread.

    `write` writes an event to `operations`, `by` is who; `changed` is told the ids that stand for something else than
    they did, all of them, whenever there is one more or less.
    """

    write: Callable[[Operation], None] = _nowhere
    by: str = ""
    shipped: Container[str] = SHIPPED
    changed: Callable[[frozenset[int]], None] = lambda _: None
    _accepted: set[str] = field(default_factory=set, init=False)
    _ids: dict[int, str] = field(default_factory=dict, init=False)
    _heard: set[int] = field(default_factory=set, init=False)
    """Ids of which `operations` has told: of what several workers write at once,
    what stands there first holds for all."""
    _differing: set[int] = field(default_factory=set, init=False)
    _read: dict[tuple[int, bytes | None], str] = field(default_factory=dict, init=False)
    """The fingerprints that were found to be believed: for most messages this is all that is asked."""
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    @property
    def ids(self) -> Mapping[int, str]:
        """The fingerprint that each id has meant since it was first seen."""
        return self._ids

    def follow(self, operation: Operation) -> None:
        """Take over an event of `operations`. What was seen first holds, whoever saw it."""
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
        """Return the schema that the registry gives for an id, if a message that names `named` may be read by it.

        Raises NotDecodable (SCHEMA_DIFFERS, SCHEMA_NOT_BELIEVED), and Retryable where Kafka does not take the event.
        """
        if self._read.get((known.id, named)) == known.fingerprint or known.name not in CONTRACTS:
            return known  # a record of any other name is read as nothing
        with self._lock:
            self.holds(known)
            if named is not None and named != known.fingerprint.encode():
                raise not_named(known, named)  # of this message alone: a department may name what it likes
            if known.fingerprint not in self.shipped and known.fingerprint not in self._accepted:
                raise not_shipped(known)
            if known.id not in self._ids:
                # Lasting before the first message is forwarded that was read by it.
                detail = {"id": known.id, "fingerprint": known.fingerprint, "contract": known.name}
                self.write(Operation(SEEN, None, datetime.now(UTC), self.by, "", detail))
                self._ids[known.id] = known.fingerprint
            self._read[known.id, named] = known.fingerprint
        return known

    def holds(self, known: WriterSchema) -> None:
        """Hold what the registry says of an id against what the id has meant. Raises NotDecodable (SCHEMA_DIFFERS)."""
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
    """What one stage reads by: the schemas of its registry, as far as they are believed."""

    registry: Registry
    meanings: Meanings

    def believed(
        self, schema_id: int, named: bytes | None, askers: Callable[[], Collection[str]] = tuple
    ) -> WriterSchema:
        """Return the writer's schema of an id, for messages of `askers` that name `named`.
        Raises NotDecodable, Retryable."""
        known = self.registry.writer(schema_id, lambda: askers() or ("",))
        try:
            return self.meanings.believed(known, named)
        except NotDecodable:
            # It is asked again, since somebody may have mended it; not at once,
            # since whoever names what he likes may do so often.
            self.registry.forget(schema_id, older=_AGAIN)
            raise

    def meant(self, prefix: bytes) -> bytes:
        """Return the fingerprint that messages with these bytes of their id were read by,
        whatever the registry says by now."""
        return self.meanings.ids[int.from_bytes(prefix, "big")].encode()


def named_for_keeps(record: Record) -> list[tuple[str, bytes]]:
    """Return the header SCHEMA of a message that is refused:
    whoever examines it again must know what its department meant.

    What is no fingerprint may be anything, a person's number too: nothing of it is kept but that it names no schema.
    """
    named = header(record.headers, SCHEMA)
    if named is None:
        return []
    text = named.decode("ascii", "replace")
    whole = re.fullmatch("[0-9a-f]{64}", text) is not None and keepable(text) is not None
    return [(SCHEMA, named if whole else b"")]
