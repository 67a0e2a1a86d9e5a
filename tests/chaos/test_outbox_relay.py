"""A relay that is killed, frozen, doubled, and whose servers go away: what was committed is told, and nothing else."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from deploy.processes import wait_until
from deploy.stack import Stack
from schemas.connection import Connection
from schemas.store import connect
from tests.chaos.load import settle
from tests.offline import ends_of
from tests.outboxes import Database
from tests.relays import Program, RelayProcess, bodies_of, outbox_command, outbox_on, status_of
from tests.workers import workers

pytestmark = pytest.mark.timeout(280)


def assert_told(connection: Connection, tax: Database, program: Program) -> None:
    """Nothing waits, and the topic holds exactly what was committed; once each, or the same bytes again."""
    outbox_command(connection, tax, "relay", "--once", "--lease", "1")
    told = status_of(connection, tax)
    assert (told["waiting"], told["failed"], told["relay"]) == (0, 0, None)
    assert set(bodies_of(connection, tax.department)) == program.committed


def for_a_while(seconds: float) -> None:
    """Let a load go on."""
    begun = monotonic()
    wait_until(lambda: monotonic() - begun > seconds, seconds=seconds + 1)


def test_a_relay_killed_under_load_loses_nothing_and_the_view_shows_it(stack: Connection, tmp_path: Path) -> None:
    since, chance = ends_of(stack, "accepted"), Random(7)
    with outbox_on(stack, "transport") as tax, workers(stack, tmp_path, "intake", "view") as running:
        program = Program(tax, entity=4_000_000, transactions=100_000)
        for _ in range(6):
            sent = tax.store.last_sent()
            with RelayProcess(stack, tax, tmp_path, "--batch", "50", "--mark-every", "0.2") as relay:
                assert wait_until(lambda sent=sent: tax.store.last_sent() != sent, seconds=60), relay.log
                for_a_while(chance.uniform(0.0, 0.5))
                relay.kill()
            assert tax.store.backlog().waiting > 0, "it was killed with work in hand"
        program.stop()
        assert_told(stack, tax, program)
        settle(stack, since, running, len(program.newest), topic="records.transport")
        with connect(stack.database.get_secret_value()) as store:
            found = store.execute(
                "SELECT replace(record_id::text, '-', ''), version FROM record WHERE department = 'transport'"
            ).fetchall()
        assert dict(found) == program.newest, "the newest of every record, and no other record"


def test_two_relays_one_of_them_frozen_for_a_while(stack: Connection, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        outbox_on(stack, "culture-tourism") as tax,
        RelayProcess(stack, tax, tmp_path, "--batch", "20") as one,
        RelayProcess(stack, tax, tmp_path / "other", "--batch", "20") as other,
    ):
        program = Program(tax, entity=4_100_000, transactions=100_000)
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
        assert_told(stack, tax, program)


def test_the_database_is_restarted_while_relaying(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with outbox_on(stack, "cultural-relics") as tax, ExitStack() as stopped:
        program = Program(tax, entity=4_200_000, transactions=100_000)
        relay = stopped.enter_context(RelayProcess(stack, tax, tmp_path, "--batch", "50"))
        assert wait_until(lambda: bool(bodies_of(stack, tax.department)), seconds=60), relay.log
        local_stack.kill("postgres")
        relay.says("the database does not answer")
        local_stack.start("postgres")
        relay.says("outbox.goes_on")
        program.stop()
        assert relay.stop() == 0, relay.log
        assert_told(stack, tax, program)


def test_the_broker_is_restarted_while_relaying(stack: Connection, local_stack: Stack, tmp_path: Path) -> None:
    with outbox_on(stack, "health") as tax, ExitStack() as stopped:
        program = Program(tax, entity=4_300_000, transactions=100_000)
        relay = stopped.enter_context(RelayProcess(stack, tax, tmp_path, "--batch", "50", "--mark-every", "1"))
        assert wait_until(lambda: bool(bodies_of(stack, tax.department)), seconds=60), relay.log
        local_stack.kill("kafka")
        relay.says("outbox.waits", seconds=60)
        program.stop()  # the department did not notice
        local_stack.start("kafka")
        relay.says("outbox.goes_on", seconds=90)
        assert wait_until(lambda: tax.store.backlog().waiting == 0, seconds=60), relay.log
        assert relay.stop() == 0, relay.log
        assert_told(stack, tax, program)
