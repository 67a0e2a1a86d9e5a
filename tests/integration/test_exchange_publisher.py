"""The publisher of exchange.<own> on real servers: a chain that verifies whole, whatever ends it, and every entry in it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.cluster import topics
from deploy.deadline import wait_until
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.keys import Signer, make_key
from schemas.exchange.topics import EPOCH, KNOWN, MEND, SCHEMA
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.exchange.incoming.checkpoint_chain import ArrivedMessage, Chain, ChainAnchor, ChainPlace, CheckpointOutcome
from streams.exchange.outgoing import publisher as publishing_module
from streams.exchange.outgoing import signed_log as signed_log_module
from streams.exchange.outgoing.publisher import ExchangePublisher
from streams.exchange.outgoing.recorder import PublisherRecorder
from streams.exchange.outgoing.sharing import Sharing
from streams.kafka.ranges import Logs
from streams.monitoring.endpoint import Outside
from streams.projection.positions import load_catalogue
from streams.runtime.crash_points import POINTS
from tests.exchange_log import Run, committed, verified
from tests.sharing import NOW, digests, emptied, entries, fold_and_share, partition_of
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
def publishing(connection: Connection, keys: tuple[Path, Path], **more: Any) -> Iterator[ExchangePublisher]:
    """A publisher of its own."""
    topic_id = Logs(connection.kafka).describe(["exchange.beijing"])["exchange.beijing"].topic_id
    with Registry(connection.registry) as registry:
        publisher = ExchangePublisher(
            connection.database.get_secret_value(),
            connection.kafka,
            registry,
            province="beijing",
            generation=1,
            signer=Signer.from_file(keys[0]),
            topic_id=topic_id,
            recorder=PublisherRecorder(Outside("view", ())),
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
    owed = store.execute("SELECT DISTINCT status, province FROM xinliu.exchange_duty ORDER BY 1, 2").fetchall()
    assert owed == [("WITHDRAWN", province) for province in ("hebei", "shanxi", "tianjin")]
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


class Died(Exception):
    """What a test lets a publisher die of."""


def dying(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Let whoever passes a crash point next die there; its transaction and its producer stay as a dead process leaves them."""

    def pass_by(reached: str) -> None:
        if reached == point:
            raise Died(point)

    for module in (publishing_module, signed_log_module):
        monkeypatch.setattr(module, "crash_point", pass_by)


def publish_all(publisher: ExchangePublisher) -> None:
    while publisher.publish_some():
        pass


def keys_of(waiting: list[Any]) -> set[str]:
    """Return what the keys of these entries' messages begin with: record and version."""
    return {f"{record_id.replace('-', '')}|{version}|" for _, _, record_id, _, _, version, *_ in waiting}


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("publisher.")])
def test_a_publisher_that_dies_leaves_a_chain_that_goes_on(
    own_stack: Connection, store: Store, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    fold_and_share(store, sharing, [[penalty(f"{point}{n}", entity=n) for n in range(6)]], offset=300)
    waiting = entries(store)
    assert len(waiting) == 6
    with publishing(own_stack, keys) as dead, publishing(own_stack, keys) as heir:
        dying(monkeypatch, point)
        with pytest.raises(Died):
            publish_all(dead)
        monkeypatch.undo()
        assert dead._connection is not None
        dead._connection.close()  # as the death of its process does, and with it goes the lead
        publish_all(heir)
        runs = verified(committed(own_stack), keys[1])
        told = [message.key for run in runs for message in run.messages]
        assert all(any(key.startswith(begin) for key in told) for begin in keys_of(waiting))
        assert entries(store) == []


def test_one_that_lost_the_lead_without_knowing_cannot_write(
    own_stack: Connection, store: Store, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    fold_and_share(store, sharing, [[penalty(f"Z{n}", entity=n) for n in range(6)]], offset=400)
    waiting = entries(store)
    with publishing(own_stack, keys) as slow, publishing(own_stack, keys) as heir:

        def overtaken(reached: str) -> None:
            if reached == "publisher.before-commit":
                monkeypatch.undo()
                store.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                )
                publish_all(heir)

        monkeypatch.setattr(signed_log_module, "crash_point", overtaken)
        with pytest.raises(Retryable):
            publish_all(slow)
        slow.close()
        fold_and_share(store, sharing, [[penalty("Z9", entity=9)]], offset=410)
        publish_all(heir)
        runs = verified(committed(own_stack), keys[1])
        times = Counter(message.key for run in runs for message in run.messages)
        assert {times[key] for key in times if key.startswith(tuple(keys_of(waiting)))} == {1}
        assert entries(store) == []


def test_two_at_once_write_one_chain(own_stack: Connection, store: Store, keys: tuple[Path, Path]) -> None:
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    waiting = list[Any]()
    with publishing(own_stack, keys) as one, publishing(own_stack, keys) as other:
        threads = [threading.Thread(target=publisher.run) for publisher in (one, other)]
        for thread in threads:
            thread.start()
        for number in range(12):
            offset = 500 + 10 * number
            with store.transaction():
                fold_and_share(store, sharing, [[penalty(f"T{number}-{n}", entity=n) for n in range(5)]], offset=offset)
                waiting += entries(store)
            if number % 4 == 3:  # the one that leads loses its connection, and the other one takes over
                store.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                )
            one.wake()
            other.wake()
        assert wait_until(lambda: entries(store) == [], seconds=60)
        for publisher in (one, other):
            publisher.stop()
        for thread in threads:
            thread.join()
    runs = verified(committed(own_stack), keys[1])
    told = [message.key for run in runs for message in run.messages]
    assert all(any(key.startswith(begin) for key in told) for begin in keys_of(waiting))


def held_by_the_log(runs: list[Run]) -> dict[tuple[str, str], tuple[int, int, str]]:
    """Return, by record, epoch, version and status of the highest rank that the log told."""
    held: dict[tuple[str, str], tuple[int, int, str]] = {}
    for message in (message for run in runs for message in run.messages):
        told = decode(parsed("xinliu.Statement"), message.body)
        key, rank = (told["record_id"], told["department"]), (int(message.header(EPOCH) or 0), told["version"])
        if key not in held or rank > held[key][:2]:
            held[key] = (*rank, told["status"])
    return held


def held_by_the_store(store: Store) -> dict[tuple[str, str], tuple[int, int, str]]:
    """Return the same of what has been shared."""
    rows = store.execute(
        "SELECT replace(record_id::text, '-', ''), department, epoch, version, status FROM xinliu.shared_record"
    )
    return {(record_id, department): tuple(rest) for record_id, department, *rest in rows}


def test_a_restored_database_reads_back_what_it_told_since(
    own_stack: Connection, store: Store, keys: tuple[Path, Path]
) -> None:
    emptied(store)
    store.execute("DELETE FROM xinliu.published_checkpoint")
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    kept, gone = [penalty(f"W{n}", entity=n) for n in range(3)], registration(entity=0, until=date(2026, 1, 1))
    back = registration(entity=0, version=2)
    tables = ("record", "xinliu.shared_record", "xinliu.shared_digest", "xinliu.published_checkpoint")
    with publishing(own_stack, keys) as publisher:
        fold_and_share(store, sharing, [kept], offset=600)
        publish_all(publisher)
        for number, table in enumerate(tables):
            store.execute(f"CREATE TEMPORARY TABLE backup{number} AS SELECT * FROM {table}")
        fold_and_share(store, sharing, [[gone], [back], [penalty("W9", entity=9)]], offset=610)
        publish_all(publisher)
    before = held_by_the_store(store)
    with store.transaction():
        for number, table in enumerate(tables):
            store.execute(f"DELETE FROM {table}")
            store.execute(f"INSERT INTO {table} SELECT * FROM backup{number}")
        store.execute("DELETE FROM record_history WHERE accepted_offset >= 610")
    with publishing(own_stack, keys) as publisher:
        publish_all(publisher)
        assert held_by_the_store(store) == before
        early = Sharing("beijing", generation=1, clock=lambda: NOW - timedelta(minutes=10))  # its clock is behind, too
        fold_and_share(store, early, [[gone], [back], [penalty("W9", entity=9)]], offset=610)
        publish_all(publisher)
    runs = verified(committed(own_stack), keys[1])
    ours = held_by_the_store(store)
    told = held_by_the_log(runs)
    assert {key: told[key] for key in ours} == ours
    assert digests(store) == {
        place: figures
        for place, figures in {
            (run.checkpoint["partition"], one["domain"]): (one["records"], one["digest_hi"], one["digest_lo"])
            for run in runs
            for one in run.checkpoint["domains"]
        }.items()
        if figures[0]
    }


def test_a_topic_that_was_made_anew_is_told_everything(
    own_stack: Connection, store: Store, keys: tuple[Path, Path]
) -> None:
    emptied(store)
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    with publishing(own_stack, keys) as publisher:
        fold_and_share(store, sharing, [[penalty(f"X{n}", entity=n) for n in range(5)]], offset=700)
        publish_all(publisher)
    admin = AdminClient(own_stack.kafka.client({}))
    admin.delete_topics(["exchange.beijing"])["exchange.beijing"].result(30)
    assert wait_until(lambda: "exchange.beijing" not in admin.list_topics(timeout=10).topics, seconds=30)
    topics.apply(own_stack.kafka, topics.wanted(load(), "beijing"))
    with publishing(own_stack, keys) as publisher:
        publish_all(publisher)
    runs = verified(committed(own_stack), keys[1])
    assert held_by_the_log(runs) == held_by_the_store(store)
    assert all(message.header(MEND) for run in runs for message in run.messages)


def test_what_was_revoked_before_it_left_leaves_without_content(
    own_stack: Connection, store: Store, keys: tuple[Path, Path]
) -> None:
    emptied(store)
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    first, moved = penalty("Y1"), penalty("Y1", version=2, entity=1, original_entity=0)
    fold_and_share(store, sharing, [[first], [moved], [state(moved, "REVOKED", version=3)]], offset=800)
    assert [entry.action for entry in entries(store)].count("SHARE") == 3
    with publishing(own_stack, keys) as publisher:
        publish_all(publisher)
    runs = verified(committed(own_stack), keys[1])
    messages = [one for run in runs for one in run.messages if one.key.startswith(first["record_id"])]
    told = [decode(parsed("xinliu.Statement"), message.body) for message in messages]
    assert {(one["status"], one["subject"]["uscc"], one["penalty"]) for one in told} == {
        ("WITHDRAWN", generate(0), None),
        ("REVOKED", generate(1), None),
    }
    assert all(
        message.partition == partition_of(one["subject"]["uscc"]) for message, one in zip(messages, told, strict=True)
    )
    assert first["subject"]["name"] not in [one["subject"]["name"] for one in told if one["status"] == "WITHDRAWN"]


def test_database_and_log_lost_it_begins_above_what_the_others_have_applied(
    own_stack: Connection, store: Store, keys: tuple[Path, Path]
) -> None:
    emptied(store)
    sharing = Sharing("beijing", generation=1, clock=lambda: NOW)
    with publishing(own_stack, keys) as publisher:
        fold_and_share(store, sharing, [[penalty(f"Y{n}", entity=n) for n in range(9)]], offset=900)
        publish_all(publisher)
    applied = {
        run.checkpoint["partition"]: ChainPlace.of(run.checkpoint) for run in verified(committed(own_stack), keys[1])
    }
    topic = "exchange.beijing"
    everything = [TopicPartition(topic, partition, OFFSET_END) for partition in applied]
    admin = AdminClient(own_stack.kafka.client({}))  # kept: with it the answer would go
    for future in admin.delete_records(everything).values():
        future.result(30)
    emptied(store)
    store.execute("DELETE FROM xinliu.published_checkpoint")
    fold_and_share(store, sharing, [[penalty(f"Y{n}", entity=n, version=2) for n in range(9)]], offset=900)
    with publishing(own_stack, keys) as publisher:
        publish_all(publisher)
    log, taken = committed(own_stack), 0
    for partition, last in applied.items():
        # As another province holds it, which has the chain from before.
        chain = Chain(ChainAnchor(last.topic_id, last.sequence, last.last_offset, last.hash, last.made_at))
        outcomes = []
        for one in (one for one in log if one.partition == partition):
            if not one.key.startswith("checkpoint|"):
                assert chain.take(ArrivedMessage(last.topic_id, one.offset, 0, one.key.encode(), one.headers, one.body))
                continue
            closed = chain.close(
                ChainPlace.of(decode(parsed("xinliu.Checkpoint"), one.body, parsed("xinliu.Checkpoint")))
            )
            outcomes.append(closed.outcome)
            taken += len(closed.messages)
        assert outcomes == [CheckpointOutcome.GAP, *[CheckpointOutcome.FOLLOWED] * (len(outcomes) - 1)], (
            "heard as a gap, and applied"
        )
    assert taken == 9
