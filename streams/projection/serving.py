"""The serving lock: only the generation that serves may publish, and a promote excludes all who do.

Code that publishes from a generation, or writes rows that a switch carries over to another (receipts, settled entries,
comparisons, shared records), runs inside `while_serving`. A promote waits for it, and keeps the next ones off until it
is over. The view's own transactions need only the positions that they lock, which a promote locks too
(streams/replay/generations/promotion.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import ServingMoved
from schemas.store.database import give_back
from streams.runtime.locks import SERVING
from streams.runtime.service import Connection, Service

__all__ = ["ServingFollower", "must_serve", "serves", "while_serving"]

_EVERY = 0.5


def serves(connection: Connection, generation: int) -> bool:
    """Return whether this generation serves; one in the making lacks statements that were acknowledged long ago."""
    row = connection.execute("SELECT generation FROM xinliu.serving").fetchone()
    return row is not None and row[0] == generation


def must_serve(connection: Connection, generation: int) -> None:
    """Raise ServingMoved if another generation serves; race-free under a lock that a promote also takes."""
    if not serves(connection, generation):
        raise ServingMoved(f"generation {generation} serves no more")


@contextmanager
def while_serving(connection: Connection, generation: int) -> Iterator[bool]:
    """Keep a promote off for the time of this context; yield false if another generation serves, or a promote runs.

    Enter it outside a transaction: an older snapshot would not see a promote that came between.
    """
    row = connection.execute("SELECT pg_try_advisory_lock_shared(%s)", (SERVING,)).fetchone()
    if not (row and row[0]):
        yield False
        return
    try:
        yield serves(connection, generation)
    finally:
        give_back(connection, "SELECT pg_advisory_unlock_shared(%s)", (SERVING,))


class ServingFollower(Service):
    """Watch on the serving generation, in its own thread: `run` raises ServingMoved within a second of a switch, even
    without batches."""

    waits = "following.waits"

    def __init__(self, database: str, *, generation: int) -> None:
        super().__init__(database, generation=generation)
        self._generation = generation

    def _round(self) -> float:
        if not self._stopped.wait(_EVERY):
            must_serve(self._connected(), self._generation)
        return 0.0
