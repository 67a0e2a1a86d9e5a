"""A rebuild killed by SIGKILL at every named point, and at any other: it goes on where it was, and nothing stands twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.runtime.crash_points import POINTS
from tests import warm
from tests.replays import History, Live, differences, ledger
from tests.workers import environment

KILLED = -signal.SIGKILL
REBUILDING = [point for point in POINTS if point.startswith("rebuild.")]


def command(connection: Connection, planned: str, *words: str) -> subprocess.Popen[bytes]:
    """Start the rebuild as an operator does."""
    return warm.Popen(
        [sys.executable, "-m", "xinliu", "replay", "rebuild", planned, "--batch", "20", *words],
        env=environment(connection), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


@contextmanager
def said(connection: Connection, folder: Path, seed: int) -> Iterator[None]:
    """Say something, and let the live view fold it."""
    history = History(connection, seed, folder)
    live = Live(connection, history)
    try:
        history.say(600)
        live.follow()
        yield
    finally:
        live.close()
        history.close()


def equal(connection: Connection, planned: str) -> None:
    """Hold the generation of a rebuild that is done against the live one."""
    with connect(connection.database.get_secret_value(), generation=1, autocommit=True) as store:
        rows = store.execute("SELECT generation, state FROM xinliu.generation WHERE replay = %s", (planned,)).fetchall()
        assert len(rows) == 1, "one rebuild, one generation"
        ((generation, state),) = rows
        assert state == "READY"
        assert differences(store, 1, int(str(generation))) == {}


@pytest.mark.parametrize("processes", ["1"])
def test_killed_at_every_point_it_goes_on(own_stack: Connection, tmp_path: Path, processes: str) -> None:
    with (
        said(own_stack, tmp_path, 70),
        connect(own_stack.database.get_secret_value(), autocommit=True) as store,
        ledger(own_stack, store) as (steps, planned),
    ):
        for point in REBUILDING:
            where = (
                f"{point}:2"
                if point in ("rebuild.decoded", "rebuild.inside-transaction", "rebuild.committed")
                else point
            )
            running = command(own_stack, planned, "--crash-at", where, "--processes", processes)
            _, told = running.communicate(timeout=120)
            assert running.returncode == KILLED, (point, told.decode()[-2000:])
        last = command(own_stack, planned)
        _, told = last.communicate(timeout=120)
        assert last.returncode == 0, told.decode()[-2000:]
        assert steps.get(planned).state == "DONE"
        equal(own_stack, planned)


@pytest.mark.timeout(600)
def test_killed_at_any_moment_with_two_processes_it_goes_on(own_stack: Connection, tmp_path: Path) -> None:
    chance = random.Random(71)
    with (
        said(own_stack, tmp_path, 71),
        connect(own_stack.database.get_secret_value(), autocommit=True) as store,
        ledger(own_stack, store) as (steps, planned),
    ):
        for _ in range(6):
            running = command(own_stack, planned, "--processes", "2", "--full-speed")
            try:
                _, told = running.communicate(timeout=chance.uniform(2.0, 12.0))
            except subprocess.TimeoutExpired:
                running.kill()
                running.communicate()
                continue
            # Processes of the one that was killed may still hold the lock of a batch; then it says so, and is run again.
            assert running.returncode in (0, 2, 3, 4), told.decode()[-2000:]
            if running.returncode == 0:
                break

        def ends() -> bool:
            if steps.get(planned).state == "DONE":
                return True
            last = command(own_stack, planned, "--processes", "2", "--full-speed")
            _, told = last.communicate(timeout=300)
            assert last.returncode in (0, 2), told.decode()[-2000:]
            return last.returncode == 0

        assert wait_until(ends, seconds=60, every=1.0)
        assert steps.get(planned).state == "DONE"
        equal(own_stack, planned)
