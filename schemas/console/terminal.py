"""rich's console for the content of records, files and names, without terminal controls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import rich.console
from rich.segment import Segment

from schemas.texts.harmless import harmless

__all__ = ["Console"]


class Console(rich.console.Console):
    """rich's console, which prints its input as harmless text."""

    @property
    def file(self) -> IO[str]:
        """The output stream, behind every guard, also if another stream was put before it."""
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
        """Yield the printed segments; only rich itself may move the cursor."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)
