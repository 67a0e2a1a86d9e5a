"""Messages of `exchange.<own>` from outbox entries: statements verbatim from history, withdrawals in their form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import fastavro
import psycopg
import structlog

from schemas.contracts.avro import own_fingerprint, parsed
from schemas.contracts.codec import decode, encode_own, frame
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.topics import EPOCH, KNOWN, MEND, SCHEMA, WITHDRAWN
from schemas.records.identity import accepted_key, digest
from schemas.store.sql_files import sql
from streams.exchange.carried.riders import OutgoingMessage
from streams.exchange.outgoing.entries import OutboxEntry
from streams.exchange.outgoing.signed_log import Framed

__all__ = ["STATEMENT", "MessageBuilder", "WaitingEntry"]

log = structlog.get_logger()

Connection = psycopg.Connection[tuple[Any, ...]]

STATEMENT: Final = "xinliu.Statement"


@dataclass(frozen=True, slots=True)
class WaitingEntry:
    """An entry of the outbox with its statement in history."""

    id: int
    entry: OutboxEntry
    statement: bytes | None
    """None if a revocation has erased it since."""
    writer: int | None
    known: int | None
    """When `accepted` received it, in milliseconds since 1970."""
    recorded: bool


class MessageBuilder:
    """Builds the messages of outbox entries and of riders, with this registry's schema ids."""

    def __init__(self, registry: Registry, province: str) -> None:
        self._registry, self._province = registry, province
        self._ids: dict[tuple[str, str], int] = {}
        self._writers: dict[int, tuple[str, Any]] = {}

    def waiting(self, connection: Connection, limit: int) -> list[WaitingEntry]:
        """Return the entries of the oldest rows of the outbox."""
        rows = connection.execute(
            sql("exchange/outgoing/waiting"), {"limit": limit, "province": self._province}, binary=True
        )
        return [WaitingEntry(row[0], OutboxEntry.of(row[1]), *row[2:]) for row in rows]

    def messages(self, connection: Connection, entries: Sequence[WaitingEntry]) -> list[tuple[WaitingEntry, Framed]]:
        """Return the messages of these entries, in order. Statements erased since are left out: their revocation
        follows."""
        made = list[tuple[WaitingEntry, Framed]]()
        for waiting in entries:
            if waiting.entry.action == "WITHDRAW":
                made.append((waiting, self._withdrawal(connection, waiting)))
            elif not waiting.recorded:
                # Other provinces will find that their set differs from the checkpoint: this is never silent.
                log.error("exchange.not_in_history", record_id=waiting.entry.record_id, version=waiting.entry.version)
            elif waiting.statement is not None:
                made.append((waiting, self._statement(connection, waiting)))
        return made

    def beside(self, message: OutgoingMessage) -> Framed:
        """Return the framed message of a rider."""
        own = message.fingerprint or own_fingerprint(message.name)
        value = frame(self._id(message.name, own), message.body)
        return Framed(message.partition, message.key.encode(), ((SCHEMA, own.encode()), *message.headers), value)

    def _statement(self, connection: Connection, waiting: WaitingEntry) -> Framed:
        entry = waiting.entry
        assert waiting.statement is not None
        writer, _ = self._writer(connection, waiting.writer)
        key = accepted_key(entry.record_id, entry.epoch, entry.version, entry.digest_hi, entry.digest_lo)
        value = frame(self._id(STATEMENT, writer), waiting.statement)
        headers = _headers(writer, entry.epoch, waiting.known or 0, entry.mends)
        return Framed(entry.partition, key.encode(), headers, value)

    def _withdrawal(self, connection: Connection, waiting: WaitingEntry) -> Framed:
        entry = waiting.entry
        if waiting.statement is not None:
            _, schema = self._writer(connection, waiting.writer)
            told = decode(schema, waiting.statement, parsed(STATEMENT))
        else:
            told = self._envelope(connection, entry)
        empty = dict.fromkeys(("disputed_since", "penalty", "listing", "registration"))
        body = encode_own(
            STATEMENT, {**told, **empty, "version": entry.version, "status": WITHDRAWN, "reason": WITHDRAWN}
        )
        key = accepted_key(entry.record_id, entry.epoch, entry.version, *digest(body))
        own = own_fingerprint(STATEMENT)
        value = frame(self._id(STATEMENT, own), body)
        # A withdrawal is known since its epoch began, whenever it is published.
        return Framed(entry.partition, key.encode(), _headers(own, entry.epoch, entry.epoch, entry.mends), value)

    def _envelope(self, connection: Connection, entry: OutboxEntry) -> dict[str, Any]:
        # Revoked since: of the shared statement only the envelope's codes are left, and no name.
        row = self._codes(connection, "", entry)
        if row is None:
            # Today's rules refuse it: only a generation that served before still knows it.
            for (schema,) in connection.execute(
                "SELECT schema_name FROM xinliu.generation WHERE state = 'RETIRED' ORDER BY generation DESC"
            ).fetchall():
                row = row or self._codes(connection, f"{schema}.", entry)
        if row is None:
            # Refused by the rules since (streams/replay/correction/correction.py): nothing of it is left. A withdrawal
            # needs no more than this.
            row = "法人及非法人组织", "", datetime.fromtimestamp(entry.epoch / 1000, UTC)
        subject_kind, authority, stated_at = row
        return {
            "record_id": entry.record_id,
            "kind": entry.kind,
            "subject": {"uscc": entry.uscc, "name": entry.uscc, "kind": subject_kind},
            "province": self._province,
            "domain": entry.domain,
            "department": entry.department,
            "authority": authority,
            "stated_at": stated_at,
        }

    def _codes(self, connection: Connection, schema: str, entry: OutboxEntry) -> tuple[Any, ...] | None:
        return connection.execute(
            f"SELECT subject_kind, authority, stated_at FROM {schema}record"
            " WHERE record_id = %s AND province = %s AND department = %s",
            (entry.record_id, self._province, entry.department),
        ).fetchone()

    def _writer(self, connection: Connection, number: int | None) -> tuple[str, Any]:
        assert number is not None
        if number not in self._writers:
            row = connection.execute(
                "SELECT fingerprint, schema FROM writer_schema WHERE writer = %s", (number,)
            ).fetchone()
            assert row is not None
            self._writers[number] = row[0], fastavro.parse_schema(row[1])
        return self._writers[number]

    def _id(self, name: str, writer: str) -> int:
        if (name, writer) not in self._ids:
            self._ids |= {(name, known): schema_id for known, schema_id in self._registry.ids(name).items()}
        if (name, writer) not in self._ids:
            raise Retryable(
                f"the registry has no {name} with the fingerprint {writer}: it was put back to an older state; restore its"
                " newest backup (`xinliu restore`)",
                server="registry",
            )
        return self._ids[name, writer]


def _headers(writer: str, epoch: int, known: int, mends: bool) -> tuple[tuple[str, bytes], ...]:
    told = ((SCHEMA, writer.encode()), (EPOCH, b"%d" % epoch), (KNOWN, b"%d" % known))
    return (*told, (MEND, b"1")) if mends else told
