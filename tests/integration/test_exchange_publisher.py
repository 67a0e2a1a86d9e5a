"""The publisher of exchange.<own> on real servers: a chain that verifies whole, whatever ends it, and every entry in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.catalogue import load
from schemas.codec import decode
from schemas.connection import Connection
from schemas.contracts import parsed
from schemas.exchange import EPOCH, KNOWN, SCHEMA
from schemas.registry import Registry
from schemas.signing import Signer, make_key
from schemas.store import connect
from schemas.uscc import generate
from streams.endpoint import Outside
from streams.exchange.publishing import Publisher
from streams.exchange.recorder import ExchangeRecorder
from streams.exchange.sharing import Sharing
from streams.logs import Logs
from streams.positions import load_catalogue
from tests.exchange_log import committed, verified
from tests.sharing import NOW, digests, emptied, entries, fold_and_share
from tests.statements import penalty, registration, state
from tests.viewstore import WRITER, Store


@pytest.fixture(scope="module")
def store(own_stack: Connection) -> Iterator[Store]:
    """The serving generation's tables of a province of our own."""
    with connect(own_stack.database.get_secret_value(), generation=1, autocommit=True) as connection:
        load_catalogue(connection, load(), "beijing")
        yield connection


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A signing key and the keyring."""
    folder = tmp_path_factory.mktemp("keys")
    return make_key("beijing", folder / "private", folder / "keyring"), folder / "keyring"


@contextmanager
def publishing(connection: Connection, keys: tuple[Path, Path], **more: Any) -> Iterator[Publisher]:
    """A publisher of its own."""
    topic_id = Logs(connection.kafka).describe(["exchange.beijing"])["exchange.beijing"].topic_id
    with Registry(connection.registry) as registry:
        publisher = Publisher(
            connection.database.get_secret_value(),
            connection.kafka,
            registry,
            province="beijing",
            generation=1,
            signer=Signer.from_file(keys[0]),
            topic_id=topic_id,
            recorder=ExchangeRecorder(Outside("view", ())),
            **more,
        )
        try:
            yield publisher
        finally:
            publisher.close()


def test_what_is_shared_leaves_under_checkpoints(own_stack: Connection, store: Store, keys: tuple[Path, Path]) -> None:
    emptied(store)
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    first, moved = penalty("P1"), penalty("P1", version=2, entity=1, original_entity=0)
    fold_and_share(store, sharing, [[first, registration(entity=0)], [moved], [penalty("P2", entity=7)]])
    waiting = entries(store)
    with publishing(own_stack, keys) as publisher:
        while publisher.publish_some():
            pass
    assert entries(store) == []
    runs = verified(committed(own_stack), keys[1])
    messages = [message for run in runs for message in run.messages]
    assert len(messages) == len(waiting) == 5
    told = [decode(parsed("xinliu.Statement"), message.body, parsed("xinliu.Statement")) for message in messages]
    assert {(one["subject"]["uscc"], one["kind"], one["status"], one["version"] % 10) for one in told} == {
        (generate(0), "REGISTRATION", "IN_FORCE", 1),
        (generate(0), "PENALTY", "IN_FORCE", 1),
        (generate(0), "PENALTY", "WITHDRAWN", 1),
        (generate(1), "PENALTY", "IN_FORCE", 2),
        (generate(7), "PENALTY", "IN_FORCE", 1),
    }
    for message, one in zip(messages, told, strict=True):
        assert message.header(SCHEMA) == WRITER.fingerprint
        assert message.key.endswith(f"|{message.header(EPOCH)}")
        assert int(message.header(KNOWN) or 0) > 1_700_000_000_000
        assert (one["penalty"] is None) == (one["status"] == "WITHDRAWN" or one["kind"] == "REGISTRATION")
    last = {run.checkpoint["partition"]: run.checkpoint for run in runs}
    assert all(checkpoint["complete"] for checkpoint in last.values())
    said = {
        (partition, domain["domain"]): (domain["records"], domain["digest_hi"], domain["digest_lo"])
        for partition, checkpoint in last.items()
        for domain in checkpoint["domains"]
    }
    assert {place: figures for place, figures in said.items() if figures[0]} == digests(store)
    domains = load().mutual_domains(NOW.date()) | {"registration"}
    assert {place for place in said} == {(partition, domain) for partition in range(4) for domain in domains}


def test_a_publisher_goes_on_from_the_topic(own_stack: Connection, store: Store, keys: tuple[Path, Path]) -> None:
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    for number in range(3):
        fold_and_share(store, sharing, [[penalty(f"G{number}", entity=number)]], offset=100 + number)
        with publishing(own_stack, keys) as publisher:
            publisher.publish_some()
    revoked = state(penalty("G0", entity=0), "REVOKED", version=5)
    fold_and_share(store, sharing, [[revoked]], offset=200)
    with publishing(own_stack, keys) as publisher:
        publisher.publish_some()
    runs = verified(committed(own_stack), keys[1])
    assert revoked["version"] in [
        decode(parsed("xinliu.Statement"), message.body)["version"] for run in runs for message in run.messages
    ]
    known = store.execute("SELECT partition, sequence, hash FROM xinliu.published_checkpoint ORDER BY 1").fetchall()
    last = {run.checkpoint["partition"]: run.checkpoint for run in runs}
    assert known == [(p, one["sequence"], one["hash"]) for p, one in sorted(last.items())]
