"""Registration of an entity: its province and names, merged from its stored registrations.

The views report.entity, report.move and report.former_name compute the same for the present; this module computes it
for any moment, from the registrations known then. tests/integration/test_registrations.py compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import psycopg

from consumers.report.domain_states import WAITED
from consumers.report.token import Moment
from schemas.calendar.periods import china_day
from schemas.records.registration import FormerName, read_former_names

__all__ = ["NATIONAL", "ProvinceMove", "Registered", "registered", "registered_at"]

Row = dict[str, Any]

NATIONAL = "10"
"""First two digits of the division of an entity that was registered nationally: they give no province."""

_WAITING = f"SELECT count(*) AS n {WAITED} AND p.registration"


@dataclass(frozen=True, slots=True)
class ProvinceMove:
    """A move between provinces (跨省迁移): from where, the day on which it left there (None if that registry has not
    published it), to where, since when.
    """

    from_province: str
    left_on: date | None
    to_province: str
    moved_on: date


@dataclass(frozen=True, slots=True)
class Registered:
    """An entity's registration and names. Days are China's; provinces are keys of the catalogue."""

    name: str | None
    kind: str | None
    name_source: str | None
    """REGISTRY; or STATEMENT: no registration is known, name and kind are those of the record stated last."""
    province: str | None
    province_source: str
    """REGISTRY; or CODE: no registration is known, it is the province of first registration by the code's division
    (首次登记地, 由代码推定), None if that is none of the four provinces.
    """
    since: date | None
    until: date | None
    """First day on which it was no longer registered there; None while it is."""
    name_since: date | None
    former_names: tuple[FormerName, ...]
    """Oldest first, from all its registrations."""
    moves: tuple[ProvinceMove, ...]
    registrations: tuple[Row, ...]
    """One for each province, the present one first; columns as in report.registration."""
    division_differs: bool
    """The code's division is in another province than the registration: a hint, not a mistake."""
    waiting: int
    """Its refused registrations that a person must still check (待核)."""
    contested: tuple[Row, ...] = ()
    """Of `registrations`, those by which another province claims it, or a period, while it is still registered in its
    present province.
    """


def registered(
    uscc: str,
    rows: Iterable[Row],
    provinces: Mapping[str, str],
    last: tuple[str | None, str | None],
    waiting: int,
    *,
    today: date = date.max,
    own: str | None = None,
    settled: str | None = None,
) -> Registered:
    """Merge registrations, in any order, into one for a day in the province `own`.

    `provinces` maps divisions (two digits) to provinces; `last` is name and kind of the record stated last;
    `settled` is the province for which an operator has decided. The view `registration` has the same order.
    """

    def is_open(row: Row) -> bool:
        return row["until"] is None or row["until"] > today

    def is_settled(row: Row) -> bool:
        return is_open(row) and row["province"] == settled

    def standing(row: Row) -> tuple[Any, ...]:
        stands = is_open(row)
        return row["since"] <= today, is_settled(row), stands and row["province"] == own, stands, *_age(row)

    newest: dict[str, Row] = {}
    for row in sorted(rows, key=_rank):  # if two departments of a province register it, the higher rank counts
        newest[row["province"]] = row
    ranked = sorted(newest.values(), key=standing)
    present = ranked[-1] if ranked and ranked[-1]["since"] <= today else None
    contested = [
        row for row in ranked[:-1]
        if present is not None and is_open(present) and not is_settled(present) and row["since"] <= today
        and (is_open(row) or row["since"] > present["since"])
    ]  # fmt: skip
    stays = sorted((row for row in ranked if row["since"] <= today and row not in contested), key=_age)
    first, division = provinces.get(uscc[2:4]), uscc[2:4]
    former = {name for row in ranked for name in read_former_names(row["former_names"])}
    name, kind = (present["name"], present["entity_kind"]) if present else last
    return Registered(
        name,
        kind,
        "REGISTRY" if present else "STATEMENT" if name else None,
        present["province"] if present else first,
        "REGISTRY" if present else "CODE",
        present["since"] if present else None,
        present["until"] if present else None,
        present["name_since"] if present else None,
        tuple(sorted(former, key=lambda one: (one.last_day, one.name))),
        tuple(ProvinceMove(a["province"], a["until"], b["province"], b["since"]) for a, b in pairwise(stays)),
        tuple({name: row[name] for name in _SHOWN} | {"current": row is present} for row in reversed(ranked)),
        present is not None and division != NATIONAL and present["province"] != first,
        waiting,
        tuple({name: row[name] for name in _SHOWN} for row in reversed(contested)),
    )


def registered_at(
    connection: psycopg.Connection[Row],
    uscc: str,
    moment: Moment,
    rows: Iterable[Row],
    last: tuple[str | None, str | None],
) -> Registered:
    """Merge the registrations known at a moment; refused ones are looked up in the quarantine."""
    provinces = connection.execute("SELECT division, province FROM xinliu.province").fetchall()
    own = connection.execute("SELECT province FROM report.installation").fetchone()
    settled = connection.execute(
        "SELECT province FROM report.settled_registration WHERE uscc = %s AND at <= %s"
        " ORDER BY at DESC, topic, sequence DESC LIMIT 1",
        (uscc, moment.read_at),
    ).fetchone()
    waited = {
        "uscc": uscc,
        "quarantine": list(moment.positions["quarantine"]),
        "accepted": list(moment.positions["accepted"]),
        "until": moment.known_until,
    }
    found = connection.execute(_WAITING, waited).fetchone()
    assert found is not None
    return registered(
        uscc,
        rows,
        {row["division"]: row["province"] for row in provinces},
        last,
        found["n"],
        today=china_day(moment.read_at),
        own=own["province"] if own else None,
        settled=settled["province"] if settled else None,
    )


def _rank(row: Row) -> tuple[Any, ...]:
    return row["version"], row["digest_hi"], row["digest_lo"]


def _age(row: Row) -> tuple[Any, ...]:
    return row["since"], *_rank(row)


_SHOWN = (
    "record_id", "name", "subject_kind", "entity_kind", "province", "since", "until", "name_since", "former_names",
    "authority_name", "remark", "department", "authority", "version", "stated_at", "known_at",
)  # fmt: skip
