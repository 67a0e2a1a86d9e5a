"""The start of a link: both clusters' offsets, and the link's last record in each far partition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.errors import Retryable, UsageError, XinliuError
from schemas.exchange.topics import ORIGIN
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster

__all__ = ["OriginPlace", "PartitionRange", "Place", "Side", "Start", "TopicIds", "sides", "starts"]

Place = tuple[str, int]
"""Topic and partition; the same on both sides."""

_TIMEOUT = 5.0
_LOOK_BACK = 16
"""Records read at first to find a link's last one; more if none of them is a link's."""


@dataclass(frozen=True, slots=True)
class OriginPlace:
    """The place of a message in its origin's log, from the header ORIGIN."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    @classmethod
    def of(cls, message: Message) -> OriginPlace | None:
        """Return a message's origin; None if no link wrote it into this partition."""
        for name, value in message.headers() or ():
            if name == ORIGIN:
                try:
                    topic, topic_id, partition, offset = value.decode().split(" ")
                    found = cls(topic, topic_id, int(partition), int(offset))
                except (AttributeError, ValueError):
                    return None
                return found if (found.topic, found.partition) == (message.topic(), message.partition()) else None
        return None


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """One partition at its broker: the topic's id, the first stored offset, the offset behind the last."""

    topic_id: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Start:
    """A link's start in a partition of its own, and its events about that."""

    offset: int
    as_of: float | None = None
    """Unix time up to which everything is known to have arrived."""
    gap: tuple[int, int] | None = None
    """Offsets [from, to) that the own log has deleted and the far side never had."""
    renewed: str | None = None
    """Why the link pushes the partition from its beginning again."""
    lost: str | None = None
    """Why the link cannot push it at all."""


class Side:
    """One end of a link: a province's cluster, and the link's identity there.

    `group` is never joined, but the broker must allow the principal its name.
    """

    def __init__(self, which: str, province: str, cluster: Cluster, group: str) -> None:
        self.province = province
        self.cluster = cluster
        self._group = group
        self.kafka = f"{which} kafka"
        """The name in `Retryable.server`."""
        self.registry = f"{which} registry"

    def failure(self, error: KafkaError) -> XinliuError:
        """Return the error to raise for an error of this side's cluster."""
        found = self.cluster.failure(error)
        if isinstance(found, Retryable):
            return Retryable(f"{self.province}: {found}", server=self.kafka)
        return UsageError(f"{self.province}: {found}")

    def logs(self, topics: Collection[str]) -> dict[Place, PartitionRange]:
        """Return every partition of these topics.

        Raises UsageError if a topic is missing or may not be seen, Retryable if no broker answers.
        """
        admin = AdminClient(self.cluster.client({"socket.timeout.ms": 10_000, "log_level": 2}))
        described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_TIMEOUT)
        ids: dict[str, tuple[str, int]] = {}
        for name, future in described.items():
            try:
                told = future.result(_TIMEOUT + 5)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise UsageError(f"{self.province} has no topic {name}: run `xinliu topics apply` there") from error
                raise self.failure(error.args[0]) from error
            ids[name] = str(told.topic_id), len(told.partitions)
        places = [(name, partition) for name, (_, count) in ids.items() for partition in range(count)]
        first, end = (self._offsets(admin, places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return {place: PartitionRange(ids[place[0]][0], first[place], end[place]) for place in places}

    def _offsets(self, admin: AdminClient, places: Iterable[Place], spec: Any) -> dict[Place, int]:
        asked = admin.list_offsets({TopicPartition(*place): spec for place in places}, request_timeout=_TIMEOUT)
        try:
            return {(at.topic, at.partition): future.result(_TIMEOUT + 5).offset for at, future in asked.items()}
        except KafkaException as error:
            raise self.failure(error.args[0]) from error

    def topic_ids(self, topics: Collection[str]) -> TopicIds:
        """Return the poller of these topics' ids."""
        return TopicIds(AdminClient(self.cluster.client({"log_level": 2})), topics)

    def reader(self, **settings: Any) -> Consumer:
        """Return a consumer with partitions assigned by hand; it joins no group and commits nothing."""
        return Consumer(
            self.cluster.client(
                {
                    "group.id": self._group,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "socket.keepalive.enable": True,
                    "reconnect.backoff.max.ms": 2_000,
                    "log_level": 2,
                    **settings,
                }
            )
        )

    def last_of_links(self, logs: Mapping[Place, PartitionRange]) -> dict[Place, tuple[OriginPlace, float]]:
        """Return the last record that a link wrote to each partition that has one: its origin and its time here.

        Reads backwards: at first only the last few records, and finally all of them if none of those is a link's.
        """
        found: dict[Place, tuple[OriginPlace, float]] = {}
        wanted = {place: log for place, log in logs.items() if log.end > log.first}
        reader = self.reader()
        try:
            back = _LOOK_BACK
            while wanted:
                begins = {place: max(log.first, log.end - back) for place, log in wanted.items()}
                for message in self._read(reader, begins, wanted):
                    origin = OriginPlace.of(message)
                    if origin is not None:
                        found[message.topic(), message.partition()] = origin, message.timestamp()[1] / 1000
                wanted = {p: log for p, log in wanted.items() if p not in found and begins[p] > log.first}
                back *= 64
        finally:
            reader.close()
        return found

    def _read(
        self, reader: Consumer, begins: Mapping[Place, int], logs: Mapping[Place, PartitionRange]
    ) -> Iterable[Message]:
        reader.assign([TopicPartition(*place, offset) for place, offset in begins.items()])
        open_ones, deadline = set(begins), monotonic() + _TIMEOUT
        while open_ones:
            for message in reader.consume(500, 0.2):
                place = message.topic(), message.partition()
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise self.failure(error)
                deadline = monotonic() + _TIMEOUT
                if error is None:
                    yield message
                if error is not None or message.offset() + 1 >= logs[place].end:
                    open_ones.discard(place)
            if monotonic() > deadline:
                raise Retryable(f"{self.province}: Kafka does not hand over what stands last", server=self.kafka)


class TopicIds:
    """Polls topic ids without blocking. Clients that know a topic by its name do not notice that it was created anew,
    and would go on in it from their offset in the old one.
    """

    def __init__(self, admin: AdminClient, topics: Collection[str]) -> None:
        self._admin, self._topics = admin, list(topics)
        self._asked: dict[str, Any] = {}

    def latest(self) -> dict[str, str]:
        """Return the ids answered since the last call, and ask again."""
        found: dict[str, str] = {}
        if all(future.done() for future in self._asked.values()):
            for name, future in self._asked.items():
                try:
                    found[name] = str(future.result().topic_id)
                except KafkaException as error:
                    if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        found[name] = "none: it is gone"
            self._asked = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=_TIMEOUT)
        return found


def sides(connection: Connection, peer: str) -> tuple[Side, Side]:
    """Return both ends of the link from this province to a peer. Raises UsageError if there is no such peer."""
    peers = connection.exchange.peers if connection.exchange is not None else {}
    if peer not in peers:
        raise UsageError(
            f"{connection.province} has no peer {peer!r}: the exchange's settings name"
            f" {', '.join(sorted(peers)) or 'none'} (docs/exchange.md)"
        )
    return (
        Side("own", connection.province, connection.kafka, f"link.{peer}"),
        Side("peer", peer, peers[peer].kafka, f"link-{connection.province}.last"),
    )


def starts(
    own: Mapping[Place, PartitionRange],
    far: Mapping[Place, PartitionRange],
    last: Mapping[Place, tuple[OriginPlace, float]],
) -> dict[Place, Start]:
    """Return the start in each partition of ours. Raises UsageError if the far side has other partitions.

    >>> own = {("exchange.beijing", 0): PartitionRange("id", 7, 90)}
    >>> far = {("exchange.beijing", 0): PartitionRange("far", 0, 40)}
    >>> starts(own, far, {("exchange.beijing", 0): (OriginPlace("exchange.beijing", "id", 0, 41), 5.0)})
    {('exchange.beijing', 0): Start(offset=42, as_of=5.0, gap=None, renewed=None, lost=None)}
    """
    if set(own) != set(far):
        raise UsageError(
            "the exchange's topics have other partitions on the other side: run `xinliu topics apply` on both"
        )
    return {place: _start(place, log, last.get(place), far[place]) for place, log in own.items()}


def _start(place: Place, log: PartitionRange, last: tuple[OriginPlace, float] | None, far: PartitionRange) -> Start:
    if last is None:
        if far.end > far.first:
            return Start(0, lost="the far partition holds messages, and no link wrote any of them")
        return Start(log.first, gap=(0, log.first) if log.first else None)
    origin, at = last
    if origin.topic_id != log.topic_id:
        return Start(
            log.first, gap=(0, log.first) if log.first else None,
            renewed=f"{place[0]} was made anew: its id was {origin.topic_id}, now it is {log.topic_id}",
        )  # fmt: skip
    following = origin.offset + 1
    if following > log.end:
        return Start(
            following,
            lost=f"the far side has offset {origin.offset}, the own log ends at {log.end}: it has lost its end",
        )
    if following < log.first:
        return Start(log.first, at, gap=(following, log.first))
    return Start(following, at)
