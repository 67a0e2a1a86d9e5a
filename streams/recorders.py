"""What each stage tells of its work, in the stage's own words: the stages know no metric and no Prometheus.

A recorder is called once a batch, not once a record. One that is given fresh instruments counts for nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import time
from typing import Protocol

import polars as pl

from schemas.errors import Retryable
from streams.endpoint import Outside
from streams.headers import RECEIVED, headers_of
from streams.instruments import Instruments, Labels
from streams.messages import Finding
from streams.metrics import (
    ACCEPTED,
    FINDINGS,
    INTAKE_MESSAGES,
    INTAKE_SECONDS,
    REFUSED,
    RELAYED,
    REREADS,
    RETRIES,
    SCHEMAS_DIFFERING,
    STATEMENTS,
    TOLD,
    TRANSACTION_ROWS,
    TRANSACTION_SECONDS,
    VISIBLE_SECONDS,
)
from streams.runs import Record, Run

__all__ = ["IntakeRecorder", "RelayRecorder", "SchemaRecorder", "ViewRecorder", "WorkRecorder", "arrivals_of"]

_SERVERS = ("kafka", "registry", "postgres")


class Verdict(Protocol):
    """What intake found out about one message."""

    findings: list[Finding]
    refused: bool


class WorkRecorder:
    """Told by the collector: how long batches take, what must be tried again, and whether it is stuck."""

    def __init__(self, outside: Outside) -> None:
        known = outside.instruments
        intake = known.worker == "intake"
        self._probe = outside.probe
        self._seconds = known.spread(INTAKE_SECONDS if intake else TRANSACTION_SECONDS)
        self._messages = known.spread(INTAKE_MESSAGES if intake else TRANSACTION_ROWS)
        self._rereads = None if intake else known.total(REREADS)
        self._retries = known.total(RETRIES)
        self._retries.add({(server,): 0 for server in _SERVERS})

    def finished(self, messages: int, seconds: float) -> None:
        """A batch of so many messages is finished; the tries that succeeded, one of each step, took so long."""
        self._seconds.observe((), (seconds,))
        self._messages.observe((), (messages,))

    @contextmanager
    def trying(self, step: str) -> Iterator[None]:
        """Watch one try of a step of the work, in whatever thread; count it where it has to be made again."""
        waits_for = None
        self._probe.call_begins(step)
        try:
            yield
        except Retryable as error:
            self._retries.add({(error.server,): 1})
            waits_for = str(error)
            raise
        finally:
            self._probe.call_ends(step, waits_for)

    def reread(self) -> None:
        """Partitions are read again."""
        if self._rereads is not None:
            self._rereads.add({(): 1})


class IntakeRecorder:
    """Told by intake, of each batch that was forwarded. `departments` are the keys that have series from the start."""

    def __init__(self, instruments: Instruments, departments: Iterable[str] = ()) -> None:
        self._accepted = instruments.total(ACCEPTED)
        self._refused = instruments.total(REFUSED)
        self._findings = instruments.total(FINDINGS)
        for total in (self._accepted, self._refused):
            total.add({(department,): 0 for department in departments})

    def forwarded(
        self,
        runs: Sequence[Run],
        verdicts: Iterable[tuple[Record, Verdict]],
        markers: Iterable[Record],
    ) -> None:
        """Count a batch: all of it, the messages that have findings, and the markers that were not refused."""
        accepted, refused = Counter[Labels](), Counter[Labels]()
        findings = Counter[Labels]()
        for run in runs:
            accepted[_department(run.topic),] += len(run.records)
        for record, verdict in verdicts:
            department = _department(record.topic)
            refused[department,] += verdict.refused
            outcome = "refused" if verdict.refused else "flagged"
            findings.update((department, code, outcome) for code in {found["code"] for found in verdict.findings})
        accepted.subtract(refused)
        accepted.subtract(Counter[Labels]((_department(marker.topic),) for marker in markers))
        self._accepted.add(accepted)
        self._refused.add(refused)
        self._findings.add(findings)


class SchemaRecorder:
    """Told by intake which schema ids mean something else than they meant when they were first seen."""

    def __init__(self, instruments: Instruments) -> None:
        self._differing = instruments.latest(SCHEMAS_DIFFERING)
        self.changed(frozenset())

    def changed(self, ids: Collection[int]) -> None:
        """These ids do, and no others."""
        self._differing.replace({(): len(ids)})


class ViewRecorder:
    """Told by the view, piece by piece, of a transaction; nothing counts before it is committed."""

    def __init__(self, instruments: Instruments, departments: Iterable[str] = ()) -> None:
        self._statements = instruments.total(STATEMENTS)
        self._told = instruments.total(TOLD)
        self._visible = instruments.spread(VISIBLE_SECONDS)
        known = list(departments)
        self._statements.add({(department,): 0 for department in known})
        # An alert asks whether this one grows, and a series that begins at 1 has not grown.
        self._told.add({(department, "STORE_REFUSED", "refused"): 0 for department in known})
        self._open: list[pl.DataFrame] = []
        self._findings = Counter[Labels]()

    def begins(self) -> None:
        """A transaction begins; what was told of one that did not commit is forgotten."""
        self._open = []
        self._findings.clear()

    def statements(self, arrivals: pl.DataFrame) -> None:
        """Statements are folded, with `arrivals` as this module's `arrivals_of` returns them."""
        self._open.append(arrivals)

    def told(self, department: str, outcome: str, code: str) -> None:
        """A department will be told this finding."""
        self._findings[department, code, outcome.lower()] += 1

    def committed(self) -> None:
        """The transaction is committed: all of it is visible from now on."""
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


class RelayRecorder:
    """Told by the relay."""

    def __init__(self, outside: Outside) -> None:
        self._probe = outside.probe
        self._retries = outside.instruments.total(RETRIES)
        self._published = outside.instruments.total(RELAYED)
        self._published.add({("receipt",): 0, ("change",): 0, ("tombstone",): 0})

    def goes_round(self) -> None:
        """A round of its loop begins."""
        self._probe.beat("relay")

    def ends(self) -> None:
        """Its loop ends in good order."""
        self._probe.ended("relay")

    def published(self, receipts: int, changes: int, tombstones: int) -> None:
        """These messages are published, and the outbox knows."""
        self._published.add({("receipt",): receipts, ("change",): changes, ("tombstone",): tombstones})

    def retried(self, server: str) -> None:
        """A round failed because of this server, and will be made again."""
        self._retries.add({(server,): 1})


def arrivals_of(departments: pl.Series, records: Sequence[Record]) -> pl.DataFrame:
    """Return whose statements these messages of `accepted` hold, and when the broker had received them, in milliseconds.

    0: forwarded by an intake that did not write the header yet.
    """
    received = [int(at or 0) for at in headers_of(records, RECEIVED, 2)]
    return pl.DataFrame({"department": departments, "received": pl.Series(received, dtype=pl.Int64)})


def _department(topic: str) -> str:
    return topic.removeprefix("records.")
