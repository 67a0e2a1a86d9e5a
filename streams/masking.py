"""Masking of what may be a resident identity number, before a refused message is kept."""

from __future__ import annotations

import re

from schemas.uscc import cover_persons, names_person

__all__ = ["is_masked", "keepable", "masked"]

_LONGEST_NAME = 64
"""Longest code, domain or record id that is read out of a refused statement; real ones have up to 32 characters."""

_DIGIT = rb"(?:[0-9]|\xef\xbc[\x90-\x99])"
_0, _1, _2, _3 = (rb"(?:%d|\xef\xbc%c)" % (digit, 0x90 + digit) for digit in range(4))
# Division, birth date, serial number, check character; in half or full width. Looked for at every place, since the bytes
# round it are Avro's lengths, which may be digits themselves.
_CANDIDATE = re.compile(
    rb"(?=(?:[1-9]|\xef\xbc[\x91-\x99])" + _DIGIT + rb"{5}"
    rb"((?:" + _1 + rb"(?:[89]|\xef\xbc[\x98\x99])|" + _2 + _0 + rb")" + _DIGIT + rb"{2}"
    rb"(?:" + _0 + rb"(?:[1-9]|\xef\xbc[\x91-\x99])|" + _1 + rb"(?:[0-2]|\xef\xbc[\x90-\x92]))"
    rb"(?:" + _0 + rb"(?:[1-9]|\xef\xbc[\x91-\x99])|(?:" + _1 + rb"|" + _2 + rb")" + _DIGIT + rb"|" + _3 + rb"(?:" + _0 + rb"|" + _1 + rb"))"
    + _DIGIT + rb"{3})(?:[0-9Xx]|\xef\xbc[\x90-\x99\xb8]|\xef\xbd\x98))"
)  # fmt: skip
_COVER = b"*" * 11
"""The least that is ever covered: a birth date and a serial number."""


def masked(value: bytes, uscc: str | None) -> tuple[bytes, str | None]:
    """Return a refused message and its USCC, with what may be a resident identity number (居民身份证号) made unreadable.

    Birth date and serial number are replaced by as many asterisks, so that every length in the message stays true and
    it still decodes. Rather one number too many than one too few; only the message's own USCC is left as it is, unless
    it is such a number, however it is written: then it names a person, not an entity, and is not kept at all.
    """
    person = uscc is not None and names_person(uscc)
    own = uscc.encode() if uscc else b""
    covered = bytearray(value)
    at = value.find(own) if person else -1
    while at >= 0:
        covered[at : at + len(own)] = b"*" * len(own)
        at = value.find(own, at + len(own))
    for match in _CANDIDATE.finditer(value):
        begin, end = match.span(1)
        if person or not own or value[match.start() : match.start() + len(own)] != own:
            covered[begin:end] = b"*" * (end - begin)
    return bytes(covered), None if person else uscc


def is_masked(value: bytes) -> bool:
    """Tell whether something of a message is covered, so that it is not what the department wrote any more.

    One that was covered by the department itself counts too: it is told to be sent again, which harms nothing.
    """
    return _COVER in value


def keepable(text: str | None) -> str | None:
    """Return what was read out of a refused message, or None where it cannot be kept."""
    # PostgreSQL keeps no U+0000 and indexes nothing long: what cannot be kept counts as not readable, so that the entry
    # holds back its source instead of the view.
    if text is None or len(text) > _LONGEST_NAME or not text.isprintable():
        return None
    return None if names_person(text) or cover_persons(text) != text else text
