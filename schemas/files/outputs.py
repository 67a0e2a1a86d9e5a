"""Output files of a command: never over an input, and written atomically."""

from __future__ import annotations

import filecmp
import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import combinations, count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from schemas.errors import UsageError

__all__ = ["Outputs"]

_OPEN = ("/dev/std", "/dev/fd/", "/proc/")
"""Prefixes of paths to open files of this process: they are written to and never replaced."""


class Outputs:
    """The output files of a command, by option; a context, entered before anything is sent.

    Each file is written to its `part` first; `keep` moves all parts to their paths, and keeps each earlier file beside
    them, as NAME.~1~. Without `keep` earlier files stay as they were. Entering raises UsageError if an output is also
    read, is written twice, or cannot be written.
    """

    def __init__(self, wanted: Mapping[str, Path | None], *, reads: Iterable[Path | None] = ()) -> None:
        self._wanted = {option: path for option, path in wanted.items() if path is not None}
        self._reads = [path for path in reads if path is not None]
        self._parts: dict[Path, Path] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Outputs:
        for option, path in self._wanted.items():
            if any(_same(path, other) for other in self._reads):
                raise UsageError(f"{option} {path} is the file that is read, which would be lost: name another file")
        for (first, path), (second, other) in combinations(self._wanted.items(), 2):
            if _same(path, other):
                raise UsageError(f"{first} {path} and {second} {other} are one file: name two")
        with ExitStack() as opened:
            for path in self._wanted.values():
                with _telling(path):
                    self._parts[path] = _begin(path, opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def part(self, path: Path) -> Path:
        """Return the temporary path for the output at this path: a file of the same name in a folder of its own."""
        return self._parts[path]

    def keep(self) -> None:
        """Move every part to its path, atomically each. Raises UsageError if one cannot be moved there."""
        for path, part in self._parts.items():
            with _telling(path):
                if _is_stream(path):
                    with part.open("rb") as source, path.open("wb") as target:
                        shutil.copyfileobj(source, target)
                    continue
                place = _place(path)
                if place.exists():
                    shutil.copymode(place, part)
                    _keep_earlier(place, part)
                else:
                    part.chmod(0o600)  # refused rows are often refused because they contain personal data
                part.replace(place)


def _keep_earlier(place: Path, part: Path) -> None:
    """Rename an earlier file with rows and another content: somebody may have corrected or made it."""
    if not _has_rows(place) or filecmp.cmp(place, part, shallow=False):
        return
    for number in count(1):
        kept = place.with_name(f"{place.name}.~{number}~")
        if not os.path.lexists(kept):
            shutil.copy2(place, kept)
            return


def _has_rows(place: Path) -> bool:
    """Return whether a file is a workbook, or a text of more than one line."""
    with place.open("rb") as file:
        return file.readline().startswith(b"PK") or bool(file.read(1))


def _begin(path: Path, opened: ExitStack) -> Path:
    if _is_stream(path):
        folder = None
    else:
        place = _place(path)
        folder = place.parent  # the same disk: a move is atomic only there
        if place.exists():
            place.open("ab").close()  # a write-protected file is not replaced either
    return Path(opened.enter_context(TemporaryDirectory(prefix=".xinliu-", dir=folder)), path.name)


def _place(path: Path) -> Path:
    return Path(os.path.realpath(path))  # a link stays; its target is written


def _is_stream(path: Path) -> bool:
    return str(path.absolute()).startswith(_OPEN) or (path.exists() and not path.is_file() and not path.is_dir())


def _same(path: Path, other: Path) -> bool:
    with _telling(path):
        if path.exists() and other.exists():
            return path.is_file() and path.samefile(other)
        # Two missing paths may be one file on a disk that ignores case.
        return not path.exists() and not other.exists() and _folded(path) == _folded(other)


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(_place(path))).casefold()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
