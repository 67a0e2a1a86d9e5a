"""The origin's side of the exchange, as the view worker runs it: the rule, the publisher and the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.exchange.keys import Signer
from schemas.exchange.topics import exchange_topic
from schemas.servers.connection import Connection
from streams.exchange.carried.cases import CaseSharing
from streams.exchange.carried.pending_entries import Pending
from streams.exchange.carried.riders import Rider
from streams.exchange.outgoing.publisher import ExchangePublisher
from streams.exchange.outgoing.recorder import PublisherRecorder
from streams.exchange.outgoing.sharing import Sharing
from streams.exchange.outgoing.sweep import Sweep
from streams.exchange.sets.answers import SetAnswers
from streams.kafka.ranges import Logs
from streams.monitoring.endpoint import Outside

__all__ = ["OriginSide", "origin_side"]


@dataclass(frozen=True, slots=True)
class OriginSide:
    """The rule that decides in the view's transactions, and the services in threads beside it."""

    sharing: Sharing
    publisher: ExchangePublisher
    sweep: Sweep


def goes_along(connection: Connection) -> Sequence[Rider]:
    """Return the riders, which publish to the other provinces beside statements, in the order of a run: one per contract."""
    return (SetAnswers(connection.province), CaseSharing(), Pending(connection.province))


def origin_side(connection: Connection, *, generation: int, logs: Logs, outside: Outside) -> OriginSide | None:
    """Return the origin's side; None if this province exchanges nothing.

    Raises UsageError if the province has no key to sign with, or another province's.
    """
    if connection.exchange is None:
        return None
    key = connection.exchange.signing_key
    if key is None:
        raise UsageError("the view worker needs the province's signing key: `signing_key` in the file XINLIU_EXCHANGE")
    signer = Signer.from_file(key)
    if signer.province != connection.province:
        raise UsageError(f"{key} is a key of {signer.province}, and this worker signs for {connection.province}")
    database = connection.database.get_secret_value()
    topic = exchange_topic(connection.province)
    sharing = Sharing(connection.province, generation=generation)
    publisher = ExchangePublisher(
        database,
        connection.kafka,
        Registry(connection.registry),  # its own: other threads use the clients of the work
        province=connection.province,
        generation=generation,
        signer=signer,
        topic_id=logs.describe([topic])[topic].topic_id,
        recorder=PublisherRecorder(outside),
        beside=goes_along(connection),
    )
    idle = connection.times.idle_in_transaction
    sweep = Sweep(database, sharing, generation=generation, on_commit=publisher.wake, idle=idle)
    return OriginSide(sharing, publisher, sweep)
