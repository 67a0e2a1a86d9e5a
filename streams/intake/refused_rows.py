"""Refused rows: reports of departments on rows that they refused themselves (xinliu.RefusedRow), for `quarantine`.

A refused row becomes an entry at its own place (schemas.records.refused_row); its later fate becomes the outcome of a
decision about that entry. A part of such a message that cannot be stored or shown is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.records.refused_row import DISCARDED, LOG, MENDED, MOST, OUTCOMES, PARTITION, REFUSED, is_whole
from streams.forwarding.findings import Finding, finding, shown
from streams.forwarding.masking import keepable
from streams.kafka.headers import ACCEPTED, Origin

__all__ = ["RefusedRow", "faults_of", "read_refused_row"]

ROW_DISCARDED, ROW_MENDED = "REFUSED_ROW_DISCARDED", "REFUSED_ROW_MENDED"
"""Kinds of the department's decisions about its own refused rows; they are no events on `operations`."""

_RECORD_ID = re.compile(r"[0-9a-f]{32}")
_MOST_FINDINGS = 20
_LONGEST_REASON = 1_000


def faults_of(value: Mapping[str, Any]) -> list[Finding]:
    """Return the faults of a RefusedRow: with any, it is refused like any other message and holds its source back."""
    outcome, reason = value["outcome"], (value["reason"] or "").strip()
    mended = _RECORD_ID.fullmatch(value["record_id"] or "") and value["version"] is not None
    wrong = (
        outcome not in OUTCOMES
        or not 0 <= value["refusal_id"] < MOST
        or (outcome == MENDED and not mended)
        or (outcome == DISCARDED and not reason)
    )
    return [finding("REFUSED_ROW", field="outcome")] if wrong else []


def read_refused_row(value: Mapping[str, Any], exceptions: Collection[str]) -> RefusedRow:
    """Return the content of a RefusedRow without faults; `exceptions` are real codes whose check digit is wrong."""
    code, record_id, version = value["uscc"], value["record_id"], value["version"]
    whole = code is not None and is_whole(code, exceptions)
    known = record_id is not None and version is not None and _RECORD_ID.fullmatch(record_id) is not None
    return RefusedRow(
        refusal_id=value["refusal_id"],
        outcome=value["outcome"],
        at=value["at"],
        known_since=value["known_since"],
        domain=keepable(value["domain"]),
        uscc=keepable(code) if whole else None,
        record_id=record_id if known else None,
        version=version if known else None,
        by=_clean(value["by"] or value["department"]),
        reason=_clean(value["reason"] or "", _LONGEST_REASON),
        findings=tuple(
            {
                "code": _clean(one["code"]),
                "field": None if one["field"] is None else _clean(one["field"]),
                "message": _clean(one["message"]),
            }
            for one in value["findings"][:_MOST_FINDINGS]
        ),
    )


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused row as its department reports it; a value that could not be stored is None."""

    refusal_id: int
    outcome: str
    at: datetime
    known_since: datetime | None
    domain: str | None
    uscc: str | None
    record_id: str | None
    version: int | None
    by: str
    reason: str
    findings: tuple[Finding, ...]

    def origin(self, topic: str) -> Origin:
        """Return the place of its entry, which is the same for every message about the row."""
        return Origin(topic, LOG, PARTITION, self.refusal_id)

    def known(self, received_at: int) -> dict[str, Any]:
        """Return the content of the header FINDINGS; `received_at` is the broker's time in milliseconds."""
        held_from = None
        if self.outcome == REFUSED and self.uscc is None and self.known_since is not None:
            # One before the moment at which the row was known: at that moment the row is missing already.
            held_from = min(received_at, round(self.known_since.timestamp() * 1000)) - 1
        return {
            "received_at": received_at,
            "held_from": held_from,
            "uscc": self.uscc,
            "domain": self.domain,
            "record_id": self.record_id,
            "version": self.version,
            "findings": list(self.findings) if self.outcome != DISCARDED else [finding(DISCARDED, detail=self.reason)],
        }

    def decision(self, place: Origin) -> dict[str, Any]:
        """Return the content of the header DECISION for a mended or discarded row; `place` is the message's own."""
        return {
            # The place of the message: the same again after a crash, and never that of another decision.
            "decision": place.to_bytes().decode(),
            "kind": ROW_DISCARDED if self.outcome == DISCARDED else ROW_MENDED,
            "by": self.by,
            "at": round(self.at.timestamp() * 1000),
            "reason": self.reason,
            "outcome": DISCARDED if self.outcome == DISCARDED else ACCEPTED,
        }


def _clean(text: str, longest: int = 300) -> str:
    return shown(text, longest)
