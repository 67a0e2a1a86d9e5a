"""Digits in any spelling: of any script, width or style, with anything but words between them.

A text is folded first, character by character: a digit is its value, a mark is a gap, an invisible character is
nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

__all__ = ["CROSS", "FEWEST", "FOLD", "DigitRun", "runs"]

FEWEST: Final = 15
"""Minimum digits of a run: those of the shortest resident identity number."""

CHECK, CROSS, GAP, UNSEEN, LETTER, OTHER = "X", "x", " ", "\0", "a", "~"
"""Characters of a folded text beside digits. A cross is a check character, or only a gap."""

_XS: Final = frozenset("XxХхΧχⅩⅹ")
_CROSSES: Final = frozenset("×✕✖✗✘⨉⨯╳☓❌")
_ZEROS: Final = frozenset("○◯")
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters, and a pattern of Braille, that are invisible."""

_RUN: Final = re.compile(rf"[0-9][0-9 x\0]{{{FEWEST - 1},}}")
_ONLY_DIGITS, _TEN = str.maketrans("", "", " x\0"), frozenset("0123456789")


class DigitRun(NamedTuple):
    """A run of digits in a text with only gaps between them."""

    text: str
    folded: str
    digits: str
    places: Sequence[int]
    gaps: Sequence[int]
    """Behind each digit: 2 a gap, 1 a digit of another script, 0 nothing. Empty if the run is too long to search."""

    def parted(self, at: int, behind: int) -> frozenset[int]:
        """Return the counts of digits behind which there is a gap, within these digits."""
        return frozenset(place - at + 1 for place in range(at, behind - 1) if self.gaps[place] == 2)

    def check(self, behind: int) -> str:
        """Return the folded letter X or cross that follows the digits before this one; or nothing."""
        last = self.places[behind - 1] + 1
        follows = self.folded[last : last + 80].lstrip(GAP + UNSEEN)[:1]
        return follows if follows in (CHECK, CROSS) else ""

    def is_alone(self, at: int, behind: int, marks: Collection[str]) -> bool:
        """Return whether one of these marks, a word or another script is on both sides of the digits."""
        return self._ends(at, marks) and self._ends(behind, marks)

    def _ends(self, place: int, marks: Collection[str]) -> bool:
        if place in (0, len(self.digits)) or self.gaps[place - 1] == 1:
            return True
        return not set(marks).isdisjoint(self.text[self.places[place - 1] : self.places[place]])

    def touched(self, at: int, behind: int) -> bool:
        """Return whether a Latin letter touches these digits."""
        first, last = self.places[at], self.places[behind - 1] + 1
        return self.folded[first - 1 : first] in (LETTER, CHECK) or self.folded[last : last + 1] == LETTER


def runs(text: str, likely: re.Pattern[str], *, longest: int) -> Iterator[DigitRun]:
    """Yield the runs of digits in a text that are long enough and whose digits match `likely`, in order.

    A run with more digits than `longest` has no gaps.
    """
    folded = text.translate(FOLD)
    for found in _RUN.finditer(folded):
        digits = found[0].translate(_ONLY_DIGITS)
        if len(digits) >= FEWEST and likely.search(digits):
            places = [place for place in range(*found.span()) if folded[place] in _TEN]
            told = pairwise(places) if len(digits) <= longest else ()
            yield DigitRun(text, folded, digits, places, [_gap(text, folded, *pair) for pair in told])


def _gap(text: str, folded: str, place: int, following: int) -> int:
    between = folded[place + 1 : following]
    if GAP in between or CROSS in between:
        return 2
    if text[place] in _TEN and text[following] in _TEN:
        return 0
    return int(_script(text[place], folded[place]) != _script(text[following], folded[following]))


def _script(one: str, digit: str) -> int:
    return ord(one) - int(digit) if unicodedata.category(one)[0] == "N" else 0


class _Fold(dict[int, str]):
    def __missing__(self, point: int) -> str:
        one = chr(point)
        found = self[point] = _digit(one) or _mark(one)
        return found


def _digit(one: str) -> str:
    """Return the value of a digit, or nothing."""
    if one in _ZEROS:
        return "0"
    value = unicodedata.numeric(one, -1.0)
    if value in range(10):
        return str(int(value))
    plain = unicodedata.normalize("NFKC", one)
    digit = plain.strip("(),.") if len(plain) > 1 else ""  # of ⒈ or 🄂
    return digit if digit.isdecimal() and len(digit) == 1 else ""


def _mark(one: str) -> str:
    plain, category = unicodedata.normalize("NFKC", one), unicodedata.category(one)
    if one in _XS or plain in _XS:
        return CHECK
    if one in _CROSSES:
        return CROSS
    if one in _BLANKS or category[0] == "M" or category == "Cf" or (category == "Cc" and not one.isspace()):
        return UNSEEN
    if plain.isascii() and plain.isalpha():
        return LETTER
    return GAP if category[0] in "PSZ" or category == "Cc" else OTHER


FOLD: Final = _Fold()
"""Table for str.translate: what a character is in a search for digits; filled as characters are met."""
