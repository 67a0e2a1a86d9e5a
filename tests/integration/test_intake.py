"""Intake against hostile input on real servers: whatever comes ends as a receipt or in the quarantine, neighbours unharmed."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from deploy.deadline import wait_until
from producers.receipts import Receipts
from schemas.contracts.codec import encode, frame
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.kafka.headers import ORIGIN
from tests.offline import assert_view_is_the_fold, log_of, view_caught_up
from tests.statements import framed, listing, penalty, put, registered
from tests.workers import workers

TOPIC = "records.tax"


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


def marker(connection: Connection, department: str = "tax", as_of: datetime | None = None) -> bytes:
    """Return a marker's message."""
    value = {"department": department, "marker_id": uuid.uuid4().hex, "as_of": as_of or datetime.now(UTC)}
    return frame(registered(connection.registry, "xinliu.Marker"), encode("xinliu.Marker", value))


def publish_raw(
    connection: Connection, values: list[bytes | None]
) -> tuple[list[tuple[int, int]], dict[tuple[int, int], Any]]:
    """Write raw messages to one partition, wait for the markers behind them, and return places and exceptions."""
    receipts = Receipts(connection.kafka, connection.registry, "tax")
    try:
        places = put(connection, TOPIC, values, partition=0)
        markers = {p: put(connection, TOPIC, [marker(connection)], partition=p)[0][1] for p in (0, 1)}
        told: dict[tuple[int, int], Any] = {}
        for exceptions, _ in receipts.watch_past(markers, 60.0):
            told.update({(e["partition"], e["offset"]): e for e in exceptions})
        return places, told
    finally:
        receipts.close()


def codes(exception: dict[str, Any]) -> set[str]:
    """Return the codes of an exception's findings."""
    return {finding["code"] for finding in exception["findings"]}


def test_everything_hostile_is_quarantined_and_neighbours_pass(running: Connection) -> None:
    run = uuid.uuid4().hex[:8]
    good = framed(running, [penalty(f"邻{run}-{n}", entity=710_000 + n) for n in range(12)])
    whole = framed(running, [penalty(f"敌{run}", entity=710_100)])[0]
    (nul,) = framed(running, [penalty(f"空{run}", entity=710_101, facts="前\x00后")])
    (far,) = framed(running, [penalty(f"远{run}", entity=710_102, valid_until=date(9999, 12, 31))])
    (person,) = framed(running, [_with_uscc(penalty(f"人{run}", entity=710_103), "362322198709086409")])
    (foreign,) = framed(running, [penalty(f"他{run}", entity=710_104, key="finance")])
    # PostgreSQL keeps no U+0000 in text and indexes no text of 100 kB: each once stopped the view.
    (unkeepable,) = framed(running, [_with_uscc(penalty(f"零{run}", entity=710_106), "9111\0000M00000000W")])
    (endless,) = framed(
        running,
        [{**_with_uscc(penalty(f"尽{run}", entity=710_107), "".join(map(str, range(20_000)))), "domain": "税\0"}],
    )
    overlong = _overlong_decimal(running, penalty(f"长{run}", entity=710_105))
    hostile: list[tuple[bytes | None, set[str]]] = [
        (b"not avro at all", {"NOT_AVRO"}),
        (b"", {"EMPTY_VALUE"}),
        (None, {"EMPTY_VALUE"}),
        (whole[:-7], {"DAMAGED"}),
        (whole[:-9], {"DAMAGED"}),
        (whole + b"\x00\x01", {"TRAILING_BYTES"}),
        (b"\x00" + struct.pack(">I", 3_999_999) + whole[5:], {"UNKNOWN_SCHEMA"}),
        (frame(registered(running.registry, "xinliu.Receipt"), whole[5:]), {"UNEXPECTED_RECORD"}),
        (whole + b"\x00" * (2 << 20), {"TOO_LARGE"}),
        (nul, {"CONTROL_CHARACTER"}),
        (far, {"DATE_RANGE"}),
        (person, {"USCC_RESIDENT_ID"}),
        (foreign, {"WRONG_DEPARTMENT", "WRONG_DOMAIN", "WRONG_AUTHORITY"}),
        (overlong, {"DECIMAL_OVERFLOW"}),
        (unkeepable, {"USCC_LENGTH", "CONTROL_CHARACTER"}),
        (endless, {"USCC_LENGTH", "DOMAIN"}),
        (marker(running, department="finance"), {"WRONG_DEPARTMENT"}),
    ]
    mixed: list[bytes | None] = []
    for place, (value, _) in enumerate(hostile):
        mixed += [value, good[place]] if place < len(good) else [value]
    places, told = publish_raw(running, mixed)
    by_value = dict(zip(places, mixed, strict=True))
    for place, value in by_value.items():
        expected = [wanted for bad, wanted in hostile if bad is value or (bad == value and value not in good)]
        if value in good:
            assert place not in told, told.get(place)
        else:
            assert told[place]["outcome"] == "REFUSED"
            assert any(wanted <= codes(told[place]) for wanted in expected), (expected, told[place])
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute("SELECT value, uscc FROM quarantine WHERE topic = %s", (TOPIC,)).fetchall()
    assert all(b"19870908" not in bytes(value or b"") for value, _ in rows), "a person's number is never kept"
    assert "362322198709086409" not in {uscc for _, uscc in rows}
    assert_view_is_the_fold(running)


def test_statements_are_forwarded_byte_for_byte(running: Connection) -> None:
    run = uuid.uuid4().hex[:8]
    values = framed(
        running,
        [penalty(f"原{run}-{n}", entity=711_000 + n) for n in range(50)]
        + [listing(f"单{run}-{n}", entity=711_000 + n) for n in range(10)],
    )
    places, told = publish_raw(running, list(values))
    assert not told
    forwarded = {
        message.value(): dict(message.headers())[ORIGIN].decode()
        for message in log_of(running, "accepted")
        if ORIGIN in dict(message.headers() or [])
    }
    for place, value in zip(places, values, strict=True):
        topic, _, partition, offset = forwarded[value].split(" ")
        assert (topic, int(partition), int(offset)) == (TOPIC, *place)


def test_an_open_entry_makes_its_entity_pending_and_others_hold_back_the_source(running: Connection) -> None:
    run = uuid.uuid4().hex[:8]
    entity = generate(712_000)
    (bad,) = framed(running, [penalty(f"待{run}", entity=712_000, categories="批评教育")])
    publish_raw(running, [bad])
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        state = "SELECT state FROM report.domain_state(%s, %s, %s) WHERE domain = 'tax'"
        window = (date(2022, 1, 1), date(2026, 12, 31))
        assert store.execute(state, (entity, *window)).fetchone() == ("待核",)
    before = datetime.now(UTC)
    publish_raw(running, [b"unreadable"])
    publish_raw(running, [])
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        row = store.execute("SELECT data_as_of FROM report.source WHERE department = 'tax'").fetchone()
    assert row is not None
    assert row[0] <= before + timedelta(seconds=5), "what cannot be read at all may be about anyone"


def test_a_marker_vouches_no_further_than_its_receipt(running: Connection) -> None:
    put(running, "records.water", [marker(running, "water", datetime.now(UTC) + timedelta(days=30))], partition=0)
    put(running, "records.water", [marker(running, "water", datetime.now(UTC) + timedelta(days=30))], partition=1)

    def as_of() -> datetime | None:
        with connect(running.database.get_secret_value(), autocommit=True) as store:
            row = store.execute("SELECT data_as_of FROM report.source WHERE department = 'water'").fetchone()
        return row[0] if row else None  # type: ignore[return-value]

    assert wait_until(lambda: as_of() is not None, seconds=30)
    told = as_of()
    assert told is not None
    assert told <= datetime.now(UTC)
    assert wait_until(lambda: view_caught_up(running), seconds=30)


def _with_uscc(statement: dict[str, Any], uscc: str) -> dict[str, Any]:
    return {**statement, "subject": {**statement["subject"], "uscc": uscc}}


def _overlong_decimal(connection: Connection, statement: dict[str, Any]) -> bytes:
    """Return the message with an amount of 20 digits, as a client with another Avro library could write it."""
    (message,) = framed(connection, [statement])
    amount = (200_000).to_bytes(3, "big")  # 0.2 万元, unscaled
    short = bytes([2, 6]) + amount  # union branch 1, length 3
    assert message.count(short) == 1
    return message.replace(short, bytes([2, 20]) + (10**20).to_bytes(10, "big"))
