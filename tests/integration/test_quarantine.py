"""Deciding about quarantine entries on real servers, from the command to what a reader is shown."""

from __future__ import annotations

import json
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.identifiers.uscc import generate
from schemas.identifiers.uscc_check import check
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader, OperationsWriter
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.quarantine.entries import DECISIONS
from tests import warm
from tests.offline import assert_view_is_the_fold, log_of, view_caught_up
from tests.statements import framed, penalty, put
from tests.workers import Worker, environment, workers

TOPIC = "records.tax"
ALONE = "housing-fund"
"""A department of which no other test leaves refused records."""


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own."""
    return own_stack


@pytest.fixture(scope="module")
def viewed(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with a view worker; each test runs the intake that it needs."""
    with workers(stack, tmp_path_factory.mktemp("view"), "view"):
        yield stack


@contextmanager
def intake(connection: Connection, folder: Path, *options: str, **settings: str) -> Iterator[Worker]:
    """Run an intake worker that goes on at once where the one before it ended."""
    worker = Worker(connection, "intake", folder, "--instance", "quarantine", *options, settings=settings)
    try:
        yield worker
    finally:
        if worker.runs:
            assert worker.stop() == 0, worker.log[-3000:]


def xinliu(connection: Connection, *words: str, expect: int | None = 0) -> Any:
    """Run a command with --json and return what it said; with `expect` None, its exit code too."""
    ran = warm.run(
        [sys.executable, "-m", "xinliu", *words, "--json"],
        env=environment(connection),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if expect is not None:
        assert ran.returncode == expect, (ran.stdout[-2000:], ran.stderr[-2000:])
    said = json.loads(ran.stdout) if ran.stdout else ran.stderr
    return said if expect is not None else (ran.returncode, said)


def quarantine(connection: Connection, *words: str, expect: int = 0) -> Any:
    """Run `xinliu quarantine …`; decisions wait until intake has carried them out."""
    waits = ("--wait",) if words[0] in ("override", "redrive", "discard") and "--dry-run" not in words else ()
    return xinliu(connection, "quarantine", *words, *waits, expect=expect)


def wrong_digit(number: int) -> str:
    """Return a code that fails its check digit and nothing else."""
    whole = generate(number)
    return next(code for last in "0123456789" if check(code := whole[:-1] + last) == ("USCC_CHECK_DIGIT",))


def about(statement: dict[str, Any], uscc: str) -> dict[str, Any]:
    """Return the statement about another subject."""
    return {**statement, "subject": {**statement["subject"], "uscc": uscc}}


def refused(connection: Connection, *statements: dict[str, Any] | bytes, key: str = "tax") -> list[str]:
    """Publish what intake refuses, and return the names of its entries once the view has them."""
    values = [one if isinstance(one, bytes) else framed(connection, [one])[0] for one in statements]
    places = put(connection, f"records.{key}", list(values), partition=0)
    names = [f"{key}/{partition}/{offset}" for partition, offset in places]
    assert wait_until(lambda: set(names) <= set(states(connection)), seconds=60)
    return names


def states(connection: Connection) -> dict[str, str]:
    """Return the state that the table keeps of every entry."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute('SELECT department, partition, "offset", state FROM quarantine').fetchall()
    return {f"{department}/{partition}/{offset}": str(state) for department, partition, offset, state in rows}


_SHOWN = "SELECT state FROM report.domain_state(%s, '2022-01-01', '2026-12-31') WHERE domain = %s"


def shown(connection: Connection, uscc: str, domain: str = "tax") -> str:
    """Return what a reader is told of an entity in a domain."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        row = store.execute(_SHOWN, (uscc, domain)).fetchone()
    assert row is not None
    return str(row[0])


def vouch(connection: Connection, key: str = "tax") -> None:
    """Let a department vouch for everything so far, and wait until 无 would be said of an entity without records."""
    xinliu(connection, "mark", "--department", key)
    assert wait_until(lambda: shown(connection, generate(790_000), key) == "无", seconds=60, every=0.3)


@contextmanager
def watching(connection: Connection, uscc: str) -> Iterator[list[str]]:
    """Read an entity over and over, as readers do, and note every change of what they are told."""
    seen: list[str] = []
    ended = threading.Event()

    def poll() -> None:
        with connect(connection.database.get_secret_value(), autocommit=True) as store:
            while not ended.is_set():
                row = store.execute(_SHOWN, (uscc, "tax")).fetchone()
                assert row is not None
                if seen[-1:] != [row[0]]:
                    seen.append(str(row[0]))

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(10)


def outcomes_told(connection: Connection, name: str) -> list[str]:
    """Return what the department was told of an entry, in order."""
    lines = warm.run(
        [sys.executable, "-m", "xinliu", "receipts", "--department", name.partition("/")[0], "--json"],
        env=environment(connection),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    told = [exception for line in lines for exception in json.loads(line)["exceptions"]]
    return [one["outcome"] for one in told if name.endswith(f"/{one['partition']}/{one['offset']}")]


def until_told(connection: Connection, name: str, enough: Callable[[list[str]], bool]) -> list[str]:
    """Return what the department was told of an entry as soon as that is enough, or what it was told by then."""
    told: list[str] = []

    def is_enough() -> bool:
        told[:] = outcomes_told(connection, name)
        return enough(told)

    wait_until(is_enough, seconds=30, every=0.5)
    return told


def test_an_override_turns_pending_into_the_record_and_never_into_none(viewed: Connection, tmp_path: Path) -> None:
    run, code = uuid.uuid4().hex[:8], wrong_digit(790_001)
    with intake(viewed, tmp_path):
        (name,) = refused(viewed, about(penalty(f"放{run}"), code))
        vouch(viewed)
        assert shown(viewed, code) == "待核"
        before = xinliu(viewed, "show", code)
        listed = quarantine(viewed, "list", "--department", "tax", "--entity", code, expect=1)
        assert [one["entry"] for one in listed["entries"]] == [name]
        assert listed["codes"][0]["code"] == "USCC_CHECK_DIGIT"
        dry = quarantine(viewed, "override", name, "--reason", "营业执照已核", "--dry-run")
        assert (dry["entries"], dry["decisions"]) == ([name], [])
        with watching(viewed, code) as seen:
            told = quarantine(viewed, "override", name, "--reason", "营业执照已核")
            assert told["outcomes"] == {"ACCEPTED": 1}
            assert wait_until(lambda: states(viewed)[name] == "OVERRIDDEN", seconds=30)
        assert seen == ["待核", "有"], "at no moment 无"
        assert until_told(viewed, name, lambda told: told[-1:] == ["ACCEPTED"])[-1:] == ["ACCEPTED"]
        held = quarantine(viewed, "show", name)
        assert held["message"]["value"]["subject"]["uscc"] == code
        (outcome,) = held["outcomes"]
        assert (outcome["outcome"], outcome["reason"]) == ("ACCEPTED", "营业执照已核")
        quarantine(viewed, "override", name, "--reason", "再来一次", expect=2)
        again = xinliu(viewed, "show", code, "--token", before["token"])
        assert again["domains"] == before["domains"], "an earlier reading is given again as it was"
        assert again["penalties"] == []
        now = xinliu(viewed, "show", code)
        assert xinliu(viewed, "show", code, "--token", now["token"])["domains"] == now["domains"]
    assert_view_is_the_fold(viewed)


def test_a_redrive_after_the_catalogue_has_changed_lets_through_what_is_right_now(
    viewed: Connection, tmp_path: Path, catalogue_with: Callable[..., Path]
) -> None:
    run, code, began = uuid.uuid4().hex[:8], generate(790_002), datetime.now(UTC).isoformat()
    statement = penalty(f"录{run}", entity=790_002, categories="训诫")
    with intake(viewed, tmp_path):
        (name,) = refused(viewed, statement)
        entries = len(states(viewed))
        for times in (2, 3):
            told = quarantine(viewed, "redrive", name, "--reason", "试", expect=1)
            assert told["outcomes"] == {"REFUSED": 1}
            # One after the other: what comes of two decisions at once is told once.
            assert until_told(viewed, name, lambda told, times=times: len(told) >= times) == ["REFUSED"] * times
        assert len(states(viewed)) == entries, "what is refused again is the same entry"
        assert states(viewed)[name] == "OPEN"
        vouch(viewed)
    larger = catalogue_with("penalty_category,训诫,训诫,2023-09-01,,test,yes")
    with intake(viewed, tmp_path, XINLIU_CATALOGUE=str(larger)), watching(viewed, code) as seen:
        chosen = ("--department", "tax", "--code", "CATEGORY", "--since", began)
        told = quarantine(viewed, "redrive", *chosen, "--reason", "目录已更新")
        assert told["outcomes"]["ACCEPTED"] >= 1
        assert name in told["entries"]
        assert wait_until(lambda: states(viewed)[name] == "REDRIVEN", seconds=30)
        assert seen == ["待核", "有"]
        decide_again(viewed, told["decisions"])
        assert wait_until(lambda: view_caught_up(viewed), seconds=30)
        assert count(viewed, "quarantine_outcome", name) >= 3
        assert states(viewed)[name] == "REDRIVEN"
    assert_view_is_the_fold(viewed)


@pytest.fixture
def catalogue_with(tmp_path: Path) -> Callable[..., Path]:
    """Makes a catalogue that is ours with further rows of codes.csv, or without those that begin so."""

    def make(*rows: str, without: str = "\0") -> Path:
        folder = tmp_path / f"catalogue-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        for file in (Path(__file__).parents[2] / "schemas" / "catalogue").glob("*.csv"):
            text = file.read_text(encoding="utf-8")
            if file.name == "codes.csv":
                kept = [line for line in text.splitlines() if not line.startswith(without)]
                text = "\n".join([*kept, *rows]) + "\n"
            (folder / file.name).write_text(text, encoding="utf-8")
        return folder

    return make


def decide_again(connection: Connection, decisions: list[str]) -> None:
    """Write events that were written before once more, as new ones, and wait until they are carried out."""
    with Registry(connection.registry) as registry:
        reader = OperationsReader(connection.kafka, registry, principal="operator")
        writer = OperationsWriter(connection.kafka, registry)
        same = [one for one in reader.held() if one.id in decisions]
        reader.close()
        for one in same:
            writer.write(Operation(one.kind, one.department, one.at, one.by, one.reason, one.detail))
    assert wait_until(lambda: waiting(connection) == 0, seconds=30, every=0.5)


def waiting(connection: Connection) -> int:
    """Return how many decisions intake has not carried out."""
    return int(xinliu(connection, "quarantine", "decisions", "--waiting", expect=None)[1]["waiting"])


def count(connection: Connection, table: str, name: str) -> int:
    """Return how many rows of a table are about an entry."""
    department, partition, offset = name.split("/")
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        row = store.execute(
            f'SELECT count(*) FROM {table} WHERE topic = %s AND partition = %s AND "offset" = %s',
            (f"records.{department}", int(partition), int(offset)),
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_what_is_discarded_releases_entity_and_source(viewed: Connection, tmp_path: Path) -> None:
    run, code = uuid.uuid4().hex[:8], generate(790_003)

    def source() -> tuple[datetime | None, int]:
        with connect(viewed.database.get_secret_value(), autocommit=True) as store:
            query = "SELECT data_as_of, open_quarantine FROM report.source WHERE department = %s"
            row = store.execute(query, (ALONE,)).fetchone()
        assert row is not None
        return row  # type: ignore[return-value]

    with intake(viewed, tmp_path):
        vouch(viewed, ALONE)
        wrong = penalty(f"弃{run}", entity=790_003, key=ALONE, categories="训诫")
        pending, unreadable = refused(viewed, wrong, b"unreadable", key=ALONE)
        began = datetime.now(UTC)
        xinliu(viewed, "mark", "--department", ALONE)
        assert shown(viewed, code, ALONE) == "待核"
        assert wait_until(lambda: view_caught_up(viewed), seconds=30)
        assert source()[1] == 2
        assert (source()[0] or began) <= began, "held back"
        quarantine(viewed, "discard", pending, unreadable, "--reason", "", expect=2)
        told = quarantine(viewed, "discard", pending, unreadable, "--reason", "误报")
        assert told["outcomes"] == {"DISCARDED": 2}
        assert wait_until(lambda: shown(viewed, code, ALONE) == "无", seconds=30)
        assert wait_until(lambda: states(viewed)[unreadable] == "DISCARDED", seconds=30)
        assert source()[1] == 0
        assert (source()[0] or began) > began, "what was vouched for behind it counts now"
        assert until_told(viewed, pending, lambda told: len(told) >= 2) == ["REFUSED", "DISCARDED"]
        head = quarantine(viewed, "show", unreadable)["message"]
        assert head["head"] == b"unreadable".hex(" ")


def test_what_was_covered_cannot_be_redriven_and_the_person_is_told(viewed: Connection, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    with intake(viewed, tmp_path):
        (name,) = refused(viewed, penalty(f"遮{run}", entity=790_004, remark="经办人 362322198709086409"))
        told = quarantine(viewed, "redrive", name, "--reason", "试", expect=1)
        assert (told["entries"], told["left_out"]) == ([], [{"entry": name, "code": "VALUE_MASKED"}])
        quarantine(viewed, "override", name, "--reason", "试", expect=2)
        assert "19870908" not in json.dumps(quarantine(viewed, "show", name))


def test_a_mended_version_supersedes_what_was_refused_whichever_comes_first(viewed: Connection, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    with intake(viewed, tmp_path):
        first, later = (penalty(f"补{run}-{n}", entity=790_005 + n, categories="训诫") for n in range(2))
        (before,) = refused(viewed, first)
        mended = [penalty(f"补{run}-{n}", entity=790_005 + n) for n in range(2)]  # of the same version
        put(viewed, TOPIC, list(framed(viewed, mended)), partition=0)
        assert wait_until(lambda: states(viewed)[before] == "SUPERSEDED", seconds=30)
        (behind,) = refused(viewed, later)
        assert wait_until(lambda: states(viewed)[behind] == "SUPERSEDED", seconds=30)
        assert until_told(viewed, before, lambda told: len(told) >= 2) == ["REFUSED", "SUPERSEDED"]
        (newer,) = refused(viewed, penalty(f"补{run}-0", entity=790_005, version=2, categories="训诫"))
        assert wait_until(lambda: view_caught_up(viewed), seconds=30)
        assert states(viewed)[newer] == "OPEN", "what is held is older than what was refused"


@pytest.mark.parametrize("point", ["redrive.examined", "redrive.forwarded", "redrive.told"])
def test_a_power_cut_between_event_and_outcome_leaves_nothing_half_done(
    viewed: Connection, tmp_path: Path, point: str
) -> None:
    run, number = uuid.uuid4().hex[:8], 790_010 + ["redrive.examined", "redrive.forwarded", "redrive.told"].index(point)
    code = wrong_digit(number)
    with intake(viewed, tmp_path, "--crash-at", point) as dying:
        (name,) = refused(viewed, about(penalty(f"断{run}"), code))
        vouch(viewed)
        with watching(viewed, code) as seen:
            xinliu(viewed, "quarantine", "override", name, "--reason", "已核")
            assert dying.wait(30) == -signal.SIGKILL
            assert waiting(viewed) == 1, "the decision stands, and can be seen not to be carried out"
            with intake(viewed, tmp_path):
                assert wait_until(lambda: waiting(viewed) == 0, seconds=60, every=0.5)
                assert wait_until(lambda: states(viewed)[name] == "OVERRIDDEN", seconds=30)
        assert seen == ["待核", "有"]
    assert count(viewed, "quarantine_outcome", name) == 1
    assert_view_is_the_fold(viewed)


def test_several_intake_workers_all_do_it_and_nothing_comes_twice(viewed: Connection, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    codes = [wrong_digit(790_020 + n) for n in range(20)]
    with intake(viewed, tmp_path), workers(viewed, tmp_path, "intake"):
        names = refused(viewed, *(about(penalty(f"双{run}-{n}"), code) for n, code in enumerate(codes)))
        told = quarantine(viewed, "override", *names, "--reason", "已核")
        assert told["outcomes"] == {"ACCEPTED": 20}
        assert wait_until(lambda: {states(viewed)[name] for name in names} == {"OVERRIDDEN"}, seconds=30)
        assert wait_until(lambda: view_caught_up(viewed), seconds=30)
        assert [count(viewed, "quarantine_outcome", name) for name in names] == [1] * 20
        assert {shown(viewed, code) for code in codes} == {"有"}
        assert len([m for m in log_of(viewed, "accepted") if m.value() and run.encode() in m.value()]) >= 20
    assert_view_is_the_fold(viewed)
    with Registry(viewed.registry) as registry:
        reader = OperationsReader(viewed.kafka, registry, principal="operator")
        assert all(one.reason for one in reader.held() if one.kind in DECISIONS)
        reader.close()
