"""Harmless terminal output: no record, file or name can send controls to the terminal.

All output of a command passes through here: `guard` wraps stdout and stderr; schemas/console/terminal.py does the same
for rich, which controls its own styles and cursor. A character that a terminal would obey, or that is invisible, is
shown as JSON writes it (\\u001b), so that JSON output stays the same JSON.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import IO, Any

from schemas.texts.visible import UNSEEN

__all__ = ["HarmlessStream", "guard", "harmless"]

_HARMFUL = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{UNSEEN}]|\r(?!\n)")


def harmless(text: str) -> str:
    """Return a text in which no character controls a terminal or is invisible; lines and tabs stay.

    >>> harmless("北京\\x1b[2J甲")
    '北京\\\\u001b[2J甲'
    """
    return _HARMFUL.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


class HarmlessStream:
    """A text stream that passes only harmless text to the stream behind it, and has that stream's other attributes."""

    def __init__(self, stream: IO[str]) -> None:
        self.rich_proxied_file = stream
        """The stream that rich writes its styled output to: rich looks for this attribute name."""

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        self.rich_proxied_file.write(harmless(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guard() -> None:
    """Wrap stdout and stderr of this process, so that only harmless text is written."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, HarmlessStream):
            setattr(sys, name, HarmlessStream(stream))
