"""Withheld statements: not folded, but listed for the diff and put into the quarantine, so that no report on their
entity says 无."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from schemas.store.sql_files import sql
from streams.forwarding.findings import Finding, finding
from streams.kafka.headers import Origin

__all__ = ["PLAIN", "TOLD", "Withheld", "withhold"]

Connection = psycopg.Connection[Any]

PLAIN = ("version", "digest_hi", "digest_lo", "accepted_partition", "accepted_offset")
TOLD = ("record_id", "uscc", *PLAIN)
"""PLAIN: columns that identify a statement. TOLD: PLAIN and the columns that are written with them."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A statement that the current rules refuse or that was cut off, with the reason; only keepable texts are kept."""

    record_id: str
    version: int
    digest_hi: int
    digest_lo: int
    uscc: str | None
    department: str
    accepted_partition: int
    accepted_offset: int
    findings: tuple[Finding, ...]
    origin: Origin
    domain: str | None
    received_at: datetime
    """Broker time of the department's own message."""


def withhold(connection: Connection, withheld: Sequence[Withheld]) -> list[tuple[Any, ...]]:
    """Write withheld statements into the generation on the search_path, in the transaction that leaves them out.

    They are listed for the diff and entered in the quarantine, so that no report on their entity says 无. These entries
    follow from the rules alone: no topic holds them, and no other generation takes them over. Returns the entries that
    are new or open again: department, partition, offset, record_id, version, findings.
    """
    if not withheld:
        return []
    named = [
        {name: getattr(one, name) for name in (*TOLD, "department")} | {"findings": list(one.findings)}
        for one in withheld
    ]
    connection.execute(sql("view/withheld"), (Jsonb(named),))
    waiting = [
        {
            **asdict(one.origin), "department": one.department, "received_at": one.received_at.isoformat(), "uscc": one.uscc,
            "domain": one.domain, "record_id": one.record_id, "version": one.version,
            "findings": [*one.findings, finding("REPLAY_REFUSED")],
            "accepted_partition": one.accepted_partition, "accepted_offset": one.accepted_offset,
        }
        for one in withheld
    ]  # fmt: skip
    return connection.execute(sql("view/refuse"), {"rows": Jsonb(waiting)}).fetchall()
