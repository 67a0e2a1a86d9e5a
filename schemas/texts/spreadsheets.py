"""Cells of CSV files that a spreadsheet opens as text, whatever they begin with.

A spreadsheet computes a cell that begins like a formula, whoever wrote it. An apostrophe before it makes it text;
`cell_read` removes the apostrophe, so that a file which is corrected and published keeps its content.
"""

from __future__ import annotations

import re

from schemas.texts.visible import NOTHING

__all__ = ["CONTROL", "cell_read", "cell_written", "is_formula"]

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters, which no cell may contain or show."""

_GUARD = "'"
_BEGINS = tuple("=+-@\t\r＝＋－＠﹢﹣﹦﹫⁺⁻⁼₊₋₌−")
"""First characters of a formula, in any width."""
_BEFORE = f"{NOTHING}\"'`“”‘’＂＇「『"
"""Characters before it that a spreadsheet, or a person who pastes a cell, may drop."""


def cell_written(cell: object) -> object:
    """Return a cell for csv.writer: an apostrophe before text that a spreadsheet would compute, controls as U+FFFD.

    >>> cell_written("=1+1"), cell_written("京税罚〔2025〕1号"), cell_written(-5)
    ("'=1+1", '京税罚〔2025〕1号', -5)
    """
    if not isinstance(cell, str):
        return cell
    text = CONTROL.sub("�", cell)
    return _GUARD + text if is_formula(text) else text


def cell_read(text: str) -> str:
    """Return the text from which `cell_written` made this cell.

    >>> cell_read("'=1+1"), cell_read("'a")
    ('=1+1', "'a")
    """
    return text[1:] if text[:1] == _GUARD and is_formula(text[1:]) else text


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet may compute a text, also after it drops blanks and quotes before it."""
    return text[:1] in _BEGINS or (text[:1] in _BEFORE and text.lstrip(_BEFORE)[:1] in _BEGINS)
