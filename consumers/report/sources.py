"""Sources at a moment: 数据截至, and whether that was in time by the limits of then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from consumers.report.token import Moment

__all__ = ["DomainSource", "SourceState", "domain_sources", "judged", "sources_now", "vouched_at"]

Connection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SourceState:
    """A department as a source: 数据截至 (UTC, None if it never vouched), and its state.

    `state` is 正常, 迟 or 中断, `since` the time from which it is 迟 or 中断; `silent` is 中断, which makes 无 into 未归集.
    `marked_at` is when its last marker was received, as far as is known now.
    """

    department: str
    data_as_of: datetime | None
    silent: bool
    open_quarantine: int
    state: str
    since: datetime | None
    marked_at: datetime | None


@dataclass(frozen=True, slots=True)
class DomainSource:
    """数据截至 of a domain's department, and its state as a source."""

    domain: str
    department: str
    name_zh: str
    data_as_of: datetime | None
    state: str
    since: datetime | None


def sources_now(connection: Connection) -> tuple[SourceState, ...]:
    """Return every source as it is now."""
    rows = connection.execute(
        "SELECT department, data_as_of, silent, open_quarantine, state, since, marked_at"
        " FROM report.source ORDER BY department"
    )
    return tuple(SourceState(**row) for row in rows)


def vouched_at(connection: Connection, at: datetime) -> dict[str, datetime | None]:
    """Return up to when each source had vouched at a time: at most ten minutes less, never more than readers saw."""
    rows = connection.execute(
        "SELECT DISTINCT ON (department) department, data_as_of FROM xinliu.vouched WHERE noted_at <= %s"
        " ORDER BY department, noted_at DESC",
        (at,),
    )
    return {row["department"]: row["data_as_of"] for row in rows}


def judged(connection: Connection, sources: Iterable[SourceState], moment: Moment) -> tuple[SourceState, ...]:
    """Return these sources as they were at a moment, by the limits in force then."""
    known = {source.department: source for source in sources}
    names = sorted(known)
    rows = connection.execute(
        "SELECT s.department, s.data_as_of, j.state, j.since"
        " FROM unnest(%s::text[], %s::timestamptz[]) AS s (department, data_as_of)"
        " CROSS JOIN LATERAL xinliu.judge_source(s.department, s.data_as_of, %s) j ORDER BY s.department",
        (names, [moment.data_as_of.get(name) for name in names], moment.known_until or moment.read_at),
    )
    return tuple(
        SourceState(
            row["department"],
            row["data_as_of"],
            row["state"] == "中断",
            known[row["department"]].open_quarantine,
            row["state"],
            row["since"],
            known[row["department"]].marked_at,
        )
        for row in rows
    )


def domain_sources(connection: Connection, sources: Iterable[SourceState]) -> tuple[DomainSource, ...]:
    """Return the source of each domain's records, and its freshness; a source that is not expected is 中断."""
    known: Mapping[str, SourceState] = {source.department: source for source in sources}
    found = []
    for row in connection.execute("SELECT domain, department, name_zh FROM xinliu.domain_source ORDER BY 1, 2"):
        source = known.get(row["department"])
        found.append(
            DomainSource(
                **row,
                data_as_of=source.data_as_of if source else None,
                state=source.state if source else "中断",
                since=source.since if source else None,
            )
        )
    return tuple(found)
