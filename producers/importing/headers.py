"""Which field a header means: CF_ codes or Chinese names, as departments have written them for years (headers.csv)."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schemas.errors import UsageError
from schemas.flat import FLAT

__all__ = [
    "ENVELOPE_FIELDS",
    "KIND_NAMES",
    "MOVES",
    "Columns",
    "field_of",
    "fitting",
    "known_headers",
    "knows_any",
    "mandatory_of",
    "resolve",
]

_NEVER_READ = "-"
"""Marks identity-document numbers: there is no field for them, on purpose."""

ENVELOPE_FIELDS = (
    "domain", "status", "reason", "version", "updated_at", "original_record_id", "original_number", "original_uscc",
)  # fmt: skip
"""Fields that say something of the statement rather than of its content."""

_MANDATORY = {
    "PENALTY": (
        "uscc", "subject_name", "penalty_document_number", "penalty_violation_type", "penalty_facts", "penalty_basis",
        "penalty_categories", "penalty_content", "penalty_decided_on", "penalty_valid_until", "penalty_authority_name",
        "authority", "penalty_source_unit", "penalty_source_unit_code",
    ),
    "LISTING": (
        "uscc", "subject_name", "listing_entry_id", "listing_grounds", "listing_basis", "listing_authority_name",
        "authority", "listing_listed_on",
    ),
    "REGISTRATION": (
        "uscc", "subject_name", "registration_entity_kind", "registration_since", "registration_authority_name", "authority",
    ),
}  # fmt: skip

MOVES = {"registration_since": "registration_moved_in", "registration_until": "registration_moved_out"}
"""Of a registration: 成立日期 may be 迁入日期 and 注销日期 may be 迁出日期; a registry keeps them in columns of their own."""

KIND_NAMES = {"PENALTY": "行政处罚", "LISTING": "严重失信主体名单", "REGISTRATION": "经营主体登记"}


@dataclass(frozen=True, slots=True)
class Columns:
    """How a file is read: its kind (PENALTY, LISTING or REGISTRATION), field → header, and what is not read and why."""

    kind: str
    headers: dict[str, str]
    personal: tuple[str, ...]
    unknown: tuple[str, ...]


@cache
def _known() -> dict[tuple[str, str], str]:
    with Path(__file__).with_name("headers.csv").open(encoding="utf-8", newline="") as file:
        return {(row["kind"], row["header"].upper()): row["field"] for row in csv.DictReader(file)}


_NOT_SEEN = re.compile("[\\s\u200b-\u200d\u2060\ufeff]+")
_MONEY = ("penalty_fine", "penalty_confiscated")
_UNIT = re.compile(
    r"^(?P<name>.+?)[(\[_:/-]*(?:单位[:：]?)?(?P<unit>(?:人民币)?(?:亿|千万|百万|万|千|百)?(?:元|圆|美元|港元|USD|CNY|RMB))[)\]]*$"
)
_TEN_THOUSAND_YUAN = ("万元", "人民币万元")


def _normal(header: str) -> str:
    half_width = unicodedata.normalize("NFKC", header)  # a header is only looked up: nothing of it is published
    return _NOT_SEEN.sub("", half_width).upper()


def _in_another_unit(kind: str, header: str) -> bool:
    """Tell whether a header names an amount in another unit than 万元: 罚款金额(元)."""
    found = _UNIT.match(_normal(header))
    return found is not None and _field(kind, found["name"]) in _MONEY and found["unit"] not in _TEN_THOUSAND_YUAN


def _field(kind: str, header: str) -> str | None:
    known, name = _known(), _normal(header)
    found = known.get((kind, name)) or known.get(("ANY", name))
    unit = _UNIT.match(name) if found is None else None
    if unit and unit["unit"] in _TEN_THOUSAND_YUAN and known.get((kind, unit["name"])) in _MONEY:
        return known[kind, unit["name"]]
    if found is None and (header in FLAT or header in ENVELOPE_FIELDS) and header != "row":
        prefix = header.partition("_")[0]
        return header if prefix.upper() == kind or prefix.upper() not in _MANDATORY else None
    return found


def resolve(headers: Sequence[str]) -> Columns:
    """Return what the headers mean. A file holds penalties, list entries or registrations, whichever its headers fit best.

    Raises UsageError where two headers mean the same field, an amount is in another unit than 万元, or mandatory columns
    are missing (all are named).
    """
    fitting = {kind: sum(_field(kind, header) is not None for header in headers) for kind in _MANDATORY}
    kind = max(fitting, key=lambda name: fitting[name])
    fields: dict[str, str] = {}
    personal, unknown = [], []
    for header in headers:
        field = _field(kind, header)
        if field is None:
            unknown.append(header)
        elif field == _NEVER_READ:
            personal.append(header)
        elif field in fields:
            raise UsageError(f"{fields[field]!r} 与 {header!r} 两列含义相同; 请保留一列")
        else:
            fields[field] = header
    converted = [header for header in unknown if _in_another_unit(kind, header)]
    if converted:
        raise UsageError(
            f"金额以万元为单位, 不作换算: {', '.join(converted)}; 请将该列换算 (2000元写作 0.2), 列名写作 罚款金额(万元)"
            " 或与表式相同"
        )
    missing = [field for field in _MANDATORY[kind] if field not in fields and MOVES.get(field) not in fields]
    if missing:
        names = "、".join(_shown(kind, field) for field in missing)
        raise UsageError(f"缺少列 (按{KIND_NAMES[kind]}读取): {names}; 文件中有: {', '.join(headers[:12])}")
    return Columns(kind, fields, tuple(personal), tuple(unknown))


def fitting(headers: Sequence[str]) -> str | None:
    """Return the kind of records that a row of headers is for: one of which it has half of the mandatory columns."""
    for kind, mandatory in _MANDATORY.items():
        fields = {_field(kind, header) for header in headers if header} - {None}
        if sum(field in fields or MOVES.get(field) in fields for field in mandatory) * 2 >= len(mandatory):
            return kind
    return None


def knows_any(headers: Sequence[str]) -> bool:
    """Tell whether any of the headers is known."""
    return any(_field(kind, header) is not None for header in headers for kind in _MANDATORY)


def field_of(kind: str, header: str) -> str | None:
    """Return the field that a header means in a file of this kind."""
    return _field(kind, header)


def mandatory_of(kind: str) -> tuple[str, ...]:
    """Return the fields that every row in force must have."""
    return _MANDATORY[kind]


_BETWEEN_HEADERS = re.compile('[,;\t|，；\r\n":{}]+')


def known_headers(text: str) -> int:
    """Return how many headers that are known stand in a text, in whichever format."""
    parts = {part.strip() for part in _BETWEEN_HEADERS.split(text)}
    return sum(any(_field(kind, part) for kind in _MANDATORY) for part in parts if part)


def _shown(kind: str, field: str) -> str:
    return next((header for (of, header), name in _known().items() if of == kind and name == field), field)
