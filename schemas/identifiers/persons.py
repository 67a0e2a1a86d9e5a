"""Resident identity numbers (居民身份证号, GB 11643) in any spelling: detected and masked. None is kept anywhere.

A text is folded first, character by character: a digit of any script, width or style is its value, a mark is a gap, an
invisible character is nothing. A number is then 17 digits and a check character, or 15 digits as before 1999, that
begin with a province and contain a day of birth, and that no further digit touches. If gaps separate its digits, or if
it may belong to an account or a document, the check character must be right too: so numbers of documents, amounts, days
and codes are not mistaken for persons' (`python -m tests.persons` counts how seldom they are).

Needs no library: every command checks codes, at least those of the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Final, NamedTuple

from schemas.identifiers.resident import RESIDENT_CHECKS, RESIDENT_WEIGHTS, is_resident_id, mask
from schemas.identifiers.uscc import code_faults
from schemas.texts.digits import CROSS, FEWEST, FOLD, DigitRun, runs

__all__ = [
    "DAY", "LONGEST", "check_of", "cover_persons", "holds_person", "is_day", "is_place", "names_person", "secret_from", "showable",
]  # fmt: skip

_PROVINCES: Final = frozenset(
    (
        "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44",
        "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83",
    )
)  # fmt: skip
"""First two digits of numbers; 81 to 83 are those of residents from Hong Kong, Macao and Taiwan."""

_MUNICIPALITIES: Final = {"11": "01 02", "12": "01 02 03", "31": "01 02", "50": "01 02 03"}
"""Allowed digits after these provinces: codes of other kinds begin like them, too."""

_ALONE: Final = 15

DAY: Final = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_LIKELY: Final = re.compile(
    rf"(?=(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])[0-9]{{4}}"
    rf"(?:(?:19|20)[0-9]{{2}}{DAY}[0-9]{{3}}|[0-9]{{2}}{DAY}[0-9]{{3}}))"
)
"""Possible start of a number among digits: a province, with a day behind it. Most runs have none."""

LONGEST: Final = 20_000
"""Maximum digits of a searched run, without a word between them: as many as the longest text of a statement has."""

_PARTED_18: Final = frozenset({6, 14})
"""Usual gaps in a number: after place and day. With them it is a person's even if its check character was mistyped."""

_PARTED_15: Final = (frozenset({2, 4, 6, 8, 10, 12}), frozenset({3, 6, 9, 12}), frozenset(range(1, 15)))
"""Usual gaps in a number of 15 digits, of which some may be missing: by its parts, in threes, after each digit."""

_LISTED: Final = frozenset("、，,；;：:。!！?？\r\n")
"""Separators between several numbers, never within one."""

_PERSONAL: Final = re.compile(r"身份|证件|公民|ID", re.IGNORECASE)
_OTHERS: Final = re.compile(
    r"注册号|登记号|识别号|税号|信用代码|机构代码|编号|单号|流水号|凭证号|票号|文号|案号|[〔\[［（(【][0-9０-９]{4}[〕\]］）)】]第?$"
)
"""Words before numbers that are no person's."""
_ACCOUNTS: Final = re.compile("[账帐]号|[账帐]户|卡号")
"""Words before account numbers, which may have any digits."""

_ADULTS, _CHILDREN = frozenset(map(str, range(1920, 2010))), frozenset(map(str, range(2010, 2040)))
"""Years of birth that are sought in an account's number, and those excluded in a document's (its own year)."""

_BEFORE, _BEHIND = 14, re.compile(r"\s*号")


_PERSONS, _ACCOUNT, _ANOTHERS, _NUMBERED, _ENTRY = "person", "account", "another", "numbered", "entry"
_OF_ENTRIES: Final = "/-1/"
"""Text before the number of a refused row in its entry's name (schemas/records/refused_row.py): masking would hide the
id."""

_AMOUNT, _OF_AMOUNTS = (
    re.compile(r"(?<![0-9.,])(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)\.[0-9]{2}(?![0-9.])"),
    frozenset("0123456789.,"),
)
_FEWEST_OF_AMOUNTS = 2
"""Minimum gaps in a series of amounts."""


class _Number(NamedTuple):
    """The masked part of a number in a text: birth date and serial number."""

    begin: int
    end: int


def holds_person(text: str) -> bool:
    """Return whether a text contains a resident identity number, in any spelling."""
    return len(text) >= FEWEST and next(_numbers(text), None) is not None


def cover_persons(text: str) -> str:
    """Return a text with birth date and serial number masked in everything that may be a resident identity number.

    >>> cover_persons("联系人 362322198709086409。")
    '联系人 362322***********9。'
    """
    if len(text) < FEWEST:
        return text
    covered: list[str] = []
    at = 0
    for begin, end in _numbers(text):
        covered += (text[at:begin], "*" * (end - begin))
        at = end
    return "".join((*covered, text[at:])) if covered else text


def names_person(text: str) -> bool:
    """Return whether a text that should be a code is a resident identity number, with any words around it.

    In the field of a code every number of 15 digits counts as a person's: better one too many than one too few.
    """
    if not FEWEST <= len(text) <= _LONGEST_CODE or (
        len(text) == 18 and text.isascii() and text.isalnum() and not text[:17].isdigit()
    ):
        return False
    signs = [one.upper() for one in text.translate(FOLD) if one.isalnum()]
    plain = "".join(one for place, one in enumerate(signs, 1) if one != CROSS.upper() or place == len(signs))
    if len(plain) == 15 and plain.isdigit():
        return plain[0] != "0" and is_day(f"19{plain[6:12]}")
    return len(plain) == 18 and is_resident_id(plain)


_LONGEST_CODE = 80
"""Maximum length of a text that is checked as a code with separators between its digits."""


def showable(code: str) -> str:
    """Return a code as an error may repeat it: masked if it is a person's number, in any spelling."""
    covered = cover_persons(code)
    return mask(code) if covered == code and names_person(code) else covered


def _numbers(text: str) -> Iterator[_Number]:
    """Yield the numbers in a text, in order, without overlaps."""
    for run in runs(text, _LIKELY, longest=LONGEST):
        if not run.gaps:  # nobody writes so many, and a search would take seconds
            yield _Number(run.places[0], run.places[-1] + 1)
            continue
        reached = 0
        for found in _LIKELY.finditer(run.digits):
            at = found.start()
            if at >= reached and (at == 0 or run.gaps[at - 1]) and (length := _length(run, at)):
                yield _Number(run.places[at + secret_from(length)], run.places[at + min(length, 17) - 1] + 1)
                reached = at + length


def _length(run: DigitRun, at: int) -> int:
    """Return the length of the number that begins at this digit: 18, 17 before a letter, 15, or 0 if there is none."""
    for length, judge in ((18, _is_18), (17, _is_18), (15, _is_15)):
        behind = at + length
        if behind <= len(run.digits) and (behind == len(run.digits) or run.gaps[behind - 1]) and judge(run, at, behind):
            return length
    return 0


def _is_18(run: DigitRun, at: int, behind: int) -> bool:
    body = run.digits[at : at + 17]
    last = (run.digits[at + 17] if behind - at == 18 else run.check(behind)).upper()
    if not last or not is_place(body) or body[6:8] not in ("19", "20") or not is_day(body[6:14]):
        return False
    said, parted = _said(run, at, behind), run.parted(at, behind)
    if said == _ENTRY:
        return False
    year = body[6:10]
    if (said == _ACCOUNT and year not in _ADULTS) or (
        said in (_ANOTHERS, _NUMBERED) and (year in _CHILDREN or not code_faults(body + last))
    ):
        return False
    if check_of(body) == last:
        return len(parted) < _FEWEST_OF_AMOUNTS or not _is_amounts(run, at, behind)
    if run.check(behind) == CROSS or parted not in (frozenset(), _PARTED_18):
        return False
    return said == _PERSONS or (not said and not run.touched(at, behind) and bool(code_faults(body + last)))


def _is_15(run: DigitRun, at: int, behind: int) -> bool:
    body = run.digits[at:behind]
    if not is_place(body) or not is_day(f"19{body[6:12]}"):
        return False
    if at == 2 and run.text[run.places[1] + 1 : run.places[2]] == "-":
        return False  # an account of the Agricultural Bank: 11-540101040012345
    parted = run.parted(at, behind)
    whole = parted in (frozenset(), {6, 12})
    if not whole and not (run.is_alone(at, behind, _LISTED) and _is_parted_15(run, at, behind, parted)):
        return False
    said = _said(run, at, behind)
    return said == _PERSONS or (said in ("", _NUMBERED) and not run.touched(at, behind))


def _is_parted_15(run: DigitRun, at: int, behind: int, parted: frozenset[int]) -> bool:
    if parted == {11} and run.digits[at] == "1" and run.digits[at + 1] >= "3":
        return False  # a mobile telephone and its extension
    places = run.places[at:behind]
    marks = set(run.text[places[0] : places[-1]]) - {run.text[place] for place in places}
    if marks & _LISTED - {"\r", "\n"}:
        return False
    return "." not in marks or (len(marks) == 1 and any(parted <= usual for usual in _PARTED_15))


def secret_from(length: int) -> int:
    """Return the index of the first masked digit of a number of this length: eleven are masked, birth date and serial
    number."""
    return 6 if length > _ALONE else 4


def check_of(body: str) -> str:
    """Return the check character of 17 digits."""
    total = sum(int(digit) * weight for digit, weight in zip(body, RESIDENT_WEIGHTS, strict=True))
    return RESIDENT_CHECKS[total % 11]


def is_place(digits: str) -> bool:
    """Return whether digits begin with a province."""
    province, city = digits[:2], digits[2:4]
    return province in _PROVINCES and city != "00" and city in _MUNICIPALITIES.get(province, city)


def is_day(digits: str) -> bool:
    """Return whether eight digits are a day."""
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return True


def _said(run: DigitRun, at: int, behind: int) -> str:
    """Return the kind of number by the words around it: a person's, an entry's, an account's, another's, only numbered,
    or ""."""
    first, last = run.places[at], run.places[behind - 1] + 1
    before = run.text[max(0, first - _BEFORE) : first].rstrip()
    if before.endswith(_OF_ENTRIES):
        return _ENTRY
    if _PERSONAL.search(before):
        return _PERSONS
    if _ACCOUNTS.search(before):
        return _ACCOUNT
    if _OTHERS.search(before):
        return _ANOTHERS
    return _NUMBERED if _BEHIND.match(run.text, last) else ""


def _is_amounts(run: DigitRun, at: int, behind: int) -> bool:
    """Return whether digits form several amounts, one after the other."""
    begin, end = run.places[at], run.places[behind - 1] + 1
    while begin and run.text[begin - 1] in _OF_AMOUNTS:
        begin -= 1
    while run.text[end : end + 1] and run.text[end] in _OF_AMOUNTS:
        end += 1
    return len(_AMOUNT.findall(run.text, begin, end)) > 1
