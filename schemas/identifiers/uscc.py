"""统一社会信用代码 (GB 32100-2015): 18 characters, of which the first names the registering body, the second the type.

Layout: 1 registrar, 2 type, 3–8 division (GB/T 2260), 9–17 organisation code with a check digit of its own (GB 11714),
18 check digit. python-stdnum has the arithmetic but refuses the initial letters of A, N and Y codes, and accepts 3 % of
all resident identity numbers as valid codes; so prefixes, division and organisation code are checked too.

One code or text at a time, without a library: every command checks codes, at least those of the catalogue.
schemas/identifiers/uscc_columns.py checks many codes at once.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

__all__ = [
    "ALPHABET",
    "DIVISIONS",
    "FINDINGS",
    "ORGANISATION_ALPHABET",
    "ORGANISATION_CHECKS",
    "ORGANISATION_WEIGHTS",
    "WEIGHTS",
    "code_faults",
    "generate",
    "prefixes",
]

FINDINGS = (
    "USCC_LENGTH",
    "USCC_ALPHABET",
    "USCC_RESIDENT_ID",
    "USCC_PREFIX",
    "USCC_DIVISION",
    "USCC_ORGANISATION",
    "USCC_CHECK_DIGIT",
)
"""Faults of a code. USCC_CHECK_DIGIT alone is no proof: real codes exist that fail it."""

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
WEIGHTS: Final = tuple(pow(3, place, 31) for place in range(17))
ORGANISATION_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ORGANISATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)
ORGANISATION_CHECKS: Final = "0123456789X0"
"""Check characters of an organisation code, by 11 less the remainder of its sum."""

DIVISIONS: Final = frozenset(
    (
        "10",  # registered nationally: no province
        "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44",
        "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82",
    )
)  # fmt: skip
"""First two digits of a division: the provinces of GB/T 2260, and 10."""


@cache
def prefixes() -> Mapping[str, str]:
    """Return, by the first character of a code, the allowed second ones."""
    with Path(__file__).with_name("uscc_prefix.csv").open(encoding="utf-8", newline="") as file:
        return {row["registrar"]: row["types"] for row in csv.DictReader(file)}


_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_ORGANISATION_VALUES = {character: value for value, character in enumerate(ORGANISATION_ALPHABET)}


def code_faults(code: str) -> tuple[str, ...]:
    """Return the faults of 18 characters of the alphabet as a code, apart from being a person's number."""
    wrong = {
        "USCC_PREFIX": code[1] not in prefixes().get(code[0], ""),
        "USCC_DIVISION": not code[2:8].isdigit() or code[2:4] not in DIVISIONS,
        "USCC_ORGANISATION": code[16] != _organisation_check(code[8:16]),
        "USCC_CHECK_DIGIT": code[17] != _check_digit(code),
    }
    return tuple(name for name, is_wrong in wrong.items() if is_wrong)


def _check_digit(code: str) -> str:
    total = sum(_VALUES[character] * weight for character, weight in zip(code, WEIGHTS, strict=False))
    return ALPHABET[(31 - total % 31) % 31]


def _organisation_check(stem: str) -> str:
    pairs = zip(stem, ORGANISATION_WEIGHTS, strict=True)
    return ORGANISATION_CHECKS[(11 - sum(_ORGANISATION_VALUES[c] * weight for c, weight in pairs) % 11) % 11]


def generate(number: int, *, prefix: str = "91", division: str = "110000") -> str:
    """Return a well-formed code for made-up data: `number` becomes the organisation code's eight characters."""
    stem = f"M{number:07d}"[-8:] if number < 10**7 else f"{number:08d}"[-8:]
    body = f"{prefix}{division}{stem}{_organisation_check(stem)}"
    return body + _check_digit(body)
