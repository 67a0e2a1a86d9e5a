"""Case events for tests: led by Hebei, about a record of Beijing's tax department unless said otherwise."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

from schemas.cases.fold import CaseEvent
from schemas.identifiers.uscc import generate

__all__ = ["CASE", "DIGEST", "OPENED_AT", "event", "life"]

CASE = "hebei-20260901-00000001"
OPENED_AT = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
"""Tuesday, 10 o'clock in China."""
DIGEST = "00112233445566778899aabbccddeeff"

_LEAD = ("OPENED", "ACCEPTED", "DECLINED", "FORWARDED", "CLOSED", "CANCELLED", "REMINDED", "ESCALATED", "NOTED")


def event(kind: str, *, hours: float = 0, case: str = CASE, **fields: Any) -> CaseEvent:
    """Return an event that counts, so many hours after the opening; its id follows from case, kind and time."""
    lead, source = case[:-18], fields.pop("record_province", "beijing")
    at = OPENED_AT + timedelta(hours=hours)
    made: dict[str, Any] = {
        "case_id": case,
        "event_id": hashlib.md5(f"{case}{kind}{hours}".encode(), usedforsecurity=False).hexdigest(),
        "kind": kind,
        "province": lead if kind in _LEAD else source,
        "by": "operator@desk",
        "at": at,
        "procedure": "OBJECTION",
        "uscc": generate(0),
        "record_id": hashlib.md5(b"record", usedforsecurity=False).hexdigest(),
        "record_province": source,
        "department": "tax",
        "reason": "当事人称处罚金额有误",
    }
    if kind == "OPENED":
        made |= {"version": 1}
    if kind == "ANSWERED":
        made |= {"outcome": "CORRECTED", "version": 2, "digest": DIGEST}
    if kind == "EXTENDED":
        made |= {"working_days": 3}
    if kind in ("REMINDED", "ESCALATED"):
        made |= {"step": "ACCEPT", "due": date(2026, 9, 4)}
    return CaseEvent(**made | fields)


def life(**fields: Any) -> dict[str, CaseEvent]:
    """Return a whole life by kind: opened, accepted, forwarded, answered, closed, an hour apart."""
    opened, accepted, forwarded, answered = (
        event(kind, hours=hours, **fields) for hours, kind in enumerate(("OPENED", "ACCEPTED", "FORWARDED", "ANSWERED"))
    )
    closed = event("CLOSED", hours=4, answer=answered.event_id, **fields)
    return {one.kind: one for one in (opened, accepted, forwarded, answered, closed)}
