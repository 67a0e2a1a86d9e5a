"""Input files of a command line: files, folders and patterns such as 'x*.csv'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from schemas.errors import UsageError

__all__ = ["named_files"]


def named_files(names: Sequence[str]) -> list[Path]:
    """Return the named files, each once, in the order of the command line and, in a folder, by name.

    In a folder all files count, but no sub-folders; names that begin with . or ~$ (a workbook that somebody has open)
    are left out. Raises UsageError if a folder or a pattern has no file, or a folder has folders: the publisher would
    vouch for files in them without reading them. The reader of a file reports a missing one.
    """
    found: dict[Path, Path] = {}
    for name in names:
        for path in _named(name):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _named(name: str) -> Iterator[Path]:
    path = Path(name)
    if path.is_dir():
        inside = [one for one in sorted(path.iterdir()) if _counts(one)]
        folders = [one.name for one in inside if one.is_dir()]
        if folders:
            raise UsageError(
                f"{name} holds folders ({', '.join(folders[:3])}), which are not read: name the files, or a pattern"
            )
        if not inside:
            raise UsageError(f"{name} holds no files")
        yield from inside
    elif has_magic(name) and not path.exists():
        fitting = [Path(one) for one in sorted(glob(name, recursive=True))]  # noqa: PTH207  # not Path.glob: absolute
        files = [one for one in fitting if one.is_file() and _counts(one)]
        if not files:
            raise UsageError(f"no file fits {name}")
        yield from files
    else:
        yield path


def _counts(path: Path) -> bool:
    return not path.name.startswith((".", "~$"))
