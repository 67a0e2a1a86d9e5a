"""Identity of records: record ids, digests of statements, the normal form of a document number."""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from functools import cache

from schemas.records.registration import KIND

__all__ = [
    "accepted_key",
    "bracketed_year",
    "digest",
    "digest_hex",
    "normalise_document_number",
    "record_id",
    "registration_id",
]

_SEPARATOR = "\x1f"
_BRACKETS = str.maketrans(dict.fromkeys("〔〕【】[]()（）［］〈〉<>", None))
_PAIR = struct.Struct(">qq")


def normalise_document_number(number: str) -> str:
    """Return a document number (文号) in its normal form, which identifies it.

    Full-width letters and digits become half-width, letters become capitals. White space and the bracket variants
    〔〕【】[]()（）〈〉<> are removed, because the same decision is cited with any of them (FACTS, section 2). Around a year
    all other brackets are removed too: {2025} 「2025」 《2025》 〖2025〗.

    >>> normalise_document_number(" 京市监罚【２０２５】 1号") == normalise_document_number("京市监罚〔2025〕1号")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", number).upper())
    joined = "".join(folded.split())
    plain = joined.translate(_BRACKETS)
    if not plain.isalnum():
        plain = _bare_years(_bare_years(joined).translate(_BRACKETS))
    # Again at the end: a removed character may have stood between a letter and its accent.
    return unicodedata.normalize("NFKC", plain)


def _bare_years(text: str) -> str:
    while (bare := bracketed_year().sub(r"\1", text)) != text:
        text = bare
    return text


@cache
def bracketed_year() -> re.Pattern[str]:
    """Return the pattern of a year in brackets of any kind.

    Elsewhere the other brackets are part of the number: 1号《更正》 is not 1号更正.
    """
    marks = [chr(place) for place in (*range(0x100), *range(0x2000, 0x3100), *range(0xFE10, 0xFF70))]
    opening, closing = (
        re.escape("〔〕【】[]()（）［］〈〉<>" + "".join(one for one in marks if unicodedata.category(one) in kinds))
        for kinds in (("Ps", "Pi"), ("Pe", "Pf"))
    )
    return re.compile(rf"[{opening}]+((?:19|20)\d\d)[{closing}]+", re.ASCII)


def record_id(*, kind: str, province: str, domain: str, authority: str, number: str, uscc: str) -> str:
    """Return the id that a record gets at its first publication and keeps for life: 32 hexadecimal digits.

    `number` is the document number of a PENALTY, or list key and entry id of a LISTING joined by a colon. The id is
    computed from the identifying fields, so that publishing the same file again yields the same ids.
    """
    parts = (kind, province, domain, authority.upper(), normalise_document_number(number), uscc.upper())
    return hashlib.blake2b(_SEPARATOR.join(parts).encode(), digest_size=16).hexdigest()


def registration_id(province: str, uscc: str) -> str:
    """Return the id of the one registration (经营主体登记) of an entity in a province: 32 hexadecimal digits.

    It depends on province and code alone, not on the registering authority or the entity's name.
    """
    return hashlib.blake2b(_SEPARATOR.join((KIND, province, uscc.upper())).encode(), digest_size=16).hexdigest()


def digest(body: bytes) -> tuple[int, int]:
    """Return the digest of a statement: BLAKE2b-128 of its Avro body without the 5-byte header, as two signed int64."""
    high, low = _PAIR.unpack(hashlib.blake2b(body, digest_size=16).digest())
    return high, low


def digest_hex(high: int, low: int) -> str:
    """Return a digest as 32 hexadecimal digits."""
    return _PAIR.pack(high, low).hex()


def accepted_key(record_id: str, epoch: int, version: int, high: int, low: int) -> str:
    """Return the key of a statement in `accepted`: record, version and digest; the epoch too if from another province.

    Without the epoch, the tombstone of an earlier withdrawal would delete a statement that is shared again.
    """
    own = f"{record_id}|{version}|{digest_hex(high, low)}"
    return f"{own}|{epoch}" if epoch else own
