"""A promote and a rollback that die at each of their named points, while events flow: run again, each goes on or is done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.operations.log import OperationsReader
from schemas.servers.connection import Connection
from tests import warm
from tests.generations import Flow, owner, rebuilt, receipts, serving
from tests.workers import environment, workers

POINTS = ("checked", "caught-up", "inside-switch", "switched", "told", "announced")
"""In the order in which they are passed; from `switched` on another generation serves."""
ROLLBACK_POINTS = ("inside-switch", "switched")
"""A rollback is the same code: only the two that matter most are passed again."""


def replay(connection: Connection, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `xinliu replay …`."""
    command = [sys.executable, "-m", "xinliu", "replay", *words, "--reason", "a test", "--json"]
    return warm.run(command, env=environment(connection), capture_output=True, text=True, timeout=120, check=False)


def events(connection: Connection, kind: str) -> list[dict[str, Any]]:
    """Return what `operations` says of one kind of step."""
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        found = [dict(one.detail) for one in reader.held() if one.kind == kind]
        reader.close()
    return found


@pytest.mark.timeout(900)
def test_it_goes_on_from_every_point(own_stack: Connection, tmp_path: Path) -> None:
    first, times = serving(own_stack), {"REPLAY_PROMOTED": 0, "REPLAY_ROLLED_BACK": 0}
    with workers(own_stack, tmp_path, "intake", "view") as running:
        with Flow(own_stack) as flow:
            assert wait_until(lambda: len(flow.good) > 100, seconds=30)
            made, second = rebuilt(own_stack)
            for point in POINTS:
                for words, kind, old, new in (
                    (("promote", made), "REPLAY_PROMOTED", first, second),
                    (("rollback",), "REPLAY_ROLLED_BACK", second, first),
                ):
                    if kind == "REPLAY_ROLLED_BACK" and point not in ROLLBACK_POINTS:
                        assert replay(own_stack, *words).returncode == 0
                        times[kind] += 1
                        continue
                    died = replay(own_stack, *words, "--crash-at", f"promote.{point}")
                    assert died.returncode == -signal.SIGKILL, (point, died.stderr)
                    switched = POINTS.index(point) >= POINTS.index("switched")
                    assert serving(own_stack) == (new if switched else old), point
                    again = replay(own_stack, *words)
                    assert again.returncode == 0, (point, again.stderr)
                    told = json.loads(again.stdout)
                    assert (told["kind"], told["new"], told["resumed"]) == (kind, new, switched), point
                    assert serving(own_stack) == new
                    times[kind] += 1
                    said = events(own_stack, kind)
                    assert len(said) == times[kind], f"{point}: operations and the table tell of the same"
                    assert (said[-1]["before"]["generation"], said[-1]["after"]["generation"]) == (old, new)
                    with owner(own_stack) as store:
                        row = store.execute(
                            "SELECT state, progress -> 'switch' ->> 'phase',"
                            " (SELECT string_agg(state, ' ' ORDER BY generation) FROM xinliu.generation)"
                            " FROM xinliu.replay WHERE replay = %s",
                            (made,),
                        ).fetchone()
                    states = "RETIRED SERVING" if new == second else "SERVING RETIRED"
                    assert row == (kind.removeprefix("REPLAY_"), "done", states), point

        def all_there() -> bool:
            with owner(own_stack) as store:
                row = store.execute("SELECT count(*) FROM report.penalty WHERE document_number LIKE '流%%'").fetchone()
            return row is not None and row[0] == len(flow.good)

        assert wait_until(all_there, seconds=240), running[1].log[-3000:]
        assert wait_until(lambda: all(receipts(own_stack, "tax")[place] for place in flow.refused), seconds=240)
        told_of = receipts(own_stack, "tax")
        assert {place: told_of[place] for place in flow.refused} == dict.fromkeys(flow.refused, 1)
        assert all(worker.runs for worker in running)


@pytest.mark.parametrize("words", [("promote", "nothing"), ("rollback",), ("promote", "77"), ("promote", "1")])
def test_what_cannot_be_promoted_says_so_in_one_line(own_stack: Connection, words: tuple[str, ...]) -> None:
    done = replay(own_stack, *words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
