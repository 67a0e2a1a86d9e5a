"""The audit: goes through the tables without end, and finds rows that are not what they follow from.

Rows of `record` are held against history, slice by slice, each in a snapshot of its own; what is counted of entities, and the
digests of what other provinces share, against the rows. What differs is written down (row_difference), counted, logged, and
mended (streams/exchange/mending.py). It works a bounded share of the time, whatever there is to look at.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic, time
from typing import Protocol
from uuid import UUID

import polars as pl
import structlog

from schemas.store import connect
from streams.exchange.comparing import Comparing, Connection, RowDifference, Span
from streams.exchange.mending import Mended, Mending, note
from streams.exchange.rereading import Log
from streams.instruments import Instruments
from streams.metrics import AUDIT_BEYOND, AUDIT_DIFFERENCES, AUDIT_MENDED, AUDIT_PASSED
from streams.rounds import go_round
from streams.serving import while_serving

__all__ = ["Auditor", "Reshares", "record_spans"]

log = structlog.get_logger()

SHARE = 0.1
"""Of the time that it works, at most; the rest it waits."""
LONGEST_PAUSE = 2.0
"""Seconds after a step, at most: one that waited for a lock or for the log has not worked all that time, and what is wrong
must be found within a minute."""
SLICE = 4_096
"""Records of a slice, about: some 50 ms of work."""
_SHORTEST_PASS = 5.0
_MOST = 500
"""Records that one transaction mends: it holds up the view for some 50 ms."""
_RELATIONS = ("record", "record_history", "credit_view", "foreign_digest", "shared_record", "shared_digest")
_LOCK = 0x7075646974  # "audit" in the tables: one worker of a generation at a time


class Reshares(Protocol):
    """The rule of what is shared (streams.exchange.sharing.Sharing), as the audit asks it about all of our own records."""

    def differing(self, connection: Connection, first: UUID, limit: int) -> tuple[pl.DataFrame, UUID | None]:
        """Return the keys of some records, from one on, that are not shared as they should be, and where to go on."""

    def decide_again(self, connection: Connection, keys: pl.DataFrame) -> object:
        """Decide about these records as they are now, in a transaction of its own."""


class Auditor:
    """Audits one generation in a thread of its own, and mends what it finds.

    `own` is the province, `partitions` how many `accepted` has, `log` the log of truth; `on_commit` is called where the relay
    has something to publish.
    """

    def __init__(
        self,
        database: str,
        log: Log,
        *,
        own: str,
        partitions: int,
        generation: int,
        instruments: Instruments | None = None,
        on_commit: Callable[[], None] = lambda: None,
        sharing: Reshares | None = None,
        share: float = SHARE,
    ) -> None:
        self._sharing = sharing
        self._database, self._log, self._own, self._partitions = database, log, own, partitions
        self._generation, self._on_commit, self._share = generation, on_commit, share
        shown = instruments or Instruments("view")
        self._found, self._mended = shown.total(AUDIT_DIFFERENCES), shown.total(AUDIT_MENDED)
        self._beyond, self._passed = shown.latest(AUDIT_BEYOND), shown.latest(AUDIT_PASSED)
        # An alert asks whether these grow, and a series that begins at 1 has not grown.
        self._found.add({(relation, how): 0.0 for relation in _RELATIONS for how in ("MISSING", "EXTRA", "CHANGED")})
        self._connection: Connection | None = None
        self._comparing: Comparing | None = None
        self._right: dict[Span, tuple[str, str]] = {}
        self._hopeless = set[UUID]()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` after the slice that is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Go round until stopped; waits, with a message, for a server that does not answer."""
        go_round(self._go_round, self._stopped, waits="audit.waits", close=self.close)

    def _go_round(self) -> float:
        began = monotonic()
        self.pass_through(self._pause)
        return max(0.0, _SHORTEST_PASS - (monotonic() - began))

    def close(self) -> None:
        """Close the connection; the next pass opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._comparing = None

    def _pause(self, worked: float) -> None:
        self._stopped.wait(min(worked * (1 - self._share) / self._share, LONGEST_PAUSE))

    def pass_through(self, pause: Callable[[float], None] = lambda worked: None) -> int:
        """Look at everything once and mend what differs; return how many rows did. `pause` is told of each step's seconds.

        Nothing happens where another worker does it.
        """
        connection, comparing = self._connected()
        if not self._first(connection):
            return 0
        mending = Mending(connection, comparing, self._log, own=self._own)
        found = 0
        for step in self._steps(connection, comparing, mending):
            began = monotonic()
            found += step()
            if self._stopped.is_set():
                return found
            pause(monotonic() - began)
        self._beyond.replace({(): float(len(self._hopeless))})
        self._passed.replace({(): time()})
        return found

    def _steps(self, connection: Connection, comparing: Comparing, mending: Mending) -> Iterator[Callable[[], int]]:
        self._hopeless = set()
        for span in record_spans(_estimate(connection)):
            yield partial(self._records, connection, comparing, mending, span)
        after = None
        while True:
            span = comparing.entity_span(after, SLICE)
            yield partial(self._entities, connection, comparing, mending, span)
            after = span[1]
            if after == "\U0010ffff":
                break
        yield partial(self._digests, connection, comparing, mending)
        yield partial(self._shared, connection, comparing, mending)
        first: UUID | None = UUID(int=0)
        while self._sharing is not None and first is not None:
            keys, first = self._differing(connection, self._sharing, first)
            yield partial(self._share_again, connection, self._sharing, keys)

    def _records(self, connection: Connection, comparing: Comparing, mending: Mending, span: Span) -> int:
        with _snapshot(connection):
            stands = comparing.fingerprint(span)
            if self._right.get(span) == stands:
                return 0
            found = comparing.records(span)
        if not found.suspects:
            self._right[span] = stands
            return 0
        spoiled = [
            RowDifference(
                relation="record_history", difference="CHANGED", record_id=UUID(bytes=record_id), province=province,
                department=department,
            )
            for record_id, province, department in found.expected.unsound.select("record_id", "province", "department").rows()
        ]  # fmt: skip
        self._note(connection, (*found.differences, *spoiled))
        suspects = sorted(found.suspects)
        for start in range(0, len(suspects), _MOST):
            done = mending.records(suspects[start : start + _MOST])
            self._hopeless |= done.beyond
            self._told(done)
        return len(found.differences) + len(spoiled)

    def _entities(self, connection: Connection, comparing: Comparing, mending: Mending, span: Span) -> int:
        with _snapshot(connection):
            found = comparing.credit_views(span)
        if found:
            self._note(connection, found)
            usccs = sorted({row.uscc for row in found if row.uscc is not None})
            for start in range(0, len(usccs), _MOST):
                self._told(mending.entities(usccs[start : start + _MOST]))
        return len(found)

    def _digests(self, connection: Connection, comparing: Comparing, mending: Mending) -> int:
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

    def _shared(self, connection: Connection, comparing: Comparing, mending: Mending) -> int:
        with while_serving(connection, self._generation) as ours:
            return self._compare_shared(connection, comparing, mending) if ours else 0

    def _compare_shared(self, connection: Connection, comparing: Comparing, mending: Mending) -> int:
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
        # A day that began, or a registration that moved, makes the same difference: no damage, and so noted nowhere.
        with while_serving(connection, self._generation) as ours:
            if not (ours and keys.height):
                return 0
            with connection.transaction():
                sharing.decide_again(connection, keys)
            self._on_commit()
        return keys.height

    def _note(self, connection: Connection, found: Sequence[RowDifference]) -> None:
        note(connection, found)
        counted = Counter((row.relation, row.difference) for row in found)
        self._found.add({key: float(rows) for key, rows in counted.items()})
        for (relation, difference), rows in sorted(counted.items()):
            log.error(
                "audit.differs", relation=relation, difference=difference, rows=rows, see="xinliu exchange differences"
            )

    def _told(self, done: Mended) -> None:
        self._mended.add({(how.lower(),): float(rows) for how, rows in done.rows.items()})
        for how, rows in done.rows.items():
            if rows:
                log.warning("audit.mended", rows=rows, how=how)
        if done.beyond:
            log.error("audit.beyond_mending", records=len(done.beyond), see="xinliu exchange differences --open")
        self._on_commit()

    def _connected(self) -> tuple[Connection, Comparing]:
        if self._connection is None or self._comparing is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            self._comparing = Comparing(self._connection, own=self._own, partitions=self._partitions)
            self._right.clear()
        return self._connection, self._comparing

    def _first(self, connection: Connection) -> bool:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(%s, %s)", (_LOCK & 0x7FFFFFFF, self._generation)
        ).fetchone()
        return bool(row and row[0])


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
    bits = max(0, (records // SLICE).bit_length())
    width = 1 << (128 - bits)
    for bucket in range(1 << bits):
        yield UUID(int=bucket * width), UUID(int=(bucket + 1) * width - 1)
