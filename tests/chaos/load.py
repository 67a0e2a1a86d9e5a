"""A load that flows while something is done to servers or workers, and the proof afterwards that nothing is missing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from deploy.deadline import wait_until
from schemas.contracts.codec import encode, frame
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.offline import INTAKE_GROUP, VIEW_GROUP, assert_view_is_the_fold, ends_of, lag, view_caught_up
from tests.statements import penalty, put, registered
from tests.workers import Worker, workers

__all__ = ["TOPIC", "Load", "flows", "says", "settle", "under_load"]

TOPIC = "records.finance"
_A_BURST = 60


class Load:
    """Publishes a burst of new statements every now and then, in a thread, until it is told to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._run = uuid.uuid4().hex[:8]
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self.published = 0
        self._entity = 2_000_000 + int(self._run, 16) % 100_000 * 50  # entities of its own
        # Asked for before anything is broken: the registry may be away while the load goes on.
        self._schema = registered(connection.registry, "xinliu.Statement")
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def _publish(self) -> None:
        try:
            for burst in count():
                put(self._connection, TOPIC, self._burst(burst))  # waits for a broker that is away
                self.published += _A_BURST
                if self._stop.wait(0.2):
                    return
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            self._failure = error

    def _burst(self, burst: int) -> list[bytes]:
        said = [
            penalty(f"断{self._run}-{burst}-{n}", entity=self._entity + n % 50, key="finance") for n in range(_A_BURST)
        ]
        return [frame(self._schema, encode("xinliu.Statement", statement)) for statement in said]

    def at_least(self, more: int) -> None:
        """Wait until that many more statements have been published."""
        wanted = self.published + more
        assert wait_until(lambda: self.published >= wanted or self._failure is not None, seconds=60)

    def stop(self) -> None:
        """End it; raises what went wrong in it."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


def says(worker: Worker, text: str, seconds: float = 40.0) -> None:
    """Wait until the worker's log says it."""
    assert wait_until(lambda: text in worker.log, seconds=seconds), worker.log[-3000:]


def flows(connection: Connection, since: dict[int, int]) -> None:
    """Wait until the view folds what comes: whatever is done to servers or workers before is done to none that work."""

    def folds() -> bool:
        with connect(connection.database.get_secret_value(), generation=1) as store:
            rows = store.execute("SELECT next_offset FROM position WHERE topic = 'accepted'").fetchall()
        return sum(int(str(row[0])) for row in rows) > sum(since.values())

    assert wait_until(folds, seconds=60)


def settle(connection: Connection, since: dict[int, int], running: tuple[Worker, ...], published: int) -> None:
    """Wait until everything is folded and committed, and hold the view against the log."""

    def settled() -> bool:
        for worker in running:
            assert worker.runs, worker.log[-3000:]
        return (
            lag(connection, INTAKE_GROUP, [TOPIC]) == 0
            and view_caught_up(connection)
            and lag(connection, VIEW_GROUP, ["accepted", "quarantine"]) == 0
        )

    assert wait_until(settled, seconds=120, every=0.5), [worker.log[-1500:] for worker in running]
    assert assert_view_is_the_fold(connection, since) == published


@contextmanager
def under_load(stack: Connection, folder: Path, seen: Connection | None = None) -> Iterator[tuple[Worker, ...]]:
    """Run both workers and a load around whatever is done to the servers; afterwards nothing may be missing.

    `seen` is how the workers reach the servers, where that is not how everybody does.
    """
    since = ends_of(stack, "accepted")
    with workers(seen or stack, folder, "intake", "view") as running:
        load = Load(stack)
        try:
            flows(stack, since)
            yield running
            load.at_least(_A_BURST)
        finally:
            load.stop()
        settle(stack, since, running, load.published)
