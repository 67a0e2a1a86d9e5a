"""Workers killed with SIGKILL under load, again and again: the view is the offline fold, and nothing lags for good."""

from __future__ import annotations

import random
import threading
import uuid
from pathlib import Path
from time import monotonic

import pytest

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from tests.offline import INTAKE_GROUP, VIEW_GROUP, assert_view_is_the_fold, lag, view_caught_up
from tests.statements import framed, penalty, put, state
from tests.workers import Worker

RECORDS = 12_000


def load(connection: Connection, run: str) -> list[bytes]:
    """Return messages with new versions, moves, revocations and duplicates among them, in a random order."""
    chance = random.Random(run)
    said = []
    for number in range(RECORDS):
        entity = number % 700
        first = penalty(f"杀{run}-{number}", entity=entity)
        said.append(first)
        if number % 5 == 0:
            said.append(penalty(f"杀{run}-{number}", version=2, entity=(entity + 1) % 700, original_entity=entity))
        if number % 11 == 0:
            said.append(state(first, chance.choice(["REVOKED", "REPAIRED"]), version=3))
        if number % 7 == 0:
            said.append(first)
    chance.shuffle(said)
    return framed(connection, said)


def assert_settled(connection: Connection) -> None:
    """Wait until everything is folded and committed, then hold the view against the log."""
    assert wait_until(lambda: lag(connection, INTAKE_GROUP, ["records.tax"]) == 0, seconds=90)
    assert wait_until(lambda: view_caught_up(connection), seconds=90)
    assert_view_is_the_fold(connection)
    # Idempotence would hide commits that are frozen; an operator's lag graph would not.
    assert wait_until(lambda: lag(connection, VIEW_GROUP, ["accepted", "quarantine"]) == 0, seconds=30)


@pytest.mark.timeout(280)
@pytest.mark.parametrize("victim", ["view", "intake"])
def test_a_worker_killed_under_load_loses_and_doubles_nothing(stack: Connection, tmp_path: Path, victim: str) -> None:
    run = uuid.uuid4().hex[:8]
    values = load(stack, run)
    running = {name: Worker(stack, name, tmp_path) for name in ("intake", "view")}
    publishing = threading.Thread(target=put, args=(stack, "records.tax", values))
    publishing.start()
    try:
        for kill in range(3):
            begun, wait = monotonic(), random.Random(f"{run}{kill}").uniform(1.5, 4.0)
            wait_until(lambda begun=begun, wait=wait: monotonic() - begun > wait, seconds=wait + 1)
            running[victim].kill()
            running[victim] = Worker(stack, victim, tmp_path)
        publishing.join()
        assert_settled(stack)
    finally:
        publishing.join()
        for worker in running.values():
            if worker.runs:
                assert worker.stop() == 0, worker.log[-3000:]


def test_two_view_workers_share_the_log(stack: Connection, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    values = load(stack, run)[: RECORDS // 2]
    running = [Worker(stack, "intake", tmp_path), Worker(stack, "view", tmp_path)]
    put(stack, "records.tax", values)
    running.append(Worker(stack, "view", tmp_path))
    put(stack, "records.tax", values[::-1])
    running[1].kill()
    try:
        assert_settled(stack)
    finally:
        for worker in running:
            if worker.runs:
                assert worker.stop() == 0, worker.log[-3000:]
