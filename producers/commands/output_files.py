"""Output files of `xinliu publish` for rows: one file for one input, a folder with a file for each of several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UsageError

__all__ = ["made", "output_files"]

_WORKBOOKS = (".xlsx", ".xlsm")


def output_files(option: str, wanted: Path | None, inputs: Sequence[Path], *, workbooks: bool) -> dict[Path, Path]:
    """Return input → output. For several inputs `wanted` is a folder with one file for each, named like the input.

    With `workbooks` the output of a workbook is a workbook; all other output is CSV. Raises UsageError if several
    inputs would be written into one file.
    """
    if wanted is None:
        return {}
    if len(inputs) == 1 and not os.path.isdir(wanted):  # noqa: PTH112  # too long a name is no folder; reported later
        return {inputs[0]: wanted}
    if wanted.suffix and not os.path.isdir(wanted):  # noqa: PTH112
        raise UsageError(
            f"{option} {wanted} is one file, and these are {len(inputs)}: name a folder, which gets a file for each of them"
        )
    taken: set[str] = set()
    places = {}
    for path in inputs:
        suffix = ".xlsx" if workbooks and path.suffix.lower() in _WORKBOOKS else ".csv"
        name, count = f"{path.stem}{suffix}", 1
        while name.casefold() in taken:
            count += 1
            name = f"{path.stem}-{count}{suffix}"
        taken.add(name.casefold())
        places[path] = wanted / name
    return places


@contextmanager
def made(folders: Mapping[str, Path | None], files: Sequence[Path]) -> Iterator[None]:
    """Create the folders of these files for the time of a run; remove a new one again if it is empty then.

    Raises UsageError, naming the option, if one cannot be created.
    """
    new = []
    for option, folder in folders.items():
        if folder is not None and any(file.parent == folder for file in files) and not folder.exists():
            try:
                folder.mkdir()
            except OSError as error:
                raise UsageError(f"{option}: cannot make the folder {folder}: {error.strerror or error}") from error
            new.append(folder)
    try:
        yield
    finally:
        for folder in new:
            if not any(folder.iterdir()):
                folder.rmdir()
