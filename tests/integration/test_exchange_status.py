"""What provinces say of themselves: told, heard, believed or not, and what comes of it in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.deadline import wait_until
from schemas.catalogue import load
from schemas.contracts.codec import frame
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Signer, make_key, retire, switch
from schemas.exchange.topics import status_topic
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.exchange.status.publisher import StatusPublisher
from streams.kafka.ranges import Logs
from streams.monitoring.endpoint import Outside
from streams.projection.positions import load_catalogue
from tests.exchange_status import (
    PROVINCES,
    Provinces,
    Reading,
    Store,
    applied,
    apply,
    believed,
    cell,
    exchanging,
    limit,
    made,
    publish,
    published,
    refused,
)
from tests.workers import Worker

TABLES = (
    "xinliu.peer_heard", "xinliu.peer_published", "xinliu.peer_status", "xinliu.exchange_duty", "xinliu.published_checkpoint",
    "applied_checkpoint", "foreign_domain",
)  # fmt: skip
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the keys are."""
    return tmp_path_factory.mktemp("exchange")


@pytest.fixture(scope="module")
def beijing(own_stack: Connection, folder: Path) -> Connection:
    """Beijing's servers, with the keys of all four provinces."""
    connection = exchanging(own_stack, folder)
    with connect(connection.database.get_secret_value(), autocommit=True) as session:
        load_catalogue(session, load(), "beijing")
    return connection


@pytest.fixture
def store(beijing: Connection) -> Iterator[Store]:
    """The serving generation; nothing is known of the exchange yet, and the limits are those of the catalogue."""
    with connect(beijing.database.get_secret_value(), autocommit=True) as session:
        session.execute(f"TRUNCATE {', '.join(TABLES)}")
        session.execute("DELETE FROM xinliu.exchange_limit WHERE place >= 100")
        yield session


@pytest.fixture(scope="module")
def others(beijing: Connection, folder: Path) -> Iterator[Provinces]:
    """The other provinces, played by the test."""
    with Registry(beijing.registry) as registry:
        yield Provinces(beijing, folder, registry)


def begin_behind(beijing: Connection, store: Store) -> None:
    """Let whatever reads statuses begin behind all that earlier tests said."""
    logs = Logs(beijing.kafka)
    for topic, known in logs.describe(map(status_topic, PROVINCES)).items():
        end = logs.ends([(topic, 0)])[topic, 0]
        heard = (topic.removeprefix("status."), known.topic_id, end)
        store.execute("INSERT INTO xinliu.peer_heard (province, topic_id, next_offset) VALUES (%s, %s, %s)", heard)


@pytest.fixture
def reading(beijing: Connection, others: Provinces, store: Store) -> Iterator[Reading]:
    """A reader that begins behind all that earlier tests said."""
    begin_behind(beijing, store)
    found = Reading(beijing, others)
    yield found
    found.close()


def telling(
    beijing: Connection, registry: Registry, outside: Outside | None = None, generation: int = 1, **options: Any
) -> StatusPublisher:
    """Return a teller of ours."""
    assert beijing.exchange is not None
    assert beijing.exchange.signing_key is not None
    return StatusPublisher(
        beijing.database.get_secret_value(),
        beijing.kafka,
        registry,
        Signer.from_file(beijing.exchange.signing_key),
        province="beijing",
        generation=generation,
        recorder=made(outside or Outside("view", ())),
        **options,
    )


def told(beijing: Connection, others: Provinces, **options: Any) -> bool:
    """Tell once, by a teller that begins and ends with it."""
    teller = telling(beijing, others.registry, **options)
    try:
        return teller.tell()
    finally:
        teller.close()


def test_what_is_told_is_heard_and_makes_the_matrix(
    beijing: Connection, store: Store, others: Provinces, reading: Reading
) -> None:
    publish(store)
    apply(store, "tianjin", sequence=2, differs=["water"])
    outside = Outside("view", ())
    assert told(beijing, others, outside=outside)
    reading.until(store, believed("beijing"))
    others.tell("tianjin", published=published(), applied=applied("beijing", sequence=2, offset=18))
    reading.until(store, believed("tianjin"))
    ours, theirs = cell(store, "tianjin", "beijing"), cell(store, "beijing", "tianjin")
    assert (ours["state"], ours["differs"], theirs["state"]) == ("DIFFERS", ["water"], "BEHIND")
    # 10 and 12 offsets a partition between two checkpoints: one is the later checkpoint, one the end of a transaction.
    assert (ours["lag_records"], theirs["lag_records"]) == (32, 40)
    assert [cell(store, *pair)["state"] for pair in (("beijing", "hebei"), ("hebei", "beijing"))] == [
        "SILENT",
        "NOT_APPLIED",
    ]
    others.tell("tianjin", published=published(), applied=applied("beijing"))
    reading.until(store, "SELECT bool_and(sequence = 3) FROM xinliu.peer_status WHERE province = 'tianjin'")
    assert cell(store, "beijing", "tianjin")["state"] == "EQUAL"
    assert told(beijing, others, outside=outside)
    shown = outside.metrics()[0].decode()
    for line in (
        'xinliu_exchange_lag_records{origin="beijing",province="tianjin"} 0.0',
        'xinliu_exchange_differing_domains{origin="tianjin",province="beijing"} 1.0',
        'xinliu_exchange_silent{province="hebei"} 1.0',
        'xinliu_exchange_silent{province="tianjin"} 0.0',
        'xinliu_exchange_status_told_total{province="beijing"} 2.0',
    ):
        assert line in shown


def test_nothing_is_equal_before_it_was_compared(
    beijing: Connection, store: Store, others: Provinces, reading: Reading
) -> None:
    publish(store)
    apply(store, "tianjin", complete=False)
    store.execute("TRUNCATE foreign_domain")
    assert told(beijing, others)
    reading.until(store, believed("beijing"))
    others.tell("tianjin", published=published(), applied=[])
    reading.until(store, believed("tianjin"))
    assert (cell(store, "tianjin", "beijing")["state"], cell(store, "tianjin", "beijing")["differs"]) == (
        "DIFFERS",
        ["*"],
    )
    assert cell(store, "beijing", "tianjin")["state"] == "NOT_APPLIED"
    others.tell("tianjin", published=published(), applied=applied("beijing", partitions=[0, 1, 3]))
    reading.until(store, "SELECT count(*) = 3 FROM xinliu.peer_status WHERE province = 'tianjin'")
    assert cell(store, "beijing", "tianjin")["state"] == "NOT_APPLIED", "a partition that is not named is not applied"
    others.tell("tianjin", published=published(), applied=applied("beijing", topic_id="of-long-ago"))
    reading.until(store, "SELECT count(*) = 4 FROM xinliu.peer_status WHERE province = 'tianjin'")
    assert cell(store, "beijing", "tianjin")["state"] == "NOT_APPLIED", (
        "checkpoints of a log that is gone say nothing of this one"
    )


def test_whoever_says_nothing_is_never_equal(
    beijing: Connection, store: Store, others: Provinces, reading: Reading
) -> None:
    publish(store)
    others.tell("tianjin", published=published(made_at=NOW - timedelta(minutes=2)), applied=applied("beijing"))
    others.tell("hebei", published=published(), applied=applied("tianjin"))
    reading.until(store, f"SELECT ({believed('tianjin')}) AND ({believed('hebei')})")
    assert cell(store, "beijing", "tianjin")["state"] == "ORIGIN_SILENT", (
        "what we do not hear of ourselves, nobody hears"
    )
    assert told(beijing, others)
    reading.until(store, believed("beijing"))
    # It speaks, but its checkpoints stand still: by its own clock, whatever ours says.
    assert cell(store, "tianjin", "hebei")["state"] == "ORIGIN_SILENT"
    assert cell(store, "beijing", "tianjin")["state"] == "EQUAL"
    store.execute("UPDATE xinliu.peer_heard SET received_at = now() - interval '29 seconds' WHERE province = 'tianjin'")
    assert cell(store, "beijing", "tianjin")["state"] == "EQUAL"
    store.execute("UPDATE xinliu.peer_heard SET received_at = now() - interval '31 seconds' WHERE province = 'tianjin'")
    assert cell(store, "beijing", "tianjin")["state"] == "SILENT"
    limit(store, "status-silent", "tianjin", 60)
    assert cell(store, "beijing", "tianjin")["state"] == "EQUAL", "the limit is data, and a province's own goes before"
    publish(store, made_at=NOW - timedelta(minutes=5))
    assert cell(store, "beijing", "tianjin")["state"] == "ORIGIN_SILENT", "our own publisher may stand still, too"


def test_a_set_differs_since_it_was_equal_last(store: Store, others: Provinces, reading: Reading) -> None:
    publish(store)
    limit(store, "set-differs", "*", 1)
    others.tell("tianjin", applied=applied("beijing", differs=["tax"]))
    reading.until(store, believed("tianjin"))
    first = cell(store, "beijing", "tianjin")["differs_since"]
    others.tell("tianjin", applied=applied("beijing", differs=["water"], sequence=4))
    reading.until(store, "SELECT bool_or(differs = '{water}') FROM xinliu.peer_status")
    assert cell(store, "beijing", "tianjin")["differs_since"] == first
    assert wait_until(lambda: cell(store, "beijing", "tianjin")["differs_too_long"], seconds=10)
    others.tell("tianjin", applied=applied("beijing", sequence=5))
    reading.until(store, "SELECT bool_and(differs = '{}') FROM xinliu.peer_status")
    assert cell(store, "beijing", "tianjin") | {"differs_since": None, "differs_too_long": False} == cell(
        store, "beijing", "tianjin"
    )


def test_nothing_is_believed_but_a_provinces_own_newest_word(store: Store, others: Provinces, reading: Reading) -> None:
    publish(store)
    first = others.body("tianjin", made_at=NOW, applied=applied("beijing", sequence=1))
    others.say("tianjin", first)
    reading.until(store, believed("tianjin"))
    hebei = others.signer("hebei")
    twice = applied("beijing") + applied("beijing")
    hostile = {
        "SPEAKER": [others.body("hebei", applied=applied("beijing"))],
        "SIGNATURE": [
            others.body("tianjin", signer=hebei, applied=applied("beijing")),
            first.replace(b"topic-of-beijing", b"topic-of-baoding"),
        ],
        "AHEAD": [others.body("tianjin", made_at=NOW + timedelta(hours=2), applied=applied("beijing"))],
        "OLDER": [others.body("tianjin", made_at=NOW - timedelta(seconds=1), applied=applied("beijing", sequence=9))],
        "CONTENT": [
            others.body("tianjin", applied=twice),
            others.body("tianjin", applied=[{**applied("beijing")[0], "partition": 70_000}]),
            others.body("tianjin", applied=[{**applied("beijing")[0], "behind": -1}]),
            others.body("tianjin", applied=applied("tianjin")),
            others.body("tianjin", applied=applied("beijing", differs=["a\0b"])),
            others.body("tianjin", applied=applied("b" * 65)),
        ],
    }
    for code, bodies in hostile.items():
        for body in bodies:
            others.say("tianjin", body)
            reading.until(store, refused("tianjin"))
            (why,) = store.execute("SELECT refusal FROM xinliu.peer_heard WHERE province = 'tianjin'").fetchone() or (
                "",
            )
            store.execute("UPDATE xinliu.peer_heard SET refusals = 0")
            assert reading.refused("tianjin")[code] > 0, (code, why)
    schema_id = others.registry.register("xinliu.Marker")
    for value in (
        b"",
        b"\0",
        b"nonsense",
        frame(schema_id, b"x"),
        frame(1 << 30, first),
        frame(others.schema_id, first[:-3]),
    ):
        others.write("tianjin", value)
        reading.until(store, refused("tianjin"))
        store.execute("UPDATE xinliu.peer_heard SET refusals = 0")
    assert reading.refused("tianjin")["DAMAGED"] == 6
    # And what it said before stands; the same once more is no news, and does not make it heard anew.
    before = store.execute("SELECT told_at, received_at FROM xinliu.peer_heard WHERE province = 'tianjin'").fetchone()
    others.say("tianjin", first)
    others.tell("hebei")
    reading.until(store, believed("hebei"))
    assert (
        store.execute("SELECT told_at, received_at FROM xinliu.peer_heard WHERE province = 'tianjin'").fetchone()
        == before
    )
    assert store.execute("SELECT DISTINCT sequence, refusals FROM xinliu.peer_status JOIN xinliu.peer_heard h USING (province)"
                         " WHERE province = 'tianjin'").fetchall() == [(1, 0)]  # fmt: skip
    others.tell("tianjin", applied=applied("beijing", sequence=2))
    reading.until(store, "SELECT bool_and(sequence = 2) FROM xinliu.peer_status WHERE province = 'tianjin'")


def test_a_reader_goes_on_where_another_ended(
    beijing: Connection, store: Store, others: Provinces, reading: Reading
) -> None:
    others.tell("shanxi", applied=applied("beijing", sequence=1))
    reading.until(store, believed("shanxi"))
    standing_by = Reading(beijing, others)
    try:
        others.tell("shanxi", applied=applied("beijing", sequence=2))
        assert standing_by.read() == 0, "one reads at a time"
        reading.close()
        standing_by.until(store, "SELECT bool_and(sequence = 2) FROM xinliu.peer_status WHERE province = 'shanxi'")
        assert store.execute("SELECT sum(refusals) FROM xinliu.peer_heard").fetchone() == (0,), "nothing is read twice"
    finally:
        standing_by.close()


def test_what_is_wanted_reaches_whom_it_is_wanted_of(
    beijing: Connection, store: Store, others: Provinces, reading: Reading
) -> None:
    def wanted(origin: str) -> dict[str, Any]:
        return {"province": origin, "partition": 2, "domain": "tax", "bits": 0, "digests": b"\1" * 16}

    others.tell("tianjin", wanted=[wanted("hebei"), wanted("beijing")])
    reading.until(store, believed("tianjin"))
    assert [(who, list(sets)) for who, _, sets in reading.wanted] == [("tianjin", [wanted("beijing")])]
    snapshots = []

    def differing(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
        snapshots.append(connection.execute("SHOW transaction_isolation").fetchone())
        return [wanted("tianjin")]

    assert told(beijing, others, differing=differing)
    assert snapshots == [("repeatable read",)]
    reading.until(store, believed("beijing"))
    assert len(reading.wanted) == 1, "what we want ourselves is not wanted of us"


def test_one_tells_when_something_changed_or_after_five_seconds(
    beijing: Connection, store: Store, others: Provinces
) -> None:
    publish(store)
    teller, other = telling(beijing, others.registry), telling(beijing, others.registry)
    building = telling(beijing, others.registry, generation=2)
    try:
        assert [teller.tell(), teller.tell(), other.tell()] == [True, False, False]
        publish(store, sequence=4)
        assert [other.tell(), teller.tell(), teller.tell()] == [False, True, False]
        assert wait_until(teller.tell, seconds=10), "silence would be taken for what it is"
        teller.close()
        assert [building.tell(), other.tell()] == [False, True], "a generation that is being built says nothing"
    finally:
        for one in (teller, other, building):
            one.close()


def test_a_clock_that_was_set_back_silences_nobody(
    beijing: Connection, store: Store, others: Provinces, reading: Reading
) -> None:
    publish(store)
    assert told(beijing, others, now=lambda: NOW + timedelta(minutes=10))
    reading.until(store, believed("beijing"))
    publish(store, sequence=4)
    assert told(beijing, others)
    reading.until(store, "SELECT bool_and(sequence = 4) FROM xinliu.peer_published WHERE province = 'beijing'")
    assert store.execute("SELECT sum(refusals) FROM xinliu.peer_heard").fetchone() == (0,)


def test_a_worker_tells_and_signs_with_a_new_key_without_a_start(
    beijing: Connection, store: Store, others: Provinces, tmp_path: Path
) -> None:
    exchange = beijing.exchange
    assert exchange is not None
    assert exchange.signing_key is not None
    first = Signer.from_file(exchange.signing_key).key_id

    def signed_by(key_id: str) -> bool:
        """Tell whether the last status is signed with that key, and heard by the worker itself."""
        last = others.last("beijing")
        return last is not None and last["key_id"] == key_id and last["made_at"] > NOW

    begin_behind(beijing, store)
    settings = {"XINLIU_EXCHANGE": str(tmp_path / "exchange.json")}
    (tmp_path / "exchange.json").write_text(exchange.model_dump_json())
    worker = Worker(beijing, "view", tmp_path, settings=settings)
    try:
        others.tell("tianjin", published=published(), applied=[])
        assert wait_until(lambda: signed_by(first), seconds=60), worker.log[-3000:]
        ours = "SELECT bool_and(NOT silent) AND count(*) = 2 FROM xinliu.exchange_heard WHERE province IN ('beijing', 'tianjin')"
        assert wait_until(lambda: store.execute(ours).fetchone() == (True,), seconds=30), worker.log[-3000:]
        waiting = make_key("beijing", exchange.signing_key.parent, exchange.keyring)
        second = waiting.name.split(".")[1]
        assert switch(exchange.signing_key, waiting, exchange.keyring) == first
        assert wait_until(lambda: signed_by(second), seconds=30), worker.log[-3000:]
        retired_at = datetime.now(UTC)
        retire(exchange.keyring, "beijing", first, retired_at)
        heard = "SELECT told_at > %s FROM xinliu.peer_heard WHERE province = 'beijing'"
        assert wait_until(lambda: store.execute(heard, (retired_at,)).fetchone() == (True,), seconds=30), worker.log[
            -3000:
        ]
        assert store.execute("SELECT sum(refusals) FROM xinliu.peer_heard").fetchone() == (0,)
        assert worker.runs
    finally:
        assert worker.stop() == 0, worker.log[-3000:]
