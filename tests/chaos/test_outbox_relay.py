"""A relay that is killed, frozen, doubled, and whose servers go away: what was committed is told, and nothing else."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from deploy.deadline import wait_until
from deploy.local.stack import Stack
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.offline import INTAKE_GROUP, assert_view_is_the_fold, lag, view_caught_up
from tests.outboxes import Database
from tests.relays import Program, RelayProcess, bodies_of, outbox_command, outbox_on, status_of
from tests.workers import Worker, workers

pytestmark = pytest.mark.timeout(280)


@contextmanager
def program_of(
    connection: Connection, department: str, folder: Path, *, entity: int
) -> Iterator[tuple[Database, Program]]:
    """Run a department's program, and intake and view, round whatever happens to its relay; then look at what came of it."""
    with outbox_on(connection, department) as tax, workers(connection, folder, "intake", "view") as running:
        program = Program(tax, entity=entity)
        try:
            yield tax, program
        finally:
            program.stop()
        outbox_command(connection, tax, "relay", "--once", "--lease", "1")
        told = status_of(connection, tax)
        assert (told["waiting"], told["failed"], told["relay"]) == (0, 0, None)
        assert set(bodies_of(connection, department)) == program.committed, "what was committed, and nothing else"
        assert program.committed
        assert_visible(connection, department, program, running)


def assert_visible(connection: Connection, department: str, program: Program, running: tuple[Worker, ...]) -> None:
    """Wait for the view, and hold it against what the program committed and against the log."""

    def caught_up() -> bool:
        for worker in running:
            assert worker.runs, worker.log[-3000:]
        return lag(connection, INTAKE_GROUP, [f"records.{department}"]) == 0 and view_caught_up(connection)

    assert wait_until(caught_up, seconds=120, every=0.5), [worker.log[-1500:] for worker in running]
    assert_view_is_the_fold(connection)
    with connect(connection.database.get_secret_value()) as store:
        query = "SELECT replace(record_id::text, '-', ''), version FROM record WHERE department = %s"
        found = dict(store.execute(query, (department,)).fetchall())
    assert found == program.newest, "the newest of every record, and no other record"


def begun(connection: Connection, department: str) -> bool:
    """Tell whether the first statements are visible: relay and workers are at work."""
    with connect(connection.database.get_secret_value()) as store:
        found = store.execute("SELECT EXISTS (SELECT FROM record WHERE department = %s)", (department,)).fetchone()
    return bool(found and found[0])


def for_a_while(seconds: float) -> None:
    """Let a load go on."""
    begun = monotonic()
    wait_until(lambda: monotonic() - begun > seconds, seconds=seconds + 1)


def test_a_relay_killed_under_load_loses_nothing(stack: Connection, tmp_path: Path) -> None:
    chance = Random(7)
    with program_of(stack, "transport", tmp_path, entity=4_000_000) as (tax, _):
        for _ in range(6):
            sent = tax.store.last_sent()
            with RelayProcess(stack, tax, tmp_path, "--batch", "50", "--mark-every", "0.2") as relay:
                assert wait_until(lambda sent=sent: tax.store.last_sent() != sent, seconds=60), relay.log
                for_a_while(chance.uniform(0.0, 0.5))
                relay.kill()


def test_two_relays_one_of_them_frozen_for_a_while(stack: Connection, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        program_of(stack, "culture-tourism", tmp_path, entity=4_100_000) as (tax, program),
        RelayProcess(stack, tax, tmp_path, "--batch", "20") as one,
        RelayProcess(stack, tax, tmp_path / "other", "--batch", "20") as other,
    ):
        assert wait_until(lambda: "outbox.stands_by" in one.log + other.log, seconds=60), one.log + other.log
        works, stands_by = (other, one) if "outbox.stands_by" in one.log else (one, other)
        for _ in range(4):
            owner = tax.lease().state().owner
            works.signal(signal.SIGSTOP)
            assert wait_until(lambda owner=owner: tax.lease().state().owner != owner, seconds=60), stands_by.log
            works.signal(signal.SIGCONT)
            for_a_while(0.5)
            works, stands_by = stands_by, works
        program.stop()
        assert (one.stop(), other.stop()) == (0, 0), one.log + other.log


def test_the_database_is_killed_while_relaying(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with (
        program_of(stack, "cultural-relics", tmp_path, entity=4_200_000) as (tax, program),
        RelayProcess(stack, tax, tmp_path, "--batch", "50") as relay,
    ):
        assert wait_until(lambda: begun(stack, tax.department), seconds=90, every=0.5), relay.log
        local_stack.kill("postgres")
        relay.says("the database does not answer")
        local_stack.start("postgres")
        relay.says("outbox.goes_on")
        program.stop()
        assert relay.stop() == 0, relay.log


def test_the_broker_is_killed_while_relaying(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with (
        program_of(stack, "health", tmp_path, entity=4_300_000) as (tax, program),
        RelayProcess(stack, tax, tmp_path, "--batch", "50", "--mark-every", "1") as relay,
    ):
        assert wait_until(lambda: begun(stack, tax.department), seconds=90, every=0.5), relay.log
        local_stack.kill("kafka")
        try:
            relay.says("outbox.waits", seconds=60)
            program.stop()  # the department did not notice
        finally:
            local_stack.start("kafka")
        relay.says("outbox.goes_on", seconds=90)
        assert wait_until(lambda: tax.store.backlog().waiting == 0, seconds=60), relay.log
        assert relay.stop() == 0, relay.log
