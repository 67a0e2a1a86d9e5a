"""Texts for display, without invisible characters."""

from __future__ import annotations

__all__ = ["NOTHING", "UNSEEN", "visible"]

UNSEEN = "\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Invisible characters, as a pattern's class: marks without width, marks of direction, and tags."""

NOTHING = "".join(
    chr(point)
    for first, last in ((0, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x2069),
                        (0x3000, 0x3000), (0xFEFF, 0xFEFF))
    for point in range(first, last + 1)
)  # fmt: skip
"""Characters to strip around a text, for str.strip: blanks, controls, and invisible ones."""


def visible(text: str) -> str:
    """Return a text with its invisible characters made visible: a zero-width space is shown as ⟨U+200B⟩.

    >>> visible("北京\\u202e甲")
    '北京⟨U+202E⟩甲'
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else f"⟨U+{ord(one):04X}⟩" for one in text)
