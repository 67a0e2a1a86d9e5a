"""统一社会信用代码 (GB 32100-2015): 18 characters, of which the first says who registered, the second what.

Layout: 1 registrar, 2 type, 3–8 division (GB/T 2260), 9–17 organisation code with a check digit of its own (GB 11714),
18 check digit. python-stdnum has the arithmetic but refuses the letters that A, N and Y codes begin with, and takes
3 % of all resident identity numbers for valid codes; so prefixes, division and organisation code are checked too.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = [
    "FINDINGS",
    "check",
    "check_column",
    "cover_persons",
    "generate",
    "is_resident_id",
    "mask",
    "names_person",
    "showable",
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
"""What can be wrong with a code. USCC_CHECK_DIGIT alone is no proof: real codes exist that fail it."""

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WEIGHTS = np.array([pow(3, place, 31) for place in range(17)], dtype=np.int64)
_ORG_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ORG_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int64)
_DIVISIONS = frozenset(
    (
        "10",  # registered nationally: no province
        "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44",
        "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82",
    )
)  # fmt: skip
"""First two digits of a division: the provinces of GB/T 2260, and 10."""

_RESIDENT = re.compile(r"[1-9]\d{5}(?:19|20)\d\d\d{2}\d{2}\d{3}[0-9X]", re.ASCII)
_RESIDENT_15 = re.compile(r"[1-9]\d{5}\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}", re.ASCII)
_BETWEEN = re.compile("[^0-9A-Za-z]+")
_LONGEST_WRITTEN = 80
"""Longest text in which a number that is written with something between its digits is looked for."""

_CANDIDATE = re.compile(
    r"(?<![0-9A-Za-z０-９])"
    r"([1-9１-９][0-9０-９]{5})"
    r"((?:[1１][8-9８-９]|[2２][0０])[0-9０-９]{2}(?:[0０][1-9１-９]|[1１][0-2０-２])(?:[0０][1-9１-９]|[12１２][0-9０-９]|[3３][01０１])"
    r"[0-9０-９]{3})"
    r"(?=[0-9Xx０-９Ｘｘ](?![0-9A-Za-z０-９]))"
)
"""Division, birth date, serial number, before a check character: in half or full width, as part of a text."""


def _values(alphabet: str) -> NDArray[np.int64]:
    table = np.full(256, -1, dtype=np.int64)
    for value, character in enumerate(alphabet):
        table[ord(character)] = value
    return table


_CODE_VALUES, _ORG_VALUES = _values(_ALPHABET), _values(_ORG_ALPHABET)


@cache
def _prefixes() -> NDArray[np.bool_]:
    """Which first and second characters go together, as a 256 × 256 table."""
    table = np.zeros((256, 256), dtype=bool)
    with Path(__file__).with_name("uscc_prefix.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for kind in row["types"]:
                table[ord(row["registrar"]), ord(kind)] = True
    return table


@cache
def _divisions() -> NDArray[np.bool_]:
    table = np.zeros((256, 256), dtype=bool)
    for division in _DIVISIONS:
        table[ord(division[0]), ord(division[1])] = True
    return table


def check(code: str, *, exceptions: Collection[str] = ()) -> tuple[str, ...]:
    """Return what is wrong with a code, of FINDINGS; empty where nothing is. See check_column."""
    found = check_column(pl.Series([code]), exceptions=exceptions)
    return tuple(name for name in FINDINGS if found[name][0])


def check_column(codes: pl.Series, *, exceptions: Collection[str] = ()) -> Mapping[str, pl.Series]:
    """Return, for each of FINDINGS, a Boolean series: true where that is wrong. A null is a wrong length.

    A code of another length, or with a character outside the alphabet, has only that finding; a resident identity
    number (居民身份证号), however it is written, only that one. The rest are looked for together. `exceptions` are codes
    that a reviewer has found to be real although their check digit is wrong: they have no USCC_CHECK_DIGIT.
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
        # A resident number may hold characters outside the alphabet only as its letter X, which is inside.
        "USCC_ALPHABET": strange & ~resident,
        "USCC_RESIDENT_ID": resident,
        "USCC_PREFIX": open_ & prefix,
        "USCC_DIVISION": open_ & elsewhere,
        "USCC_ORGANISATION": open_ & organisation,
        "USCC_CHECK_DIGIT": open_ & check_digit,
    }


def _organisation(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    total = (_ORG_VALUES[codes[:, :8]] * _ORG_WEIGHTS).sum(axis=1)
    expected = np.frombuffer(b"0123456789X0", dtype=np.uint8)[(11 - total % 11) % 11]
    matches: NDArray[np.bool_] = codes[:, 8] == expected
    return matches


_RESIDENT_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int64)


def _resident(codes: NDArray[np.uint8], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # 居民身份证号 (GB 11643): division, birth date, serial number, check character; all digits but the last.
    digits = ((codes[:, :17] >= ord("0")) & (codes[:, :17] <= ord("9"))).all(axis=1)
    found = np.zeros(len(codes), dtype=bool)
    places = np.flatnonzero(digits)  # few codes have no letter: only those are looked at closely
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
    expected = np.frombuffer(b"10X98765432", dtype=np.uint8)[total % 11]
    checked = (codes[:, 17] == expected) | (small_x & (expected == ord("X")))
    # What is no code of anyone, but has a plausible place and birth date, is a person's number even where its check
    # character was mistyped; and one whose own check passes is one even where all checks of a code happen to pass.
    found[places] = last & born & place & (checked | bad)
    return found


def is_resident_id(code: str) -> bool:
    """Tell whether a text is a resident identity number (居民身份证号) of 18 characters, which no field of ours may hold."""
    if not _RESIDENT.fullmatch(code.upper()):
        return False
    return bool(check_column(pl.Series([code.upper()]))["USCC_RESIDENT_ID"][0])


def names_person(text: str) -> bool:
    """Tell whether a text is a resident identity number however it is written.

    In full width, with spaces or other marks between its digits, or of 15 digits as before 1999. A number of 15 digits
    may be another's (工商注册号): in the field of a code it is none, and rather one too many is covered than one too few.
    """
    if not 15 <= len(text) <= _LONGEST_WRITTEN:
        return False
    plain = _BETWEEN.sub("", unicodedata.normalize("NFKC", text)).upper()
    if len(plain) == 15:
        return bool(_RESIDENT_15.fullmatch(plain))
    return len(plain) == 18 and is_resident_id(plain)


def cover_persons(text: str) -> str:
    """Return a text with what may be a resident identity number made unreadable: birth date and serial number.

    >>> cover_persons("联系人 362322198709086409。")
    '联系人 362322***********9。'
    """
    return _CANDIDATE.sub(lambda found: found[1] + "*" * len(found[2]), text)


def showable(code: str) -> str:
    """Return a code as an error may repeat it: covered where it is a person's number, however it is written."""
    covered = cover_persons(code)
    return mask(code) if covered == code and names_person(code) else covered


def mask(code: str) -> str:
    """Return a code that may be shown: the birth date and serial number of a resident number are covered."""
    return code[:6] + "*" * (len(code) - 7) + code[-1:] if len(code) > 7 else "*" * len(code)


def generate(number: int, *, prefix: str = "91", division: str = "110000") -> str:
    """Return a well-formed code for made-up data: `number` becomes the organisation code's eight characters."""
    stem = f"M{number:07d}"[-8:] if number < 10**7 else f"{number:08d}"[-8:]
    total = sum(
        _ORG_ALPHABET.index(character) * int(weight) for character, weight in zip(stem, _ORG_WEIGHTS, strict=True)
    )
    body = f"{prefix}{division}{stem}{'0123456789X0'[(11 - total % 11) % 11]}"
    total = sum(_ALPHABET.index(character) * int(weight) for character, weight in zip(body, _WEIGHTS, strict=True))
    return body + _ALPHABET[(31 - total % 31) % 31]
