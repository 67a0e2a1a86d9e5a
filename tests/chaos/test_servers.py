"""Servers that go away under load: workers wait, say for what, go on by themselves, and nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path
from time import monotonic

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from deploy.deadline import wait_until
from deploy.local.stack import Stack
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster
from tests.chaos.load import TOPIC, says, settle, under_load
from tests.chaos.proxy import proxy
from tests.offline import ends_of
from tests.statements import framed, penalty, put
from tests.workers import SHORT, workers

pytestmark = pytest.mark.timeout(280)

_FROZEN_SECONDS = SHORT.session + 4.0
"""Longer than the sessions of the workers."""


def test_the_broker_is_restarted(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with under_load(stack, tmp_path):
        local_stack.stop("kafka")
        local_stack.start("kafka")


def test_the_broker_is_killed(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with under_load(stack, tmp_path):
        local_stack.kill("kafka")
        local_stack.start("kafka")


def test_the_broker_freezes(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    pid = next(server.pid for server in local_stack.status() if server.name == "kafka")
    assert pid is not None
    with under_load(stack, tmp_path):
        os.kill(pid, signal.SIGSTOP)
        try:
            frozen = monotonic()
            wait_until(lambda: monotonic() - frozen > _FROZEN_SECONDS, seconds=_FROZEN_SECONDS + 1)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_the_database_is_restarted(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with under_load(stack, tmp_path) as (_, view):
        local_stack.stop("postgres")
        says(view, "worker.waits")
        local_stack.start("postgres")
        says(view, "worker.goes_on")
    assert "PostgreSQL" in view.log


def test_the_database_is_killed(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with under_load(stack, tmp_path) as (_, view):
        local_stack.kill("postgres")
        says(view, "worker.waits")
        local_stack.start("postgres")
        says(view, "worker.goes_on")


def test_the_registry_is_away_at_the_start(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    values = framed(stack, [penalty(f"无册{uuid.uuid4().hex[:8]}", entity=600_060, key="finance")])
    since = ends_of(stack, "accepted")
    local_stack.stop("registry")
    try:
        with workers(stack, tmp_path, "intake", "view") as running:
            put(stack, TOPIC, values)
            says(running[0], "worker.waits")
            assert "schema registry" in running[0].log
            local_stack.start("registry")
            settle(stack, since, running, 1)
    finally:
        local_stack.start("registry")


def test_the_registry_goes_away_while_records_flow(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with under_load(stack, tmp_path):
        local_stack.kill("registry")  # what is cached goes on; nothing stops
        local_stack.start("registry")


def test_connections_to_the_database_are_cut_and_slow(stack: Connection, tmp_path: Path) -> None:
    known = conninfo_to_dict(stack.database.get_secret_value())
    with proxy(int(str(known["port"]))) as network:
        through = make_conninfo(stack.database.get_secret_value(), port=network.port)
        with under_load(stack, tmp_path, stack.model_copy(update={"database": SecretStr(through)})) as (_, view):
            for _ in range(5):
                assert wait_until(lambda: network.cut() > 0, seconds=30, every=0.3)
            network.refuse()
            says(view, "worker.waits")
            network.restore()
            says(view, "worker.goes_on")
            network.delay = 0.05
            assert wait_until(lambda: network.cut() > 0, seconds=30, every=2.0)
            network.delay = 0.0


def test_connections_to_the_broker_are_cut_and_slow(stack: Connection, tmp_path: Path) -> None:
    with proxy(int(stack.kafka.servers.rpartition(":")[2]), advertised=True) as network:
        through = Cluster(servers=f"127.0.0.1:{network.port}")
        with under_load(stack, tmp_path, stack.model_copy(update={"kafka": through})) as (intake, view):
            for _ in range(5):
                assert wait_until(lambda: network.cut() > 0, seconds=30, every=1.0)
            network.refuse()
            for worker in (intake, view):  # nothing comes, so that there is nothing to wait for but the next fetch
                says(worker, "Unable connect to node")
            network.restore()
            network.delay = 0.05
            assert wait_until(lambda: network.cut() > 0, seconds=30, every=2.0)
            network.delay = 0.0
