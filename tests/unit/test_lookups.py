"""How often an unknown schema id is asked for, whoever names it, and that nobody spends another's look-ups."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryError

from schemas.contracts.avro import own_fingerprint, source
from schemas.contracts.codec import NotDecodable, encode, frame
from schemas.contracts.columns import decode_batch
from schemas.contracts.lookups import Lookups
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from tests.statements import penalty

STATEMENT = json.dumps(source("xinliu.Statement"))


class Asked:
    """A registry's client that counts what it is asked; `held` are the schemas it has, by id."""

    def __init__(self, held: dict[int, str], *, away: bool = False) -> None:
        self.held, self.away = held, away
        self.ids: list[int] = []

    def get_schema(self, schema_id: int) -> Any:
        """Answer as the library does."""
        self.ids.append(schema_id)
        if self.away:
            raise ConnectionError("nobody there")
        if schema_id not in self.held:
            raise SchemaRegistryError(404, 40403, "not found")
        return SimpleNamespace(schema_str=self.held[schema_id])


class Clock:
    """A clock that stands until it is set."""

    at = 100.0

    def __call__(self) -> float:
        """Tell it."""
        return self.at


def registry_of(client: Asked, clock: Callable[[], float]) -> Registry:
    """Return the product's registry before this client."""
    made = Registry("http://127.0.0.1:1")
    made._client, made._lookups = client, Lookups(clock)  # type: ignore[assignment]
    return made


def ask(registry: Registry, schema_id: int, *askers: str) -> str:
    """Ask for an id; return its schema's name, or the code that it is refused with."""
    try:
        return registry.writer(schema_id, lambda: askers).name
    except NotDecodable as error:
        return error.code


@pytest.mark.parametrize("askers", [1, 45])
def test_random_ids_cost_one_look_up_a_second_and_no_memory(askers: int) -> None:
    client, clock, chance = Asked({}), Clock(), random.Random(7)
    registry = registry_of(client, clock)
    seconds = 120
    for _ in range(seconds):
        for _ in range(500):
            assert ask(registry, chance.randrange(2**31), f"records.{chance.randrange(askers)}") == "UNKNOWN_SCHEMA"
        assert len(registry._lookups) <= 4 * askers + 3, "what is kept does not grow with the ids that are named"
        clock.at += 1.0
    own = askers * (4 + seconds // 60)
    assert len(client.ids) <= seconds + own
    assert len(registry._writers) == 0


@pytest.mark.parametrize("named", ["the same ids", "the id itself", "ids all over"])
def test_a_schema_registered_just_now_is_found_at_once_whatever_a_neighbour_does(named: str) -> None:
    client, clock = Asked({}), Clock()
    registry = registry_of(client, clock)
    for tick in range(400):
        schema_id = {"the same ids": tick % 3, "the id itself": 77, "ids all over": 1000 + tick}[named]
        ask(registry, schema_id, "records.water")
        clock.at += 0.01
    client.held[77] = STATEMENT
    assert ask(registry, 77, "records.tax") == "xinliu.Statement"
    assert ask(registry, 77, "records.water") == "xinliu.Statement", "known for everybody"


def test_its_own_department_finds_it_once_its_junk_is_two_seconds_old() -> None:
    client, clock = Asked({}), Clock()
    registry = registry_of(client, clock)
    for schema_id in range(1000, 1400):
        ask(registry, schema_id, "records.water")
    ask(registry, 77, "records.water")
    client.held[77] = STATEMENT
    clock.at += 2.0
    assert ask(registry, 77, "records.water") == "xinliu.Statement"


def test_ids_that_are_there_cost_nothing() -> None:
    client, clock = Asked({schema_id: STATEMENT for schema_id in range(1, 60)}), Clock()
    registry = registry_of(client, clock)
    assert {ask(registry, schema_id, "records.tax") for schema_id in range(1, 60)} == {"xinliu.Statement"}
    assert {ask(registry, schema_id, "records.tax") for schema_id in range(1, 60)} == {"xinliu.Statement"}
    assert len(client.ids) == 59


def test_what_is_no_schema_is_asked_for_no_more_often() -> None:
    client, clock = Asked({schema_id: "no JSON" for schema_id in range(500)}), Clock()
    registry = registry_of(client, clock)
    assert {ask(registry, schema_id, "records.tax") for schema_id in range(500)} == {"UNKNOWN_SCHEMA"}
    assert len(client.ids) <= 5


def test_a_registry_that_is_away_refuses_nothing() -> None:
    client, clock = Asked({5: STATEMENT}, away=True), Clock()
    registry = registry_of(client, clock)
    for _ in range(30):
        with pytest.raises(Retryable):
            registry.writer(5, lambda: ("records.tax",))
    client.away = False
    assert ask(registry, 5, "records.tax") == "xinliu.Statement"


def test_a_batch_of_both_refuses_the_random_and_reads_the_new() -> None:
    client, clock = Asked({900: STATEMENT}), Clock()
    registry = registry_of(client, clock)
    body = encode("xinliu.Statement", penalty("新"))
    values = [frame(schema_id, b"junk") for schema_id in range(1_000, 1_600)] + [frame(900, body)]
    topics = ["records.water"] * 600 + ["records.tax"]
    batch = decode_batch(
        registry,
        values,
        named=[None] * 600 + [own_fingerprint("xinliu.Statement").encode()],
        expected={"xinliu.Statement"},
        source_of=lambda row: topics[row],
    )
    assert batch.statements["row"].to_list() == [600]
    assert {one.code for one in batch.undecodable} == {"UNKNOWN_SCHEMA"}
    assert len(batch.undecodable) == 600
    assert len(client.ids) <= 6
