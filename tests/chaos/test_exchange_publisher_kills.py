"""View workers killed by SIGKILL at every step of the publisher, under load: one chain, and others hold what we share."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path

import pytest

from deploy.deadline import wait_until
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.exchange.keys import make_key
from schemas.exchange.topics import EPOCH
from schemas.records.identity import digest
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.runtime.crash_points import POINTS
from tests.exchange_log import Run, committed, verified
from tests.offline import view_caught_up
from tests.sharing import digests, shared
from tests.statements import Statement, framed, penalty, put, registration, state
from tests.workers import Worker

RECORDS = 1_000
STATEMENT = "xinliu.Statement"


def load(run: str) -> tuple[list[Statement], list[Statement]]:
    """Return penalties with moves, repairs and revocations, and registrations of which some have ended, in a random order."""
    chance, said = random.Random(run), list[Statement]()
    for number in range(RECORDS):
        first = penalty(f"播{run}-{number}", entity=number % 300)
        said.append(first)
        if number % 5 == 0:
            said.append(
                penalty(f"播{run}-{number}", version=2, entity=(number + 1) % 300, original_entity=number % 300)
            )
        if number % 11 == 0:
            said.append(state(first, chance.choice(["REVOKED", "REPAIRED"]), version=3))
    places = [
        registration(entity=entity, version=version, until=date(2020, 1, 1) if (entity + version) % 3 == 0 else None)
        for entity in range(200)
        for version in (1, 2)
    ]
    chance.shuffle(said)
    chance.shuffle(places)
    return said, places


def held_elsewhere(
    runs: list[Run],
) -> tuple[dict[tuple[str, str], tuple[str, int, int, int]], dict[tuple[int, str], tuple[int, int, int]]]:
    """Return what another province holds that folds all of these runs: what is in force, and its digests."""
    held: dict[tuple[str, str], tuple[tuple[int, int, int, int], int, Statement]] = {}
    for run in runs:
        for message in run.messages:
            if message.key.startswith("pending|"):
                continue
            told = decode(parsed(STATEMENT), message.body)
            rank = (int(message.header(EPOCH) or 0), told["version"], *digest(message.body))
            key = (told["record_id"], told["department"])
            if key not in held or rank > held[key][0]:
                held[key] = (rank, message.partition, told)
    in_force = {
        key: (told["subject"]["uscc"], *rank[1:])
        for key, (rank, _, told) in held.items()
        if told["status"] == "IN_FORCE"
    }
    sums: dict[tuple[int, str], tuple[int, int, int]] = {}
    for rank, partition, told in held.values():
        if told["status"] != "WITHDRAWN":
            n, high, low = sums.get((partition, told["domain"]), (0, 0, 0))
            sums[partition, told["domain"]] = (n + 1, high ^ rank[2], low ^ rank[3])
    return in_force, sums


@pytest.mark.timeout(290)
def test_killed_at_every_step_the_publisher_leaves_one_chain(own_stack: Connection, tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    key = make_key("beijing", tmp_path / "private", keyring)
    file = tmp_path / "exchange.json"
    file.write_text(json.dumps({"signing_key": str(key), "keyring": str(keyring)}))
    settings = {"XINLIU_EXCHANGE": str(file)}
    said, places = load("1")
    intake = Worker(own_stack, "intake", tmp_path, settings=settings)
    points = [point for point in POINTS if point.startswith("publisher.")]
    portion = len(said) // len(points) + 1
    try:
        for number, point in enumerate(points):
            put(own_stack, "records.tax", framed(own_stack, said[number * portion : (number + 1) * portion]))
            put(own_stack, "records.market-regulation", framed(own_stack, places[number :: len(points)]))
            view = Worker(own_stack, "view", tmp_path, "--crash-at", f"{point}:3", settings=settings)
            assert view.wait(60) == -9, view.log[-3000:]
        view = Worker(own_stack, "view", tmp_path, settings=settings)
        with connect(own_stack.database.get_secret_value(), generation=1, autocommit=True) as store:
            waiting = "SELECT count(*) FROM outbox WHERE kind = 'EXCHANGE'"
            assert wait_until(
                lambda: view_caught_up(own_stack) and store.execute(waiting).fetchone() == (0,), seconds=90
            ), view.log[-3000:]
            complete = "SELECT min(made_at) > %s FROM xinliu.published_checkpoint"
            now = store.execute("SELECT now()").fetchone()
            assert now is not None
            assert wait_until(lambda: store.execute(complete, now).fetchone() == (True,), seconds=30)
            assert view.stop() == 0
            runs = verified(committed(own_stack), keyring)
            in_force, sums = held_elsewhere(runs)
            assert len(in_force) > RECORDS / 4
            assert in_force == shared(store)
            assert sums == digests(store)
        last = {run.checkpoint["partition"]: run.checkpoint for run in runs}
        told = {
            (partition, one["domain"]): (one["records"], one["digest_hi"], one["digest_lo"])
            for partition, checkpoint in last.items()
            for one in checkpoint["domains"]
            if one["records"]
        }
        assert all(checkpoint["complete"] for checkpoint in last.values())
        assert told == sums
    finally:
        for worker in (intake, view):
            if worker.runs:
                worker.stop()
