"""Two people, on real servers: what one plans another approves, and the commands that another part adds ask for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.operations.log import OperationsWriter
from schemas.servers.connection import Approval, Connection
from streams.kafka.scope import REBUILD, ReplayScope
from streams.replay.plan.approval import require_approved
from streams.replay.plan.ledger import Ledger
from tests import warm
from tests.workers import environment


@pytest.fixture
def strict(stack: Connection) -> Connection:
    """An installation that asks for two people."""
    return stack.model_copy(update={"approval": Approval()})


@pytest.fixture
def ledger(stack: Connection) -> Iterator[Ledger]:
    """The ledger of an operator called zhang."""
    with (
        psycopg.connect(stack.database.get_secret_value(), autocommit=True) as store,
        Registry(stack.registry) as registry,
    ):
        yield Ledger(store, OperationsWriter(stack.kafka, registry), by="zhang@desk")


def approve(connection: Connection, replay: str, *options: str, user: str, expect: int = 0) -> Any:
    """Run `xinliu replay approve` as that user."""
    ran = warm.run(
        [sys.executable, "-m", "xinliu", "replay", "approve", replay, "--reason", "已核对", "--json", *options],
        env=environment(connection) | {"LOGNAME": user, "USER": user},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == expect, (ran.stdout, ran.stderr)
    return json.loads(ran.stdout) if expect == 0 else ran.stderr


def test_what_one_plans_another_approves(strict: Connection, ledger: Ledger) -> None:
    replay = ledger.plan(REBUILD, ReplayScope(), "规则有误", {"events": 3, "share": 0.25})
    with pytest.raises(UsageError, match="xinliu replay approve"):
        require_approved(strict, ledger.get(replay), step="rebuild")
    assert "another operator must approve it" in approve(strict, replay, user="zhang", expect=2)
    assert approve(strict, replay, "--dry-run", user="li")["covers"] == "RUN"
    assert ledger.get(replay).state == "PLANNED"
    said = approve(strict, replay[:6], user="li")
    assert (said["replay"], said["covers"]) == (replay, "RUN")
    require_approved(strict, ledger.get(replay), step="rebuild")
    known = ledger.get(replay)
    assert (known.state, str(known.approved_by).partition("@")[0]) == ("APPROVED", "li")

    ledger.step("REPLAY_RUNNING", replay, "开始")
    ledger.step("REPLAY_DONE", replay, "完成", after={"digest": "ab"})
    with pytest.raises(UsageError, match="nobody has approved what came of it"):
        require_approved(strict, ledger.get(replay), step="promote")
    assert approve(strict, replay, user="li")["covers"] == "PROMOTE"
    require_approved(strict, ledger.get(replay), step="promote")
    assert ledger.get(replay).state == "DONE", "an approval of what came of it leaves it done"
    ledger.step("REPLAY_PROMOTED", replay, "上线")
    assert "there is nothing to approve" in approve(strict, replay, user="li", expect=2)


def test_a_row_that_somebody_changed_lets_nobody_through(strict: Connection, stack: Connection, ledger: Ledger) -> None:
    replay = ledger.plan(REBUILD, ReplayScope(), "规则有误", {"events": 3})
    with psycopg.connect(stack.database.get_secret_value(), autocommit=True) as store:
        store.execute(
            "UPDATE xinliu.replay SET state = 'APPROVED', approved_by = 'li@desk', approved_at = now() WHERE replay = %s",
            (replay,),
        )
        with pytest.raises(UsageError, match="nobody has approved it"):
            require_approved(strict, ledger.get(replay), step="rebuild")
        approve(strict, replay, user="li")
        store.execute("UPDATE xinliu.replay SET plan = '{\"events\": 4}' WHERE replay = %s", (replay,))
    with pytest.raises(UsageError, match="another plan"):
        require_approved(strict, ledger.get(replay), step="rebuild")


def test_an_approval_is_too_old_after_its_time(strict: Connection, ledger: Ledger) -> None:
    replay = ledger.plan(REBUILD, ReplayScope(), "规则有误", {})
    approve(strict, replay, user="li")
    short = strict.model_copy(update={"approval": Approval(hours=1e-9)})
    with pytest.raises(UsageError, match="held for"):
        require_approved(short, ledger.get(replay), step="rebuild")


def test_a_local_stack_asks_nobody_and_an_installation_does_unless_told(stack: Connection, ledger: Ledger) -> None:
    assert stack.approval.required is False
    replay = ledger.plan(REBUILD, ReplayScope(), "试试", {})
    require_approved(stack, ledger.get(replay), step="rebuild")
    assert Connection(province="beijing", kafka=stack.kafka, registry=stack.registry).approval.required is True


def test_what_ran_without_another_person_is_found(strict: Connection, stack: Connection, ledger: Ledger) -> None:
    def found(connection: Connection) -> list[str]:
        words = [sys.executable, "-m", "xinliu", "audit", "verify", "--json"]
        ran = warm.run(words, env=environment(connection), capture_output=True, text=True, check=False, timeout=120)
        findings = [one for one in json.loads(ran.stdout)["findings"] if one["what"] == "UNAPPROVED"]
        assert not findings or ran.returncode == 1
        return [one["text"] for one in findings]

    approved, alone = (ledger.plan(REBUILD, ReplayScope(), "规则有误", {"events": n}) for n in range(2))
    approve(strict, approved, user="li")
    for replay in (approved, alone):
        ledger.step("REPLAY_RUNNING", replay, "开始")
    texts = " ".join(found(strict))
    assert alone in texts
    assert approved not in texts
    assert found(stack) == [], "nobody asks for two people there"
