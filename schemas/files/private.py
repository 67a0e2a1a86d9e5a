"""Private files and folders: for their owner alone, never through a link, in folders closed to other writers."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from schemas.errors import UsageError

__all__ = ["create", "open_private", "private_folder", "write_private"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_private(file: Path, content: bytes, *, mode: int = 0o600, owner: int | None = None) -> None:
    """Write a file that only its owner can read, atomically; it replaces the present file, or a link, at its path.

    `owner` is the user who owns the file, this process's user by default; `mode` is the file's mode, whatever the
    umask. Raises UsageError if others can write to the folder: they could read the file, or put their own in its place.
    """
    with create(file, mode=mode, owner=owner) as out:
        out.write(content)


@contextmanager
def create(file: Path, *, mode: int = 0o600, owner: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that is written as by `write_private`: it appears only if the context ends without an error."""
    folder = os.open(file.parent, _FOLDER)
    try:
        _nobody_elses(file.parent, os.fstat(folder), owner)
        part = f".{file.name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(part, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
                out.flush()
                # By its descriptor: another file may be at the path by now.
                if owner is not None:
                    os.fchown(descriptor, owner, -1)
                os.fchmod(descriptor, mode)
            os.replace(part, file.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            raise
    finally:
        os.close(folder)


def open_private(file: Path, *, append: bool = False) -> BinaryIO:
    """Open a file that survives the process, such as a lock or a log, and create it if it is missing.

    It is closed to others, also if an earlier version had left it open. Raises UsageError if it is a link, or no file
    of ours.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_APPEND if append else 0)
    descriptor = _opened(file, flags)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
            raise UsageError(f"{file} is no file of ours: remove it, and see who can write to its folder")
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "ab" if append else "r+b")
    except BaseException:
        os.close(descriptor)
        raise


def private_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder with this mode, whatever the umask, and missing parents; an existing one loses further permissions.

    Raises UsageError if it is a link, or belongs to another user.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing[1:]):
        with contextlib.suppress(FileExistsError):
            one.mkdir(mode=0o755)
    made = True
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        made = False
    descriptor = _opened(folder, _FOLDER | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise UsageError(f"{folder} belongs to another user: name a folder of your own")
        held = stat.S_IMODE(found.st_mode)
        if held != (wanted := mode if made else held & (mode | ~0o777)):
            os.fchmod(descriptor, wanted)
    finally:
        os.close(descriptor)


def _opened(place: Path, flags: int) -> int:
    try:
        return os.open(place, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and place.is_symlink():
            raise UsageError(f"{place} is a link: remove it, and see who can write to its folder") from None
        raise


def _nobody_elses(folder: Path, found: os.stat_result, owner: int | None) -> None:
    """Raise UsageError if others than the owner, this user and root can replace the folder or files in it."""
    trusted = {0, os.geteuid(), owner}
    if _open_to_others(found) or found.st_uid not in trusted:
        raise UsageError(
            f"{folder} can be written by others, who could exchange what is written there: choose a folder of your own, or"
            " close it (`chmod go-w`)"
        )
    for above in Path(os.path.realpath(folder)).parents:
        # In a folder like /tmp each user may replace only their own files.
        if _open_to_others(seen := above.stat()) and not seen.st_mode & stat.S_ISVTX:
            raise UsageError(
                f"{above}, above {folder}, can be written by others, who could exchange it: choose another folder"
            )
    for link in (absolute := folder.absolute(), *absolute.parents):
        if stat.S_ISLNK((seen := link.lstat()).st_mode) and seen.st_uid not in trusted:
            raise UsageError(f"{link} is another user's link: name the folder itself")


def _open_to_others(found: os.stat_result) -> bool:
    return bool(found.st_mode & 0o002 or (found.st_mode & 0o020 and not _own_group(found.st_gid)))


def _own_group(gid: int) -> bool:
    """Return whether a group has no member but this user, as each user has one on many systems."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
