"""The status reader: projects every province's `status.<p>` into PostgreSQL, after verification.

It reads every province's topic, our own too: a status of ours that we do not receive, the others do not receive either.
Only <p> may write to `status.<p>`, signed; a status older than an earlier one is a replay and changes nothing. A status
that fails verification is counted, stored and raises an alert. It never stops anything, and a province that sends only
such counts as silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

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
from schemas.store.sql_files import sql
from streams.exchange.status.publisher import RECORD
from streams.exchange.status.recorder import StatusRecorder
from streams.kafka.ranges import Logs
from streams.projection.serving import serves
from streams.runtime.locks import STATUS_READER, Lead
from streams.runtime.service import Connection, Service

__all__ = ["Heard", "StatusReader", "examine"]

log = structlog.get_logger()

_FROM_THE_END = 20
"""The number of last statuses to read from a topic that has never been read: only the newest counts anyway."""
_MOST = 500
_ROUND = 0.2
_AHEAD = timedelta(hours=1)
"""A status further ahead of our broker's clock is refused: later ones with the right time would not count after it."""


class StatusRejected(Rejected):
    """A status that cannot count; `code` is the reason: DAMAGED, SPEAKER, CONTENT, SIGNATURE, AHEAD or OLDER."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Heard:
    """One portion of a province's topic: the next offset, the newest status, the refused statuses."""

    next_offset: int
    told: Mapping[str, Any] | None = None
    received_at: datetime | None = None
    refused: list[tuple[str, str, datetime]] = field(default_factory=list)
    """Code, reason and time of receipt of each."""


class StatusReader(Service):
    """Reads and stores the status of every province.

    `wanted` gets the sets that a province asks us to push again (possibly none any more), in the transaction that
    stores its status: connection, the province, the time of its status, the sets as schemas/avro/ExchangeStatus.avsc
    has them. Every status names all wanted sets, so that the next one makes good for a missed one.
    """

    waits = "status.reader_waits"

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
        super().__init__(database, generation=generation, retried=recorder.retried)
        self.lead = Lead(STATUS_READER)
        self._registry = registry
        self._keyring = keyring
        self._province = province
        self._provinces = {status_topic(one): one for one in provinces}
        self._generation = generation
        self._recorder = recorder
        self._wanted = wanted
        self._logs = Logs(kafka)
        self._topic_ids: dict[str, str] = {}
        self._open_consumer = partial(Consumer, kafka.reader(principal, "status"))
        self._consumer: Consumer | None = None

    def _round(self) -> float:
        self.read(1.0)
        return _ROUND

    def read(self, seconds: float) -> int:
        """Store the statuses that arrive within that time; return how many were read, 0 if another worker leads.

        Raises psycopg.OperationalError or Retryable if a server does not answer; everything is read again then.
        """
        connection = self._connected()
        serving = serves(connection, self._generation)
        if self.lead.held and not serving:
            self.close()  # the reader of the generation that serves must be able to lead
        if not (serving and self._leads()):
            self._stopped.wait(seconds)
            return 0
        assert self._consumer is not None
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
        """Close the consumer and the connection, and with it give up the lead; the next round opens others."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None
        super().close()

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
                    raise StatusRejected(
                        "OLDER", f"made at {told['made_at']}, and it has said more at {newest} already"
                    )
            except StatusRejected as refusal:
                heard.refused.append((refusal.code, _plain(f"{refusal} (offset {message.offset()})"), received_at))
            else:
                heard.told, heard.received_at = told, received_at
        return heard

    def _begin(self, connection: Connection) -> None:
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
        self._consumer = self._open_consumer()
        self._consumer.assign(places)


def examine(
    registry: Registry,
    keyring: Keyring,
    province: str,
    value: bytes,
    received_at: datetime,
    named: bytes | None = None,
) -> Mapping[str, Any]:
    """Verify that a message is a status of `province`, and return it; `named` is its header SCHEMA.

    Raises StatusRejected if it cannot count, Retryable if the registry does not answer.
    """
    try:
        schema_id, body = unframe(value)
        writer = registry.believed(schema_id, named, lambda: (province,))
        if writer.name != RECORD:
            raise StatusRejected("DAMAGED", f"a {writer.name or 'record without a name'} is no status")
        told = decode(writer.parsed, body, parsed(RECORD))
    except NotDecodable as error:
        raise StatusRejected("DAMAGED", str(error)) from error
    if told["province"] != province:
        raise StatusRejected("SPEAKER", f"{told['province'][:40]!r} speaks on the topic of {province}")
    try:
        keyring.verify(RECORD, body, told, received_at=received_at)
    except NotBelieved as error:
        raise StatusRejected("SIGNATURE", str(error)) from error
    if told["made_at"] > received_at + _AHEAD:
        raise StatusRejected("AHEAD", f"made at {told['made_at']}: its clock is more than an hour ahead")
    if (wrong := _wrong_in(told)) is not None:
        raise StatusRejected("CONTENT", wrong)
    return told


def _plain(text: str) -> str:
    # Parts of it may come from the sender.
    return "".join(one if one.isprintable() else "\ufffd" for one in text)[:300]


def _wrong_in(told: Mapping[str, Any]) -> str | None:
    """Return the fault that makes a status impossible, even if its province signed it."""
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
