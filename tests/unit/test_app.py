"""The Faust app of a worker: what it leaves out of Faust's start, and how soon the others of its group notice it."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from faust.tables import TableManager

from schemas.servers.connection import WorkerTimes
from schemas.servers.kafka import Cluster
from streams.runtime.app import StreamApp

CLUSTER = Cluster.of("127.0.0.1:9092")


def app(**settings: Any) -> StreamApp:
    """Return an app that reaches nothing."""
    return StreamApp("test", kafka=CLUSTER, first_offset="none", **settings)


def test_nothing_is_waited_for_before_it_subscribes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slept(self: TableManager, seconds: float) -> None:
        pytest.fail(f"the start sleeps for {seconds} s")

    started = []

    class Recovery:
        async def start(self) -> None:
            started.append(True)

    class Consumer:
        def assignment(self) -> set[Any]:
            return set()

        def pause_partitions(self, _: set[Any]) -> None:
            """Nothing is assigned yet."""

    async def start() -> bool:
        made: Any = app()
        made._consumer, made.tables._recovery = Consumer(), Recovery()
        await made.tables.on_start()
        return bool(made.tables._tables_registered.is_set())

    monkeypatch.setattr(TableManager, "sleep", slept)
    assert asyncio.run(start()), "the conductor subscribes once they are registered"
    assert started


def test_no_module_is_looked_for_where_a_task_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        """Do nothing."""

    async def make() -> int:
        made: Any = app()
        monkeypatch.setattr(inspect, "getmodule", lambda *_: pytest.fail("every module's path is resolved"))
        made.task(work)
        made.agent(made.runs("accepted"))(work)
        return len(made._app_tasks)

    assert asyncio.run(make()) == 1


@pytest.mark.parametrize("session", [6.0, WorkerTimes().session, 60.0])
def test_a_session_has_heartbeats_enough(session: float) -> None:
    conf = app(session=session).conf
    assert conf.broker_session_timeout == session
    assert conf.broker_heartbeat_interval <= min(session / 3, 4.0), "a rebalance waits for the next one"
