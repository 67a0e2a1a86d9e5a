"""Quotas as code: whom they name, what differs, and how they are said to Kafka."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from deploy.cluster import access, quotas
from deploy.cluster.quotas import Limit, wanted
from schemas.catalogue import load

CATALOGUE = load()
WANTED = wanted(CATALOGUE, "beijing", ["zhang"])


def test_everybody_but_the_workers_and_the_broker_has_every_quota() -> None:
    named = {name for kind, name, _ in WANTED if kind == "user"}
    assert named == {*access.principals(CATALOGUE, "beijing", ["zhang"])} - {*access.WORKERS}
    for name in named:
        keys = {key for kind, who, key in WANTED if (kind, who) == ("user", name)}
        assert keys == {"producer_byte_rate", "consumer_byte_rate", "request_percentage"}
    assert WANTED["ip", None, "connection_creation_rate"] > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({("user", "department-tax", "producer_byte_rate"): None}, ("create", "department-tax", "producer_byte_rate = 4194304")),
        ({("user", "department-tax", "request_percentage"): 9.0}, ("create", "department-tax", "request_percentage = 50")),
        ({("ip", None, "connection_creation_rate"): None}, ("create", "ip (every)", "connection_creation_rate = 50")),
        ({("ip", "10.0.0.7", "connection_creation_rate"): 1.0}, ("remove", "ip 10.0.0.7", "connection_creation_rate")),
        ({("user", None, "producer_byte_rate"): 1.0}, ("remove", "user (every)", "producer_byte_rate")),
        ({("user", "gone", "producer_byte_rate"): 1.0}, ("remove", "gone", "producer_byte_rate")),
        ({("user+client-id", "tax+None", "producer_byte_rate"): 1.0}, ("remove", "user+client-id tax+None", "producer_byte_rate")),
    ],
)  # fmt: skip
def test_what_is_missing_different_or_not_declared_is_named(
    change: dict[Limit, float | None], told: tuple[str, str, str]
) -> None:
    held = {**WANTED, **change}
    found = quotas._quota_changes({limit: value for limit, value in held.items() if value is not None}, WANTED)
    assert [(one.action, one.principal, one.what) for one in found] == [told]
    assert quotas._quota_changes(WANTED, WANTED) == ()


@pytest.mark.parametrize(
    ("kind", "name", "parts"),
    [
        ("user", "tax", [("user", "tax")]),
        ("ip", None, [("ip", None)]),
        ("user+client-id", "tax+None", [("user", "tax"), ("client-id", None)]),
        ("user+client-id", None, [("user", None), ("client-id", None)]),
    ],
)
def test_an_entity_of_several_parts_can_be_named_again(kind: str, name: str | None, parts: list[Any]) -> None:
    assert quotas._parts(kind, name) == parts


def test_the_alteration_is_said_as_kafka_reads_it() -> None:
    def text(one: str | None) -> bytes:
        return b"\xff\xff" if one is None else struct.pack(">h", len(one)) + one.encode()

    entries = [
        ([("user", "department-tax")], [("producer_byte_rate", 4.0, False)]),
        ([("ip", None)], [("connection_creation_rate", 0.0, True)]),
    ]
    request = quotas._alteration(entries).prepare({49: (0, 1)})
    assert (request.API_KEY, request.API_VERSION) == (49, 0)
    # AlterClientQuotasRequest, version 0: entries of entity (type, name) and ops (key, value, remove); validate_only.
    assert request.encode() == (
        struct.pack(">i", 2)
        + struct.pack(">i", 1) + text("user") + text("department-tax")
        + struct.pack(">i", 1) + text("producer_byte_rate") + struct.pack(">d?", 4.0, False)
        + struct.pack(">i", 1) + text("ip") + text(None)
        + struct.pack(">i", 1) + text("connection_creation_rate") + struct.pack(">d?", 0.0, True)
        + b"\x00"
    )  # fmt: skip
