"""Refusals of programs' statements: readers are notified of a statement that was not published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.records.refused_row import RowRefusal, entities, finding, refusal_id

__all__ = ["LONGEST_DOMAIN", "refusal_of"]

LONGEST_DOMAIN = 64
"""Characters of a domain's key."""

_RECORD_ID = re.compile(r"[0-9a-f]{32}")
_LARGEST_VERSION = (1 << 63) - 1


def refusal_of(statement: object, error: BaseException, department: str) -> RowRefusal:
    """Return the refusal of a statement (or of a value passed as one) that was not published because of this error.

    It has every field that can be read for certain; any other field counts as unreadable, never as absent.
    """
    said: Mapping[str, Any] = statement if isinstance(statement, Mapping) else {}
    subject = said.get("subject")
    codes, alone = entities(subject.get("uscc")) if isinstance(subject, Mapping) else ((), False)
    record_id, version, domain, stated_at = (said.get(name) for name in ("record_id", "version", "domain", "stated_at"))
    own = said.get("department") == department
    whole_id = isinstance(record_id, str) and _RECORD_ID.fullmatch(record_id) is not None
    counts = isinstance(version, int) and not isinstance(version, bool) and 0 <= version <= _LARGEST_VERSION
    known = own and whole_id and counts
    since = None
    if isinstance(stated_at, datetime) and stated_at.tzinfo is not None:
        since = min(stated_at.astimezone(UTC), datetime.now(UTC))
    content = sorted(repr(item) for item in said.items()) or [type(statement).__name__]
    return RowRefusal(
        refusal_id=refusal_id(("statement", *content)),
        domain=domain if own and isinstance(domain, str) and _fits(domain) else None,
        uscc=codes[0] if alone and len(codes) == 1 else None,
        record_id=record_id if known and isinstance(record_id, str) else None,
        version=version if known else None,
        known_since=since,
        findings=(finding("NOT_PUBLISHED", None, f"{type(error).__name__}: {error}"),),
    )


def _fits(text: str) -> bool:
    return len(text) <= LONGEST_DOMAIN and text.isascii() and text.isprintable()
