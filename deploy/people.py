"""People with a Kafka principal of their own, by name: from a file, not from one shell's environment.

One name per line; text after `#` is a comment. If neither the file nor XINLIU_OPERATORS names anybody, the people are
unknown here, and those who have a principal keep it.
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
    """Return the names of people who should have a principal; `users` are the cluster's present users.

    Only the file removes a principal: without a file, people named nowhere else keep theirs.
    """
    named = declared(file)
    standing = () if named is not None else (user.removeprefix(PERSONAL) for user in users if user.startswith(PERSONAL))
    return tuple(sorted({*(named or ()), *known.people, *standing}))


def people_here(known: Settings, stack: str | None, users: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names for the servers of a command: a local stack's if `stack` names one, or no others are set."""
    local = None if stack is None and known.kafka else stack or known.stack
    return people(known, known.people_file(local), users)


def declared(file: Path) -> tuple[str, ...] | None:
    """Return the names in the file, None if there is none. Raises UsageError if a line is no name."""
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
