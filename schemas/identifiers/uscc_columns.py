"""统一社会信用代码 in columns: schemas/identifiers/uscc.py for a hundred thousand codes in milliseconds.

tests/unit/test_uscc.py compares the two on generated texts (hypothesis).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.identifiers.persons import names_person
from schemas.identifiers.resident import RESIDENT_CHECKS, RESIDENT_WEIGHTS
from schemas.identifiers.uscc import (
    ALPHABET,
    DIVISIONS,
    FINDINGS,
    ORGANISATION_ALPHABET,
    ORGANISATION_CHECKS,
    ORGANISATION_WEIGHTS,
    WEIGHTS,
    prefixes,
)

__all__ = ["check_column"]


def _values(alphabet: str) -> NDArray[np.int64]:
    table = np.full(256, -1, dtype=np.int64)
    for value, character in enumerate(alphabet):
        table[ord(character)] = value
    return table


_CODE_VALUES, _ORG_VALUES = _values(ALPHABET), _values(ORGANISATION_ALPHABET)
_WEIGHTS = np.array(WEIGHTS, dtype=np.int64)
_ORG_WEIGHTS = np.array(ORGANISATION_WEIGHTS, dtype=np.int64)
_RESIDENT_WEIGHTS = np.array(RESIDENT_WEIGHTS, dtype=np.int64)


@cache
def _prefixes() -> NDArray[np.bool_]:
    """Return the allowed pairs of first and second characters, as a 256 × 256 table."""
    table = np.zeros((256, 256), dtype=bool)
    for registrar, kinds in prefixes().items():
        for kind in kinds:
            table[ord(registrar), ord(kind)] = True
    return table


@cache
def _divisions() -> NDArray[np.bool_]:
    table = np.zeros((256, 256), dtype=bool)
    for division in DIVISIONS:
        table[ord(division[0]), ord(division[1])] = True
    return table


def check_column(codes: pl.Series, *, exceptions: Collection[str] = ()) -> Mapping[str, pl.Series]:
    """Return, for each of FINDINGS, a Boolean series: true if a code has that fault, as in
    schemas.identifiers.uscc.check.

    A null has a wrong length.
    """
    raw = codes.cast(pl.String).fill_null("").cast(pl.Binary)
    fits = (raw.bin.size() == 18).to_numpy()
    matrix = np.frombuffer(b"".join(raw.filter(pl.Series(fits)).to_list()), dtype=np.uint8).reshape(-1, 18)
    found = {name: np.zeros(len(codes), dtype=bool) for name in FINDINGS}
    found["USCC_LENGTH"] = ~fits
    excepted = codes.is_in(list(exceptions)).fill_null(False).to_numpy()[fits] if exceptions else None
    for name, wrong in _check_matrix(matrix, excepted).items():
        found[name][fits] = wrong
    strange = found["USCC_LENGTH"] | found["USCC_ALPHABET"]
    for place in np.flatnonzero(strange).tolist():
        if names_person(codes[place] or ""):  # in full width, with spaces, or of 15 digits
            found["USCC_LENGTH"][place] = found["USCC_ALPHABET"][place] = False
            found["USCC_RESIDENT_ID"][place] = True
    return {name: pl.Series(name, values) for name, values in found.items()}


def _check_matrix(codes: NDArray[np.uint8], excepted: NDArray[np.bool_] | None = None) -> dict[str, NDArray[np.bool_]]:
    values = _CODE_VALUES[codes]
    strange = (values < 0).any(axis=1)
    division = codes[:, 2:8]
    digits = ((division >= ord("0")) & (division <= ord("9"))).all(axis=1)
    total = (values[:, :17] * _WEIGHTS).sum(axis=1)
    prefix = ~_prefixes()[codes[:, 0], codes[:, 1]]
    elsewhere = ~(digits & _divisions()[codes[:, 2], codes[:, 3]])
    organisation = ~_organisation(codes[:, 8:17])
    check_digit = (31 - total % 31) % 31 != values[:, 17]
    if excepted is not None:
        check_digit &= ~excepted
    resident = _resident(codes, strange | prefix | elsewhere | organisation | check_digit)
    open_ = ~(strange | resident)
    return {
        # The only character of a resident number that might be outside the alphabet is X, which is inside.
        "USCC_ALPHABET": strange & ~resident,
        "USCC_RESIDENT_ID": resident,
        "USCC_PREFIX": open_ & prefix,
        "USCC_DIVISION": open_ & elsewhere,
        "USCC_ORGANISATION": open_ & organisation,
        "USCC_CHECK_DIGIT": open_ & check_digit,
    }


def _organisation(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    total = (_ORG_VALUES[codes[:, :8]] * _ORG_WEIGHTS).sum(axis=1)
    expected = np.frombuffer(ORGANISATION_CHECKS.encode(), dtype=np.uint8)[(11 - total % 11) % 11]
    matches: NDArray[np.bool_] = codes[:, 8] == expected
    return matches


def _resident(codes: NDArray[np.uint8], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    digits = ((codes[:, :17] >= ord("0")) & (codes[:, :17] <= ord("9"))).all(axis=1)
    found = np.zeros(len(codes), dtype=bool)
    places = np.flatnonzero(digits)  # few codes have no letter: only those are checked closely
    if not places.size:
        return found
    codes, bad = codes[places], bad[places]
    small_x = codes[:, 17] == ord("x")
    last = ((codes[:, 17] >= ord("0")) & (codes[:, 17] <= ord("9"))) | (codes[:, 17] == ord("X")) | small_x
    numbers = codes.astype(np.int64) - ord("0")
    year = numbers[:, 6] * 1000 + numbers[:, 7] * 100 + numbers[:, 8] * 10 + numbers[:, 9]
    month = numbers[:, 10] * 10 + numbers[:, 11]
    day = numbers[:, 12] * 10 + numbers[:, 13]
    born = (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    place = _divisions()[codes[:, 0], codes[:, 1]] & (codes[:, 0] != ord("0"))
    total = (numbers[:, :17] * _RESIDENT_WEIGHTS).sum(axis=1)
    expected = np.frombuffer(RESIDENT_CHECKS.encode(), dtype=np.uint8)[total % 11]
    checked = (codes[:, 17] == expected) | (small_x & (expected == ord("X")))
    found[places] = last & born & place & (checked | bad)
    return found
