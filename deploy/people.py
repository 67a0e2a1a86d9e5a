"""People with a principal of Kafka of their own, by name: a file of the installation,
and not the environment of one shell.

One name a line; what follows `#` is for readers. Where neither the file nor XINLIU_OPERATORS names anybody, nothing is
known of people here, and those who have a principal keep it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from deploy.settings import Settings
from schemas.errors import UsageError
from schemas.operations.operators import PERSONAL

__all__ = ["declared", "people", "people_here"]

_NAME = re.compile(r"[a-z0-9]{1,30}")


def people(known: Settings, file: Path, users: Iterable[str]) -> tuple[str, ...]:
    """Return the names of those who are to have a principal; `users` are those that the cluster knows at present.

    The file alone takes anybody's away: who is named nowhere else keeps his where there is no file.
    """
    named = declared(file)
    standing = () if named is not None else (user.removeprefix(PERSONAL) for user in users if user.startswith(PERSONAL))
    return tuple(sorted({*(named or ()), *known.people, *standing}))


def people_here(known: Settings, stack: str | None, users: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names for the servers that a command reaches:
    those of a local stack where `stack` names one, or no others are set."""
    local = None if stack is None and known.kafka else stack or known.stack
    return people(known, known.people_file(local), users)


def declared(file: Path) -> tuple[str, ...] | None:
    """Return the names in the file, None where there is none. Raises UsageError where a line is no name."""
    try:
        with file.open(encoding="utf-8") as source:
            if os.fstat(source.fileno()).st_mode & 0o022:
                raise UsageError(f"{file} can be written by others, who could name themselves: close it (`chmod go-w`)")
            lines = source.read().splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}, which names the people with a principal: {error}") from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise UsageError(f"{file}: {wrong[0]!r} is no name: lower-case letters and digits, at most 30, one name a line")
    return tuple(names)
