"""有 / 无 / 待核 / 未归集 at an earlier moment; for now the function report.domain_state says it.

The two must agree: tests/integration/test_chain.py holds a token's reading against the reading that gave it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from consumers.token import Moment

__all__ = ["DomainState", "state_of", "states_at"]

Row = dict[str, Any]

_PENDING = """
SELECT p.domain, p.department, EXISTS (SELECT FROM xinliu.domain k WHERE k.domain = p.domain) AS known
FROM report.pending p
WHERE p.uscc = %s AND NOT p.registration AND p.quarantine_offset < (%s::bigint[])[p.quarantine_partition + 1]
  AND (%s::timestamptz IS NULL OR p.received_at <= %s)
"""


@dataclass(frozen=True, slots=True)
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
    window: tuple[date, date],
    penalties: Iterable[Mapping[str, Any]],
    listings: Iterable[Mapping[str, Any]],
) -> tuple[DomainState, ...]:
    """Return the lines of all domains in force on the last day of the window, as of the moment."""
    domains = connection.execute(
        "SELECT domain, name_zh, display_label FROM xinliu.domain"
        " WHERE effective_from <= %(last)s AND COALESCE(effective_to, 'infinity') >= %(last)s ORDER BY domain",
        {"last": window[1]},
    ).fetchall()
    sources: dict[str, list[str]] = {}
    for row in connection.execute("SELECT domain, department FROM xinliu.domain_source"):
        sources.setdefault(row["domain"], []).append(row["department"])
    freshness = connection.execute("SELECT silent_after FROM xinliu.freshness").fetchone()
    assert freshness is not None
    waiting = connection.execute(
        _PENDING, (uscc, list(moment.positions["quarantine"]), moment.known_until, moment.known_until)
    ).fetchall()
    by_penalty = Counter(row["domain"] for row in penalties)
    by_listing = Counter(row["domain"] for row in listings)
    return tuple(
        _line(
            row,
            by_penalty[row["domain"]],
            by_listing[row["domain"]],
            _pending(row["domain"], sources, waiting),
            [moment.data_as_of.get(department) for department in sources.get(row["domain"], [])],
            any(moment.silent(source, freshness["silent_after"]) for source in sources.get(row["domain"], []))
            or not sources.get(row["domain"]),
        )
        for row in domains
    )


def _pending(domain: str, sources: Mapping[str, Sequence[str]], waiting: Iterable[Row]) -> int:
    # An entry whose domain cannot be read counts for every domain that its department answers for.
    return sum(
        row["domain"] == domain if row["known"] else row["department"] in sources.get(domain, ()) for row in waiting
    )


def _line(
    row: Row, penalties: int, listings: int, pending: int, vouched: Sequence[datetime | None], silent: bool
) -> DomainState:
    told = [time for time in vouched if time is not None]
    return DomainState(
        row["domain"],
        row["name_zh"],
        row["display_label"],
        state_of(records=penalties + listings, pending=pending, silent=silent),
        penalties,
        listings,
        pending,
        min(told) if told and len(told) == len(vouched) else None,
    )
