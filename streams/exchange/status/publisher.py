"""The status of this province on `status.<own>`: how far it has published its records, and applied those of the others.

It is published in a thread of its own beside the view worker; one of several leads. A status is complete and signed. It
is published on a change (at most once a second) and every 5 seconds at least: silence for longer means that nothing is
known, which is no good news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from confluent_kafka import KafkaException, Producer

from schemas.contracts.avro import schema_header
from schemas.contracts.codec import frame
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.keys import Signer
from schemas.exchange.topics import status_topic
from schemas.servers.kafka import Cluster
from schemas.store.sql_files import sql
from streams.exchange.status.arrivals import Arrived, behind
from streams.exchange.status.recorder import StatusRecorder
from streams.projection.serving import serves
from streams.runtime.locks import STATUS, Lead
from streams.runtime.service import Connection, Service

__all__ = ["RECORD", "StatusPublisher"]

DifferingSet = Mapping[str, Any]
"""A set that differs, as schemas/avro/ExchangeStatus.avsc has it."""

RECORD = "xinliu.ExchangeStatus"

_AT_MOST = 1.0
"""Seconds between two statuses if something changes all the time."""
_AT_LEAST = 5.0
"""Seconds after which the same status is published again."""
_TIMEOUT = 10.0
_MILLISECOND = timedelta(milliseconds=1)


class StatusPublisher(Service):
    """Publishes the status of this province.

    `arrived` returns the last message of every other province that this cluster has, by province and partition.
    `differing` returns, in the snapshot of the status (REPEATABLE READ, read only), the sets that the others must push
    again.
    """

    waits = "status.waits"

    def __init__(
        self,
        database: str,
        kafka: Cluster,
        registry: Registry,
        signer: Signer,
        *,
        province: str,
        generation: int,
        recorder: StatusRecorder,
        arrived: Callable[[], Mapping[tuple[str, int], Arrived]] = dict,
        differing: Callable[[Connection], Sequence[DifferingSet]] = lambda _: (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(database, generation=generation, retried=recorder.retried)
        self.lead = Lead(STATUS)
        self._registry = registry
        self._signer = signer
        self._province = province
        self._generation = generation
        self._recorder = recorder
        self._arrived = arrived
        self._differing = differing
        self._now = now
        self._producer = Producer(
            kafka.client(
                {
                    "enable.idempotence": True,
                    "acks": "all",
                    "partitioner": "murmur2_random",
                    # A status that the broker takes only later is out of date.
                    "message.timeout.ms": int(_TIMEOUT * 1000),
                }
            )
        )
        self._last: Mapping[str, Any] | None = None
        self._last_made_at = datetime(1970, 1, 1, tzinfo=UTC)
        self._published_at = -_AT_LEAST

    def _round(self) -> float:
        self.tell()
        return _AT_MOST

    def tell(self) -> bool:
        """Publish a status if it is due; false if it is not, or another worker leads.

        Raises psycopg.OperationalError or Retryable if a server does not answer; the status may then be published or
        not.
        """
        connection = self._connected()
        # A worker of another generation must not take the lead, not even for a moment.
        if not (self.lead.held or serves(connection, self._generation)) or not self._leads():
            self._recorder.stands_by()
            return False
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            ours = serves(connection, self._generation)
            if ours:
                rows = connection.execute(sql("exchange/status/tell")).fetchall()
                self._go_on(connection)
                wanted = [dict(one) for one in self._differing(connection)]
                self._recorder.looked(connection)
        if not ours:
            self.close()  # the worker of the generation that serves must be able to lead
            return False
        status = self._status(rows, wanted)
        if status == self._last and monotonic() - self._published_at < _AT_LEAST:
            return False
        self._publish(status)
        self._last, self._published_at = status, monotonic()
        self._recorder.told()
        return True

    def close(self) -> None:
        """Close the connection, and with it give up the lead; the next status opens another."""
        self._last = None
        super().close()

    def _go_on(self, connection: Connection) -> None:
        # The last status of any worker: a clock that was set back must not make the next one look like a replay.
        row = connection.execute(
            "SELECT told_at FROM xinliu.peer_heard WHERE province = %s AND told_at > %s",
            (self._province, self._last_made_at),
        ).fetchone()
        self._last_made_at = row[0] if row else self._last_made_at

    def _status(self, rows: Sequence[tuple[Any, ...]], wanted: list[dict[str, Any]]) -> dict[str, Any]:
        published, applied = list[dict[str, Any]](), list[dict[str, Any]]()
        arrived = self._arrived() if any(kind == "APPLIED" for kind, *_ in rows) else {}
        for kind, province, partition, topic_id, sequence, offset, made_at, applied_at, differs in rows:
            place = {"partition": partition, "sequence": sequence, "offset": offset, "made_at": made_at}
            if kind == "PUBLISHED":
                published.append(place)
                continue
            last = arrived.get((province, partition))
            waiting = behind(last, topic_id, sequence, offset) if last is not None else 0
            about = {"province": province, "topic_id": topic_id, "applied_at": applied_at, "differs": differs}
            applied.append({**place, **about, "behind": waiting})
        return {"province": self._province, "published": published, "applied": applied, "wanted": wanted}

    def _publish(self, status: Mapping[str, Any]) -> None:
        made_at = max(self._now(), self._last_made_at + _MILLISECOND)
        body = self._signer.record(RECORD, {**status, "made_at": made_at})
        refused: list[str] = []
        try:
            self._producer.produce(
                status_topic(self._province),
                frame(self._registry.schema_id(RECORD), body),
                self._province.encode(),
                partition=0,
                headers=[schema_header(RECORD)],
                on_delivery=lambda error, _: refused.append(error.str()) if error is not None else None,
            )
            left = self._producer.flush(_TIMEOUT + 5)
        except (KafkaException, BufferError) as error:
            raise Retryable(f"Kafka does not take a status: {error}", server="kafka") from error
        if left or refused:
            raise Retryable(f"Kafka did not take a status: {refused[0] if refused else 'time-out'}", server="kafka")
        self._last_made_at = made_at
