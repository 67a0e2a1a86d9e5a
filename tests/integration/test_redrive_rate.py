"""A redrive at a pace on real servers: no faster than said, resumed after kill -9, in circles never, in any order the same view."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.errors import XinliuError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader, OperationsWriter
from schemas.servers.connection import Approval, Connection
from schemas.store.database import connect
from streams.kafka import scope as scopes
from streams.kafka.scope import ReplayScope
from streams.quarantine.entries import REDRIVE, entries_of
from streams.replay.plan.ledger import Ledger
from tests import warm
from tests.commands import without_stack
from tests.offline import assert_view_is_the_fold, view_caught_up
from tests.statements import framed, penalty, put
from tests.workers import Worker, environment, workers

pytestmark = pytest.mark.timeout(560)

TOPIC = "records.tax"


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own."""
    return own_stack


@pytest.fixture(scope="module")
def viewed(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with a view worker."""
    with workers(stack, tmp_path_factory.mktemp("view"), "view"):
        yield stack


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue in which the category exists that ours refuses."""
    folder = tmp_path_factory.mktemp("catalogue")
    for file in (Path(__file__).parents[2] / "schemas" / "catalogue").glob("*.csv"):
        text = file.read_text(encoding="utf-8")
        if file.name == "codes.csv":
            text = text.rstrip("\n") + "\npenalty_category,训诫,训诫,2023-09-01,,test,yes\n"
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder


Start = Callable[..., Worker]


@pytest.fixture
def intake(viewed: Connection, tmp_path: Path) -> Iterator[Start]:
    """Starts intake workers that go on at once where the one before ended; with `larger`, by that catalogue."""
    started: list[Worker] = []

    def start(larger: Path | None = None) -> Worker:
        settings = {"XINLIU_CATALOGUE": str(larger)} if larger is not None else {}
        started.append(Worker(viewed, "intake", tmp_path, "--instance", "redrive", settings=settings))
        return started[-1]

    yield start
    for worker in started:
        if worker.runs:
            worker.stop()


def command(*words: str) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "xinliu", *words, "--json"]


def xinliu(connection: Connection, *words: str, expect: int = 0) -> Any:
    """Run a command with --json in this process, and return what it said; its error where it is refused."""
    app = without_stack(words[0])
    ran = CliRunner().invoke(app, [*words, "--json"], obj=lambda: connection, standalone_mode=False)
    code = ran.exception.exit_code if isinstance(ran.exception, XinliuError) else ran.return_value or 0
    assert code == expect, (ran.output[-2000:], ran.exception)
    return str(ran.exception) if ran.exception is not None else json.loads(ran.stdout)


def states(connection: Connection) -> dict[int, str]:
    """Return the state of every entry of partition 0, by offset."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute('SELECT "offset", state FROM quarantine WHERE topic = %s', (TOPIC,)).fetchall()
    return {int(str(offset)): str(state) for offset, state in rows}


def refused(connection: Connection, count: int, *, entity: int, version: int = 1, run: str) -> list[int]:
    """Publish statements of a category that the catalogue does not know; return their offsets once they stand in the quarantine."""
    statements = [penalty(f"率{run}-{n}", entity=entity + n, version=version, categories="训诫") for n in range(count)]
    places = put(connection, TOPIC, list(framed(connection, statements)), partition=0)
    offsets = [offset for _, offset in places]
    assert wait_until(lambda: set(offsets) <= states(connection).keys(), seconds=90)
    return offsets


def events(connection: Connection, run: str) -> list[Operation]:
    """Return the events of a run."""
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        try:
            return [one for one in reader.held() if one.kind == REDRIVE and one.detail.get("run") == run]
        finally:
            reader.close()


def test_it_is_no_faster_than_said_and_each_entrys_fate_is_shown(
    viewed: Connection, intake: Start, larger: Path
) -> None:
    run, began = uuid.uuid4().hex[:8], datetime.now(UTC).isoformat()
    worker = intake()
    offsets = refused(viewed, 60, entity=1_000, run=run)
    until = datetime.now(UTC).isoformat()
    later = refused(viewed, 1, entity=1_900, run=f"{run}x")
    assert worker.stop() == 0
    worker = intake(larger)
    chosen = ("--department", "tax", "--domain", "tax", "--code", "CATEGORY", "--since", began, "--until", until)
    foreseen = xinliu(
        viewed, "quarantine", "redrive", *chosen, "--reason", "目录已更新", "--rate", "20/s", "--dry-run", expect=1
    )
    assert (len(foreseen["entries"]), foreseen["outcomes"]) == (60, {"REFUSED": 60}), "by the catalogue of this machine"
    start = monotonic()
    ran = xinliu(viewed, "quarantine", "redrive", *chosen, "--reason", "目录已更新", "--rate", "20/s")
    assert monotonic() - start >= 2.0, "60 entries at 20 a second: the last event goes 2 s after the first"
    assert (ran["decided"], ran["outcomes"]) == (60, {"ACCEPTED": 60})
    assert {len(entries_of(event)) for event in events(viewed, ran["run"])} == {20}
    assert wait_until(lambda: {states(viewed)[one] for one in offsets} == {"REDRIVEN"}, seconds=60)
    assert states(viewed)[later[0]] == "OPEN", "received later than asked for"
    told = xinliu(viewed, "quarantine", "decisions", "--run", ran["run"])
    assert {(one["entry"], one["outcome"]) for one in told["fates"]} == {
        (f"tax/0/{one}", "ACCEPTED") for one in offsets
    }
    assert xinliu(viewed, "quarantine", "redrive", "--resume", ran["run"])["decided"] == 0, "nothing of it is left"
    assert worker.stop() == 0
    assert_view_is_the_fold(viewed)


def test_killed_with_intake_and_resumed_it_decides_about_each_entry_once(
    viewed: Connection, intake: Start, larger: Path
) -> None:
    run = uuid.uuid4().hex[:8]
    worker = intake()
    began = datetime.now(UTC).isoformat()
    offsets = refused(viewed, 40, entity=2_000, run=run)
    assert worker.stop() == 0, (
        "killed before it has committed, the next one would read them again by the other catalogue"
    )
    worker = intake(larger)
    words = ("quarantine", "redrive", "--code", "CATEGORY", "--since", began, "--reason", "目录已更新", "--rate", "1/s")
    process = warm.Popen(command(*words), env=environment(viewed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: sum(states(viewed)[one] == "REDRIVEN" for one in offsets) >= 4, seconds=90)
    process.kill()
    process.wait()
    worker.kill()
    known = runs(viewed)[-1]
    decided = sum(len(entries_of(event)) for event in events(viewed, known))
    assert 4 <= decided < 40
    worker = intake(larger)
    ran = xinliu(viewed, "quarantine", "redrive", "--resume", known, "--rate", "50")
    assert (ran["decided_before"], ran["decided"], ran["outcomes"]) == (decided, 40 - decided, {"ACCEPTED": 40})
    named = [entry.name for event in events(viewed, known) for entry in entries_of(event)]
    assert sorted(named) == sorted(f"tax/0/{one}" for one in offsets), "each once"
    assert wait_until(lambda: {states(viewed)[one] for one in offsets} == {"REDRIVEN"}, seconds=60)
    assert worker.stop() == 0
    assert_view_is_the_fold(viewed)


def runs(connection: Connection) -> list[str]:
    """Return the runs that decisions are of, the last one last."""
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        try:
            return [str(one.detail["run"]) for one in reader.held() if "run" in one.detail]
        finally:
            reader.close()


def test_an_older_version_that_is_redriven_late_changes_nothing(
    viewed: Connection, intake: Start, larger: Path
) -> None:
    run = uuid.uuid4().hex[:8]
    worker = intake()
    (offset,) = refused(viewed, 1, entity=3_000, run=run)
    assert worker.stop() == 0
    xinliu(viewed, "quarantine", "redrive", f"tax/0/{offset}", "--reason", "目录已更新")
    newer = penalty(f"率{run}-0", entity=3_000, version=2)
    put(viewed, TOPIC, list(framed(viewed, [newer])), partition=0)
    worker = intake(larger)

    def held() -> list[Any]:
        with connect(viewed.database.get_secret_value(), autocommit=True) as store:
            query = "SELECT version FROM record WHERE penalty_document_number = %s"
            return store.execute(query, (newer["penalty"]["document_number"],)).fetchall()

    assert wait_until(lambda: states(viewed)[offset] in ("REDRIVEN", "SUPERSEDED"), seconds=60)
    assert wait_until(lambda: view_caught_up(viewed), seconds=60)
    assert held() == [(newer["version"],)]
    assert worker.stop() == 0
    assert_view_is_the_fold(viewed)


def test_what_is_refused_again_stays_the_same_entry_however_often(viewed: Connection, intake: Start) -> None:
    run, began = uuid.uuid4().hex[:8], datetime.now(UTC).isoformat()
    worker = intake()
    offsets = refused(viewed, 5, entity=4_000, run=run)
    entries = len(states(viewed))
    for _ in range(2):
        ran = xinliu(viewed, "quarantine", "redrive", "--since", began, "--reason", "再试", "--rate", "100", expect=1)
        assert ran["outcomes"] == {"REFUSED": 5}
    assert wait_until(lambda: view_caught_up(viewed), seconds=60)
    assert len(states(viewed)) == entries
    assert {states(viewed)[one] for one in offsets} == {"OPEN"}
    assert worker.stop() == 0


@pytest.fixture
def planned(viewed: Connection) -> Iterator[Callable[[ReplayScope], str]]:
    """Makes plans of another operator."""
    with (
        psycopg.connect(viewed.database.get_secret_value(), autocommit=True) as store,
        Registry(viewed.registry) as registry,
    ):
        ledger = Ledger(store, OperationsWriter(viewed.kafka, registry), by="zhang@desk")
        yield lambda scope: ledger.plan(scopes.REDRIVE, scope, "目录已更新", {"entries": 10})


def test_a_planned_redrive_needs_approval_and_tells_what_came_of_it(
    viewed: Connection, intake: Start, larger: Path, planned: Callable[[ReplayScope], str]
) -> None:
    run, began = uuid.uuid4().hex[:8], datetime.now(UTC)
    worker = intake()
    offsets = refused(viewed, 10, entity=5_000, run=run)
    assert worker.stop() == 0
    worker = intake(larger)
    replay = planned(ReplayScope(codes=("CATEGORY",), departments=("tax",), since=began))
    strict = viewed.model_copy(update={"approval": Approval()})
    assert xinliu(strict, "replay", "redrive", replay, "--dry-run")["entries"] == 10
    assert "xinliu replay approve" in xinliu(strict, "replay", "redrive", replay, expect=2)
    xinliu(strict, "replay", "approve", replay, "--reason", "已核对")
    ran = xinliu(strict, "replay", "redrive", replay, "--rate", "100/s")
    assert ran["outcomes"] == {"ACCEPTED": 10}
    assert wait_until(lambda: {states(viewed)[one] for one in offsets} == {"REDRIVEN"}, seconds=60)
    assert "nothing of it is left" in xinliu(strict, "replay", "redrive", replay, expect=2)

    def steps() -> list[str]:
        said = xinliu(viewed, "audit", "list", "--replay", replay)
        return [one["kind"] for one in said["entries"]]

    wanted = ["REPLAY_PLANNED", "REPLAY_APPROVED", "REPLAY_RUNNING", REDRIVE, "REPLAY_DONE"]
    assert wait_until(lambda: steps() == wanted, seconds=60, every=1.0)
    last = xinliu(viewed, "audit", "list", "--replay", replay)["entries"][-1]
    assert (last["before"], last["after"]["outcomes"]) == ({"open": 10}, {"ACCEPTED": 10})
    assert xinliu(viewed, "audit", "verify")["findings"] == []
    assert worker.stop() == 0
