"""One department harms nobody else: what it floods with costs the others a moment, the disk little, and is bounded by quotas."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from deploy.cluster import quotas
from deploy.deadline import wait_until
from schemas.contracts.codec import frame
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.secure import Secure, xinliu
from tests.statements import framed, penalty, put

ENTITY = 815_000


def count(connection: Connection, query: str, *values: object) -> int:
    """Return the one number that a query asks for."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        row = store.execute(query, values).fetchone()
    assert row is not None
    return int(row[0] or 0)  # type: ignore[call-overload]


def neighbour_gets_through(secure: Secure, entity: int) -> None:
    """Publish a good row of the department water, as itself, and wait until it can be read.

    How long it may take is measured and not asserted here: `python -m benchmarks.behaviours`.
    """
    number, water = uuid.uuid4().hex, secure.principals["department-water"]
    (message,) = framed(water, [penalty(number, entity=entity, key="water")])
    put(water, "records.water", [message])
    query = "SELECT count(*) FROM report.penalty WHERE document_number = %s"
    assert wait_until(lambda: count(secure.connection, query, number) == 1, seconds=60)


@contextmanager
def resumed_after(secure: Secure, department: str, messages: int) -> Iterator[None]:
    """Wait until the department is stopped, or all is through, and let it go on behind what it wrote."""

    def stopped() -> list[str]:
        told = xinliu(secure, "intake", "status", "--json").stdout
        return [one["department"] for one in json.loads(told)["stopped"]]

    try:
        yield
    finally:
        assert wait_until(lambda: department in stopped(), seconds=60)
        words = ("--department", department, "--reason", "演练结束", "--tolerate", str(messages))
        assert xinliu(secure, "intake", "resume", *words).returncode == 0


@pytest.mark.timeout(200)
def test_random_schema_ids_hold_nobody_up(secure: Secure) -> None:
    chance, flooding = random.Random(5), secure.principals["department-health"]
    with resumed_after(secure, "health", 5_000):
        put(flooding, "records.health", [frame(chance.randrange(2**32), b"junk") for _ in range(5_000)])
        neighbour_gets_through(secure, ENTITY + 1)
    query = (
        "SELECT count(*) FROM quarantine WHERE department = 'health' AND findings @> '[{\"code\": \"UNKNOWN_SCHEMA\"}]'"
    )
    assert wait_until(lambda: count(secure.connection, query) >= 5_000, seconds=60), "each has its answer"
    neighbour_gets_through(secure, ENTITY + 2)


@pytest.mark.timeout(200)
def test_a_producer_of_megabytes_is_throttled_and_leaves_little_behind(secure: Secure) -> None:
    throttled: list[float] = []
    client = secure.principals["department-health"].kafka.client(
        {
            "linger.ms": 0,
            "message.max.bytes": 8 << 20,
            "throttle_cb": lambda event: throttled.append(event.throttle_time),
        }
    )
    producer, chance = Producer(client), random.Random(6)
    sent = 0
    while not throttled and sent < 150:
        producer.produce("records.health", b"\xff" + chance.randbytes(1_000_000))
        sent += 1
        producer.poll(0.0 if sent % 20 else 5.0)
    assert wait_until(lambda: producer.poll(0.1) is not None and len(producer) == 0, seconds=90)
    assert throttled, f"{sent} MB were taken as fast as they came"
    found = "SELECT count(*) FROM quarantine WHERE department = 'health' AND length(value) = 4096"
    assert wait_until(lambda: count(secure.connection, found) == sent, seconds=90)
    assert count(secure.connection, "SELECT max(length(value)) FROM quarantine WHERE department = 'health'") <= 64 << 10
    neighbour_gets_through(secure, ENTITY + 3)


def test_a_missing_quota_is_named_and_set_again(secure: Secure) -> None:
    assert xinliu(secure, "access", "plan").stdout == "nothing to do\n"
    admin = secure.connection.acting("admin").kafka
    gone = {
        ("user", "department-health", "producer_byte_rate"): None,
        ("ip", None, "connection_creation_rate"): None,
        ("user", "department-water", "request_percentage"): 9_000.0,
        ("user", "nobody-we-know", "consumer_byte_rate"): 5.0,
    }
    asyncio.run(quotas._alter(admin, gone))
    missing = {(one["action"], one["principal"], one["what"]) for one in _planned(secure, 1)}
    assert missing == {
        ("create", "department-health", "producer_byte_rate = 4194304"),
        ("create", "ip (every)", "connection_creation_rate = 50"),
        ("create", "department-water", "request_percentage = 50"),
        ("remove", "nobody-we-know", "consumer_byte_rate"),
    }
    assert xinliu(secure, "access", "apply").returncode == 0
    assert _planned(secure, 0) == []


def _planned(secure: Secure, code: int) -> list[dict[str, str]]:
    ran = xinliu(secure, "access", "plan", "--json")
    assert ran.returncode == code, ran.stderr
    told: list[dict[str, str]] = json.loads(ran.stdout)
    return told
