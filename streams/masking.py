"""Masking of what may be a resident identity number, before a refused message is kept."""

from __future__ import annotations

import re

from schemas.uscc import is_resident_id

__all__ = ["is_masked", "masked"]

# Division, birth date, serial number, check character. Looked for at every place, since the bytes round it are Avro's
# lengths, which may be digits themselves.
_CANDIDATE = re.compile(rb"(?=[1-9]\d{5}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx])")
_COVERED = slice(6, 17)
_COVER = b"*" * 11
_LENGTH = 18


def masked(value: bytes, uscc: str | None) -> tuple[bytes, str | None]:
    """Return a refused message and its USCC, with what may be a resident identity number (居民身份证号) made unreadable.

    Birth date and serial number are replaced by as many asterisks, so that every length in the message stays true and
    it still decodes. Rather one number too many than one too few; only the message's own USCC is left as it is, unless
    it is such a number: then it names a person, not an entity, and is not kept at all.
    """
    person = uscc is not None and is_resident_id(uscc)
    own = uscc.encode() if uscc and not person else None
    covered = bytearray(value)
    for match in _CANDIDATE.finditer(value):
        begin = match.start()
        if value[begin : begin + _LENGTH] != own:
            covered[begin + _COVERED.start : begin + _COVERED.stop] = _COVER
    return bytes(covered), None if person else uscc


def is_masked(value: bytes) -> bool:
    """Tell whether something of a message is covered, so that it is not what the department wrote any more.

    One that was covered by the department itself counts too: it is told to be sent again, which harms nothing.
    """
    return _COVER in value
