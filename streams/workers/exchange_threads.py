"""The status threads of the exchange beside a view worker, if its province shares records with others."""

from __future__ import annotations

from schemas.catalogue import Catalogue
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.exchange.keys import Keyring, Signer
from schemas.servers.connection import Connection
from streams.exchange.sets.answers import note_wanted
from streams.exchange.sets.requests import differing_sets
from streams.exchange.status.arrivals import Arrivals
from streams.exchange.status.publisher import StatusPublisher
from streams.exchange.status.reader import StatusReader
from streams.exchange.status.recorder import StatusRecorder
from streams.monitoring.endpoint import Outside
from streams.runtime.service import Thread

__all__ = ["status_threads"]


def status_threads(
    connection: Connection, catalogue: Catalogue, *, generation: int, shown: Outside
) -> dict[str, Thread]:
    """Return the publisher of our status and the reader of all statuses, by name; none if the province shares nothing.

    Raises UsageError if the province has no key to sign with.
    """
    exchange = connection.exchange
    if exchange is None:
        return {}
    if exchange.signing_key is None:
        raise UsageError("the exchange has no signing key: `xinliu exchange keys new` makes one (docs/exchange.md)")
    own, database, kafka = connection.province, connection.database.get_secret_value(), connection.kafka
    others = [province for province in catalogue.provinces if province != own]
    recorder = StatusRecorder(shown.instruments, own, list(catalogue.provinces))
    # A registry each: one thread alone may use a client.
    telling, reading = Registry(connection.registry), Registry(connection.registry)
    arrivals = Arrivals(kafka, telling, others, principal="view")
    teller = StatusPublisher(
        database,
        kafka,
        telling,
        Signer.from_file(exchange.signing_key),
        province=own,
        generation=generation,
        recorder=recorder,
        arrived=arrivals.look,
        differing=differing_sets,
    )
    reader = StatusReader(
        database,
        kafka,
        reading,
        Keyring(exchange.keyring),
        province=own,
        provinces=catalogue.provinces,
        generation=generation,
        recorder=recorder,
        wanted=note_wanted,
    )
    return {"status": teller, "status reader": reader}
