"""Projects `operations` into xinliu.audit beside the view worker, one worker of a province at a time, and anchors its head.

The head (sequence, hash, offset) goes back to `operations` as an event: whoever rewrites the table would have to rewrite the
topic, too, which nobody but the brokers' administrator can.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any

import psycopg
import structlog

from schemas.connection import Connection
from schemas.errors import Retryable, UsageError
from schemas.operations import Operation, OperationsWriter
from schemas.registry import Registry
from schemas.store import connect, sql
from streams.audit.chain import BEGINNING, HEAD, Entry
from streams.audit.examining import examined
from streams.audit.log import Message, OperationsLog
from streams.instruments import Instruments
from streams.metrics import OPERATIONS_AUDITED, OPERATIONS_FINDINGS
from streams.rounds import go_round

__all__ = ["Auditor"]

log = structlog.get_logger()

Store = psycopg.Connection[Any]

_ADVISORY_LOCK = 0x78696E6C_61756474
"""One auditor a database."""
_STANDBY = 5.0
_VERIFIED_EVERY = 3_600.0
"""Seconds from one time that all of it is held against the topic to the next."""
_EVERY, _SECONDS = 100, 10.0
"""The head is anchored after so many entries, and so many seconds after one that no head covers."""


@dataclass
class _Head:
    """The last entry, and how many stand behind the last head."""

    sequence: int
    hash: str
    offset: int
    news: int
    since: float


class Auditor:
    """Work in a thread of its own; it waits, with a message, for servers that do not answer, and never stops the view."""

    def __init__(
        self,
        connection: Connection,
        *,
        every: int = _EVERY,
        seconds: float = _SECONDS,
        shown: Instruments | None = None,
    ) -> None:
        self._connection, self._every, self._seconds = connection, every, seconds
        self._audited = (shown or Instruments("view")).latest(OPERATIONS_AUDITED)
        self._findings = (shown or Instruments("view")).latest(OPERATIONS_FINDINGS)
        self._verified_at = -_VERIFIED_EVERY
        self._audited.replace({(): time()})
        self._by = f"view@{socket.gethostname()}"
        self._registry: Registry | None = None  # its own: that of the work is in use by another thread
        self._store: Store | None = None
        self._log: OperationsLog | None = None
        self._writer: OperationsWriter | None = None
        self._head = _Head(0, BEGINNING, -1, 0, 0.0)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Work until stopped; whatever is wrong with the audit, a right that is missing among it, must not keep the view from working."""
        wrong = (psycopg.Error, Retryable, UsageError)
        go_round(self._go_round, self._stopped, waits="operations.audit_waits", close=self.close, passing=wrong)

    def _go_round(self) -> float:
        return 0.0 if self.step() else _STANDBY

    def stop(self) -> None:
        """End `run` after the step that is under way."""
        self._stopped.set()

    def close(self) -> None:
        """Close what is open; the next step opens it anew."""
        for opened in (self._log, self._store, self._registry):
            if opened is not None:
                opened.close()
        self._log = self._store = self._registry = self._writer = None

    def step(self, *, wait: float = 0.2) -> bool:
        """Project what was written since, and anchor where that is due; false where another worker does.

        Waits up to `wait` seconds for something to be written: so long takes a stop at most.
        """
        opened = self._opened()
        if opened is None:
            self._audited.replace({})
            self._findings.replace({})
            return False
        store, log_of = opened
        read = log_of.read(wait)
        self._project(store, read)
        if not read:
            self._audited.replace({(): time()})
        late = monotonic() - self._head.since >= self._seconds
        if self._head.news >= self._every or (self._head.news and late and not read):
            self._anchor()
        if not read and monotonic() - self._verified_at >= _VERIFIED_EVERY:
            self.verify()
        return True

    def verify(self) -> None:
        """Hold all entries against the topic, and show how many findings there are."""
        verdict = examined(self._connection)
        for finding in verdict.findings:
            log.error(
                "audit.finding", what=finding.what, entry=finding.sequence, text=finding.text, see="xinliu audit verify"
            )
        self._findings.replace({(): float(len(verdict.findings))})
        self._verified_at = monotonic()

    def _project(self, store: Store, read: Sequence[Message]) -> None:
        if not read:
            return
        head, rows = self._head, []
        for message in read:
            entry = Entry.following(head.sequence + 1, head.hash, message.event)
            rows.append(entry.to_row())
            news = 0 if entry.event.kind == HEAD else head.news + 1
            head = _Head(entry.sequence, entry.hash, entry.event.offset, news, head.since if head.news else monotonic())
        with store.transaction(), store.cursor() as cursor:
            cursor.executemany(sql("trail/add"), rows)
        self._head = head

    def _anchor(self) -> None:
        assert self._writer is not None
        head = self._head
        detail = {"sequence": head.sequence, "hash": head.hash, "offset": head.offset}
        self._writer.write(Operation(HEAD, None, datetime.now(UTC), self._by, "the audit stood here", detail))
        head.news = 0  # what comes until the event itself is read counts anew

    def _opened(self) -> tuple[Store, OperationsLog] | None:
        if self._store is None or self._log is None:
            self.close()
            store: Store = connect(self._connection.database.get_secret_value(), autocommit=True)
            row: Any = store.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()
            if not row[0]:
                store.close()
                return None
            self._store = store
            self._registry = Registry(self._connection.registry)
            self._log = OperationsLog(self._connection.kafka, self._registry, principal="view")
            self._writer = OperationsWriter(self._connection.kafka, self._registry)
            self._resume(store, self._log)
        return self._store, self._log

    def _resume(self, store: Store, log_of: OperationsLog) -> None:
        row: Any = store.execute(sql("trail/head")).fetchone()
        if row is None:
            self._head = _Head(0, BEGINNING, -1, 0, monotonic())
            return
        sequence, topic_id, offset, digest, news = row
        self._head = _Head(int(sequence), str(digest), int(offset), int(news), monotonic())
        if topic_id != log_of.topic_id:
            log.error("audit.topic_made_anew", was=topic_id, now=log_of.topic_id, see="xinliu audit verify")
            return
        if offset >= log_of.end:
            # Going on would give events to come the places of those that are gone.
            raise Retryable(
                f"the audit stands at {offset}, behind the end of operations ({log_of.end}): see `xinliu audit verify`"
            )
        if offset + 1 < log_of.first:
            log.error("audit.events_are_gone", offsets=f"{offset + 1} to {log_of.first - 1}", see="xinliu audit verify")
        log_of.go_to(max(int(offset) + 1, log_of.first))
