"""Options for reading a department's file: --map, --ignore and --sheet, shared by the commands that read one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from producers.files.import_file import FileOptions
from schemas.errors import UsageError

__all__ = ["Ignored", "Mapped", "Sheets", "file_options", "mapping"]

Mapped = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="HEADER=KNOWN", help="What a column means: 当前状态=状态. May be given several times."
    ),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="HEADER",
        help="A column that is not known and decides nothing, although it speaks of state. May be given several times.",
    ),
]
Sheets = Annotated[
    list[str] | None,
    typer.Option(
        "--sheet",
        help="Read only this sheet of a workbook (again for more); by default all visible ones with a header.",
    ),
]


def file_options(mapped: list[str] | None, ignored: list[str] | None, sheets: list[str] | None) -> FileOptions:
    """Return the three options as FileOptions. Raises UsageError as `mapping` does."""
    return FileOptions(mapping(mapped), tuple(ignored or ()), tuple(sheets or ()))


def mapping(said: Iterable[str] | None) -> dict[str, str]:
    """Return --map as header → known header. Raises UsageError if a value is not HEADER=KNOWN."""
    pairs = {}
    for text in said or ():
        header, equals, known = text.rpartition("=")
        if not equals or not header or not known.strip():
            raise UsageError(f"--map {text}: write --map HEADER=KNOWN, such as --map 当前状态=状态")
        pairs[header] = known.strip()
    return pairs
