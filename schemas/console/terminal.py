"""rich's console for what records, files and names hold: none of it steers the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import rich.console
from rich.segment import Segment

from schemas.texts.harmless import harmless

__all__ = ["Console"]


class Console(rich.console.Console):
    """rich's console, which prints what it is given as harmless text."""

    @property
    def file(self) -> IO[str]:
        """Where it prints: behind every guard, whoever put another stream before it."""
        stream = super().file
        while (behind := getattr(stream, "rich_proxied_file", None)) is not None:
            stream = behind
        return stream

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of what is printed; those that move the cursor are rich's own."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)
