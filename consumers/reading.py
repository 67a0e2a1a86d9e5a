"""Reading one entity's credit view at one consistent moment, and again later at the very same moment.

A reading is one REPEATABLE READ transaction over the views of the schema `report`. Its token names the generation, the
positions and what each source vouched for, so that the same answer can be given again from history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.past import records_at
from consumers.registered import Registered, registered_at
from consumers.states import DomainState, states_at
from consumers.token import Moment
from schemas.errors import Retryable, UsageError
from schemas.uscc import check

__all__ = ["CreditView", "DomainState", "SourceState", "read"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """A department as a source: 数据截至 (UTC, None where it never vouched), and whether it counts as silent."""

    department: str
    data_as_of: datetime | None
    silent: bool
    open_quarantine: int


@dataclass(frozen=True, slots=True)
class CreditView:
    """What is known of one entity at one moment. Dates are China's; times UTC; money in 万元."""

    uscc: str
    name: str | None
    kind: str | None
    window: tuple[date, date]
    domains: tuple[DomainState, ...]
    penalties: tuple[dict[str, Any], ...]
    listings: tuple[dict[str, Any], ...]
    registered: Registered
    sources: tuple[SourceState, ...]
    moment: Moment
    erased: int
    """Statements that counted at that moment and have been erased since (撤销): their content is gone for good."""


def read(
    database: str,
    uscc: str,
    window: tuple[date, date],
    *,
    as_of: datetime | None = None,
    moment: Moment | None = None,
) -> CreditView:
    """Read one entity; now, as it was known at `as_of`, or at the moment of an earlier reading.

    Raises UsageError where the code is no USCC or the moment belongs to another database, Retryable where PostgreSQL
    does not answer.
    """
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE or XINLIU_READER_DATABASE")
    wrong = [code for code in check(uscc) if code != "USCC_CHECK_DIGIT"]
    if wrong:
        raise UsageError(f"{uscc!r} is no unified social credit code ({', '.join(wrong)})")
    try:
        with psycopg.connect(
            database, row_factory=dict_row, options="-c timezone=UTC", connect_timeout=10
        ) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return _read(connection, uscc, window, as_of, moment)
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}") from error


Connection = psycopg.Connection[dict[str, Any]]


def _read(
    connection: Connection, uscc: str, window: tuple[date, date], as_of: datetime | None, moment: Moment | None
) -> CreditView:
    positions = connection.execute("SELECT * FROM report.position ORDER BY topic, partition").fetchall()
    if not positions:
        raise UsageError("the view has not been started yet: run `xinliu up`")
    sources = tuple(
        SourceState(row["department"], row["data_as_of"], row["silent"], row["open_quarantine"])
        for row in connection.execute(
            "SELECT department, data_as_of, silent, open_quarantine FROM report.source ORDER BY department"
        )
    )
    now = Moment.of(positions, {source.department: source.data_as_of for source in sources}, datetime.now(UTC))
    entity = connection.execute("SELECT name, kind FROM report.entity WHERE uscc = %s", (uscc,)).fetchone() or {}
    name, kind = entity.get("name"), entity.get("kind")
    registrations = connection.execute("SELECT * FROM report.registration WHERE uscc = %s", (uscc,)).fetchall()
    first, last = window
    states = connection.execute("SELECT * FROM report.domain_state(%s, %s, %s)", (uscc, first, last)).fetchall()
    domains = tuple(DomainState(**row) for row in states)
    if as_of is None and moment is None:
        return CreditView(
            uscc,
            name,
            kind,
            window,
            domains,
            _rows(connection, "penalty", "decided_on BETWEEN %s AND %s", uscc, (first, last), "decided_on DESC"),
            _rows(
                connection,
                "listing",
                "listed_on <= %s AND COALESCE(removed_on, 'infinity') >= %s",
                uscc,
                (last, first),
                "listed_on DESC",
            ),
            registered_at(connection, uscc, now, registrations, (name, kind)),
            sources,
            now,
            0,
        )
    chosen = moment or now.at(as_of or now.read_at)
    if chosen.topic_ids != now.topic_ids or chosen.generation != now.generation:
        raise UsageError("this token is of another database or generation: it cannot be reproduced here")
    past = records_at(connection, uscc, chosen, window)
    freshness = connection.execute("SELECT silent_after FROM xinliu.freshness").fetchone()
    assert freshness is not None
    last_stated = past.name or name, past.kind or kind
    who = registered_at(connection, uscc, chosen, past.registrations, last_stated)
    return CreditView(
        uscc,
        who.name,
        who.kind,
        window,
        states_at(connection, uscc, chosen, window, past.penalties, past.listings),
        past.penalties,
        past.listings,
        who,
        tuple(
            replace(
                s,
                data_as_of=chosen.data_as_of.get(s.department),
                silent=chosen.silent(s.department, freshness["silent_after"]),
            )
            for s in sources
        ),
        chosen,
        past.erased,
    )


def _rows(
    connection: Connection, view: str, condition: str, uscc: str, bounds: Sequence[date], order: str
) -> tuple[dict[str, Any], ...]:
    query = f"SELECT * FROM report.{view} WHERE uscc = %s AND {condition} ORDER BY {order}, record_id"
    return tuple(connection.execute(query, (uscc, *bounds)))
