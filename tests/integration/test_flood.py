"""A department that floods its topic with what cannot be accepted is stopped, alone, until an operator resumes it."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader
from schemas.servers.connection import Connection, IntakeLimits
from schemas.store.database import connect
from streams.intake.stops import RESUMED, STOPPED
from tests import warm
from tests.offline import INTAKE_GROUP, assert_view_is_the_fold, lag, view_caught_up
from tests.statements import framed, penalty, put
from tests.workers import Worker, environment

FLOODING, GOOD = "finance", "water"
TOPIC = f"records.{FLOODING}"
LIMIT, WAVE, FLOOD = 300, 150, 3_000


def xinliu(connection: Connection, *words: str) -> tuple[int, Any]:
    """Run a command with --json; return its exit code and what it printed."""
    ran = warm.run(
        [sys.executable, "-m", "xinliu", *words, "--json"],
        env=environment(connection),
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, json.loads(ran.stdout) if ran.stdout else ran.stderr


def operations(connection: Connection) -> list[Operation]:
    """Return the events of `operations` about the flooding department."""
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        try:
            return [event for event in reader.held() if event.department == FLOODING]
        finally:
            reader.close()


def count(connection: Connection, query: str, *values: object) -> int:
    """Return the one number that a query asks for."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        row = store.execute(query, values).fetchone()
    assert row is not None
    return int(row[0] or 0)  # type: ignore[call-overload]


def quarantined(connection: Connection) -> int:
    """Return how many messages of the flooding department are in the quarantine, once the view has read all there is."""
    assert wait_until(lambda: view_caught_up(connection), seconds=60)
    return count(connection, "SELECT count(*) FROM quarantine WHERE department = %s", FLOODING)


def is_visible(connection: Connection, department: str, number: str) -> bool:
    """Publish a good row and wait until it is in the view."""
    put(connection, f"records.{department}", framed(connection, [penalty(number, entity=720_000, key=department)]))
    return wait_until(lambda: _held(connection, number), seconds=60)


def _held(connection: Connection, number: str) -> bool:
    return count(connection, "SELECT count(*) FROM report.penalty WHERE document_number = %s", number) == 1


@pytest.mark.timeout(280)
def test_a_flood_stops_one_department_and_loses_nothing(stack: Connection, tmp_path: Path) -> None:
    connection = stack.model_copy(update={"intake_limits": IntakeLimits(consecutive=LIMIT)})
    run = uuid.uuid4().hex[:8]
    before = len(operations(connection))
    # By a lasting name, a worker that was killed goes on at once.
    running = {name: Worker(connection, name, tmp_path, "--instance", run) for name in ("intake", "view")}
    try:
        assert is_visible(connection, FLOODING, f"先{run}")
        held = quarantined(connection)
        sent: list[tuple[int, int]] = []
        while len(sent) < FLOOD:
            sent += put(connection, TOPIC, [b"no statement %d" % n for n in range(WAVE)], partition=0)
            # Waved in until it is stopped, so that no batch is larger than a wave; from then on it lies in its topic.
            assert wait_until(
                lambda: lag(connection, INTAKE_GROUP, [TOPIC]) == 0 or len(operations(connection)) > before, seconds=60
            )
        assert is_visible(connection, GOOD, f"邻{run}"), "the others flow on"

        (stop,) = operations(connection)[before:]
        assert (stop.kind, stop.detail["codes"]) == (STOPPED, {"NOT_AVRO": LIMIT})
        assert "300 messages in a row were refused" in stop.reason
        assert quarantined(connection) - held == LIMIT < FLOOD
        assert lag(connection, INTAKE_GROUP, [TOPIC]) == FLOOD - LIMIT, "nothing behind the stop is acked"
        code, told = xinliu(connection, "intake", "status")
        assert code == 1
        assert [(one["department"], one["reason"]) for one in told["stopped"]] == [(FLOODING, stop.reason)]
        assert f"xinliu intake resume --department {FLOODING}" in running["intake"].log

        running["intake"].kill()
        running["intake"] = Worker(connection, "intake", tmp_path, "--instance", run)
        assert is_visible(connection, GOOD, f"后{run}")
        put(connection, TOPIC, framed(connection, [penalty(f"末{run}", entity=720_001, key=FLOODING)]), partition=0)
        assert is_visible(connection, GOOD, f"再{run}")
        assert quarantined(connection) - held == LIMIT, "a restart does not let it go on"
        assert lag(connection, INTAKE_GROUP, [TOPIC]) == FLOOD - LIMIT + 1
        claimed = "SELECT max(next_offset) FROM input_progress WHERE topic = %s AND partition = 0"
        assert count(connection, claimed, TOPIC) == sent[LIMIT][1], "no progress is claimed beyond the stop"

        assert xinliu(connection, "intake", "resume", "--department", GOOD)[0] == 2, "it is not stopped"
        resume = ("intake", "resume", "--department", FLOODING, "--reason", "导出已修正", "--tolerate", str(FLOOD))
        assert xinliu(connection, *resume, "--dry-run")[0] == 0
        assert xinliu(connection, "intake", "status")[0] == 1
        assert xinliu(connection, *resume)[0] == 0
        assert wait_until(lambda: _held(connection, f"末{run}"), seconds=60), running["intake"].log[-3000:]
        assert quarantined(connection) - held == FLOOD, "every message has its answer, once"
        assert xinliu(connection, "intake", "status") == (0, {"stopped": [], "limits": told["limits"]})
        assert [event.kind for event in operations(connection)[before:]] == [STOPPED, RESUMED]
        assert operations(connection)[-1].reason == "导出已修正"
        assert wait_until(lambda: lag(connection, INTAKE_GROUP, [TOPIC]) == 0, seconds=30)
        assert_view_is_the_fold(connection)
    finally:
        for worker in running.values():
            if worker.runs:
                assert worker.stop() == 0, worker.log[-3000:]
