"""Queries over the quarantine as the view has projected it: entries, their findings and the decisions about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from schemas.contracts.codec import NotDecodable, decode, unframe
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.rules import RULES
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.forwarding.masking import masked
from streams.kafka.headers import Origin
from streams.quarantine.entries import QuarantineEntry, parse_name

__all__ = ["Choice", "EntryState", "QuarantineReader", "readable"]

_HEAD = 64
_SEVERITY = {rule.code: rule.severity for rule in RULES} | {"KEPT_IN_PART": "remark"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter of entries; a field that is None is no condition."""

    department: str | None = None
    code: str | None = None
    domain: str | None = None
    uscc: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    departments: Sequence[str] = ()
    """This field and those below match any of their values."""
    domains: Sequence[str] = ()
    entities: Sequence[str] = ()
    codes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class EntryState:
    """An entry and its state. `findings` are of the last examination; `masked` says that its value is partly
    covered."""

    entry: QuarantineEntry
    received_at: datetime
    uscc: str | None
    domain: str | None
    record_id: str | None
    version: int | None
    findings: Sequence[dict[str, Any]]
    state: str
    masked: bool

    @property
    def name(self) -> str:
        """department/partition/offset."""
        return self.entry.name

    @property
    def refusing(self) -> frozenset[str]:
        """The codes that refuse the entry, without remarks."""
        return frozenset(
            finding["code"] for finding in self.findings if _SEVERITY.get(finding["code"], "refuse") == "refuse"
        )


class QuarantineReader:
    """Reads the serving generation on one connection. Raises Retryable if PostgreSQL does not answer."""

    def __init__(self, database: str) -> None:
        self._connection = connect(database, autocommit=True)

    def __enter__(self) -> QuarantineReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def codes(self, choice: Choice) -> list[tuple[str, str, int]]:
        """Return code, text and number of entries for each code among the matching entries, most frequent first."""
        rows = self._rows(
            f"SELECT found ->> 'code' AS code, min(found ->> 'message') AS text, count(*) AS n"  # SQL of ours
            f" FROM (SELECT DISTINCT ON (e.topic, e.topic_id, e.partition, e.\"offset\", found ->> 'code') found"
            f"       FROM ({sql('quarantine/list')}) e, jsonb_array_elements(e.findings) AS found) f"
            " GROUP BY 1 ORDER BY 3 DESC, 1",
            choice,
        )
        return [(row["code"], row["text"], row["n"]) for row in rows]

    def count(self, choice: Choice) -> int:
        """Return the number of matching entries."""
        (row,) = self._rows(f"SELECT count(*) AS n FROM ({sql('quarantine/list')}) e", choice)
        return int(row["n"])

    def entries(self, choice: Choice, *, limit: int | None = None) -> list[EntryState]:
        """Return the matching entries, newest first."""
        query = f'{sql("quarantine/list")} ORDER BY received_at DESC, topic, partition, "offset" DESC LIMIT %(limit)s'
        return [_refusal(row) for row in self._rows(query, choice, limit=limit)]

    def named(self, name: str) -> EntryState:
        """Return the entry of that name. Raises UsageError if there is none."""
        department, partition, offset = parse_name(name)
        query = f"{sql('quarantine/list')} ORDER BY received_at DESC"
        rows = self._rows(query, Choice(department), partition=partition, offset=offset)
        if not rows:
            raise UsageError(f"there is no entry {name}: `xinliu quarantine list --department {department}` names them")
        return _refusal(rows[0])  # the newest, if the topic was deleted and made anew

    def value(self, entry: QuarantineEntry) -> bytes:
        """Return the stored bytes of the message."""
        (row,) = self._rows(
            "SELECT value FROM quarantine WHERE topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s"
            ' AND "offset" = %(offset)s',
            Choice(),
            **_key(entry),
        )
        return bytes(row["value"] or b"")

    def fates(self, decisions: Sequence[str]) -> list[dict[str, Any]]:
        """Return the outcomes of all entries of these decisions, in the order in which intake reported them."""
        return self._rows(sql("quarantine/fates"), Choice(), decisions=list(decisions))

    def outcomes(self, entry: QuarantineEntry) -> list[dict[str, Any]]:
        """Return the outcomes of decisions about an entry, oldest first."""
        return self._rows(sql("quarantine/outcomes"), Choice(), **_key(entry))

    def _rows(self, query: str, choice: Choice, **more: Any) -> list[dict[str, Any]]:
        values = {name: getattr(choice, name) for name in Choice.__slots__}
        values |= {name: list(values[name]) or None for name in ("departments", "domains", "entities", "codes")}
        values |= {"partition": None, "offset": None, "limit": None, **more}
        try:
            with self._connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(query, values).fetchall()
        except psycopg.OperationalError as error:
            raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error


def readable(value: bytes, uscc: str | None, registry: Registry) -> dict[str, Any]:
    """Return a message in readable form: its record, or why it has none and its first bytes in hexadecimal.

    Everything that may be a resident identity number is masked.
    """
    shown, _ = masked(value, uscc)
    head = {"bytes": len(value), "head": shown[:_HEAD].hex(" ")}
    try:
        schema_id, body = unframe(shown)
        writer = registry.believed(schema_id)  # a schema that nobody vouches for would deceive the decider
        return {"bytes": len(value), "record": writer.name, "value": decode(writer.parsed, body)}
    except NotDecodable as error:
        return {**head, "why": str(error)}


def _key(entry: QuarantineEntry) -> dict[str, Any]:
    where = entry.origin
    return {
        "topic": where.topic,
        "topic_id": where.topic_id,
        "partition": where.partition,
        "offset": where.offset,
    }


def _refusal(row: dict[str, Any]) -> EntryState:
    origin = Origin(row["topic"], row["topic_id"], row["partition"], row["offset"])
    # A message refused by PostgreSQL or by a replay had been accepted: `quarantine` does not contain its value.
    elsewhere = any(finding["code"] in ("STORE_REFUSED", "REPLAY_REFUSED") for finding in row["findings"])
    stored = None if elsewhere else (row["quarantine_partition"], row["quarantine_offset"])
    return EntryState(
        QuarantineEntry(origin, stored),
        row["received_at"],
        row["uscc"],
        row["domain"],
        row["record_id"],
        row["version"],
        row["findings"],
        row["state"],
        bool(row["masked"]),
    )
