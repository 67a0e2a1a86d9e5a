"""Tending the sets of other provinces: asks for those that differ, takes out what is not shared, closes what is equal again.

In a thread of its own beside the view worker, once a second; a statement of SQL each where nothing differs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from schemas.store.database import connect
from streams.exchange.sets import requests as asking
from streams.exchange.sets.foreign_digests import add_to_digests
from streams.integrity.accepted import AcceptedLog
from streams.integrity.comparison import Comparing, Connection
from streams.integrity.repair import Mending
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import EXCHANGE_DIFFERENCES, EXCHANGE_UNHEALED
from streams.projection.batch import Projection
from streams.projection.serving import while_serving
from streams.projection.staging import staged
from streams.runtime.service import go_round

__all__ = ["Tending"]

log = structlog.get_logger()

_EVERY = 1.0
_MOST = 500
"""Records that one transaction takes out: it holds up the view for some 50 ms."""
_LOCK = 0x74656E64  # "tend": one worker of a generation at a time


class Tending:
    """Tends one generation; `on_commit` is called where the relay has something to publish."""

    def __init__(
        self,
        database: str,
        log: AcceptedLog,
        *,
        own: str,
        partitions: int,
        generation: int,
        instruments: Instruments | None = None,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._log, self._own = database, log, own
        self._partitions, self._generation, self._on_commit = partitions, generation, on_commit
        shown = instruments or Instruments("view")
        self._open, self._unhealed = shown.latest(EXCHANGE_DIFFERENCES), shown.latest(EXCHANGE_UNHEALED)
        self._connection: Connection | None = None
        self._mending: Mending | None = None
        self._projection: Projection | None = None
        self._asked_the_log = datetime.min.replace(tzinfo=UTC)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` after the round that is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Tend until stopped; waits, with a message, for a server that does not answer."""
        go_round(self._go_round, self._stopped, waits="exchange.tending_waits", close=self.close)

    def _go_round(self) -> float:
        with while_serving(self._connected()[0], self._generation) as ours:
            if ours:
                self.tend()
        return _EVERY

    def close(self) -> None:
        """Close the connection; the next round opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._mending = self._projection = None

    def tend(self) -> None:
        """Make one round; nothing happens where another worker tends."""
        connection, mending, projection = self._connected()
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, self._generation)).fetchone()
        if not (row and row[0]):
            return
        with connection.transaction():
            asking.close(connection)
        while self._take_out(connection, projection):
            pass
        self._ask_the_log(connection, mending)
        with connection.transaction():
            self._unhealed.replace({(): float(asking.ask(connection))})
        self._open.replace(
            {
                (province, difference): float(records)
                for province, difference, records in connection.execute(
                    "SELECT province, lower(difference), count(*) FROM exchange_difference WHERE closed_at IS NULL GROUP BY 1, 2"
                )
            }
        )

    def _take_out(self, connection: Connection, projection: Projection) -> bool:
        """Fold what takes records out that are not shared; true where there may be more."""
        places = [("accepted", partition) for partition in range(self._partitions)]
        with connection.transaction():
            # As the view does, and all of them: nothing is folded meanwhile.
            connection.execute("SET LOCAL lock_timeout = '5s'")
            if not self._any(connection):
                return False
            projection.lock_positions(places)
            writer = projection.writer_number(asking.WRITER.fingerprint, asking.WRITER.schema)
            frame = asking.extra(connection, _MOST, writer=writer)
            if frame is None:
                return False
            folded = projection.fold(staged(frame)[0])
            if folded.taken is not None:
                add_to_digests(connection, folded.taken)
        log.warning("exchange.taken_out", records=frame.height)
        self._on_commit()
        return frame.height == _MOST

    @staticmethod
    def _any(connection: Connection) -> bool:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM exchange_difference WHERE closed_at IS NULL AND difference = 'EXTRA')"
        ).fetchone()
        return bool(row and row[0])

    def _ask_the_log(self, connection: Connection, mending: Mending) -> None:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        ids = asking.doubted(connection, self._asked_the_log, _MOST)
        if ids:
            mending.records(ids, doubted=True)
            self._on_commit()
        self._asked_the_log = row[0]

    def _connected(self) -> tuple[Connection, Mending, Projection]:
        if self._connection is None or self._mending is None or self._projection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            self._projection = Projection(self._connection)
            comparing = Comparing(self._connection, own=self._own, partitions=self._partitions)
            self._mending = Mending(self._connection, comparing, self._log, own=self._own)
        return self._connection, self._mending, self._projection
