"""Resident identity numbers in columns: schemas/identifiers/persons.py for a hundred thousand texts in milliseconds."""

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
"""Pattern of every text that may contain a person's number, and of few others: enough digits, no word between.

A character that is neither ASCII nor common in Chinese texts counts both as a digit and as a gap.
"""


def persons_in(texts: pl.Series) -> pl.Series:
    """Return for each text whether it contains a person's number; few are checked closely. A null contains none.

    A text above the length limit is refused in any case: it counts as one with a number, and is not searched.
    """
    found = pl.Series([False]).new_from_index(0, len(texts))
    places = [place for place, text in _likely(texts) if len(text) > LONGEST or holds_person(text)]
    return found.scatter(places, True) if places else found


def covered_column(texts: pl.Series) -> pl.Series:
    """Return the texts with birth date and serial number of every number masked."""
    covered = {place: cover_persons(text) for place, text in _likely(texts)}
    return texts.scatter(list(covered), list(covered.values())) if covered else texts


def _likely(texts: pl.Series) -> list[tuple[int, str]]:
    places = texts.str.contains(LIKELY).fill_null(False).arg_true()
    return list(zip(places.to_list(), texts.gather(places).to_list(), strict=True))
