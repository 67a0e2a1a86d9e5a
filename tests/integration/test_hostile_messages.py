"""Hostile messages on real servers: what the fuzzer makes, each ends as accepted or in the quarantine, and all goes on."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from deploy.deadline import wait_until
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection, IntakeLimits
from schemas.store.database import connect
from tests.fuzz.choices import Consumed
from tests.fuzz.hostile import STATEMENT, Writers, message
from tests.offline import INTAKE_GROUP, assert_view_is_the_fold, lag, log_of, view_caught_up
from tests.statements import framed, penalty, put, registered
from tests.workers import workers

MESSAGES = 1_500
TOPIC = "records.tax"


def hostile(connection: Connection, seed: int) -> list[bytes | None]:
    """Return messages of the fuzzer's making, under the real registry's ids."""
    chance = random.Random(seed)
    made: list[bytes | None] = []
    with SchemaRegistryClient({"url": connection.registry.url}) as client:
        while len(made) < MESSAGES:
            choose = Consumed(chance.randbytes(20_000))
            writers = Writers(choose)
            ids = {writers.statement: registered(connection.registry, STATEMENT)}
            ids[writers.marker] = registered(connection.registry, "xinliu.Marker")
            for schema_id, text in writers.foreign.items():
                # Under subjects of their own, where a registry holds nothing against anything, ids are global all the same.
                try:
                    ids[schema_id] = client.register_schema(f"foreign-{uuid.uuid4().hex}", Schema(text, "AVRO"))
                except SchemaRegistryError:
                    continue  # the registry would not have it: nobody can write with it
            for value in (message(choose, writers) for _ in range(30)):
                number = int.from_bytes(value[1:5], "big") if value else 0
                known = ids.get(number, number) if value and value[0] == 0 and len(value) > 5 else number
                made.append(value[:1] + known.to_bytes(4, "big") + value[5:] if value and known != number else value)
    assert len({value[1:5] for value in made if value and len(value) > 5}) > 10, "ours, foreign ones, unknown ones"
    return made


@pytest.mark.timeout(250)
def test_whatever_comes_is_answered_once_and_everything_goes_on(stack: Connection, tmp_path: Path) -> None:
    connection = stack.model_copy(update={"intake_limits": IntakeLimits(consecutive=10**6, window=10**6)})
    run = uuid.uuid4().hex[:8]
    values = hostile(connection, seed=len(CONTRACTS))
    with workers(connection, tmp_path, "intake", "view") as (intake, view):
        places = put(connection, TOPIC, values, partition=0)
        put(connection, TOPIC, framed(connection, [penalty(f"后{run}", entity=721_000)]), partition=0)
        wait_until(lambda: _held(connection, f"后{run}") or not (intake.runs and view.runs), seconds=120)
        assert intake.runs, intake.log[-3000:]
        assert view.runs, view.log[-3000:]
        assert _held(connection, f"后{run}"), intake.log[-3000:] + view.log[-3000:]
        assert wait_until(lambda: lag(connection, INTAKE_GROUP, [TOPIC]) == 0, seconds=30)
        assert wait_until(lambda: view_caught_up(connection), seconds=30)
        answered = {
            (int(partition), int(offset))
            for name in ("accepted", "quarantine")
            for origin in map(_origin, log_of(connection, name))
            if origin
            for topic, _, partition, offset in [origin.split(" ")]
            if topic == TOPIC
        }
        silent = [value for place, value in zip(places, values, strict=True) if place not in answered]
        with Registry(connection.registry) as registry:
            kinds = {registry.writer(int.from_bytes(value[1:5], "big")).name for value in silent if value}
        assert None not in silent
        assert kinds <= {"xinliu.Marker"}, "only a marker needs no answer"
        assert_view_is_the_fold(connection)


def _held(connection: Connection, number: str) -> bool:
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        query = "SELECT count(*) FROM report.penalty WHERE document_number = %s"
        return store.execute(query, (number,)).fetchone() == (1,)


def _origin(entry: object) -> str:
    headers = dict(entry.headers() or [])  # type: ignore[attr-defined]
    return (headers.get("xinliu-origin") or b"").decode()
