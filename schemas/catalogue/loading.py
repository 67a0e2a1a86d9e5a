"""Reading the catalogue's files: every bad line is named, with its reason, in one error."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from schemas.catalogue.model import Catalogue
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
    Row,
    SilenceRow,
    UsccExceptionRow,
)
from schemas.catalogue.time_loading import read_time
from schemas.catalogue.time_rows import ANY
from schemas.errors import UsageError
from schemas.persons import showable
from schemas.registration import DOMAIN
from schemas.uscc import check

__all__ = ["CatalogueError", "Files", "choose", "load"]

R = TypeVar("R", bound=Row)

_chosen = [Path(__file__).parent]
"""The shipped folder, and what `choose` was told."""


class CatalogueError(UsageError):
    """The catalogue's files cannot be used; the message has a line for every bad row: file, line, reason."""

    def __init__(self, problems: Collection[str]) -> None:
        super().__init__("the catalogue is not good:\n  " + "\n  ".join(problems))
        self.problems = tuple(problems)


def load(path: Path | None = None) -> Catalogue:
    """Return the catalogue in a folder; the chosen one unless given. Raises CatalogueError."""
    return _load(path or _chosen[-1])


def choose(path: Path) -> None:
    """Let `load` read this folder from now on: said once, at start, by whoever has read the settings."""
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
    # Where a province has rows of its own for *, those for all provinces do not hold there.
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


@dataclass
class Files:
    """Reads the files of one folder and collects what is wrong with them."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    _content: list[bytes] = field(default_factory=list)

    @property
    def version(self) -> str:
        return hashlib.sha256(b"\0".join(self._content)).hexdigest()[:16]

    def read(self, name: str, model: type[R]) -> list[tuple[int, R]]:
        """Return the good rows of a file with their line numbers."""
        try:
            raw = (self.folder / name).read_bytes()
        except OSError as error:
            self.problems.append(f"{name}: {error.strerror}")
            return []
        self._content.append(raw)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            self.problems.append(f"{name} line {line}: not UTF-8; save the file as “CSV UTF-8”")
            return []
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        return self._rows(name, model, reader)

    def _rows(self, name: str, model: type[R], reader: Iterable[list[str]]) -> list[tuple[int, R]]:
        lines = iter(reader)
        header = next(lines, [])
        wanted = set(model.model_fields)
        if set(header) != wanted:
            missing, extra = sorted(wanted - set(header)), sorted(set(header) - wanted)
            self.problems.append(f"{name} line 1: columns missing: {missing or 'none'}, not known: {extra or 'none'}")
            return []
        rows: list[tuple[int, R]] = []
        try:
            for cells in lines:
                number = reader.line_num  # type: ignore[attr-defined]
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    self.problems.append(f"{name} line {number}: {len(cells)} cells, {len(header)} are wanted")
                    continue
                try:
                    row = model.model_validate(dict(zip(header, cells, strict=True)))
                except ValidationError as error:
                    self.problems.extend(_reasons(name, number, error))
                    continue
                if row.effective_to is not None and row.effective_to < row.effective_from:
                    self.problems.append(
                        f"{name} line {number}: ends ({row.effective_to}) before it begins ({row.effective_from})"
                    )
                rows.append((number, row))
        except csv.Error as error:
            self.problems.append(f"{name} line {reader.line_num}: {error}")  # type: ignore[attr-defined]
        return rows

    def unique(self, name: str, rows: Iterable[tuple[int, R]], key: Callable[[R], Hashable]) -> None:
        """Say where two rows of one key hold on the same day."""
        seen: defaultdict[Hashable, list[tuple[int, R]]] = defaultdict(list)
        for number, row in rows:
            for other_number, other in seen[key(row)]:
                if row.effective_from <= (other.effective_to or date.max) and other.effective_from <= (
                    row.effective_to or date.max
                ):
                    self.problems.append(f"{name} line {number}: {key(row)!r} holds already by line {other_number}")
            seen[key(row)].append((number, row))

    def refer(
        self,
        name: str,
        rows: Iterable[tuple[int, R]],
        keys: Callable[[R], Iterable[str]],
        known: Collection[str],
        what: str,
        where: str,
    ) -> None:
        """Say where a row names something that is not in its file."""
        for number, row in rows:
            self.problems.extend(
                f"{name} line {number}: {what} {key!r} is not in {where}" for key in keys(row) if key not in known
            )


def _reasons(name: str, number: int, error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        cell = ".".join(str(part) for part in problem["loc"][:1])
        reason = problem["msg"].removeprefix("Value error, ")
        yield f"{name} line {number}: {cell}: {reason} (found {showable(str(problem['input']))[:60]!r})"
