"""The table audit: goes through the tables without end, and finds rows that differ from their sources.

It compares history with the log of truth (streams/integrity/log_audit.py) and rows of `record` with history, slice by
slice, each in a snapshot of its own; then the counts of entities, and the digests of other provinces' shared records,
with the rows. A difference is stored (row_difference), counted, logged, and repaired (streams/integrity/repair.py). The
audit works a bounded share of the time, whatever there is to check, and a smaller one if nobody has touched a row, or
the view has much to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic, time
from typing import Any, Protocol
from uuid import UUID

import polars as pl
import structlog

from schemas.store.sql_files import sql
from streams.integrity.accepted import WholeLog
from streams.integrity.comparison import RowDifference, Span, TableComparison
from streams.integrity.log_audit import LogAudit, LogFound
from streams.integrity.log_set import BITS, Sums
from streams.integrity.quarantine_audit import QuarantineAudit
from streams.integrity.repair import MendedRows, RowRepair, note
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import AUDIT_BEYOND, AUDIT_DIFFERENCES, AUDIT_MENDED, AUDIT_PASSED, AUDIT_UNFOUNDED
from streams.projection.serving import while_serving
from streams.runtime.locks import TABLE_AUDIT, Lead
from streams.runtime.priority import lower_backend
from streams.runtime.service import Connection, Service

__all__ = ["Reshares", "TableAudit", "record_spans"]

log = structlog.get_logger()

SHARE, LEAST_SHARE = 0.1, 0.02
"""The share of the time that it works, at most. The smaller one holds if no row was touched since the last pass began,
or if more than BUSY statements a second are folded."""
BUSY = 50.0
LONGEST_PAUSE, LONGEST_QUIET = 2.0, 10.0
"""Seconds after a step, at most; the first if rows were touched. A step that waited for a lock, the log or the
processor has not worked all that time, and a fault must be found within a minute."""
SLICE = 4_096
"""Records of a slice, about: some 50 ms of work."""
_SHORTEST_PASS = 5.0
_LOOK = 1.0
_MOST = 500
"""Records that one transaction repairs: it holds up the view for some 50 ms."""
_RELATIONS = (
    "record", "record_history", "credit_view", "quarantine", "quarantine_outcome", "foreign_digest", "shared_record",
    "shared_digest",
)  # fmt: skip


class Reshares(Protocol):
    """The sharing rule (streams.exchange.outgoing.sharing.Sharing), applied to all of our own records."""

    def differing(self, connection: Connection, first: UUID, limit: int) -> tuple[pl.DataFrame, UUID | None]:
        """Return the keys of wrongly shared records among the next `limit` ones, and the first record after these."""

    def decide_again(self, connection: Connection, keys: pl.DataFrame) -> object:
        """Decide about these records as they are now, in a transaction of its own."""


class TableAudit(Service):
    """Audits one generation in a thread of its own, and repairs differences.

    `own` is the province, `partitions` the number of partitions of `accepted`, `log` the log of truth; `on_commit` is
    called if the relay has something to publish.
    """

    waits = "audit.waits"
    _comparing: TableComparison
    _log_audit: LogAudit
    """Both work on the session."""

    def __init__(
        self,
        database: str,
        log: WholeLog,
        *,
        own: str,
        partitions: int,
        generation: int,
        instruments: Instruments | None = None,
        on_commit: Callable[[], None] = lambda: None,
        sharing: Reshares | None = None,
        shortest_pass: float = _SHORTEST_PASS,
        quarantine: QuarantineAudit | None = None,
    ) -> None:
        super().__init__(database, generation=generation)
        self.lead = Lead(TABLE_AUDIT, generation=generation)
        self._sharing, self._quarantine = sharing, quarantine
        self._log, self._own, self._partitions = log, own, partitions
        self._generation, self._on_commit, self._shortest = generation, on_commit, shortest_pass
        shown = instruments or Instruments("view")
        self._found, self._mended = shown.total(AUDIT_DIFFERENCES), shown.total(AUDIT_MENDED)
        self._beyond, self._passed = shown.latest(AUDIT_BEYOND), shown.latest(AUDIT_PASSED)
        self._unfounded_shown = shown.latest(AUDIT_UNFOUNDED)
        # An alert asks whether these grow, and a series that begins at 1 has not grown.
        self._found.add({(relation, how): 0.0 for relation in _RELATIONS for how in ("MISSING", "EXTRA", "CHANGED")})
        self._right: dict[Span, tuple[tuple[str, str], Sums | None]] = {}
        self._hopeless, self._unfounded = set[UUID](), set[UUID]()
        self._load = Load()

    def _round(self) -> float:
        began = monotonic()
        self.pass_through(self._pause)
        return max(0.0, self._shortest - (monotonic() - began))

    def close(self) -> None:
        """Close the connection and the clients of the logs; the next pass opens others."""
        super().close()
        self._log.close()
        if self._quarantine is not None:
            self._quarantine.close()

    def _pause(self, worked: float) -> None:
        began = monotonic()
        while True:
            quiet = self._load.quiet(self._connected())
            share, longest = (LEAST_SHARE, LONGEST_QUIET) if quiet else (SHARE, LONGEST_PAUSE)
            left = min(worked * (1 - share) / share, longest) - (monotonic() - began)
            # A row that is touched meanwhile ends a long pause.
            if left <= 0 or self._stopped.wait(min(left, _LOOK)):
                return

    def pass_through(self, pause: Callable[[float], None] = lambda worked: None) -> int:
        """Check everything once and repair differences; return how many rows differed. `pause` gets each step's
        seconds.

        Nothing happens if another worker leads.
        """
        if not self._leads():
            return 0
        connection, comparing, log_audit = self._connected(), self._comparing, self._log_audit
        self._load.begins(connection)
        mending = RowRepair(connection, comparing, self._log, own=self._own)
        found = 0
        began = monotonic()
        for step in self._steps(connection, comparing, log_audit, mending):
            found += step()
            if self._stopped.is_set():
                return found
            pause(monotonic() - began)
            began = monotonic()
        self._beyond.replace({(): float(len(self._hopeless))})
        self._unfounded_shown.replace({(): float(len(self._unfounded))})
        self._passed.replace({(): time()})
        return found

    def _steps(
        self, connection: Connection, comparing: TableComparison, log_audit: LogAudit, mending: RowRepair
    ) -> Iterator[Callable[[], int]]:
        self._hopeless, self._unfounded = set(), set()
        for _ in log_audit.follow():
            yield lambda: 0
        for span in record_spans(_estimate(connection)):
            yield partial(self._records, connection, comparing, log_audit, mending, span)
        after = None
        while True:
            span = comparing.entity_span(after, SLICE)
            yield partial(self._entities, connection, comparing, mending, span)
            after = span[1]
            if after == "\U0010ffff":
                break
        if self._quarantine is not None:
            yield partial(self._refused, self._quarantine)
        yield partial(self._digests, connection, comparing, mending)
        yield partial(self._shared, connection, comparing, mending)
        first: UUID | None = UUID(int=0)
        while self._sharing is not None and first is not None:
            keys, first = self._differing(connection, self._sharing, first)
            yield partial(self._share_again, connection, self._sharing, keys)

    def _records(
        self, connection: Connection, comparing: TableComparison, log_audit: LogAudit, mending: RowRepair, span: Span
    ) -> int:
        with _snapshot(connection):
            stands = comparing.fingerprint(span), log_audit.sums(span)
            if self._right.get(span) == stands:
                return 0
            agrees = log_audit.agrees(span)
            found = comparing.records(span)
        told = LogFound() if agrees else log_audit.look(span)
        self._unfounded |= told.unfounded
        if not found.suspects and not told.differences:
            # If the sums differ all the same, a statement is on its way: the next pass checks the slice again.
            if agrees:
                self._right[span] = stands
            return 0
        spoiled = [
            RowDifference(
                relation="record_history", difference="CHANGED", record_id=UUID(bytes=record_id), province=province,
                department=department,
            )
            for record_id, province, department in found.expected.unsound.select("record_id", "province", "department").rows()
        ]  # fmt: skip
        self._note(connection, (*found.differences, *spoiled, *told.differences))
        for start in range(0, len(told.ids), _MOST):
            self._mended_as(mending.records(told.ids[start : start + _MOST], read=told.read))
        suspects = sorted(found.suspects - set(told.ids))
        for start in range(0, len(suspects), _MOST):
            self._mended_as(mending.records(suspects[start : start + _MOST]))
        return len(found.differences) + len(spoiled) + len(told.differences)

    def _mended_as(self, done: MendedRows) -> None:
        self._hopeless |= done.beyond
        self._told(done)

    def _entities(self, connection: Connection, comparing: TableComparison, mending: RowRepair, span: Span) -> int:
        with _snapshot(connection):
            found = comparing.credit_views(span)
        if found:
            self._note(connection, found)
            usccs = sorted({row.uscc for row in found if row.uscc is not None})
            for start in range(0, len(usccs), _MOST):
                self._told(mending.entities(usccs[start : start + _MOST]))
        return len(found)

    def _refused(self, quarantine: QuarantineAudit) -> int:
        found, mended = quarantine.look()
        if found:
            self._count(found)
            self._told(MendedRows({"LOG": mended}))
        return len(found)

    def _digests(self, connection: Connection, comparing: TableComparison, mending: RowRepair) -> int:
        with _snapshot(connection):
            wrong = comparing.foreign_digests()
        found = [
            RowDifference(relation="foreign_digest", difference="CHANGED", **{k: row[k] for k in ("province", "partition", "domain")})
            for row in wrong
        ]  # fmt: skip
        if found:
            self._note(connection, found)
            self._told(mending.digests())
        return len(found)

    def _shared(self, connection: Connection, comparing: TableComparison, mending: RowRepair) -> int:
        with while_serving(connection, self._generation) as ours:
            return self._compare_shared(connection, comparing, mending) if ours else 0

    def _compare_shared(self, connection: Connection, comparing: TableComparison, mending: RowRepair) -> int:
        with _snapshot(connection):
            found = comparing.shared(self._generation)
        if found:
            self._note(connection, found)
            self._told(mending.shared(found, partitions=self._partitions))
        return len(found)

    def _differing(self, connection: Connection, sharing: Reshares, first: UUID) -> tuple[pl.DataFrame, UUID | None]:
        with connection.transaction():
            return sharing.differing(connection, first, SLICE)

    def _share_again(self, connection: Connection, sharing: Reshares, keys: pl.DataFrame) -> int:
        # A day that began, or a registration that moved, makes the same difference: no damage, and so not stored.
        with while_serving(connection, self._generation) as ours:
            if not (ours and keys.height):
                return 0
            with connection.transaction():
                sharing.decide_again(connection, keys)
            self._on_commit()
        return keys.height

    def _note(self, connection: Connection, found: Sequence[RowDifference]) -> None:
        note(connection, found)
        self._count(found)

    def _count(self, found: Sequence[RowDifference]) -> None:
        counted = Counter((row.relation, row.difference) for row in found)
        self._found.add({key: float(rows) for key, rows in counted.items()})
        for (relation, difference), rows in sorted(counted.items()):
            log.error(
                "audit.differs", relation=relation, difference=difference, rows=rows, see="xinliu exchange differences"
            )

    def _told(self, done: MendedRows) -> None:
        self._mended.add({(how.lower(),): float(rows) for how, rows in done.rows.items()})
        for how, rows in done.rows.items():
            if rows:
                log.warning("audit.mended", rows=rows, how=how)
        if done.beyond:
            log.error("audit.beyond_mending", records=len(done.beyond), see="xinliu exchange differences --open")
        self._on_commit()

    def _set_up(self, connection: Connection) -> None:
        self._comparing = TableComparison(connection, own=self._own, partitions=self._partitions)
        self._log_audit = LogAudit(connection, self._log, own=self._own)
        lower_backend(connection)
        self._right.clear()


class Load:
    """The load that lets the audit take its time: nobody has touched a row, or the view has much to do."""

    def __init__(self) -> None:
        self._counted: tuple[Any, ...] | None = None
        self._touched = True
        self._looked_at, self._folded = 0.0, 0
        self._busy = False

    def begins(self, connection: Connection) -> None:
        """Begin a pass: rows touched during the last pass are checked at full speed once more."""
        counted = self._counts(connection)
        self._touched, self._counted = counted != self._counted, counted

    def quiet(self, connection: Connection) -> bool:
        """Return whether the audit may take its time; read again every second at most."""
        waited = monotonic() - self._looked_at
        if waited > _LOOK:
            row = connection.execute("SELECT COALESCE(sum(next_offset), 0)::bigint FROM position").fetchone()
            assert row is not None
            self._busy = (row[0] - self._folded) / waited > BUSY
            self._looked_at, self._folded = monotonic(), row[0]
            self._touched = self._touched or self._counts(connection) != self._counted
        return self._busy or not self._touched

    @staticmethod
    def _counts(connection: Connection) -> tuple[Any, ...]:
        return connection.execute(sql("integrity/compare/counters")).fetchone() or ()


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _estimate(connection: Connection) -> int:
    row = connection.execute(
        "SELECT GREATEST(reltuples, pg_stat_get_live_tuples(oid)) FROM pg_class WHERE oid = 'record'::regclass"
    ).fetchone()
    assert row is not None
    return max(int(row[0]), 0)


def record_spans(records: int) -> Iterator[Span]:
    """Yield slices of all record ids, by leading bits, of about SLICE of so many records each."""
    bits = min(max(0, (records // SLICE).bit_length()), BITS)
    width = 1 << (128 - bits)
    for bucket in range(1 << bits):
        yield UUID(int=bucket * width), UUID(int=(bucket + 1) * width - 1)
