"""Masking of possible resident identity numbers, before a refused message is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

from schemas.identifiers.persons import DAY, check_of, holds_person, is_day, is_place, names_person, secret_from
from schemas.texts.digits import DigitRun, runs

__all__ = ["is_masked", "keepable", "keepable_number", "masked"]

_LONGEST_NAME = 64
"""Longest code, domain or record id that is stored from a refused statement; real ones have up to 32 characters."""

_GB_DIGIT = re.compile("\udca3([\udcb0-\udcb9])")
"""A digit in full width as GB 18030 writes it, among bytes that are no UTF-8."""

_LENGTHS = 2
"""Bytes before and behind a text that may look like digits of it: its length, and the index of a union branch."""

_DATED = re.compile(rf"(?=[1-9][0-9]{{5}}(?:(?:18|19|20)[0-9]{{2}}{DAY}[0-9]{{3}}|[0-9]{{2}}{DAY}[0-9]{{3}}))")
"""A place among digits at which a number may begin: a date follows it."""

_LONG, _LARGE = 1_000, 1 << 16
"""Digits with no word between them, and bytes of a message, above which all digits are masked unexamined."""

_USUAL = (frozenset[int](), frozenset({6, 14}))
"""Usual places of gaps in a number: nowhere, or between place, day and the rest."""

_COVER = b"*" * 11
"""The shortest mask: a birth date and a serial number."""


def masked(value: bytes, uscc: str | None) -> tuple[bytes, str | None]:
    """Return a refused message and its USCC, with possible resident identity numbers (居民身份证号) masked.

    Birth date and serial number are replaced by as many asterisks, so that every length in the message stays true and
    it still decodes. In doubt a number is masked. Only the message's own USCC stays as it is, unless it is such a
    number, however it is written: then it names a person, not an entity, and is not stored at all.
    """
    person = uscc is not None and names_person(uscc)
    own = uscc.encode() if uscc else b""
    covered = bytearray(value)
    at = value.find(own) if person else -1
    while at >= 0:
        covered[at : at + len(own)] = b"*" * len(own)
        at = value.find(own, at + len(own))
    for begin, secret, end in _found(value):
        if person or not own or value[begin : begin + len(own)] != own:
            covered[secret:end] = b"*" * (end - secret)
    return bytes(covered), None if person else uscc


def _found(value: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the bytes of each possible number: where it begins, where its secret part begins, and where both end.

    The search begins at every digit, since the bytes round a number are Avro's lengths, which may be digits themselves;
    it needs no place, and mostly no check character. Text may be in UTF-8 or UTF-16, digits in full width in GB 18030.
    """
    text = value.decode("utf-8", "surrogateescape")
    offsets: Sequence[int] = range(len(text) + 1)
    if not text.isascii():
        sizes = (len(one.encode("utf-8", "surrogateescape")) for one in text)
        offsets = list(accumulate(sizes, initial=0))
        text = _GB_DIGIT.sub(lambda found: chr(ord(found[1]) - 0xDCB0 + 0x30) + "\u200b", text)
    for run in runs(text, _DATED, longest=_LONG if len(value) <= _LARGE else 0):
        if not run.gaps:
            yield offsets[run.places[0]], offsets[run.places[0]], offsets[run.places[-1] + 1]
            continue
        for found in _DATED.finditer(run.digits):
            at = found.start()
            if length := _likely(run, at):
                last = offsets[run.places[at + length - 1] + 1]
                yield offsets[run.places[at]], offsets[run.places[at + secret_from(length)]], last


def _likely(run: DigitRun, at: int) -> int:
    """Return the digits from there that may be a number, without its check character: 17, 15 or 0."""
    digits, behind = run.digits, at + 17
    last = digits[behind : behind + 1] or (run.check(behind).upper() if behind <= len(digits) else "")
    if last and digits[at + 6 : at + 8] in ("18", "19", "20") and is_day(digits[at + 6 : at + 14]):
        body = digits[at:behind]
        if run.parted(at, behind) in _USUAL or (is_place(body) and check_of(body) in (last, run.check(behind).upper())):
            return 17
    body, behind = digits[at : at + 15], at + 15
    return 15 if is_place(body) and is_day(f"19{body[6:12]}") and _stands_alone(run, at, behind) else 0


def _stands_alone(run: DigitRun, at: int, behind: int) -> bool:
    """Return whether digits with gaps between them begin and end at a gap or an end of the run, apart from lengths."""
    begins = at <= _LENGTHS or run.gaps[at - 1] == 2
    ends = behind >= len(run.digits) - _LENGTHS or run.gaps[behind - 1] == 2
    return not run.parted(at, behind) or (begins and ends)


def is_masked(value: bytes) -> bool:
    """Return whether part of a message is masked, so that it differs from the department's original.

    A message masked by the department itself counts too: its sender is asked to send it again, which harms nothing.
    """
    return _COVER in value


def keepable_number(number: int | None) -> int | None:
    """Return a number read from a refused message, or None if it may be a person's."""
    return number if number is None or keepable(str(number)) else None


def keepable(text: str | None) -> str | None:
    """Return a text read from a refused message, or None if it cannot be stored."""
    # PostgreSQL stores no U+0000 and indexes nothing long: such a text counts as not readable, so that the entry
    # holds back its source instead of the view.
    if text is None or len(text) > _LONGEST_NAME or not text.isprintable():
        return None
    return None if names_person(text) or holds_person(text) else text
