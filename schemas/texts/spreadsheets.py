"""Cells of CSV files as a spreadsheet opens them: text stays text, whatever it begins with.

A spreadsheet computes a cell that begins like a formula, whoever wrote it there. An apostrophe before it says that it is text;
`cell_read` takes it off again, so that a file which is mended and published says what it said before.
"""

from __future__ import annotations

import re

from schemas.texts.visible import NOTHING

__all__ = ["CONTROL", "cell_read", "cell_written", "is_formula"]

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What no cell holds, nor shows."""

_GUARD = "'"
_BEGINS = tuple("=+-@\t\r＝＋－＠﹢﹣﹦﹫⁺⁻⁼₊₋₌−")
"""What a formula begins with, in any width."""
_BEFORE = f"{NOTHING}\"'`“”‘’＂＇「『"
"""What a spreadsheet, or who pastes a cell, may leave out before it."""


def cell_written(cell: object) -> object:
    """Return a cell for csv.writer: a text that a spreadsheet would compute behind an apostrophe, controls as U+FFFD.

    >>> cell_written("=1+1"), cell_written("京税罚〔2025〕1号"), cell_written(-5)
    ("'=1+1", '京税罚〔2025〕1号', -5)
    """
    if not isinstance(cell, str):
        return cell
    text = CONTROL.sub("�", cell)
    return _GUARD + text if is_formula(text) else text


def cell_read(text: str) -> str:
    """Return what `cell_written` was given.

    >>> cell_read("'=1+1"), cell_read("'a")
    ('=1+1', "'a")
    """
    return text[1:] if text[:1] == _GUARD and is_formula(text[1:]) else text


def is_formula(text: str) -> bool:
    """Tell whether a spreadsheet may compute a text, or what is left of it without blanks and quotes before it."""
    return text[:1] in _BEGINS or (text[:1] in _BEFORE and text.lstrip(_BEFORE)[:1] in _BEGINS)
