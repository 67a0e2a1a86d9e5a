"""Reading one entity's credit view at one consistent moment, and again later at the very same moment.

A reading is one REPEATABLE READ transaction over the views of the schema `report`. Its token names the generation, the
positions and what each source vouched for, so that the same answer can be given again from history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.past import records_at
from consumers.registered import Registered, registered_at
from consumers.sources import DomainSource, SourceState, domain_sources, judged, sources_now, vouched_at
from consumers.states import DomainState, states_at
from consumers.times import Timed, rules_of, window_of
from consumers.token import Moment
from schemas.errors import Retryable, UsageError
from schemas.periods import china_day
from schemas.uscc import check, showable

__all__ = ["CreditView", "DomainState", "SourceState", "read", "read_in"]


@dataclass(frozen=True, slots=True)
class CreditView:
    """What is known of one entity at one moment. Dates are China's; times UTC; money in 万元."""

    uscc: str
    name: str | None
    kind: str | None
    window: tuple[date, date] | None
    """涵盖时间范围, both days included; None where `on` is asked for."""
    on: date | None
    """The day of which was asked what was in force, by the records' own dates."""
    day: date
    """The day on which periods and the two decisions (publishable, reportable) are told: `on`, or the window's last."""
    anchors: dict[str, Any]
    """By kind of record: what of it counts for a window (windows.csv)."""
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

    What is known: now, or as it was known at `as_of`. What is asked of it: a report's window (the longest that ends today in
    China unless days are given), or what was in force on the day `on`. Or `moment`: both as an earlier reading had them.

    Raises UsageError where the code is no USCC, the window is longer than its rule allows, or the moment belongs to another
    database; Retryable where PostgreSQL does not answer.
    """
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE or XINLIU_READER_DATABASE")
    wrong = [code for code in check(uscc) if code != "USCC_CHECK_DIGIT"]
    if wrong:
        raise UsageError(f"{showable(uscc)!r} is no unified social credit code ({', '.join(wrong)})")
    try:
        with psycopg.connect(
            database, row_factory=dict_row, options="-c timezone=UTC", connect_timeout=10
        ) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return read_in(
                connection, uscc, window_from=window_from, window_to=window_to, on=on, as_of=as_of, moment=moment
            )
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}") from error


Connection = psycopg.Connection[dict[str, Any]]


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
    positions = connection.execute("SELECT * FROM report.position ORDER BY topic, partition").fetchall()
    if not positions:
        raise UsageError("the view has not been started yet: run `xinliu up`")
    sources = sources_now(connection)
    # The transaction's own time, by which its sources were judged.
    read_at = connection.execute("SELECT now() AS read_at").fetchone()
    assert read_at is not None
    now = Moment.of(positions, {source.department: source.data_as_of for source in sources}, read_at["read_at"])
    entity = connection.execute("SELECT name, kind FROM report.entity WHERE uscc = %s", (uscc,)).fetchone() or {}
    name, kind = entity.get("name"), entity.get("kind")
    registrations = connection.execute("SELECT * FROM report.registration WHERE uscc = %s", (uscc,)).fetchall()
    rules = rules_of(connection)
    if moment is not None and (moment.on or moment.window):
        window, on = moment.window, moment.on
    elif on is not None:
        window = None
    else:
        window = window_of(rules, window_from, window_to or china_day(now.read_at))
    timed = Timed(rules, window, on)
    if window is not None and as_of is None and moment is None:
        states = connection.execute("SELECT * FROM report.domain_state(%s, %s, %s)", (uscc, *window)).fetchall()
        return CreditView(
            uscc,
            name,
            kind,
            window,
            None,
            timed.day,
            timed.anchors(),
            tuple(DomainState(**row) for row in states),
            timed.penalties(_rows(connection, "penalty", uscc, "decided_on")),
            timed.listings(_rows(connection, "listing", uscc, "listed_on")),
            registered_at(connection, uscc, now, registrations, (name, kind)),
            sources,
            domain_sources(connection, sources),
            now.asked(window, None),
            0,
        )
    chosen = moment or (now if as_of is None else now.at(as_of, vouched_at(connection, as_of))).asked(window, on)
    if chosen.topic_ids != now.topic_ids or chosen.generation != now.generation:
        raise UsageError("this token is of another database or generation: it cannot be reproduced here")
    past = records_at(connection, uscc, chosen, timed)
    who = registered_at(connection, uscc, chosen, past.registrations, (past.name or name, past.kind or kind))
    then = judged(connection, sources, chosen)
    vouching = domain_sources(connection, then)
    return CreditView(
        uscc,
        who.name,
        who.kind,
        window,
        on,
        timed.day,
        timed.anchors(),
        states_at(
            connection, uscc, chosen, timed.day, timed.counted(past.penalties), timed.counted(past.listings), vouching
        ),
        past.penalties,
        past.listings,
        who,
        then,
        vouching,
        chosen,
        past.erased,
    )


def _rows(connection: Connection, view: str, uscc: str, anchor: str) -> list[dict[str, Any]]:
    query = f"SELECT * FROM report.{view} WHERE uscc = %s ORDER BY {anchor} DESC, record_id"
    return connection.execute(query, (uscc,)).fetchall()
