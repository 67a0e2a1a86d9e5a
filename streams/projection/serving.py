"""What speaks for the generation that serves: only while it serves.

Whoever tells somebody of a generation, or writes what a switch carries over to another (receipts, settled entries, comparisons,
what is shared), does it inside `while_serving`; a promote waits for these, and keeps the next ones off until it is over. The
view's own transactions need no more than the positions that they lock, which a promote locks too (streams/replay/generations/promotion.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog

from schemas.errors import Retryable, ServingMoved
from schemas.store.database import connect, give_back

__all__ = ["LOCK", "Following", "must_serve", "serves", "while_serving"]

log = structlog.get_logger()

Connection = psycopg.Connection[Any]

LOCK = 0x73657276696E67  # "serving": shared by whoever speaks for the generation that serves, a promote's alone
_EVERY = 0.5


def serves(connection: Connection, generation: int) -> bool:
    """Tell whether it is this generation that serves: one that is being built holds less than was acknowledged long ago."""
    row = connection.execute("SELECT generation FROM xinliu.serving").fetchone()
    return row is not None and row[0] == generation


def must_serve(connection: Connection, generation: int) -> None:
    """Raise ServingMoved where another generation serves; race-free behind a lock that a promote takes, too."""
    if not serves(connection, generation):
        raise ServingMoved(f"generation {generation} serves no more")


@contextmanager
def while_serving(connection: Connection, generation: int) -> Iterator[bool]:
    """Keep a promote off while this lasts; false where another generation serves, or a promote is under way.

    To be entered outside a transaction: a snapshot taken before would not see what was promoted meanwhile.
    """
    row = connection.execute("SELECT pg_try_advisory_lock_shared(%s)", (LOCK,)).fetchone()
    if not (row and row[0]):
        yield False
        return
    try:
        yield serves(connection, generation)
    finally:
        give_back(connection, "SELECT pg_advisory_unlock_shared(%s)", (LOCK,))


class Following:
    """Notices within a second, in a thread of its own, that another generation serves, while no batch comes that would."""

    def __init__(self, database: str, *, generation: int) -> None:
        self._database, self._generation = database, generation
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def run(self) -> None:
        """Look until stopped; waits for a PostgreSQL that does not answer. Raises ServingMoved."""
        connection: psycopg.Connection[tuple[object, ...]] | None = None
        try:
            while not self._stopped.wait(_EVERY):
                try:
                    if connection is None:
                        connection = connect(self._database, generation=self._generation, autocommit=True)
                    must_serve(connection, self._generation)
                except (psycopg.OperationalError, Retryable) as error:
                    log.warning("following.waits", why=str(error).strip())
                    if connection is not None:
                        connection.close()
                    connection = None
        finally:
            if connection is not None:
                connection.close()
