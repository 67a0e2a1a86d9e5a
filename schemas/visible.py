"""Texts as a person may be shown them: nothing in them is invisible."""

from __future__ import annotations

__all__ = ["visible"]


def visible(text: str) -> str:
    """Return a text in which nothing is invisible: a zero-width space is shown as ⟨U+200B⟩.

    >>> visible("北京\\u202e甲")
    '北京⟨U+202E⟩甲'
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else f"⟨U+{ord(one):04X}⟩" for one in text)
