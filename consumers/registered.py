"""Where and under which name an entity is registered: what the registrations that are held make together.

The views report.entity, report.move and report.former_name say the same for now; here it is said for any moment, from the
registrations that were held then. tests/integration/test_registrations.py holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import psycopg

from consumers.states import WAITED
from consumers.token import Moment
from schemas.registration import FormerName, read_former_names

__all__ = ["NATIONAL", "Move", "Registered", "registered", "registered_at"]

Row = dict[str, Any]

NATIONAL = "10"
"""First two digits of the division of an entity that was registered nationally: they say nothing of a province."""

_WAITING = f"SELECT count(*) AS n {WAITED} AND p.registration"


@dataclass(frozen=True, slots=True)
class Move:
    """A move between provinces (跨省迁移): from where, the day on which it left there (None where that registry has not
    said so), to where, since when."""

    from_province: str
    left_on: date | None
    to_province: str
    moved_on: date


@dataclass(frozen=True, slots=True)
class Registered:
    """Who an entity is. Days are China's; provinces are keys of the catalogue."""

    name: str | None
    kind: str | None
    name_source: str | None
    """REGISTRY; or STATEMENT: no registration is known, name and kind are those of the record that was stated last."""
    province: str | None
    province_source: str
    """REGISTRY; or CODE: no registration is known, it is where the code's division says it was first registered
    (首次登记地, 由代码推定), None where that is none of the four provinces."""
    since: date | None
    until: date | None
    """First day on which it was registered there no more; None while it is."""
    name_since: date | None
    former_names: tuple[FormerName, ...]
    """Oldest first, as all its registrations state them."""
    moves: tuple[Move, ...]
    registrations: tuple[Row, ...]
    """One a province, the present one first; as report.registration has them."""
    division_differs: bool
    """The code's division lies in another province than the registration: a hint, not a mistake."""
    waiting: int
    """Refused registrations of it that someone must still look at (待核)."""


def registered(
    uscc: str, rows: Iterable[Row], provinces: Mapping[str, str], last: tuple[str | None, str | None], waiting: int
) -> Registered:
    """Make one of registrations, in any order.

    `provinces` maps divisions (two digits) to provinces; `last` is name and kind as the record stated last has them.
    """
    newest: dict[str, Row] = {}
    for row in sorted(rows, key=_rank):  # should two departments of a province register it, the higher rank counts
        newest[row["province"]] = row
    held = sorted(newest.values(), key=_age)
    present = held[-1] if held else None
    first, division = provinces.get(uscc[2:4]), uscc[2:4]
    former = {name for row in held for name in read_former_names(row["former_names"])}
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
        tuple(Move(a["province"], a["until"], b["province"], b["since"]) for a, b in pairwise(held)),
        tuple({name: row[name] for name in _SHOWN} | {"current": row is present} for row in reversed(held)),
        present is not None and division != NATIONAL and present["province"] != first,
        waiting,
    )


def registered_at(
    connection: psycopg.Connection[Row],
    uscc: str,
    moment: Moment,
    rows: Iterable[Row],
    last: tuple[str | None, str | None],
) -> Registered:
    """Make one of the registrations that were held at a moment; what waits in the quarantine is looked up."""
    provinces = connection.execute("SELECT division, province FROM xinliu.province").fetchall()
    waited = {
        "uscc": uscc,
        "quarantine": list(moment.positions["quarantine"]),
        "accepted": list(moment.positions["accepted"]),
        "until": moment.known_until,
    }
    found = connection.execute(_WAITING, waited).fetchone()
    assert found is not None
    return registered(uscc, rows, {row["division"]: row["province"] for row in provinces}, last, found["n"])


def _rank(row: Row) -> tuple[Any, ...]:
    return row["version"], row["digest_hi"], row["digest_lo"]


def _age(row: Row) -> tuple[Any, ...]:
    return row["since"], *_rank(row)


_SHOWN = (
    "record_id", "name", "subject_kind", "entity_kind", "province", "since", "until", "name_since", "former_names",
    "authority_name", "remark", "department", "authority", "version", "stated_at", "known_at",
)  # fmt: skip
