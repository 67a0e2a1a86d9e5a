"""Resident identity numbers in columns: what schemas/identifiers/persons.py says of one text, of a hundred thousand in milliseconds."""

from __future__ import annotations

import polars as pl

from schemas.identifiers.persons import LONGEST, cover_persons, holds_person
from schemas.texts.digits import FEWEST

__all__ = ["LIKELY", "covered_column", "persons_in"]

_COMMON = r"\x{4E00}-\x{9FFF}\x{3001}-\x{303F}\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2010}-\x{2027}"
_NUMERALS = "〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖"
LIKELY = (
    rf"(?:(?:[0-9０-９{_NUMERALS}]|[^\x00-\x7F{_COMMON}])"
    rf"(?:[\x00-/:-@\[-`{{-\x7F]|[^\x00-\x7F\x{{4E00}}-\x{{9FFF}}])*?){{{FEWEST}}}"
)
"""What every text in which a person's number may stand matches, and few others: as many digits without a word between them.

Whatever is neither ASCII nor common in Chinese texts counts as a digit and as a gap alike.
"""


def persons_in(texts: pl.Series) -> pl.Series:
    """Tell of each text whether a number stands in it; few are looked at closely. A null holds none.

    One that is longer than any may be is refused in any case, counts as one, and costs no seconds.
    """
    found = pl.Series([False]).new_from_index(0, len(texts))
    places = [place for place, text in _likely(texts) if len(text) > LONGEST or holds_person(text)]
    return found.scatter(places, True) if places else found


def covered_column(texts: pl.Series) -> pl.Series:
    """Return texts in which birth date and serial number of every number are covered."""
    covered = {place: cover_persons(text) for place, text in _likely(texts)}
    return texts.scatter(list(covered), list(covered.values())) if covered else texts


def _likely(texts: pl.Series) -> list[tuple[int, str]]:
    places = texts.str.contains(LIKELY).fill_null(False).arg_true()
    return list(zip(places.to_list(), texts.gather(places).to_list(), strict=True))
