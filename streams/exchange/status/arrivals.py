"""Arrivals of the other provinces' messages at this cluster: the last message of each partition of `exchange.<p>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.topics import EXCHANGE_PARTITIONS, ORIGIN, exchange_topic
from schemas.servers.kafka import Cluster
from streams.kafka.ranges import Logs

__all__ = ["Arrivals", "Arrived", "behind"]

_CHECKPOINT = "xinliu.Checkpoint"
_KEY = b"checkpoint|"
_TIMEOUT = 2.0

Place = tuple[str, int]
"""Province and partition."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message's place in its origin's log; `sequence` is set if it is a checkpoint."""

    topic_id: str
    offset: int
    sequence: int | None


def behind(last: Arrived, topic_id: str, sequence: int, offset: int) -> int:
    """Return how many messages have arrived after the checkpoint that was applied last, without further checkpoints.

    Behind every checkpoint stands the end marker of its transaction, which no reader receives. If the run has not
    arrived whole, the number of checkpoints in between is unknown, and they count too.
    """
    if last.topic_id != topic_id or last.offset <= offset:
        return 0
    if last.sequence is None:
        return max(1, last.offset - offset - 1)
    return max(0, last.offset - offset - 2 * (last.sequence - sequence))


_LITTLE = {"fetch.message.max.bytes": 65_536, "queued.max.messages.kbytes": 1_024}
"""One message of each partition is read, and a link may bring thousands."""


class Arrivals:
    """Reads the last message of every partition, and nothing else; a reader in no group."""

    def __init__(self, kafka: Cluster, registry: Registry, provinces: Iterable[str], *, principal: str) -> None:
        self._registry = registry
        self._logs = Logs(kafka)
        self._places = {
            (exchange_topic(province), partition): (province, partition)
            for province in provinces
            for partition in range(EXCHANGE_PARTITIONS)
        }
        self._ends: dict[Place, int] = {}
        self._last: dict[Place, Arrived] = {}
        self._consumer = Consumer(kafka.reader(principal, "arrivals", _LITTLE))

    def look(self) -> Mapping[Place, Arrived]:
        """Return the last message of every partition that has any. Raises Retryable if Kafka does not answer."""
        ends = self._logs.ends(self._places)
        news = {place: end for place, end in ends.items() if end > 0 and self._ends.get(place) != end}
        if news:
            self._read(news)
        return {self._places[place]: last for place, last in self._last.items()}

    def close(self) -> None:
        """Close the reader."""
        self._consumer.close()

    def _read(self, ends: Mapping[Place, int]) -> None:
        wanted = dict(ends)
        try:
            self._consumer.assign([TopicPartition(topic, part, end - 1) for (topic, part), end in wanted.items()])
            while wanted:
                found = self._consumer.consume(len(wanted), _TIMEOUT)
                if not found:
                    break  # deleted by retention just now: the next round looks again
                for message in found:
                    self._take(message, wanted)
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error.args[0].str()}", server="kafka") from error
        finally:
            self._consumer.unassign()

    def _take(self, message: Message, wanted: dict[Place, int]) -> None:
        if (error := message.error()) is not None:
            raise Retryable(f"Kafka does not answer: {error.str()}", server="kafka")
        place = (str(message.topic()), int(message.partition() or 0))
        if place in wanted:
            self._ends[place] = wanted.pop(place)
            arrived = self._arrived(message)
            if arrived is not None:
                self._last[place] = arrived

    def _arrived(self, message: Message) -> Arrived | None:
        headers = dict(message.headers() or [])
        try:
            _, topic_id, _, offset = str(headers.get(ORIGIN) or b"", "utf-8").split()
            return Arrived(topic_id, int(offset), self._sequence(message))
        except ValueError:
            return None  # intake reports its fault; here it has no place

    def _sequence(self, message: Message) -> int | None:
        if not (message.key() or b"").startswith(_KEY):
            return None
        try:
            return int(self._registry.read(_CHECKPOINT, message.value(), message.headers())["sequence"])
        except NotDecodable:
            return None
