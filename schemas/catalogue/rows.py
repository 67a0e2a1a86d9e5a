"""Rows of the catalogue's files: the only place that defines which values a cell may have."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.identifiers.persons import showable
from schemas.identifiers.uscc_check import check

__all__ = [
    "AuthorityRow", "CodeRow", "CompetenceRow", "DepartmentRow", "DomainRow", "EntityKindRow", "HeartbeatRow", "Key", "Keys",
    "ListRow", "MutualRow", "ProvinceRow", "Row", "SilenceRow", "Text", "UsccExceptionRow",
]  # fmt: skip


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _several(value: object) -> object:
    return tuple(part.strip() for part in value.split(";") if part.strip()) if isinstance(value, str) else value


def _uscc(value: str) -> str:
    wrong = [code for code in check(value) if code != "USCC_CHECK_DIGIT"]  # files.py may except it
    if wrong:
        raise ValueError(f"{showable(value)!r} is no unified social credit code ({', '.join(wrong)})")
    return value


def _excepted(value: str) -> str:
    wrong = check(value)
    if wrong != ("USCC_CHECK_DIGIT",):
        raise ValueError(
            f"{showable(value)!r} needs no exception: only its check digit may be wrong, and it has"
            f" {', '.join(wrong) or 'nothing wrong'}"
        )
    return value


def _span(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([1-9]\d{0,4})\s*([mhd])", value.strip())
    if found is None:
        raise ValueError("no length of time: write minutes, hours or days as 30m, 12h or 7d")
    return timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[found[2]]: int(found[1])})


Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
Text = Annotated[str, Field(min_length=1)]
Keys = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Row(BaseModel):
    """Common fields of every row: its first and last day (both included), its source, and whether it is assumed."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    effective_from: date
    effective_to: Annotated[date | None, BeforeValidator(_empty_is_none)] = None
    source: Text
    illustrative: Literal["yes", "no"]

    def holds(self, on: date) -> bool:
        """Return whether the row is in force on a day."""
        return self.effective_from <= on and (self.effective_to is None or on <= self.effective_to)


class ProvinceRow(Row):
    """A province of the four (京津冀晋); division is its two digits of GB/T 2260."""

    key: Key
    name_zh: Text
    division: Annotated[str, Field(pattern=r"^\d\d$")]


class DomainRow(Row):
    """A domain (领域); its label in the report may differ from its name."""

    key: Key
    name_zh: Text
    display_label: Text


class DepartmentRow(Row):
    """A department that publishes: its topic follows from its key, which is unique within its province.

    A registering department publishes registrations of entities.
    """

    key: Key
    name_zh: Text
    province: Key
    partitions: Annotated[int, Field(ge=1, le=64)]
    domains: Keys
    lists: Keys
    registers: Literal["yes", "no"]


class AuthorityRow(Row):
    """An authority (处罚机关, 列入决定机关) for which a department publishes."""

    uscc: Annotated[str, BeforeValidator(_uscc)]
    name_zh: Text
    province: Key
    department: Key


class EntityKindRow(Row):
    """A kind of entity (经营主体类型), the kind of subject that it is, and the allowed first two characters of its code."""

    kind: Text
    subject_kind: Text
    prefixes: Annotated[tuple[Annotated[str, Field(pattern=r"^[0-9A-Z]{2}$")], ...], BeforeValidator(_several)]


class ListRow(Row):
    """One of the lists of seriously dishonest entities (严重失信主体名单)."""

    key: Annotated[str, Field(pattern=r"^[A-Z][A-Z_]*$")]
    name_zh: Text
    domain: Key
    instrument: Text
    identified_by: Text
    period: Text
    early_exit: Text
    natural_persons: Text


class MutualRow(Row):
    """A domain with mutual recognition (互认) among the four provinces."""

    domain: Key


class CodeRow(Row):
    """A code of a table: an allowed value of a coded field of a statement."""

    table: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    code: Text
    name_zh: Text


class HeartbeatRow(Row):
    """The expected interval of a department's heartbeats, and the silence after which it counts as 中断.

    `*` stands for every department without a row of its own, and for every province. If a province has rows of its own
    for a department (or for `*`), those for all provinces do not apply there.
    """

    department: Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9]*(-[a-z0-9]+)*)$", max_length=40)]
    province: Annotated[str, Field(pattern=r"^(\*|[a-z][a-z-]*)$")]
    expected_every: Annotated[timedelta, BeforeValidator(_span)]
    silent_after: Annotated[timedelta, BeforeValidator(_span)]


class SilenceRow(Row):
    """The silence of a province after which its part of the 互认版 counts as 未归集; `*` stands for every other province."""

    province: Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9]*(-[a-z0-9]+)*)$", max_length=40)]
    silent_after: Annotated[timedelta, BeforeValidator(_span)]


class CompetenceRow(Row):
    """A domain in which an authority may decide (法定职权范围). An ended competence covers the decisions before its end."""

    authority: Annotated[str, BeforeValidator(_uscc)]
    domain: Key


class UsccExceptionRow(Row):
    """A real code whose check digit is wrong, and its reviewer: every check of codes accepts it."""

    code: Annotated[str, BeforeValidator(_excepted)]
    reviewed_by: Text
    reason: Text
