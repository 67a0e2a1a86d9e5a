"""The view's projection of the topic `quarantine`: entries, and outcomes of decisions about them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from schemas.errors import ContractBroken
from streams.forwarding.findings import finding
from streams.kafka.headers import DECISION, FINDINGS, ORIGIN, Origin, findings_of, header
from streams.kafka.records import Record
from streams.projection.batch import Projection

__all__ = ["project_refusal", "project_store_refusal", "record_of_key"]


def record_of_key(record: Record) -> tuple[str, int]:
    """Return record id and version from the key of a message of `accepted`: record_id|version|digest, and |epoch after
    it if the statement is another province's."""
    try:
        record_id, version, _, *_ = (record.key or b"").decode().split("|")
        return record_id, int(version)
    except ValueError as error:
        raise ContractBroken(f"the key of {_where(record)} is {record.key!r}: only intake may write there") from error


def project_refusal(projection: Projection, record: Record) -> None:
    """Project a message of `quarantine`: a new entry, or the outcome of a decision. A new entry is owed a receipt to
    its department; one from another province's exchange is owed none."""
    origin = Origin.from_bytes(header(record.headers, ORIGIN) or b"")
    known = findings_of(header(record.headers, FINDINGS)) or {}
    decision = header(record.headers, DECISION)
    if decision is not None:
        projection.quarantine_outcome(_outcome(record, origin, known, decision))
        return
    entered = projection.quarantine(
        {
            **_place(origin),
            "department": origin.department,
            "received_at": _time(known["received_at"]),
            "uscc": known["uscc"],
            "domain": known["domain"],
            "record_id": known["record_id"],
            "version": known["version"],
            "findings": known["findings"],
            "value": record.value,
            "quarantine_partition": record.partition,
            "quarantine_offset": record.offset,
            "held_from": None if known.get("held_from") is None else _time(known["held_from"]),
        }
    )
    if entered and origin.province is None:
        exception = {
            "partition": origin.partition,
            "offset": origin.offset,
            "record_id": known["record_id"],
            "version": known["version"],
            "outcome": "REFUSED",
            "findings": known["findings"],
        }
        projection.announce("EXCEPTIONS", [exception], origin.department)


def project_store_refusal(projection: Projection, record: Record, reason: str) -> None:
    """Enter a message of `accepted` that PostgreSQL cannot store, so that it does not vanish between the two."""
    origin = Origin.from_bytes(header(record.headers, ORIGIN) or b"")
    record_id, version = record_of_key(record)
    projection.quarantine(
        {
            **_place(origin),
            "department": origin.department,
            "received_at": _time(record.timestamp),
            "uscc": None,  # may contain the very character that PostgreSQL refused
            "domain": None,
            "record_id": record_id,
            "version": version,
            "findings": [finding("STORE_REFUSED", detail=reason)],
            "value": record.value,
            "quarantine_partition": record.partition,
            "quarantine_offset": record.offset,
        }
    )


def _outcome(record: Record, origin: Origin, known: dict[str, Any], decision: bytes) -> dict[str, Any]:
    try:
        told = json.loads(decision)
        return {
            **_place(origin),
            "decision": told["decision"],
            "outcome": told["outcome"],
            "kind": told["kind"],
            "decided_by": told["by"],
            "decided_at": _time(told["at"]),
            "reason": told["reason"],
            "record_id": known["record_id"],
            "version": known["version"],
            "findings": known["findings"],
            "recorded_at": _time(record.timestamp),
            "quarantine_partition": record.partition,
            "quarantine_offset": record.offset,
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ContractBroken(
            f"header {DECISION} of {_where(record)} is {decision[:200]!r}: only intake may write to this topic"
        ) from error


def _where(record: Record) -> str:
    return f"{record.topic}/{record.partition}@{record.offset}"


def _place(origin: Origin) -> dict[str, Any]:
    return {
        "topic": origin.topic,
        "topic_id": origin.topic_id,
        "partition": origin.partition,
        "offset": origin.offset,
    }


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
