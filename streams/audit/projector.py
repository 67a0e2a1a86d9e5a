"""The audit projector: projects operations into xinliu.audit beside the view worker, and anchors the heads of its
chains.

One worker of a province leads. The head of each topic's chain (sequence, hash, offset) goes back to operations as an
event of a worker: whoever rewrites the table would have to rewrite the topic, too, and only the brokers' administrator
can.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any

import psycopg
import structlog

from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.operations.event import Operation
from schemas.operations.log import TOPIC, OperationsWriter
from schemas.operations.topics import LOOK_AGAIN, topic_of
from schemas.servers.connection import Connection
from schemas.store.sql_files import sql
from streams.audit.chain import HEAD, AuditEntry, beginning_of
from streams.audit.log import OperationMessage, OperationsLog
from streams.audit.reader import examined
from streams.audit.verification import FINDINGS, AuditVerdict
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import OPERATIONS_AUDITED, OPERATIONS_FINDINGS, OPERATIONS_VERIFIED
from streams.runtime.locks import AUDIT, Lead
from streams.runtime.service import Connection as Store
from streams.runtime.service import Service

__all__ = ["AuditProjector"]

log = structlog.get_logger()

_STANDBY = 5.0
_VERIFY_FIRST, _VERIFY_EVERY = 60.0, 3_600.0
"""Seconds from the start to the first verification of the audit, and between two verifications."""
_EVERY, _SECONDS = 100, 10.0
"""The head is anchored after so many entries, and so many seconds after an entry that no head covers."""


@dataclass
class _Head:
    """The last entry of a topic's chain, and the number of entries after the last head that covers it."""

    sequence: int
    hash: str
    offset: int
    news: int
    since: float


class AuditProjector(Service):
    """Projects and anchors in a thread of its own. No fault of the audit, such as a missing right, may end the view."""

    waits = "operations.audit_waits"
    transient = (psycopg.Error, Retryable, UsageError)

    def __init__(
        self,
        connection: Connection,
        *,
        every: int = _EVERY,
        seconds: float = _SECONDS,
        shown: Instruments | None = None,
    ) -> None:
        super().__init__(connection.database.get_secret_value())
        self.lead = Lead(AUDIT)
        self._settings, self._every, self._seconds = connection, every, seconds
        shown = shown or Instruments("view")
        self._audited = shown.latest(OPERATIONS_AUDITED)
        self._audited.replace({(): time()})
        self._findings = shown.latest(OPERATIONS_FINDINGS)
        self._verified = shown.latest(OPERATIONS_VERIFIED)
        self._verified.replace({(): time()})
        self._verify_at = monotonic() + _VERIFY_FIRST
        self._by = f"view@{socket.gethostname()}"
        self._registry: Registry | None = None  # its own: another thread uses that of the work
        self._log: OperationsLog | None = None
        self._writer: OperationsWriter | None = None
        self._heads: dict[str, _Head] = {}
        self._heads_in = topic_of(connection.kafka)
        self._looked = 0.0

    def _round(self) -> float:
        if not self.step():
            return _STANDBY
        if monotonic() >= self._verify_at:
            self._verify_at = monotonic() + _VERIFY_FIRST  # if a server is away
            self.verify()
            self._verify_at = monotonic() + _VERIFY_EVERY
        return 0.0

    def close(self) -> None:
        """Close the clients and the connection; the next step opens others."""
        for opened in (self._log, self._registry):
            if opened is not None:
                opened.close()
        self._log = self._registry = self._writer = None
        super().close()

    def step(self, *, wait: float = 0.2) -> bool:
        """Project new operations, and anchor heads that are due; false if another worker leads.

        Wait up to `wait` seconds for an operation: a stop takes so long at most.
        """
        if not self._leads():
            for shown in (self._audited, self._findings, self._verified):
                shown.replace({})
            return False
        store, log_of = self._connected(), self._log
        assert log_of is not None
        read = log_of.read(wait)
        self._project(store, read)
        if not read:
            self._audited.replace({(): time()})
        for topic, head in self._heads.items():
            late = monotonic() - head.since >= self._seconds
            if head.news >= self._every or (head.news and late and not read):
                self._anchor(topic, head)
        if monotonic() - self._looked > LOOK_AGAIN:
            self._looked = monotonic()
            if set(log_of.topics_now()) != set(self._heads):
                self.close()  # a person has a new topic: the next step opens the log with it
        return True

    def verify(self) -> AuditVerdict:
        """Compare the audit with its topics, and operations with approvals; show the findings."""
        verdict = examined(self._settings)
        found = Counter[str](one.what for one in verdict.findings)
        found["NOT_BELIEVED"] = verdict.disbelieved
        self._findings.replace({(what,): float(found[what]) for what in {*FINDINGS, *found}})
        self._verified.replace({(): time()})
        for one in verdict.findings:
            log.error("audit.finding", what=one.what, text=one.text, see="xinliu audit verify")
        return verdict

    def _project(self, store: Store, read: Sequence[OperationMessage]) -> None:
        if not read:
            return
        heads, rows = dict(self._heads), []
        for message in read:
            head, topic = heads[message.topic], message.topic
            entry = AuditEntry.following(head.sequence + 1, head.hash, message.event, topic)
            rows.append(entry.to_row())
            # A head is no news, and a head of its own chain covers the entries before it.
            # A worker that writes elsewhere writes no head.
            a_head = entry.event.kind == HEAD and topic == self._heads_in
            own = a_head and json.loads(entry.event.detail).get("topic", TOPIC) == topic
            news = 0 if own else head.news + (not a_head)
            since = head.since if head.news else monotonic()
            heads[topic] = _Head(entry.sequence, entry.hash, entry.event.offset, news, since)
        with store.transaction(), store.cursor() as cursor:
            cursor.executemany(sql("audit/add"), rows)
        self._heads = heads

    def _anchor(self, topic: str, head: _Head) -> None:
        assert self._writer is not None
        detail: dict[str, Any] = {"sequence": head.sequence, "hash": head.hash, "offset": head.offset}
        if topic != TOPIC:
            detail["topic"] = topic
        self._writer.write(Operation(HEAD, None, datetime.now(UTC), self._by, "the audit stood here", detail))
        head.news = 0  # entries that come before the event itself is read count anew

    def _begin(self, connection: Store) -> None:
        self._registry = Registry(self._settings.registry)
        self._log = OperationsLog(self._settings.kafka, self._registry, principal="view")
        self._writer = OperationsWriter(self._settings.kafka, self._registry)
        self._resume(connection, self._log)

    def _resume(self, store: Store, log_of: OperationsLog) -> None:
        self._heads, begins = {}, {}
        for topic, span in log_of.spans.items():
            row: Any = store.execute(sql("audit/head"), {"topic": topic, "heads_in": self._heads_in}).fetchone()
            if row is None:
                self._heads[topic] = _Head(0, beginning_of(topic), -1, 0, monotonic())
                continue
            sequence, topic_id, offset, digest, news = row
            self._heads[topic] = _Head(int(sequence), str(digest), int(offset), int(news), monotonic())
            if topic_id != span.topic_id:
                log.error(
                    "audit.topic_made_anew", topic=topic, was=topic_id, now=span.topic_id, see="xinliu audit verify"
                )
                continue
            if offset >= span.end:
                # Later events would get the places of the events that are gone.
                raise Retryable(
                    f"the audit stands at {offset}, behind the end of {topic} ({span.end}): see `xinliu audit verify`"
                )
            if offset + 1 < span.first:
                gone = f"{offset + 1} to {span.first - 1}"
                log.error("audit.events_are_gone", topic=topic, offsets=gone, see="xinliu audit verify")
            begins[topic] = max(int(offset) + 1, span.first)
        log_of.go_to(begins)
