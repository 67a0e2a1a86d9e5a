"""Files and folders that are nobody else's: made anew and for their owner's eyes, behind no link,
where nobody can exchange them."""

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
    """Write a file that only its owner can read, whole or not at all; what stands at its place,
    a link for example, is replaced.

    `owner` is the user whose file it becomes, ourselves unless given; `mode` is that of the file, whatever the umask.
    Raises UsageError where others can write to the folder: they could read along, or put their own file there.
    """
    with create(file, mode=mode, owner=owner) as out:
        out.write(content)


@contextmanager
def create(file: Path, *, mode: int = 0o600, owner: int | None = None) -> Iterator[BinaryIO]:
    """Open a file as `write_private` writes it; it is at its place when the context ends well,
    and nowhere otherwise."""
    folder = os.open(file.parent, _FOLDER)
    try:
        _nobody_elses(file.parent, os.fstat(folder), owner)
        part = f".{file.name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(part, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
                out.flush()
                # By its descriptor: what stands at the path may be another file by now.
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
    """Open a file that goes on from one process to the next, a lock or a log, made where it is missing.

    It is closed to others, one of an earlier version too. Raises UsageError where it is a link, or no file of ours.
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
    """Make a folder with this mode, whatever the umask, and those above it that are missing;
    one that is there loses what exceeds it.

    Raises UsageError where it is a link, or somebody else's.
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
    """Raise UsageError where others than the owner,
    ourselves and root can exchange what lies in the folder, or the folder."""
    trusted = {0, os.geteuid(), owner}
    if _open_to_others(found) or found.st_uid not in trusted:
        raise UsageError(
            f"{folder} can be written by others, who could exchange what is written there: choose a folder of your own, or"
            " close it (`chmod go-w`)"
        )
    for above in Path(os.path.realpath(folder)).parents:
        # In a folder like /tmp each may exchange his own alone.
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
    """Tell whether a group has no member but this user, as each user has one on many systems."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
