"""The credit view of one entity, the province's own edition, read at one consistent moment, now or as it was then.

One reading is one REPEATABLE READ transaction over the views of the schema `report`. It counts the records of this
province's departments only; the registrations of all provinces say who the entity is. Its token names the generation,
the positions and the time up to which each source vouched, so that history gives the same answer again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from consumers.report.domain_states import DomainState, states_at
from consumers.report.history import records_at
from consumers.report.periods import Timed, rules_of, window_of
from consumers.report.registration import Registered, registered_at
from consumers.report.snapshot import Connection, Snapshot, rows_about, snapshot
from consumers.report.sources import DomainSource, SourceState, domain_sources, judged, vouched_at
from consumers.report.token import Moment
from schemas.calendar.periods import china_day
from schemas.errors import UsageError

__all__ = ["CreditView", "DomainState", "SourceState", "read", "read_in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditView:
    """The credit view of one entity at one moment. Dates are China's; times UTC; money in 万元."""

    uscc: str
    name: str | None
    kind: str | None
    window: tuple[date, date] | None
    """涵盖时间范围, both days included; None where `on` is asked for."""
    on: date | None
    """The day for which records in force were asked, by their own dates."""
    day: date
    """The day by which periods and the two decisions (publishable, reportable) are computed: `on`, or the window's last."""
    anchors: dict[str, Any]
    """By kind of record: which of its dates must lie in the window (windows.csv)."""
    domains: tuple[DomainState, ...]
    penalties: tuple[dict[str, Any], ...]
    listings: tuple[dict[str, Any], ...]
    registered: Registered
    sources: tuple[SourceState, ...]
    domain_sources: tuple[DomainSource, ...]
    moment: Moment
    erased: int
    """Statements that counted at that moment and have been erased since (撤销): their content is gone for good."""


def read(
    database: str,
    uscc: str,
    *,
    window_from: date | None = None,
    window_to: date | None = None,
    on: date | None = None,
    as_of: datetime | None = None,
    moment: Moment | None = None,
) -> CreditView:
    """Read one entity, along two axes that have nothing to do with each other.

    What is known: now, or as it was known at `as_of`. What is asked of it: a report's window (the longest that ends
    today in China unless days are given), or what was in force on the day `on`. Or `moment`: both as an earlier reading
    had them.

    Raises UsageError where the code is no USCC, the window is longer than its rule allows, or the moment belongs to
    another database; Retryable where PostgreSQL does not answer.
    """
    with snapshot(database, uscc) as connection:
        return read_in(
            connection, uscc, window_from=window_from, window_to=window_to, on=on, as_of=as_of, moment=moment
        )


def read_in(
    connection: Connection,
    uscc: str,
    *,
    window_from: date | None = None,
    window_to: date | None = None,
    on: date | None = None,
    as_of: datetime | None = None,
    moment: Moment | None = None,
) -> CreditView:
    """As `read`, for a code that is checked, in the transaction of the caller, whose rows are dictionaries."""
    here = Snapshot.of(connection)
    now = here.now
    if moment is not None and moment.mutual is not None:
        raise UsageError("this token is of a 互认版: read it with --edition mutual")
    entity = connection.execute("SELECT name, kind FROM report.entity WHERE uscc = %s", (uscc,)).fetchone() or {}
    name, kind = entity.get("name"), entity.get("kind")
    rules = rules_of(connection)
    if moment is not None and (moment.on or moment.window):
        window, on = moment.window, moment.on
    elif on is not None:
        window = None
    else:
        window = window_of(rules, window_from, window_to or china_day(now.read_at))
    timed = Timed(rules, window, on)
    view_of = partial(CreditView, uscc=uscc, window=window, on=on, day=timed.day, anchors=timed.anchors())
    if window is not None and as_of is None and moment is None:
        registrations = connection.execute("SELECT * FROM report.registration WHERE uscc = %s", (uscc,)).fetchall()
        states = connection.execute("SELECT * FROM report.domain_state(%s, %s, %s)", (uscc, *window)).fetchall()
        return view_of(
            name=name,
            kind=kind,
            domains=tuple(DomainState(**row) for row in states),
            penalties=timed.penalties(rows_about(connection, "penalty", uscc, "decided_on")),
            listings=timed.listings(rows_about(connection, "listing", uscc, "listed_on")),
            registered=registered_at(connection, uscc, now, registrations, (name, kind)),
            sources=here.sources,
            domain_sources=domain_sources(connection, here.sources),
            moment=now.asked(window, None),
            erased=0,
        )
    chosen = moment or (now if as_of is None else now.at(as_of, vouched_at(connection, as_of))).asked(window, on)
    here.must_fit(chosen)
    past = records_at(connection, uscc, chosen, timed, of=here.own)
    registered = registered_at(connection, uscc, chosen, past.registrations, (past.name or name, past.kind or kind))
    sources = judged(connection, here.sources, chosen)
    vouching = domain_sources(connection, sources)
    penalties, listings = timed.counted(past.penalties), timed.counted(past.listings)
    return view_of(
        name=registered.name,
        kind=registered.kind,
        domains=states_at(connection, uscc, chosen, timed.day, penalties, listings, vouching),
        penalties=past.penalties,
        listings=past.listings,
        registered=registered,
        sources=sources,
        domain_sources=vouching,
        moment=chosen,
        erased=past.erased,
    )
