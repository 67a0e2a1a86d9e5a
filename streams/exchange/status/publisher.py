"""What this province tells the others of itself on `status.<own>`: how far it has published, and applied what they share.

In a thread of its own beside the view worker; of several, the one that has the advisory lock tells. A status is the whole of
what is so, signed, told when something changed (at most once a second) and every 5 seconds at least: whoever hears nothing
for longer knows that nothing is known, and takes it for no good news.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import psycopg
from confluent_kafka import KafkaException, Producer

from schemas.contracts.avro import schema_header
from schemas.contracts.codec import frame
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.keys import Signer
from schemas.exchange.topics import status_topic
from schemas.servers.kafka import Cluster
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.exchange.status.arrivals import Arrived, behind
from streams.exchange.status.recorder import StatusRecorder
from streams.projection.serving import serves
from streams.runtime.service import go_round

__all__ = ["RECORD", "StatusTeller"]

Connection = psycopg.Connection[tuple[Any, ...]]
DifferingSet = Mapping[str, Any]
"""A set that differs, as schemas/avro/ExchangeStatus.avsc has it."""

RECORD = "xinliu.ExchangeStatus"

_ADVISORY_LOCK = 0x78696E6C6975_01
_AT_MOST = 1.0
"""Seconds between two statuses where something changes all the time."""
_AT_LEAST = 5.0
"""Seconds after which the same is told again."""
_TIMEOUT = 10.0
_MILLISECOND = timedelta(milliseconds=1)


class StatusTeller:
    """Tells how far this province is.

    `arrived` is asked for the last message of every other province that this cluster has, by province and partition.
    `differing` is asked, in the snapshot of the status (REPEATABLE READ, read only), which sets the others are to push again.
    """

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
        self._database = database
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
                    # A status that the broker would take only later says what is not so any more.
                    "message.timeout.ms": int(_TIMEOUT * 1000),
                }
            )
        )
        self._connection: Connection | None = None
        self._leads = False
        self._last: Mapping[str, Any] | None = None
        self._last_made_at = datetime(1970, 1, 1, tzinfo=UTC)
        self._told_at = -_AT_LEAST
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` after the status that is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Tell until stopped; waits, with a message, for servers that do not answer."""
        go_round(self._go_round, self._stopped, waits="status.waits", close=self.close, retried=self._recorder.retried)

    def _go_round(self) -> float:
        self.tell()
        return _AT_MOST

    def tell(self) -> bool:
        """Tell a status where it is due; false where it is not, or another worker tells.

        Raises psycopg.OperationalError or Retryable where a server does not answer; nothing is known then to have been told.
        """
        connection = self._connected()
        if not self._leads and serves(connection, self._generation):
            self._lead(connection)
        if not self._leads:
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
        told = self._status(rows, wanted)
        if told == self._last and monotonic() - self._told_at < _AT_LEAST:
            return False
        self._publish(told)
        self._last, self._told_at = told, monotonic()
        self._recorder.told()
        return True

    def close(self) -> None:
        """Close the connection, and with it give up the lead; the next status opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._leads, self._last = None, False, None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            self._leads = False
        return self._connection

    def _lead(self, connection: Connection) -> None:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()
        self._leads = bool(row and row[0])

    def _go_on(self, connection: Connection) -> None:
        # What was told last, whoever told it: a clock that was set back must not make the next one look like a replay.
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

    def _publish(self, told: Mapping[str, Any]) -> None:
        made_at = max(self._now(), self._last_made_at + _MILLISECOND)
        body = self._signer.record(RECORD, {**told, "made_at": made_at})
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
