"""The set keeper: requests other provinces' sets that differ, removes records that are not shared, closes what is equal
again.

It runs in a thread of its own beside the view worker, once a second; each part is one statement of SQL if nothing
differs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from streams.exchange.sets import requests as asking
from streams.exchange.sets.foreign_digests import add_to_digests
from streams.integrity.accepted import AcceptedLog
from streams.integrity.comparison import TableComparison
from streams.integrity.repair import RowRepair
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import EXCHANGE_DIFFERENCES, EXCHANGE_UNHEALED
from streams.projection.batch import Projection
from streams.projection.serving import while_serving
from streams.projection.staging import staged
from streams.runtime.locks import TENDING, Lead
from streams.runtime.service import Connection, Service

__all__ = ["SetKeeper"]

log = structlog.get_logger()

_EVERY = 1.0
_MOST = 500
"""Records that one transaction removes: it holds up the view for some 50 ms."""


class SetKeeper(Service):
    """Tends one generation; `on_commit` is called if the relay has something to publish."""

    waits = "exchange.tending_waits"
    _projection: Projection
    _mending: RowRepair
    """Both work on the session."""

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
        super().__init__(database, generation=generation)
        self.lead = Lead(TENDING, generation=generation)
        self._log, self._own = log, own
        self._partitions, self._generation, self._on_commit = partitions, generation, on_commit
        shown = instruments or Instruments("view")
        self._open, self._unhealed = shown.latest(EXCHANGE_DIFFERENCES), shown.latest(EXCHANGE_UNHEALED)
        self._asked_the_log = datetime.min.replace(tzinfo=UTC)

    def _round(self) -> float:
        with while_serving(self._connected(), self._generation) as ours:
            if ours:
                self.tend()
        return _EVERY

    def tend(self) -> None:
        """Make one round; do nothing if another worker leads."""
        if not self._leads():
            return
        connection = self._connected()
        with connection.transaction():
            asking.close_sets(connection)
        while self._take_out(connection):
            pass
        self._ask_the_log(connection)
        with connection.transaction():
            self._unhealed.replace({(): float(asking.request_sets(connection))})
        self._open.replace(
            {
                (province, difference): float(records)
                for province, difference, records in connection.execute(
                    "SELECT province, lower(difference), count(*) FROM exchange_difference WHERE closed_at IS NULL GROUP BY 1, 2"
                )
            }
        )

    def _take_out(self, connection: Connection) -> bool:
        """Fold statements that remove records which are not shared; return whether there may be more."""
        projection = self._projection
        places = [("accepted", partition) for partition in range(self._partitions)]
        with connection.transaction():
            # As the view does, and all positions: nothing is folded meanwhile.
            connection.execute("SET LOCAL lock_timeout = '5s'")
            if not self._any(connection):
                return False
            projection.lock_positions(places)
            writer = projection.writer_number(asking.WRITER.fingerprint, asking.WRITER.schema)
            frame = asking.records_to_take_out(connection, _MOST, writer=writer)
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

    def _ask_the_log(self, connection: Connection) -> None:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        ids = asking.records_in_doubt(connection, self._asked_the_log, _MOST)
        if ids:
            self._mending.records(ids, doubted=True)
            self._on_commit()
        self._asked_the_log = row[0]

    def _set_up(self, connection: Connection) -> None:
        self._projection = Projection(connection)
        comparing = TableComparison(connection, own=self._own, partitions=self._partitions)
        self._mending = RowRepair(connection, comparing, self._log, own=self._own)
