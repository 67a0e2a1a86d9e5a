"""The catalogue in memory: departments, domains, authorities and code tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TypeVar

from schemas.catalogue.rows import (
    CodeRow,
    CompetenceRow,
    DepartmentRow,
    DomainRow,
    EntityKindRow,
    HeartbeatRow,
    ListRow,
    MutualRow,
    ProvinceRow,
    SilenceRow,
    UsccExceptionRow,
)
from schemas.catalogue.time_rows import ANY, TimeRows
from schemas.errors import UsageError

__all__ = ["Catalogue", "Department"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Department:
    """A department of a province, the topics that it writes and reads, and the subjects of its statements."""

    key: str
    name_zh: str
    province: str
    partitions: int
    domains: tuple[str, ...]
    lists: tuple[str, ...]
    registers: bool
    """Whether it publishes registrations of entities (经营主体登记)."""
    authorities: tuple[tuple[str, str], ...]
    """USCC and name of every authority it publishes for."""

    @property
    def records_topic(self) -> str:
        """Topic that only this department may write."""
        return f"records.{self.key}"

    @property
    def receipts_topic(self) -> str:
        """Topic that reports to this department the results of its records."""
        return f"receipts.{self.key}"


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All data of the catalogue. `version` identifies its content: 16 hexadecimal digits of a SHA-256."""

    version: str
    provinces: Mapping[str, ProvinceRow]
    domain_rows: tuple[DomainRow, ...]
    """A domain whose label changed has several rows, one after the other."""
    lists: Mapping[str, ListRow]
    department_rows: tuple[DepartmentRow, ...]
    authorities: Mapping[tuple[str, str], tuple[tuple[str, str], ...]]
    """Province and department → USCC and name of its authorities."""
    mutual: tuple[MutualRow, ...]
    code_rows: tuple[CodeRow, ...]
    heartbeats: tuple[HeartbeatRow, ...]
    time: TimeRows
    """Levels, periods, windows, visibility, holidays, deadlines, for schemas.calendar.periods and
    schemas.calendar.workdays."""
    entity_kinds: Mapping[str, EntityKindRow]
    """By kind (经营主体类型)."""
    competences: tuple[CompetenceRow, ...] = ()
    uscc_exceptions: tuple[UsccExceptionRow, ...] = ()
    silences: tuple[SilenceRow, ...] = ()

    def province(self, key: str) -> ProvinceRow:
        """Return a province. Raises UsageError, with the known ones, if there is none of that key."""
        return _found(self.provinces, key, "province")

    def domains(self, on: date | None = None) -> tuple[DomainRow, ...]:
        """Return the domains in force on a day; all rows if no day is given."""
        return tuple(row for row in self.domain_rows if on is None or row.holds(on))

    def domain(self, key: str) -> DomainRow:
        """Return the newest row of a domain. Raises UsageError if there is none."""
        return _found({row.key: row for row in self.domain_rows}, key, "domain")

    def mutual_domains(self, on: date) -> frozenset[str]:
        """Return the keys of the domains of mutual recognition (互认) on a day."""
        return frozenset(row.domain for row in self.mutual if row.holds(on))

    def departments(self, province: str) -> tuple[Department, ...]:
        """Return the departments of a province."""
        return tuple(self._departments.get(province, {}).values())

    def department(self, province: str, key: str) -> Department:
        """Return one department. Raises UsageError, with the known ones, if there is none of that key."""
        return _found(self._departments.get(province, {}), key, "department")

    def limits(self, province: str) -> tuple[HeartbeatRow, ...]:
        """Return how often a province expects its departments' heartbeats: its own rows before those of all."""
        own = {row.department for row in self.heartbeats if row.province == province}
        return tuple(
            row
            for row in self.heartbeats
            if row.province == province or (row.province == ANY and row.department not in own)
        )

    def codes(self, table: str) -> Mapping[str, str]:
        """Return a code table: code → name in Chinese."""
        return {row.code: row.name_zh for row in self.code_rows if row.table == table}

    def excepted_codes(self, on: date) -> frozenset[str]:
        """Return the codes that a reviewer accepts on a day although their check digit is wrong."""
        return frozenset(row.code for row in self.uscc_exceptions if row.holds(on))

    def competent_until(self, on: date) -> Mapping[tuple[str, str], date]:
        """Return, by authority and domain, the last date of decisions that may be stated on a day.

        The start of a competence is the day of its entry here, not of the authority's power: earlier decisions are
        covered too.
        """
        until: dict[tuple[str, str], date] = {}
        for row in self.competences:
            if row.effective_from <= on:
                key = row.authority, row.domain
                until[key] = max(until.get(key, date.min), row.effective_to or date.max)
        return until

    @cached_property
    def _departments(self) -> Mapping[str, Mapping[str, Department]]:
        """By province and key: every statement that is made or checked needs one."""
        found: dict[str, dict[str, Department]] = {}
        for row in self.department_rows:
            found.setdefault(row.province, {})[row.key] = Department(
                row.key,
                row.name_zh,
                row.province,
                row.partitions,
                row.domains,
                row.lists,
                row.registers == "yes",
                self.authorities.get((row.province, row.key), ()),
            )
        return found


def _found(known: Mapping[str, T], key: str, what: str) -> T:
    if key not in known:
        raise UsageError(f"there is no {what} {key!r}: choose one of {', '.join(sorted(known))}")
    return known[key]
