"""Lag of a link, measured from outside: from both clusters, and from the link's events on `operations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, time

from confluent_kafka import KafkaError, TopicPartition

from consumers.links.clusters import PartitionRange, Place, Side, sides, starts
from consumers.links.events import HELD, LinkStanding, link_events
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.exchange.topics import exchange_topic, status_topic
from schemas.operations.log import held_operations
from schemas.servers.connection import Connection

__all__ = ["LinkFacts", "look"]

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """The state of one link according to the clusters."""

    peer: str
    lag_messages: int
    """Offsets from the first message that the peer lacks; markers of transactions between them count."""
    lag_seconds: float
    """How long ago the own broker received the first message that the peer lacks."""
    standing: Sequence[LinkStanding]
    """The link's open events: held partitions, gaps."""
    error: str | None = None
    """Why the clusters gave no answer."""

    @property
    def held(self) -> bool:
        """Whether a partition is held at a message."""
        return any(told.kind == HELD for told in self.standing)


def look(connection: Connection, peer: str) -> LinkFacts:
    """Ask both clusters how far the link to this peer is; a cluster that does not answer is a result, too."""
    own, far = sides(connection, peer)
    topics = exchange_topic(connection.province), status_topic(connection.province)
    try:
        told = _told(connection, peer)
        ours, theirs = own.logs(topics), far.logs(topics)
        begins = starts(ours, theirs, far.last_of_links(theirs))
        messages, oldest = _waiting(own, ours, {place: start.offset for place, start in begins.items()})
    except (Retryable, UsageError) as error:
        return LinkFacts(peer, 0, 0.0, (), str(error))
    still = [one for one in told if one.kind != HELD or begins[one.topic, one.partition].offset <= one.offset]
    return LinkFacts(peer, messages, max(0.0, time() - oldest) if oldest else 0.0, still)


def _told(connection: Connection, peer: str) -> list[LinkStanding]:
    with Registry(connection.registry) as registry:
        found = link_events(held_operations(connection.kafka, registry))
    return [told for (to, _, _), told in sorted(found.items()) if to == peer]


def _waiting(own: Side, logs: Mapping[Place, PartitionRange], begins: Mapping[Place, int]) -> tuple[int, float | None]:
    """Return how many offsets wait, and when the own broker received the first such message (None: none waits)."""
    behind = {place: offset for place, offset in begins.items() if offset < logs[place].end}
    messages, oldest = 0, None
    reader = own.reader()
    try:
        reader.assign([TopicPartition(*place, offset) for place, offset in behind.items()])
        deadline = monotonic() + _TIMEOUT
        while behind:
            message = reader.poll(0.2)
            if monotonic() > deadline:
                raise Retryable(f"{own.province}: Kafka does not hand over what waits", server=own.kafka)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise own.failure(error)
            place = message.topic(), message.partition()
            if behind.pop(place, None) is None:
                continue
            if error is None:
                messages += logs[place].end - message.offset()
                received = message.timestamp()[1] / 1000
                oldest = received if oldest is None else min(oldest, received)
            reader.pause([TopicPartition(*place)])
    finally:
        reader.close()
    return messages, oldest
