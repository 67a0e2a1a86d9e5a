"""Loading of the catalogue's files: one error names every bad line, with its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from functools import cache
from pathlib import Path

from schemas.catalogue.model import Catalogue
from schemas.catalogue.reader import CatalogueError, Files
from schemas.catalogue.rows import (
    AuthorityRow,
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
from schemas.catalogue.time_files import read_time
from schemas.catalogue.time_rows import ANY
from schemas.identifiers.uscc_check import check
from schemas.records.registration import DOMAIN

__all__ = ["choose", "load"]

_chosen = [Path(__file__).parent]
"""The shipped folder, or the one passed to `choose`."""


def load(path: Path | None = None) -> Catalogue:
    """Return the catalogue in a folder, by default the chosen one. Raises CatalogueError."""
    return _load(path or _chosen[-1])


def choose(path: Path) -> None:
    """Set the folder that `load` reads from now on: called once, at start, after the settings are read."""
    _chosen.append(path)


@cache
def _load(path: Path) -> Catalogue:
    files = Files(path)
    provinces = files.read("provinces.csv", ProvinceRow)
    domains = files.read("domains.csv", DomainRow)
    lists = files.read("lists.csv", ListRow)
    departments = files.read("departments.csv", DepartmentRow)
    authorities = files.read("authorities.csv", AuthorityRow)
    mutual = files.read("mutual_domains.csv", MutualRow)
    codes = files.read("codes.csv", CodeRow)
    entity_kinds = files.read("entity_kinds.csv", EntityKindRow)
    competences = files.read("competences.csv", CompetenceRow)
    exceptions = files.read("uscc_exceptions.csv", UsccExceptionRow)

    domain_keys = {row.key for _, row in domains}
    list_keys = {row.key for _, row in lists}
    files.unique("provinces.csv", provinces, lambda row: row.key)
    files.unique("domains.csv", domains, lambda row: row.key)
    files.unique("lists.csv", lists, lambda row: row.key)
    files.unique("departments.csv", departments, lambda row: (row.province, row.key))
    files.unique("authorities.csv", authorities, lambda row: (row.uscc, row.province, row.department))
    files.unique("mutual_domains.csv", mutual, lambda row: row.domain)
    files.unique("codes.csv", codes, lambda row: (row.table, row.code))
    files.refer("lists.csv", lists, lambda row: (row.domain,), domain_keys, "domain", "domains.csv")
    files.refer("mutual_domains.csv", mutual, lambda row: (row.domain,), domain_keys, "domain", "domains.csv")
    files.refer("departments.csv", departments, lambda row: row.domains, domain_keys, "domain", "domains.csv")
    files.refer("departments.csv", departments, lambda row: row.lists, list_keys, "list", "lists.csv")
    province_keys = {row.key for _, row in provinces}
    files.refer("departments.csv", departments, lambda row: (row.province,), province_keys, "province", "provinces.csv")
    department_keys = {(row.province, row.key) for _, row in departments}
    files.problems.extend(
        f"authorities.csv line {number}: department {row.department!r} of {row.province!r} is not in departments.csv"
        for number, row in authorities
        if (row.province, row.department) not in department_keys
    )
    codes_of = {
        table: {row.code for _, row in codes if row.table == table} for table in ("entity_kind", "subject_kind")
    }
    files.refer("entity_kinds.csv", entity_kinds, lambda row: (row.kind,), codes_of["entity_kind"], "kind", "codes.csv")
    files.refer(
        "entity_kinds.csv", entity_kinds, lambda row: (row.subject_kind,), codes_of["subject_kind"], "kind", "codes.csv"
    )
    files.problems.extend(
        f"domains.csv line {number}: {DOMAIN!r} is the domain of registrations, and no other's"
        for number, row in domains
        if row.key == DOMAIN
    )
    files.unique("entity_kinds.csv", entity_kinds, lambda row: row.kind)
    silences = _silences(files, province_keys)
    heartbeats = _heartbeats(files, department_keys, province_keys)
    authority_keys = {row.uscc for _, row in authorities}
    files.unique("competences.csv", competences, lambda row: (row.authority, row.domain))
    files.refer(
        "competences.csv", competences, lambda row: (row.authority,), authority_keys, "authority", "authorities.csv"
    )
    files.refer("competences.csv", competences, lambda row: (row.domain,), domain_keys, "domain", "domains.csv")
    files.unique("uscc_exceptions.csv", exceptions, lambda row: row.code)
    excepted = {row.code for _, row in exceptions}
    files.problems.extend(
        f"authorities.csv line {number}: {row.uscc!r} is no unified social credit code (USCC_CHECK_DIGIT); a real one goes"
        " into uscc_exceptions.csv"
        for number, row in authorities
        if check(row.uscc, exceptions=excepted)
    )
    time = read_time(files, province_keys, list_keys, [row for _, row in codes])
    if files.problems:
        raise CatalogueError(files.problems)
    by_department: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for _, row in authorities:
        by_department[row.province, row.department].append((row.uscc, row.name_zh))
    return Catalogue(
        files.version,
        {row.key: row for _, row in provinces},
        tuple(row for _, row in domains),
        {row.key: row for _, row in lists},
        tuple(row for _, row in departments),
        {key: tuple(found) for key, found in by_department.items()},
        tuple(row for _, row in mutual),
        tuple(row for _, row in codes),
        heartbeats,
        time,
        competences=tuple(row for _, row in competences),
        uscc_exceptions=tuple(row for _, row in exceptions),
        entity_kinds={row.kind: row for _, row in entity_kinds},
        silences=silences,
    )


def _heartbeats(
    files: Files, departments: Collection[tuple[str, str]], provinces: Collection[str]
) -> tuple[HeartbeatRow, ...]:
    name = "heartbeats.csv"
    rows = files.read(name, HeartbeatRow)
    files.unique(name, rows, lambda row: (row.department, row.province))
    files.refer(name, rows, lambda row: (row.province,), {*provinces, ANY}, "province", "provinces.csv")
    of_all = {key for _, key in departments}
    for number, row in rows:
        known = row.department in of_all if row.province == ANY else (row.province, row.department) in departments
        if not known and row.department != ANY:
            whose = "" if row.province == ANY else f" of {row.province!r}"
            files.problems.append(
                f"{name} line {number}: department {row.department!r}{whose} is not in departments.csv"
            )
        if row.silent_after < row.expected_every:
            files.problems.append(f"{name} line {number}: a source cannot be 中断 before it is expected to be heard")
    # If a province has rows of its own for *, those for all provinces do not apply there.
    for province in {ANY, *(row.province for _, row in rows if row.department == ANY)} if rows else ():
        own = [row for _, row in rows if (row.department, row.province) == (ANY, province)]
        if not any(row.effective_to is None for row in own):
            whose = "" if province == ANY else f" of {province}"
            files.problems.append(f"{name}: no row for *{whose} holds without an end: a source would have no limit")
    return tuple(row for _, row in rows)


def _silences(files: Files, provinces: Collection[str]) -> tuple[SilenceRow, ...]:
    name = "silences.csv"
    rows = files.read(name, SilenceRow)
    files.unique(name, rows, lambda row: row.province)
    files.refer(name, rows, lambda row: (row.province,), {*provinces, "*"}, "province", "provinces.csv")
    if rows and not any(row.province == "*" and row.effective_to is None for _, row in rows):
        files.problems.append(f"{name}: no row for * holds without an end: a province would have no limit")
    return tuple(row for _, row in rows)
