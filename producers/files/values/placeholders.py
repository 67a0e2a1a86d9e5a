"""Placeholders that only fill a cell: 无, 同上, — … They are no number, date or amount."""

from __future__ import annotations

import unicodedata

from schemas.rules.quality import placeholder_words

__all__ = ["is_placeholder"]

_LONGEST = 20
_NUMBERS = ("一", "0", "x", "X")
"""Placeholders that may be a number as well."""


def is_placeholder(text: str) -> bool:
    """Return whether a text is only a placeholder."""
    if len(text) > _LONGEST or text in _NUMBERS:
        return False
    plain = unicodedata.normalize("NFKC", text).strip()
    return text in placeholder_words() or plain in placeholder_words()
