"""Refused rows: rows that a department refuses before they become statements, and the id of each.

A file, outbox or program at the department that refuses a row publishes a `xinliu.RefusedRow` before the marker that
would vouch for it. The platform stores the row as a quarantine entry at partition -1 of the department's topic, at the
offset `refusal_id`. The id follows from the row: refusing the same row again yields the same entry, and an outcome
finds its entry in any order of arrival.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.identifiers.persons import cover_persons, names_person
from schemas.identifiers.uscc_check import check
from schemas.texts.visible import UNSEEN

__all__ = [
    "DISCARDED",
    "LOG",
    "MENDED",
    "MOST",
    "NAME",
    "OUTCOMES",
    "PARTITION",
    "REFUSED",
    "RowRefusal",
    "entities",
    "entry_name",
    "finding",
    "is_whole",
    "refusal_id",
]

NAME = "xinliu.RefusedRow"
"""Full name of the contract."""

REFUSED, MENDED, DISCARDED = "REFUSED", "MENDED", "DISCARDED"
OUTCOMES = frozenset({REFUSED, MENDED, DISCARDED})

PARTITION, LOG = -1, "refused"
"""Partition and topic id of the entries. Kafka has no such partition, since a refused row is in no log; both values
stay the same if the topic is deleted and created again.
"""

MOST = 1 << 59
"""Exclusive upper bound of the ids: they have at most 18 digits, as offsets are written."""

_BETWEEN = re.compile(r"[;；、,，/\s]+")
_NOT_SEEN = re.compile(f"[{UNSEEN}]")
_LONGEST = 200
_LONGEST_CELL = 4_000
"""Characters of a cell that are searched for codes."""


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """A refused row, or the part of it that is about one entity. Times in UTC."""

    refusal_id: int
    domain: str | None
    """None: it cannot be read, and the row may concern any domain of the department."""
    uscc: str | None
    """None: no entity can be read, and the row may concern any entity."""
    record_id: str | None
    version: int | None
    known_since: datetime | None
    findings: tuple[dict[str, Any], ...]

    def to_record(self, department: str, at: datetime, *, reason: str | None = None) -> dict[str, Any]:
        """Return the refusal as RefusedRow.avsc defines it; persons' numbers in `reason` are masked."""
        return {
            "department": department,
            "refusal_id": self.refusal_id,
            "outcome": REFUSED,
            "at": at,
            "known_since": self.known_since,
            "domain": self.domain,
            "uscc": self.uscc,
            "record_id": self.record_id,
            "version": self.version,
            "by": None,
            "reason": None if reason is None else cover_persons(reason),
            "findings": list(self.findings),
        }


def entry_name(department: str, refusal: int) -> str:
    """Return the readable name of the entry of a refused row, as `xinliu quarantine` prints it."""
    return f"{department}/{PARTITION}/{refusal}"


def refusal_id(parts: Iterable[object]) -> int:
    """Return the id that follows from these parts of a row, below MOST; persons' numbers are masked before hashing."""
    texts = (cover_persons("" if part is None else str(part)) for part in parts)
    said = "\x1f".join(f"{len(text)}:{text}" for text in texts)
    return int.from_bytes(hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=8).digest(), "big") % MOST


def finding(code: str, field: str | None, message: str) -> dict[str, Any]:
    """Return one reason; a person's number in it is masked."""
    return {"code": code, "field": field or None, "message": _kept(message)}


def is_whole(code: str, exceptions: Collection[str] = ()) -> bool:
    """Return whether a text is certainly an entity's code: a code that fails its check may belong to anybody."""
    return not names_person(code) and not check(code, exceptions=exceptions)


def entities(cell: object, exceptions: Collection[str] = ()) -> tuple[tuple[str, ...], bool]:
    """Return the whole codes that a cell names, and whether it names nothing else: if it does, anybody may be meant."""
    text = unicodedata.normalize("NFKC", "" if cell is None else str(cell)[:_LONGEST_CELL])
    parts = [part.upper() for part in _BETWEEN.split(_NOT_SEEN.sub("", text)) if part]
    codes = tuple(dict.fromkeys(part for part in parts if is_whole(part, exceptions)))
    return codes, bool(parts) and all(part in codes for part in parts)


def _kept(text: str) -> str:
    # Masked before it is cut: half a person's number is personal, too.
    return "".join(one if one.isprintable() else "�" for one in cover_persons(text)[:_LONGEST])
