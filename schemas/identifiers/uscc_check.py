"""Check of a 统一社会信用代码: faults of its structure (uscc.py), and whether it is a person's number (persons.py)."""

from __future__ import annotations

from collections.abc import Collection

from schemas.identifiers.persons import names_person
from schemas.identifiers.resident import looks_resident
from schemas.identifiers.uscc import ALPHABET, code_faults

__all__ = ["check"]

_CHARACTERS = frozenset(ALPHABET)


def check(code: str, *, exceptions: Collection[str] = ()) -> tuple[str, ...]:
    """Return the faults of a code, of FINDINGS; empty if it has none.

    A code of another length (in bytes of UTF-8), or with a character outside the alphabet, has only that finding; a
    resident identity number (居民身份证号), in any spelling, only that one. All other faults are returned together.
    `exceptions` are codes that a reviewer has found to be real although their check digit is wrong: they have no
    USCC_CHECK_DIGIT.
    """
    found: tuple[str, ...]
    if len(code.encode(errors="surrogatepass")) != 18:
        found = ("USCC_LENGTH",)
    elif not _CHARACTERS.issuperset(code):
        found = ("USCC_ALPHABET",)
    else:
        found = code_faults(code)
        if code in exceptions:
            found = tuple(name for name in found if name != "USCC_CHECK_DIGIT")
        return ("USCC_RESIDENT_ID",) if looks_resident(code, bad=bool(found)) else found
    # In full width, with spaces, or of 15 digits.
    return ("USCC_RESIDENT_ID",) if looks_resident(code, bad=True) or names_person(code) else found
