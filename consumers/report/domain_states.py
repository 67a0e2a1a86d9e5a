"""The states 有 / 无 / 待核 / 未归集 of the domains at an earlier moment; for now, report.domain_state computes them.

Both must agree: tests/integration/test_chain.py compares the reading by a token with the reading that gave the token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from consumers.report.sources import DomainSource
from consumers.report.token import Moment

__all__ = ["WAITED", "DomainState", "state_of", "states_at"]

Row = dict[str, Any]

WAITED = """
FROM report.quarantine p
WHERE p.uscc = %(uscc)s AND p.quarantine_offset < (%(quarantine)s::bigint[])[p.quarantine_partition + 1]
  AND (%(until)s::timestamptz IS NULL OR p.received_at <= %(until)s)
  AND (p.discarded_offset IS NULL
       OR p.discarded_offset >= (%(quarantine)s::bigint[])[p.discarded_partition + 1] OR p.discarded_at > %(until)s)
  AND NOT EXISTS (
      SELECT FROM report.history h
      WHERE h.record_id = p.record_id AND h.department = p.department AND h.version >= p.version
        AND h.province = COALESCE((SELECT i.province FROM report.installation i), h.province)
        AND h.accepted_offset < (%(accepted)s::bigint[])[h.accepted_partition + 1]
        AND (%(until)s::timestamptz IS NULL OR h.known_at <= %(until)s)
  )
"""
"""Which refused records of this province about an entity were pending at a moment."""

_PENDING = f"""
SELECT p.domain, p.department, EXISTS (SELECT FROM xinliu.domain k WHERE k.domain = p.domain) AS known
{WAITED}  AND NOT p.registration
"""
"""Entries that were open then: decided about, or released by their record, only behind these positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainState:
    """One line of the report: 有, 无, 待核 or 未归集 for a domain, and what that rests on."""

    domain: str
    name_zh: str
    display_label: str
    state: str
    penalties: int
    listings: int
    pending: int
    data_as_of: datetime | None


def state_of(*, records: int, pending: int, silent: bool) -> str:
    """Return what a domain's line says. 无 is never "not received", nor "received but refused"."""
    if records:
        return "有"
    if pending:
        return "待核"
    return "未归集" if silent else "无"


def states_at(
    connection: psycopg.Connection[Row],
    uscc: str,
    moment: Moment,
    day: date,
    penalties: Iterable[Mapping[str, Any]],
    listings: Iterable[Mapping[str, Any]],
    vouching: Iterable[DomainSource],
) -> tuple[DomainState, ...]:
    """Return the lines of all domains in force on a day, as of the moment; the records are those that count.

    `vouching` is where the domains' records came from at that moment, and how fresh that was.
    """
    domains = connection.execute(
        "SELECT domain, name_zh, display_label FROM xinliu.domain"
        " WHERE effective_from <= %(last)s AND COALESCE(effective_to, 'infinity') >= %(last)s ORDER BY domain",
        {"last": day},
    ).fetchall()
    sources: dict[str, list[DomainSource]] = {}
    for source in vouching:
        sources.setdefault(source.domain, []).append(source)
    waiting = connection.execute(
        _PENDING,
        {
            "uscc": uscc,
            "quarantine": list(moment.positions["quarantine"]),
            "accepted": list(moment.positions["accepted"]),
            "until": moment.known_until,
        },
    ).fetchall()
    by_penalty = Counter(row["domain"] for row in penalties)
    by_listing = Counter(row["domain"] for row in listings)
    return tuple(
        _line(
            row,
            by_penalty[row["domain"]],
            by_listing[row["domain"]],
            _pending(row["domain"], {source.department for source in sources.get(row["domain"], ())}, waiting),
            [source.data_as_of for source in sources.get(row["domain"], ())],
            any(source.state == "中断" for source in sources.get(row["domain"], ())) or not sources.get(row["domain"]),
        )
        for row in domains
    )


def _pending(domain: str, departments: Collection[str], waiting: Iterable[Row]) -> int:
    # An entry whose domain cannot be read counts for every domain that its department answers for.
    return sum(row["domain"] == domain if row["known"] else row["department"] in departments for row in waiting)


def _line(
    row: Row, penalties: int, listings: int, pending: int, vouched: Sequence[datetime | None], silent: bool
) -> DomainState:
    known = [time for time in vouched if time is not None]
    return DomainState(
        domain=row["domain"],
        name_zh=row["name_zh"],
        display_label=row["display_label"],
        state=state_of(records=penalties + listings, pending=pending, silent=silent),
        penalties=penalties,
        listings=listings,
        pending=pending,
        data_as_of=min(known) if known and len(known) == len(vouched) else None,
    )
