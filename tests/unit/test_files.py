"""Folders and files that are nobody else's: their modes, and what becomes of links."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.files.private import open_private, private_folder


def mode(path: Path) -> int:
    """Return who may do what with it."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("wanted", [0o700, 0o711, 0o755])
def test_a_new_folder_has_the_mode_that_was_asked_for(tmp_path: Path, umask: int, wanted: int) -> None:
    before = os.umask(umask)
    try:
        private_folder(tmp_path / "new", mode=wanted)
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == wanted, (
        "a cache or a keyring that nobody else can pass through is of no use to servers"
    )


@pytest.mark.parametrize(("held", "left"), [(0o777, 0o711), (0o700, 0o700), (0o755, 0o711)])
def test_a_folder_that_is_there_is_only_closed(tmp_path: Path, held: int, left: int) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    folder.chmod(held)
    private_folder(folder, mode=0o711)
    assert mode(folder) == left


def test_a_link_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder", "file"):
        (tmp_path / f"{name} link").symlink_to(tmp_path / name)
    with pytest.raises(UsageError, match="is a link"):
        private_folder(tmp_path / "folder link")
    with pytest.raises(UsageError, match="is a link"):
        open_private(tmp_path / "file link")
