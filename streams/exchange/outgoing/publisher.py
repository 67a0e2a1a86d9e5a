"""The publisher: publishes the view's outbox rows for the other provinces on `exchange.<own>`.

A round is one snapshot of PostgreSQL: the oldest entries, and, if no others wait, the riders' messages and the digests
of all shared records. It is written as one Kafka transaction (signed_log.py); then the entries are deleted. A publisher
that dies in between writes them again, which changes nothing anywhere: rank decides. One publisher leads, and Kafka
fences one that has lost the lead without knowing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

import structlog
from psycopg.types.json import Jsonb

from schemas.contracts.registry import Registry
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.servers.kafka import Cluster
from schemas.store.sql_files import sql
from streams.exchange.carried.riders import OutgoingMessage, Rider
from streams.exchange.outgoing.duties import duties, owe
from streams.exchange.outgoing.messages import MessageBuilder, WaitingEntry
from streams.exchange.outgoing.recorder import PublisherRecorder
from streams.exchange.outgoing.recovery import relearn
from streams.exchange.outgoing.repush import RepushChoice, repush
from streams.exchange.outgoing.signed_log import Framed, SignedLog, Signs, WrittenCheckpoint
from streams.projection.serving import while_serving
from streams.runtime.crash_points import crash_point
from streams.runtime.locks import EXCHANGE, Lead
from streams.runtime.service import Connection, Service

__all__ = ["ExchangePublisher"]

log = structlog.get_logger()

_ROWS = 10
"""Outbox rows of a round, each of some hundred entries (sharing.PORTION)."""
_ROUND = 0.02
"""Seconds between two rounds, at least."""
_BESIDE_EVERY = 0.2
"""Seconds between two rounds that read the freshness of the domains and the riders' messages, at least."""
_BESIDE_SHARE = 5.0
"""A long reading is followed by a pause so many times as long: a full quarantine must not keep statements waiting."""
_SILENCE = 4.0
"""Seconds after which a partition gets a checkpoint although nothing is new: within 5 there is always one."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One snapshot of the store."""

    rows: list[int]
    """Outbox rows that are done with the round."""
    messages: list[tuple[WaitingEntry, Framed]]
    """Entries with their messages."""
    beside: list[tuple[Rider, Sequence[OutgoingMessage]]]
    complete: bool
    """Whether the outbox had no more than these rows."""
    domains: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


class ExchangePublisher(Service):
    """One publisher in a thread of its own, woken after every commit of the view and at least every second."""

    waits = "exchange.waits"

    def __init__(
        self,
        database: str,
        kafka: Cluster,
        registry: Registry,
        *,
        province: str,
        generation: int,
        signer: Signs,
        topic_id: str,
        recorder: PublisherRecorder,
        beside: Sequence[Rider] = (),
    ) -> None:
        super().__init__(database, generation=generation, retried=recorder.retried)
        self.lead, self._generation = Lead(EXCHANGE), generation
        self._recorder, self._beside = recorder, tuple(beside)
        self._open_log = partial(SignedLog, kafka, registry, province, signer, topic_id)
        self._framing = MessageBuilder(registry, province)
        self._registry, self._topic_id = registry, topic_id
        self._log: SignedLog | None = None
        self._freshness: dict[str, datetime | None] = {}
        self._ask_at = 0.0
        self._closed_at: dict[int, float] = {}

    def run(self) -> None:
        """Publish until stopped."""
        # After a failure the next leader, this one or another, completes or aborts Kafka's transaction, then reads back.
        super().run()
        self._recorder.ends()

    def _round(self) -> float:
        self._recorder.goes_round()
        self._await_news()
        while self.publish_some() and not self._stopped.is_set():
            self._recorder.goes_round()
        return _ROUND

    def publish_some(self) -> bool:
        """Publish one snapshot; return whether more may be waiting. Do nothing if another publisher leads, or another
        generation serves."""
        connection = self._connected()
        with while_serving(connection, self._generation) as ours:
            if ours:
                return self._publish(connection)
        if self.lead.held:
            self.close()  # the publisher of the generation that serves must be able to lead
            self._recorder.resigned()
        return False

    def _publish(self, connection: Connection) -> bool:
        if not self._leads():
            return False
        assert self._log is not None
        snapshot = self._look(connection)
        messages = [
            *(framed for _, framed in snapshot.messages),
            *(self._framing.beside(one) for _, sent in snapshot.beside for one in sent),
        ]
        now = monotonic()
        close = {message.partition for message in messages} | {
            partition
            for partition in range(EXCHANGE_PARTITIONS)
            if now - self._closed_at.get(partition, -_SILENCE) >= _SILENCE
        }
        if close:
            crash_point("publisher.before-publish")
            closed = self._log.append(messages, close=close, complete=snapshot.complete, domains=snapshot.domains)
            self._done(connection, snapshot, closed)
            self._closed_at |= dict.fromkeys(close, now)
        elif snapshot.rows:
            self._done(connection, snapshot, [])
        return not snapshot.complete

    def close(self) -> None:
        """Give up the lead; the next round opens everything anew."""
        if self._log is not None:
            self._log.close()
        self._log = None
        self._closed_at.clear()
        super().close()

    def _look(self, connection: Connection) -> _Snapshot:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            rows = self._framing.waiting(connection, _ROWS)
            ids = sorted({row.id for row in rows})
            messages = self._framing.messages(connection, rows)
            if len(ids) == _ROWS:
                return _Snapshot(ids, messages, [], complete=False)
            beside: list[tuple[Rider, Sequence[OutgoingMessage]]] = []
            if monotonic() >= self._ask_at:
                began = monotonic()
                # In one snapshot: a domain must not look fresher than the published state of its quarantine.
                self._freshness = dict(connection.execute(sql("exchange/outgoing/freshness")).fetchall())
                beside = [(one, due) for one in self._beside if (due := one.due(connection))]
                self._ask_at = monotonic() + max(_BESIDE_EVERY, _BESIDE_SHARE * (monotonic() - began))
            return _Snapshot(ids, messages, beside, complete=True, domains=self._domains(connection))

    def _domains(self, connection: Connection) -> Mapping[int, Sequence[Mapping[str, Any]]]:
        shared = {
            (partition, domain): (records, high, low)
            for partition, domain, records, high, low in connection.execute(
                "SELECT partition, domain, records, digest_hi, digest_lo FROM xinliu.shared_digest"
            )
        }
        by_partition: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for partition in range(EXCHANGE_PARTITIONS):
            held = {domain for place, domain in shared if place == partition}
            for domain in sorted(held | self._freshness.keys()):
                records, high, low = shared.get((partition, domain), (0, 0, 0))
                sums = {"domain": domain, "records": records, "digest_hi": high, "digest_lo": low}
                by_partition[partition].append({**sums, "data_as_of": self._freshness.get(domain)})
        return by_partition

    def _done(self, connection: Connection, snapshot: _Snapshot, closed: Sequence[WrittenCheckpoint]) -> None:
        with connection.transaction():
            connection.execute("DELETE FROM outbox WHERE id = ANY(%s)", (snapshot.rows,))
            for beside, sent in snapshot.beside:
                beside.sent(connection, sent)
            if closed:
                rows = [
                    {name: _plain(getattr(one, name)) for name in WrittenCheckpoint.__slots__}
                    | {"complete": snapshot.complete}
                    for one in closed
                ]
                connection.execute(sql("exchange/outgoing/closed"), {"rows": Jsonb(rows)})
                # Every province must apply a removal of content in time, counted from the checkpoint behind it.
                entries = [waiting.entry for waiting, _ in snapshot.messages]
                owe(connection, duties(entries, closed), max(one.made_at for one in closed))
        crash_point("publisher.done")
        self._recorder.published(len(snapshot.messages), sum(len(sent) for _, sent in snapshot.beside), closed)

    def _set_up(self, connection: Connection) -> None:
        connection.execute("SET idle_in_transaction_session_timeout = '60s'")

    def _begin(self, connection: Connection) -> None:
        known = connection.execute(
            'SELECT topic_id, partition, sequence, "offset", hash, made_at FROM xinliu.published_checkpoint'
        ).fetchall()
        remembered = {one.partition: one for one in (WrittenCheckpoint(*row) for row in known)}
        signed_log = self._open_log()
        signed_log.open(remembered)
        self._go_on(connection, signed_log, remembered)
        self._log = signed_log
        self._ask_at = 0.0
        log.info("exchange.leads", sequences={p: one.sequence for p, one in sorted(signed_log.chain.items())})

    def _go_on(
        self, connection: Connection, signed_log: SignedLog, remembered: Mapping[int, WrittenCheckpoint]
    ) -> None:
        """Make the database's shared records equal to those that the topic published."""
        relearnt = relearn(connection, self._registry, signed_log.told_since(remembered))
        if relearnt:
            log.warning("exchange.relearnt", records=relearnt, why="the topic told more than this database knew of")
        for partition, known in sorted(remembered.items()):
            if known.topic_id != self._topic_id:
                with connection.transaction():
                    records = repush(connection, RepushChoice(partition=partition))
                log.warning("exchange.begins_anew", partition=partition, told_again=records, was=known.topic_id)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
