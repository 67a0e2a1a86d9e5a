"""A row that its department refuses before it is a statement: what is published of it, and how it is known again.

Whoever refuses a row at the department's side (a file, an outbox, a program) publishes a `xinliu.RefusedRow` of it before
the marker that would vouch for it. The platform keeps that as a quarantine entry in a place of its own: partition -1 of the
department's topic, at the offset `refusal_id`. The id follows from the row, so that the same row refused again is the same
entry, and what became of it finds the entry whatever comes first.
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
"""Partition and topic id of the entries: no partition of Kafka's, since a refused row stands in none; the same when the topic
was deleted and made anew."""

MOST = 1 << 59
"""Ids are below this: numbers of at most 18 digits, as offsets are written."""

_BETWEEN = re.compile(r"[;；、,，/\s]+")
_NOT_SEEN = re.compile(f"[{UNSEEN}]")
_LONGEST = 200
_LONGEST_CELL = 4_000
"""Characters of a cell in which codes are looked for."""


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """A refused row, or the part of it that is about one entity. Times in UTC."""

    refusal_id: int
    domain: str | None
    """None: it cannot be read, and any domain of the department may be meant."""
    uscc: str | None
    """None: no entity can be read, and anybody may be meant."""
    record_id: str | None
    version: int | None
    known_since: datetime | None
    findings: tuple[dict[str, Any], ...]

    def to_record(self, department: str, at: datetime, *, reason: str | None = None) -> dict[str, Any]:
        """Return it as RefusedRow.avsc has it; persons' numbers in `reason` are covered."""
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
    """Return what a person calls the entry of a refused row, as `xinliu quarantine` does."""
    return f"{department}/{PARTITION}/{refusal}"


def refusal_id(parts: Iterable[object]) -> int:
    """Return the id that follows from these parts of a row, below MOST; nothing of a person's number goes into it."""
    texts = (cover_persons("" if part is None else str(part)) for part in parts)
    said = "\x1f".join(f"{len(text)}:{text}" for text in texts)
    return int.from_bytes(hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=8).digest(), "big") % MOST


def finding(code: str, field: str | None, message: str) -> dict[str, Any]:
    """Return one reason; a person's number in it is covered."""
    return {"code": code, "field": field or None, "message": _kept(message)}


def is_whole(code: str, exceptions: Collection[str] = ()) -> bool:
    """Tell whether a text is the code of an entity for certain: a code that fails its check may be anybody's."""
    return not names_person(code) and not check(code, exceptions=exceptions)


def entities(cell: object, exceptions: Collection[str] = ()) -> tuple[tuple[str, ...], bool]:
    """Return the whole codes that a cell names, and whether it names nothing else: where it does, anybody may be meant."""
    text = unicodedata.normalize("NFKC", "" if cell is None else str(cell)[:_LONGEST_CELL])
    parts = [part.upper() for part in _BETWEEN.split(_NOT_SEEN.sub("", text)) if part]
    codes = tuple(dict.fromkeys(part for part in parts if is_whole(part, exceptions)))
    return codes, bool(parts) and all(part in codes for part in parts)


def _kept(text: str) -> str:
    # Covered before it is cut: half a number is a person's, too.
    return "".join(one if one.isprintable() else "�" for one in cover_persons(text)[:_LONGEST])
