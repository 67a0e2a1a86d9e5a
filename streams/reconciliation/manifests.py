"""Manifests on their way into PostgreSQL: the view stores them, streams/reconciliation/reconciler.py compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from schemas.contracts.codec import encode_own
from schemas.contracts.columns import decode_batch
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken
from schemas.reconciliation.manifest import manifest_fault, total
from schemas.store.sql_files import sql
from streams.kafka.headers import MANIFEST, SCHEMA, Origin, header
from streams.kafka.records import Record

__all__ = ["NAME", "Stated", "announce", "answer", "harmless", "keep", "stated"]

NAME = "xinliu.Manifest"


@dataclass(frozen=True, slots=True)
class Stated:
    """One copy of a manifest, or of a part of its lines: its place in the department's topic, its time in
    `accepted`."""

    origin: Origin
    known_at: datetime
    manifest: Mapping[str, Any]
    fault: str | None
    """Why it cannot be compared; only its arrival is stored then."""


def stated(registry: Registry, records: Sequence[Record]) -> tuple[Stated, ...]:
    """Decode manifests that intake forwarded. Raises ContractBroken if one cannot have come from intake."""
    values, named = [record.value for record in records], [header(record.headers, SCHEMA) for record in records]
    decoded = decode_batch(registry, values, named=named, expected={NAME})
    if decoded.undecodable:
        record = records[decoded.undecodable[0].row]
        raise ContractBroken(f"{record.topic}/{record.partition}@{record.offset} is no manifest")
    return tuple(
        Stated(
            Origin.from_bytes(header(records[row].headers, MANIFEST) or b""),
            datetime.fromtimestamp(records[row].timestamp / 1000, UTC),
            manifest,
            manifest_fault(manifest),
        )
        for row, _, manifest in decoded.others
    )


def keep(connection: psycopg.Connection[tuple[Any, ...]], manifests: Sequence[Stated]) -> None:
    """Store manifests until they can be compared; answer those that contradict themselves."""
    for one in manifests:
        if one.fault is not None:
            _refuse(connection, one)
        elif one.manifest["part"]:
            _keep_lines(connection, one.manifest)
        else:
            _keep_sums(connection, one)


def answer(manifest: Mapping[str, Any], state: str, now: datetime, **what: Any) -> dict[str, Any]:
    """Return the answer to the department about one part, as in Receipt.avsc, with the time as text."""
    known = {name: manifest[name] for name in ("manifest_id", "part", "domain", "kind")}
    empty: dict[str, Any] = {
        "message": None,
        "held": 0,
        "outside": 0,
        "periods": [],
        "buckets": [],
        "differences": [],
        "unnamed": 0,
    }
    return {**known, "state": state, "compared_at": now.isoformat(), **empty, "complete": True, **what}


def announce(connection: psycopg.Connection[tuple[Any, ...]], department: str, told: Mapping[str, Any]) -> None:
    """Write an answer to the outbox."""
    connection.execute(
        "INSERT INTO outbox (kind, department, payload) VALUES ('RECONCILED', %s, %s)", (department, Jsonb(told))
    )


def _keep_sums(connection: psycopg.Connection[tuple[Any, ...]], one: Stated) -> None:
    count, high, low = total(one.manifest["buckets"])
    values: dict[str, Any] = {"body": encode_own(NAME, dict(one.manifest)), "state": "WAITING", "message": None}
    values |= {"stated": count, "stated_hi": high, "stated_lo": low, **_row(one, one.manifest)}
    connection.execute(sql("reconciliation/manifest"), values)


def _keep_lines(connection: psycopg.Connection[tuple[Any, ...]], manifest: Mapping[str, Any]) -> None:
    connection.execute(sql("reconciliation/lines"), {**manifest, "body": encode_own(NAME, dict(manifest))})


def harmless(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a faulty manifest without any value that PostgreSQL or a receipt could not hold."""
    known, part = str(manifest["manifest_id"]), manifest["part"]
    nothing: dict[str, Any] = {
        "first_period": None,
        "last_period": None,
        "bits": 0,
        "periods": [],
        "buckets": [],
        "lines": [],
    }
    good = known if len(known) == 32 and known.isascii() and known.isalnum() else "0" * 32
    return {**manifest, **nothing, "manifest_id": good, "part": part if 0 <= part < 1 << 31 else 0}


def _refuse(connection: psycopg.Connection[tuple[Any, ...]], one: Stated) -> None:
    known = harmless(one.manifest)
    kept = {"body": None, "state": "REFUSED", "message": one.fault, "stated": 0, "stated_hi": 0, "stated_lo": 0}
    values = {**_row(one, known), **kept}
    if known["part"] or connection.execute(sql("reconciliation/manifest"), values).rowcount:
        announce(connection, one.origin.department, answer(known, "REFUSED", one.known_at, message=one.fault))


def _row(one: Stated, manifest: Mapping[str, Any]) -> dict[str, Any]:
    names = ("department", "domain", "kind", "manifest_id", "made_at", "first_period", "last_period", "bits")
    fence = Jsonb({str(one.origin.partition): one.origin.offset})
    kept = {name: manifest[name] for name in names}
    return {**kept, "topic_id": one.origin.topic_id, "fence": fence, "known_at": one.known_at}
