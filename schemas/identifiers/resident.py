"""Resident identity numbers (居民身份证号, GB 11643) of 18 characters, distinguished from codes of organisations.

schemas/identifiers/persons.py finds them in any other spelling, and within a text.
"""

from __future__ import annotations

import re
from typing import Final

from schemas.identifiers.uscc import DIVISIONS, code_faults

__all__ = ["RESIDENT_CHECKS", "RESIDENT_WEIGHTS", "is_resident_id", "looks_resident", "mask"]

RESIDENT_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
RESIDENT_CHECKS: Final = "10X98765432"
"""Check characters of a resident identity number, by the remainder of its sum."""

_EIGHTEEN = re.compile(r"[0-9]{17}[0-9Xx]")
_RESIDENT = re.compile(r"[1-9]\d{5}(?:19|20)\d\d\d{2}\d{2}\d{3}[0-9X]", re.ASCII)


def looks_resident(code: str, *, bad: bool) -> bool:
    """Return whether a text is a resident identity number (GB 11643): division, birth date, serial and check.

    An invalid code (`bad`) with a plausible place and birth date is a person's number even if its check character was
    mistyped. A number that passes its own check is a person's even if it happens to pass all checks of a code.
    """
    if not _EIGHTEEN.fullmatch(code):
        return False
    born = 1900 <= int(code[6:10]) <= 2100 and 1 <= int(code[10:12]) <= 12 and 1 <= int(code[12:14]) <= 31
    total = sum(int(digit) * weight for digit, weight in zip(code, RESIDENT_WEIGHTS, strict=False))
    passes = code[17].upper() == RESIDENT_CHECKS[total % 11]
    return born and code[0] != "0" and code[:2] in DIVISIONS and (passes or bad)


def is_resident_id(code: str) -> bool:
    """Return whether a text is a resident number (居民身份证号) of 18 characters: no field of ours may hold one."""
    code = code.upper()
    return _RESIDENT.fullmatch(code) is not None and looks_resident(code, bad=bool(code_faults(code)))


def mask(code: str) -> str:
    """Return a code for display: the birth date and serial number of a resident number are masked."""
    return code[:6] + "*" * (len(code) - 7) + code[-1:] if len(code) > 7 else "*" * len(code)
