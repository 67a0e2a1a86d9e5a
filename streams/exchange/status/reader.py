"""What the provinces say of themselves on `status.<p>`, projected into PostgreSQL once it is known to be theirs.

Every province's topic is read, our own among them: what we do not hear of ourselves, the others do not hear either. Only <p>
speaks on `status.<p>`, signed; what is older than what it said before is a replay and changes nothing. What cannot be believed
is counted, written down and alarms; it never stops anything, and whoever sends only such is silent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from psycopg.types.json import Jsonb

from schemas.contracts.avro import named_by, parsed
from schemas.contracts.codec import NotDecodable, decode, unframe
from schemas.contracts.registry import Registry
from schemas.errors import Rejected, Retryable
from schemas.exchange.keys import Keyring, NotBelieved
from schemas.exchange.topics import EXCHANGE_PARTITIONS, status_topic
from schemas.servers.kafka import Cluster
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.exchange.status.publisher import RECORD
from streams.exchange.status.recorder import StatusRecorder
from streams.kafka.ranges import Logs
from streams.projection.serving import serves
from streams.runtime.service import go_round

__all__ = ["Heard", "StatusReader", "examine"]

log = structlog.get_logger()

Connection = psycopg.Connection[tuple[Any, ...]]

_ADVISORY_LOCK = 0x78696E6C6975_02
_FROM_THE_END = 20
"""So many of the last statuses are looked at where a topic has never been read: only the newest counts anyway."""
_MOST = 500
_ROUND = 0.2
_AHEAD = timedelta(hours=1)
"""Further ahead of our broker's clock no status is believed: those of the right time would not count behind it."""


class NotTold(Rejected):
    """A status that cannot count; `code` says why: DAMAGED, SPEAKER, CONTENT, SIGNATURE, AHEAD or OLDER."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Heard:
    """What a portion of one province's topic came to: up to where it was read, the newest status, what was refused."""

    next_offset: int
    told: Mapping[str, Any] | None = None
    received_at: datetime | None = None
    refused: list[tuple[str, str, datetime]] = field(default_factory=list)
    """Code, reason and time of receipt."""


class StatusReader:
    """Reads the status of every province and keeps what it says.

    `wanted` is given the sets that a province asks us to push again (may be none any more), in the transaction that keeps its
    status: connection, who asks, when it said so, the sets as schemas/avro/ExchangeStatus.avsc has them. Every status says
    all that is wanted then, so that one that is missed is made good by the next.
    """

    def __init__(
        self,
        database: str,
        kafka: Cluster,
        registry: Registry,
        keyring: Keyring,
        *,
        province: str,
        provinces: Iterable[str],
        generation: int,
        recorder: StatusRecorder,
        principal: str = "view",
        wanted: Callable[[Connection, str, datetime, Sequence[Mapping[str, Any]]], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._keyring = keyring
        self._province = province
        self._provinces = {status_topic(one): one for one in provinces}
        self._generation = generation
        self._recorder = recorder
        self._wanted = wanted
        self._logs = Logs(kafka)
        self._topic_ids: dict[str, str] = {}
        self._consumer = Consumer(kafka.reader(principal, "status"))
        self._connection: Connection | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` after the portion that is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Read until stopped; waits, with a message, for servers that do not answer."""
        retried = self._recorder.retried
        go_round(self._go_round, self._stopped, waits="status.reader_waits", close=self._disconnect, retried=retried)
        self.close()

    def _go_round(self) -> float:
        self.read(1.0)
        return _ROUND

    def read(self, seconds: float) -> int:
        """Keep what arrives within that time and return how many statuses were looked at; 0 where another worker reads.

        Raises psycopg.OperationalError or Retryable where a server does not answer; everything is read again then.
        """
        connection = self._connected()
        if connection is None:
            self._stopped.wait(seconds)
            return 0
        try:
            messages = self._consumer.consume(_MOST, seconds)
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error.args[0].str()}", server="kafka") from error
        for message in messages:
            if (trouble := message.error()) is not None:
                raise Retryable(f"Kafka does not answer: {trouble.str()}", server="kafka")
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(str(message.topic()), []).append(message)
        for topic, found in by_topic.items():
            self._keep(connection, topic, found)
        return len(messages)

    def close(self) -> None:
        """Close the connection and end reading."""
        self._disconnect()
        self._consumer.close()

    def _keep(self, connection: Connection, topic: str, messages: Sequence[Message]) -> None:
        province = self._provinces[topic]
        with connection.transaction():
            row = connection.execute(
                "SELECT told_at FROM xinliu.peer_heard WHERE province = %s FOR UPDATE", (province,)
            ).fetchone()
            heard = self._examined(province, messages, row[0] if row else None)
            _, why, at = heard.refused[-1] if heard.refused else (None, None, None)
            values = {"province": province, "topic_id": self._topic_ids[topic], "next_offset": heard.next_offset}
            values |= {"refusals": len(heard.refused), "refused_at": at, "refusal": why}
            connection.execute(sql("exchange/status/read"), values)
            if heard.told is not None:
                self._project(connection, province, heard)
        self._recorder.refused(province, [code for code, _, _ in heard.refused])
        for code, why, _ in heard.refused:
            log.warning("status.refused", province=province, code=code, why=why)

    def _project(self, connection: Connection, province: str, heard: Heard) -> None:
        told = heard.told or {}
        values = {"province": province, "told_at": told["made_at"], "received_at": heard.received_at}
        connection.execute(sql("exchange/status/believed"), values)
        published = Jsonb([{**one, "made_at": one["made_at"].isoformat()} for one in told["published"]])
        connection.execute(sql("exchange/status/published"), {**values, "published": published})
        times = ("made_at", "applied_at")
        applied = [
            {**one, "origin": one["province"], **{name: one[name].isoformat() for name in times}}
            for one in told["applied"]
        ]
        connection.execute(sql("exchange/status/applied"), {**values, "applied": Jsonb(applied)})
        connection.execute(sql("exchange/status/acknowledged"), {"province": province})
        if province != self._province:
            sets = [one for one in told["wanted"] if one["province"] == self._province]
            self._wanted(connection, province, told["made_at"], sets)

    def _examined(self, province: str, messages: Sequence[Message], last: datetime | None) -> Heard:
        heard = Heard(int(messages[-1].offset() or 0) + 1)
        for message in messages:
            received_at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            try:
                told = examine(
                    self._registry,
                    self._keyring,
                    province,
                    message.value() or b"",
                    received_at,
                    named_by(message.headers()),
                )
                newest = heard.told["made_at"] if heard.told is not None else last
                if told["made_at"] == newest:
                    continue  # the same once more: a link may bring it twice
                if newest is not None and told["made_at"] < newest:
                    raise NotTold("OLDER", f"made at {told['made_at']}, and it has said more at {newest} already")
            except NotTold as refusal:
                heard.refused.append((refusal.code, _plain(f"{refusal} (offset {message.offset()})"), received_at))
            else:
                heard.told, heard.received_at = told, received_at
        return heard

    def _connected(self) -> Connection | None:
        """Return the connection of the one reader that leads; None while another does."""
        if self._connection is not None and not self._connection.closed:
            if serves(self._connection, self._generation):
                return self._connection
            self._disconnect()
        connection = connect(self._database, generation=self._generation, autocommit=True)
        try:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()
            if not row or not row[0] or not serves(connection, self._generation):
                connection.close()
                return None
            self._assign(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _assign(self, connection: Connection) -> None:
        facts = self._logs.describe(self._provinces)
        self._topic_ids = {topic: known.topic_id for topic, known in facts.items()}
        held = {
            province: (topic_id, offset)
            for province, topic_id, offset, _ in connection.execute(sql("exchange/status/heard")).fetchall()
        }
        places = []
        for (topic, _), (first, end) in self._logs.ranges([(topic, 0) for topic in facts]).items():
            topic_id, offset = held.get(self._provinces[topic], ("", -1))
            if topic_id != self._topic_ids[topic] or not first <= offset <= end:
                offset = max(first, end - _FROM_THE_END)
            places.append(TopicPartition(topic, 0, offset))
        self._consumer.assign(places)


def examine(
    registry: Registry,
    keyring: Keyring,
    province: str,
    value: bytes,
    received_at: datetime,
    named: bytes | None = None,
) -> Mapping[str, Any]:
    """Return the status that a message holds, once it is sure that `province` says so; `named` is its header SCHEMA.

    Raises NotTold where it cannot count, Retryable where the registry does not answer.
    """
    try:
        schema_id, body = unframe(value)
        writer = registry.believed(schema_id, named, lambda: (province,))
        if writer.name != RECORD:
            raise NotTold("DAMAGED", f"a {writer.name or 'record without a name'} is no status")
        told = decode(writer.parsed, body, parsed(RECORD))
    except NotDecodable as error:
        raise NotTold("DAMAGED", str(error)) from error
    if told["province"] != province:
        raise NotTold("SPEAKER", f"{told['province'][:40]!r} speaks on the topic of {province}")
    try:
        keyring.verify(RECORD, body, told, received_at=received_at)
    except NotBelieved as error:
        raise NotTold("SIGNATURE", str(error)) from error
    if told["made_at"] > received_at + _AHEAD:
        raise NotTold("AHEAD", f"made at {told['made_at']}: its clock is more than an hour ahead")
    if (wrong := _wrong_in(told)) is not None:
        raise NotTold("CONTENT", wrong)
    return told


def _plain(text: str) -> str:
    # Parts of it may be what somebody sent.
    return "".join(one if one.isprintable() else "\ufffd" for one in text)[:300]


def _wrong_in(told: Mapping[str, Any]) -> str | None:
    """Say what even a province's own word cannot be."""
    parts = [one["partition"] for one in told["published"]]
    places = [(one["province"], one["partition"]) for one in told["applied"]]
    asked = [(one["province"], one["partition"], one["domain"]) for one in told["wanted"]]
    numbers = [one[name] for one in (*told["published"], *told["applied"]) for name in ("sequence", "offset")]
    numbers += [one["behind"] for one in told["applied"]]
    names = [name for one in told["applied"] for name in (one["province"], one["topic_id"], *one["differs"])]
    names += [name for province, _, domain in asked for name in (province, domain)]
    faults = {
        "it names a partition twice": any(len({*all_of}) < len(all_of) for all_of in (parts, places, asked)),
        f"it names a partition beyond the {EXCHANGE_PARTITIONS} there are": any(
            not 0 <= part < EXCHANGE_PARTITIONS for part in (*parts, *(place[1] for place in (*places, *asked)))
        ),
        "it counts below 0": any(number < 0 for number in numbers),
        "it says that it applies its own changes": any(province == told["province"] for province, _ in places),
        "it holds a name that is none": any(not 0 < len(name) <= 64 or not name.isprintable() for name in names),
        "it is longer than any status": len(names) > 100_000,
    }
    return next((fault for fault, found in faults.items() if found), None)
