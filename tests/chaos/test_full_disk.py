"""A disk that is full: PostgreSQL's tables on a small file system, filled up while records flow."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.deadline import wait_until
from deploy.local.stack import Stack
from schemas.errors import Retryable
from schemas.servers.connection import Connection
from tests.chaos.load import says, under_load
from tests.statements import registered

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
]

_ROOM = 64 << 20
"""Bytes that the tables may grow by."""
_LEFT = 1 << 20
"""Bytes that the ballast leaves: PostgreSQL takes 8 kB at a time."""


@contextmanager
def on_a_small_file_system(stack: Stack, connection: Connection) -> Iterator[Path]:
    """Put the tables (`base`, not the write-ahead log) onto a file system of their own; back again afterwards."""
    tables = stack.postgres.data / "base"
    kept = tables.with_name("base.kept")
    stack.stop("postgres")
    shutil.copytree(tables, kept, copy_function=shutil.copy2)
    size = sum(file.stat().st_size for file in tables.rglob("*") if file.is_file()) + _ROOM
    owner = tables.stat()
    options = f"size={size},uid={owner.st_uid},gid={owner.st_gid},mode=700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tables)], check=False)
    if mounted.returncode:
        shutil.rmtree(kept)
        stack.start("postgres")
        pytest.skip("this machine lets not even root mount a file system")
    try:
        _copy(kept, tables, owner)
        _start(stack, connection)
        yield tables
    finally:
        stack.stop("postgres")
        shutil.rmtree(kept)
        shutil.copytree(tables, kept, copy_function=shutil.copy2)
        subprocess.run(["umount", str(tables)], check=True)
        shutil.rmtree(tables)
        tables.mkdir(mode=0o700)
        os.chown(tables, owner.st_uid, owner.st_gid)
        _copy(kept, tables, owner)
        shutil.rmtree(kept)
        _start(stack, connection)


def _start(stack: Stack, connection: Connection) -> None:
    stack.start("postgres")

    def registry_answers() -> bool:
        # Its connections to the database are gone, and it finds out one by one.
        try:
            registered(connection.registry, "xinliu.Statement")
        except Retryable:
            return False
        return True

    assert wait_until(registry_answers, seconds=60, every=0.5)


def _copy(source: Path, target: Path, owner: os.stat_result) -> None:
    shutil.copytree(source, target, copy_function=shutil.copy2, dirs_exist_ok=True)
    for entry in target.rglob("*"):
        os.chown(entry, owner.st_uid, owner.st_gid)


def test_the_disk_of_the_database_is_full(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with on_a_small_file_system(local_stack, stack) as tables, under_load(stack, tmp_path) as (_, view):
        ballast = tables / "ballast"
        with ballast.open("wb") as out:
            out.write(b"\0" * (shutil.disk_usage(tables).free - _LEFT))
        says(view, "No space left on device", seconds=120)
        ballast.unlink()
        says(view, "worker.goes_on")
