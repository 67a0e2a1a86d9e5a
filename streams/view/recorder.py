"""Metrics of the view stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from time import time

import polars as pl

from streams.kafka.headers import RECEIVED, headers_of
from streams.kafka.records import Record
from streams.monitoring.instruments import Instruments, Labels
from streams.monitoring.metrics import (
    STATEMENTS,
    TOLD,
    VISIBLE_SECONDS,
)

__all__ = ["ViewRecorder", "arrivals_of"]


class ViewRecorder:
    """Collects the counts of a transaction of the view; they count once it is committed."""

    def __init__(self, instruments: Instruments, departments: Iterable[str] = ()) -> None:
        self._statements = instruments.total(STATEMENTS)
        self._told = instruments.total(TOLD)
        self._visible = instruments.spread(VISIBLE_SECONDS)
        known = list(departments)
        self._statements.add({(department,): 0 for department in known})
        # An alert watches this series for growth, and a series that begins at 1 has not grown.
        self._told.add({(department, "STORE_REFUSED", "refused"): 0 for department in known})
        self._open: list[pl.DataFrame] = []
        self._findings = Counter[Labels]()

    def begins(self) -> None:
        """Begin a transaction; the counts of one that did not commit are dropped."""
        self._open = []
        self._findings.clear()

    def statements(self, arrivals: pl.DataFrame) -> None:
        """Count folded statements; `arrivals` as `arrivals_of` returns them."""
        self._open.append(arrivals)

    def told(self, department: str, outcome: str, code: str) -> None:
        """Count a finding that a department will be notified of."""
        self._findings[department, code, outcome.lower()] += 1

    def committed(self) -> None:
        """Report the transaction, which is committed: all of it is visible from now on."""
        now = time() * 1000
        received = pl.col("received").filter(pl.col("received") > 0)
        # A clock that runs behind the broker's would make the age negative.
        ages = ((now - received) / 1000).clip(lower_bound=0)
        for frame in self._open:
            for department, count, seconds in frame.group_by("department").agg(pl.len(), ages).rows():
                self._statements.add({(department,): count})
                if seconds:
                    self._visible.observe((department,), seconds)
        self._told.add(self._findings)
        self.begins()


def arrivals_of(departments: pl.Series, records: Sequence[Record]) -> pl.DataFrame:
    """Return the department of each message of `accepted`, and when the broker had received it, in ms since 1970.

    0: forwarded by an intake that did not write the header yet.
    """
    received = [int(at or 0) for at in headers_of(records, RECEIVED, 2)]
    return pl.DataFrame({"department": departments, "received": pl.Series(received, dtype=pl.Int64)})
