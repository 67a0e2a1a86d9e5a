"""Parties of a decision: a row that names several is divided into several records if names and codes pair up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from producers.files.table import Cell, unreadable
from producers.files.values.values import CellRefused

__all__ = ["Parties", "parted"]

_BETWEEN_NAMES = re.compile(r"[;；、\r\n]+")
_BETWEEN_CODES = re.compile(r"[;；、,，\r\n]+")
_AND_OTHERS = re.compile(r"等\s*[\d一二两三四五六七八九十百]+\s*(?:家|户|人|名|个|企业|公司|单位)")
_BROKEN = re.compile(r"(?=(?:\s*[0-9A-Za-z]\s*){18}$)[0-9A-Za-z]{1,17}[\r\n]+[0-9A-Za-z\r\n]{1,17}")
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#[0-9]{2,5}|#[xX][0-9A-Fa-f]{2,4});")
"""An HTML entity: the ; that ends it is no separator."""

_NAME, _CODE = "subject_name", "uscc"
_CODES = frozenset((_CODE, "original_uscc"))
_OF_EACH = frozenset(
    (
        "original_uscc", "penalty_registration_number", "penalty_organisation_code", "penalty_tax_number",
        "penalty_institution_number", "penalty_social_organisation_number", "penalty_legal_representative",
        "listing_legal_representative",
    )
)  # fmt: skip
"""Fields that only one party can have: given for each, in the same order, or for none."""

_AMOUNTS = frozenset(("penalty_fine", "penalty_confiscated"))
_OF_EACH_OR_ALL = _AMOUNTS | {"subject_kind", "penalty_licence"}
"""Fields that may be given once for all parties, or for each."""


@dataclass(frozen=True, slots=True)
class Parties:
    """The cells of each party, and the amounts (fields) that were given once and hold for each of them."""

    rows: tuple[tuple[Cell, ...], ...]
    shared: tuple[str, ...] = ()


class Unpaired(CellRefused):
    """Parties that cannot be separated; `field` is the reason's field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("PARTIES_UNPAIRED", message)
        self.field = field


def parted(cells: tuple[Cell, ...], places: Mapping[str, int]) -> Parties | None:
    """Return the cells of each party of a row; None if it names one. `places` are the positions of the fields.

    Raises Unpaired if names and codes do not pair up, or a field of one party is given once.
    """
    codes, names = (_parts(cells[places[field]], field) for field in (_CODE, _NAME))
    if len(names) == 1 and _AND_OTHERS.search(names[0]):
        raise Unpaired(_NAME, "名称写作 等几家, 没有写明是哪几家; 请每个当事人一行")
    if len(names) == 1 and len(codes) > 1 and _BROKEN.fullmatch(str(cells[places[_CODE]])):
        return None  # one code written on two lines
    if len(codes) < 2 and len(names) < 2:
        return None
    if len(codes) != len(names):
        raise Unpaired(
            _CODE, f"{len(names)} 个名称, {len(codes)} 个代码, 不能一一对应; 每个当事人须有名称和代码, 或每个当事人一行"
        )
    count = len(codes)
    if len({code.strip().upper() for code in codes}) < count:
        raise Unpaired(_CODE, "同一代码出现两次")
    said: dict[int, Sequence[Cell]] = {places[_CODE]: codes, places[_NAME]: names}
    shared = []
    for field, place in places.items():
        cell = cells[place]
        if cell in (None, "") or field not in _OF_EACH | _OF_EACH_OR_ALL | {"original_record_id"}:
            continue
        parts = _parts(cell, field)
        if field == "original_record_id":
            raise Unpaired(field, "多个当事人是多条记录, 不能共有一个原记录标识; 请每个当事人一行")
        if len(parts) == count:
            said[place] = parts
        elif len(parts) == 1 and field in _OF_EACH_OR_ALL:
            shared += [field] if field in _AMOUNTS else []
        else:
            raise Unpaired(field, f"{count} 个当事人, 此格有 {len(parts)} 项, 不能一一对应; 请每个当事人一行")
    rows = tuple(
        tuple(said[place][party] if place in said else cell for place, cell in enumerate(cells))
        for party in range(count)
    )
    return Parties(rows, tuple(shared))


def _parts(cell: Cell, field: str) -> list[str]:
    text = "" if cell is None else str(cell)
    if unreadable(cell):
        return [text]
    pattern = _BETWEEN_CODES if field in _CODES else _BETWEEN_NAMES
    if "&" in text and _ENTITY.search(text):
        kept = _ENTITY.sub(lambda found: found[0][:-1] + "\0", text)
        return [part.replace("\0", ";") for part in _parted(kept, pattern)]
    return _parted(text, pattern)


def _parted(text: str, pattern: re.Pattern[str]) -> list[str]:
    if not pattern.search(text):
        return [text] if text.strip() else []
    return [part for part in pattern.split(text) if part.strip()]
