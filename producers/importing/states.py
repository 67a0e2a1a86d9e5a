"""Columns that decide what a row means: 当前状态, 是否移出, 撤销日期 … A file with one that is not known is not read.

Which words speak of state, removal, revocation, repair or objection is data: states.csv for names of columns,
state_values.csv for what stands in them.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Deciding", "said_status", "speaks_of_state", "state_in", "title_speaks"]

_LONGEST_HEADER, _LONGEST_VALUE, _LONGEST_TITLE = 400, 12, 60
"""How much of a header is looked at; longest value, and longest title, in which such a word is looked for: in a sentence it may mean anything."""

_BETWEEN = re.compile(r"[\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Deciding:
    """A column that may decide what a row means: its name, the word that says so, what it could be mapped to."""

    header: str
    word: str
    meant: str = ""


@cache
def _rows(name: str) -> tuple[Mapping[str, str], ...]:
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def _telling() -> tuple[str, ...]:
    """Return the values that say wherever they stand that a row is not simply in force."""
    return tuple(row["word"] for row in _rows("state_values.csv") if not row["only_in"] and row["word"] != "有效")


def speaks_of_state(header: str) -> Deciding | None:
    """Return how the name of a column speaks of state; None where it does not."""
    plain = unicodedata.normalize("NFKC", header[:_LONGEST_HEADER])
    tokens = {token.upper() for token in _BETWEEN.split(_HUMP.sub("_", plain))}
    folded = _BETWEEN.sub("", plain).upper()
    for row in _rows("states.csv"):
        if row["word"] in (folded if row["how"] == "within" else tokens):
            return Deciding(header, row["word"], row["meant"])
    return None


def state_in(header: str, cells: Iterable[object]) -> Deciding | None:
    """Return how what stands in a column speaks of state; None where it does not."""
    for cell in dict.fromkeys(cell for cell in cells if isinstance(cell, str) and len(cell) <= _LONGEST_VALUE):
        said = unicodedata.normalize("NFKC", cell).upper()
        if any(word in said for word in _telling()):
            return Deciding(header, cell)
    return None


def title_speaks(text: str) -> bool:
    """Tell whether a title above a table says that all its rows are removed, revoked, repaired or disputed."""
    return len(text) <= _LONGEST_TITLE and any(word in text for word in _telling())


def said_status(header: str, catalogue: Mapping[str, str]) -> dict[str, str]:
    """Return word → status (IN_FORCE …) of a column; `catalogue` has the names that stand in the catalogue.

    The form of 2015 writes 0 and 1 in 当前状态 (CF_ZT): elsewhere they may mean anything.
    """
    folded = _BETWEEN.sub("", unicodedata.normalize("NFKC", header)).upper()
    only = {row["word"]: row["status"] for row in _rows("state_values.csv") if row["status"]
            and (not row["only_in"] or folded in row["only_in"].replace("_", "").split())}  # fmt: skip
    return {**only, **catalogue}
