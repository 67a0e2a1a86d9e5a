"""Differences between an old and a new state: of entities and domains, and of the records behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from schemas.records.registration import DOMAIN

__all__ = [
    "APPEARS",
    "CHANGES",
    "DISAPPEARS",
    "HISTORY",
    "REFUSED",
    "STATUS",
    "Compared",
    "RecordChange",
    "StateChange",
    "word_of",
]

APPEARS, DISAPPEARS, CHANGES, STATUS, REFUSED = "APPEARS", "DISAPPEARS", "CHANGES", "STATUS", "REFUSED"
HISTORY = "HISTORY"
"""Kinds of change of a record: only in the new state; only in the old; another content; another status; gone or older,
because the current rules refuse the old statement; or the same record with another history."""


def word_of(penalties: int | None, listings: int | None, pending: bool | None) -> str:
    """Return 有, 待核 or 无 for the counts of an entity in a domain; periods of publicity are the reader's business.

    >>> word_of(1, 0, False), word_of(0, 0, True), word_of(None, None, None)
    ('有', '待核', '无')
    """
    return "有" if (penalties or 0) + (listings or 0) else "待核" if pending else "无"


@dataclass(frozen=True, slots=True)
class StateChange:
    """An entity and domain whose credit view changes."""

    uscc: str
    province: str
    domain: str
    old_records: int | None
    old_penalties: int | None
    old_listings: int | None
    old_pending: bool | None
    new_records: int | None
    new_penalties: int | None
    new_listings: int | None
    new_pending: bool | None
    explained: bool
    """A record differs, too; else only the counts differ, against the records: see `xinliu exchange differences`."""

    @property
    def was(self) -> str:
        """有, 待核 or 无 in the old state; empty for registrations, which have no such word."""
        return "" if self.domain == DOMAIN else word_of(self.old_penalties, self.old_listings, self.old_pending)

    @property
    def becomes(self) -> str:
        """有, 待核 or 无 in the new state."""
        return "" if self.domain == DOMAIN else word_of(self.new_penalties, self.new_listings, self.new_pending)

    @property
    def turns(self) -> bool:
        """Whether the word in reports changes."""
        return self.was != self.becomes

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "uscc": self.uscc, "province": self.province, "domain": self.domain, "was": self.was, "becomes": self.becomes,
            "records": [self.old_records, self.new_records], "penalties": [self.old_penalties, self.new_penalties],
            "listings": [self.old_listings, self.new_listings], "explained": self.explained,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A record that differs."""

    record_id: UUID
    province: str
    department: str
    domain: str
    old_uscc: str | None
    new_uscc: str | None
    change: str
    old_status: str | None
    new_status: str | None
    old_version: int | None
    new_version: int | None
    codes: Sequence[str]
    """For REFUSED and HISTORY: the rules' reasons to refuse statements that the new state lacks."""
    fields: Mapping[str, Any]
    """Name to old and new value, if both have the record; for HISTORY, `history` to the statements that differ."""

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "record_id": self.record_id.hex, "province": self.province, "department": self.department,
            "domain": self.domain, "change": self.change, "uscc": [self.old_uscc, self.new_uscc],
            "status": [self.old_status, self.new_status], "version": [self.old_version, self.new_version],
            "codes": list(self.codes), "fields": dict(self.fields),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compared:
    """The summary of a comparison: its extent, and the number of differences."""

    old: str
    new: str
    what: str
    """In words: the extent of the comparison, and its omissions."""
    old_rows: int
    new_rows: int
    buckets: int
    """Number of compared digests, one for each bucket."""
    differing: int
    """Number of buckets that differ."""
    turned: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(was, becomes) to the number of entities and domains, if the two differ."""
    summary: Sequence[tuple[str, str, str, int]] = ()
    """Domain, department, kind of change and number of records."""
    later: int = 0
    """Records that differ only because one generation has folded less than the other: not counted elsewhere."""
    unexplained: int = 0
    """Entities and domains whose counts differ although no record does."""
    only_old: Sequence[str] = ()
    """Columns that only one of them has: not compared."""
    only_new: Sequence[str] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.summary and not self.unexplained

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "old": self.old, "new": self.new, "compared": self.what, "rows": [self.old_rows, self.new_rows],
            "buckets": self.buckets, "differing_buckets": self.differing, "equal": self.equal,
            "turned": [{"was": was, "becomes": becomes, "n": n} for (was, becomes), n in self.turned.items()],
            "summary": [
                {"domain": domain, "department": department, "change": change, "n": n}
                for domain, department, change, n in self.summary
            ],
            "later": self.later, "unexplained": self.unexplained,
            "only_old": list(self.only_old), "only_new": list(self.only_new),
        }  # fmt: skip
