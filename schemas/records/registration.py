"""Registrations (经营主体登记): their kind and domain, and the text form of former names (曾用名称).

Each entity has one record in each province; schemas.records.identity.registration_id computes its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

__all__ = ["DOMAIN", "EARLIEST", "KIND", "FormerName", "read_former_names", "write_former_names"]

KIND = "REGISTRATION"
"""Kind of the statements about the registration of an entity."""

DOMAIN = "registration"
"""Domain of the registrations: a constant, none of the domains (领域) that a report covers."""

EARLIEST = date(1900, 1, 1)
"""Lower bound of a former name's last day, as of every date in a statement."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class FormerName:
    """A former name of an entity, and the last day (China) on which the entity bore it."""

    name: str
    last_day: date


def read_former_names(text: str | None) -> tuple[FormerName, ...]:
    """Return the former names in a text `NAME|DAY;NAME|DAY`, oldest first.

    Raises ValueError, whose message names no name, if a name is blank or contains `|`, a day is no date, or the days do
    not ascend.
    """
    if text is None:
        return ()
    names = tuple(_read_one(part) for part in text.split(";"))
    _must_ascend(names)
    return names


def write_former_names(names: Sequence[FormerName]) -> str | None:
    """Return the text form of former names; None if there are none. Raises ValueError if they have no text form."""
    if any("|" in name.name or ";" in name.name for name in names):
        raise ValueError("a former name may not hold | or ;")
    text = ";".join(f"{name.name}|{name.last_day.isoformat()}" for name in names)
    read_former_names(text or None)
    return text or None


def _read_one(part: str) -> FormerName:
    name, bar, day = part.rpartition("|")
    if not bar or "|" in name or not any(letter > "\x1f" and not letter.isspace() for letter in name):
        raise ValueError("a former name is not written NAME|DAY")
    if not _DAY.fullmatch(day) or (last_day := date.fromisoformat(day)) < EARLIEST:
        raise ValueError("the last day of a former name is no day: write 2024-05-31")
    return FormerName(name, last_day)


def _must_ascend(names: Iterable[FormerName]) -> None:
    for one, next_one in pairwise(names):
        if next_one.last_day <= one.last_day:
            raise ValueError(f"the days do not ascend: {next_one.last_day} follows {one.last_day}")
