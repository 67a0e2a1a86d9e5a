"""Workers that come and go while records flow: more, fewer, many at once, and one that sleeps and wakes as a zombie."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.chaos.load import Load, flows, settle
from tests.offline import ends_of
from tests.workers import SHORT, Worker

pytestmark = pytest.mark.timeout(290)

_FROZEN_SECONDS = SHORT.session + SHORT.idle_in_transaction + 4.0
"""Longer than the session and than PostgreSQL lets a transaction idle, one after the other."""


class Crew:
    """Workers of both kinds, as many as are wanted at the moment."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        self.members: dict[str, list[Worker]] = {"intake": [], "view": []}

    def number(self, name: str, wanted: int) -> None:
        """Start or stop workers of a kind, the oldest first, until there are so many."""
        crew = self.members[name]
        while len(crew) < wanted:
            crew.append(Worker(self._connection, name, self._folder))
        while len(crew) > wanted:
            leaver = crew.pop(0)
            assert leaver.stop() in (0, -signal.SIGTERM), leaver.log[-3000:]

    @property
    def all(self) -> tuple[Worker, ...]:
        """Everybody."""
        return (*self.members["intake"], *self.members["view"])

    def stop(self) -> None:
        """Send everybody home; also those behind one that did not end well."""
        try:
            for name in self.members:
                self.number(name, 0)
        finally:
            for worker in self.all:
                if worker.runs:
                    worker.kill()


def deadlocks(connection: Connection) -> int:
    """Return how many deadlocks PostgreSQL has counted."""
    with connect(connection.database.get_secret_value()) as store:
        row = store.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    return int(str(row[0]))


def changing(stack: Connection, folder: Path, change: Callable[[Crew, Load], None]) -> Crew:
    """Let records flow through one worker of each kind, change the crew, and hold the view against the log."""
    since = ends_of(stack, "accepted")
    crew = Crew(stack, folder)
    crew.number("intake", 1)
    crew.number("view", 1)
    try:
        load = Load(stack)
        try:
            flows(stack, since)
            change(crew, load)
            load.at_least(60)
        finally:
            load.stop()
        settle(stack, since, crew.all, load.published)
    finally:
        crew.stop()
    return crew


def test_one_three_two_one(stack: Connection, tmp_path: Path) -> None:
    before = deadlocks(stack)

    def change(crew: Crew, load: Load) -> None:
        for wanted in (3, 2, 1):
            for name in crew.members:
                crew.number(name, wanted)
            load.at_least(120)

    changing(stack, tmp_path, change)
    assert deadlocks(stack) == before


def test_a_storm_of_rebalances(stack: Connection, tmp_path: Path) -> None:
    def change(crew: Crew, load: Load) -> None:
        for _ in range(4):
            crew.number("view", 2)
            load.at_least(60)
            crew.number("view", 1)  # the older one leaves, often before the group is stable again

    changing(stack, tmp_path, change)


def test_a_worker_that_was_frozen_wakes_and_harms_nothing(stack: Connection, tmp_path: Path) -> None:
    def change(crew: Crew, load: Load) -> None:
        (zombie,) = crew.members["view"]
        zombie.signal(signal.SIGSTOP)
        crew.number("view", 2)
        frozen = monotonic()
        wait_until(lambda: monotonic() - frozen > _FROZEN_SECONDS, seconds=_FROZEN_SECONDS + 1)
        zombie.signal(signal.SIGCONT)

    changing(stack, tmp_path, change)
