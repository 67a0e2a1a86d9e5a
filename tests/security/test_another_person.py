"""Two people on a secure stack: whatever one person, a worker or a process's own settings try, it takes another person's principal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.deadline import wait_until
from deploy.settings import settings
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.operations.event import Operation
from schemas.operations.log import OperationsWriter
from schemas.operations.two_people import APPROVED, digest, require_two
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster
from streams.replay.plan.approval import operations_of, replay_standing
from tests.secure import Secure, installation, xinliu
from tests.statements import framed, penalty, put

PLANNED, PENDING = 930_001, 930_002
"""Whom the plans, and the refused record, are about."""
WHY = ("--reason", "两人复核")


@dataclass
class House:
    """The stack while two people are asked for, and everyone's settings."""

    secure: Secure
    owner: dict[str, str]
    people: dict[str, dict[str, str]]
    """zhang and li: a principal of their own, and the operator's role of the database."""

    def run(self, who: dict[str, str], *words: str, expect: int) -> str:
        """Run a command; return stdout, stderr where it fails."""
        ran = xinliu(self.secure, *words, **who)
        assert ran.returncode == expect, (words, ran.stdout, ran.stderr)
        return ran.stdout if expect in (0, 1) else ran.stderr

    def with_tables(self, name: str) -> dict[str, str]:
        """Return a person's settings with the owner's password: what a bribed operator may have got hold of."""
        return {**self.people[name], "XINLIU_DATABASE": self.owner["XINLIU_DATABASE"]}

    def connection(self, name: str) -> Connection:
        """Return a person's connection."""
        file = Path(self.people[name]["XINLIU_KAFKA_SECURITY"])
        own = Cluster.from_file(self.secure.connection.kafka.servers, file)
        return self.secure.connection.model_copy(update={"kafka": own, "principals": None})

    def principal(self, name: str) -> Connection:
        """Return the connection of a principal of the stack."""
        return self.secure.principals[name].model_copy(update={"principals": None})

    @property
    def plan(self) -> str:
        """A new plan by zhang, with the operator's role of the database."""
        words = ("replay", "plan", "--entity", generate(PLANNED), *WHY, "--save", "--json")
        return str(json.loads(self.run(self.people["zhang"], *words, expect=0))["replay"])

    def refuses(self, plan: str, **environment: str) -> None:
        """See that zhang, who has the owner's password too, cannot run his plan."""
        mine = {**self.with_tables("zhang"), **environment}
        assert "nobody has approved it" in self.run(mine, "replay", "correct", plan, "--yes", expect=2)


@pytest.fixture(scope="module")
def house(secure: Secure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The secure stack as an installation with two operators, as `access apply` sets it up; put back afterwards."""
    folder = tmp_path_factory.mktemp("people")
    owner, shared = (installation(secure, name, folder) for name in ("admin", "operator"))
    (names := folder / "operators").write_text("zhang\nli\n", encoding="utf-8")
    two = {**owner, "XINLIU_OPERATORS_FILE": str(names)}
    assert (done := xinliu(secure, "access", "apply", **two)).returncode == 0, done.stderr
    people = {}
    for name in ("zhang", "li"):
        file = folder / f"{name}.properties"
        issued = xinliu(secure, "access", "issue", f"operator-{name}", str(file), **two)
        assert issued.returncode == 0, issued.stderr
        people[name] = {**shared, "XINLIU_KAFKA_SECURITY": str(file)}
    assert xinliu(secure, "access", "plan", **two).returncode == 0, "nothing is left to do"
    (said,) = framed(secure.connection, [penalty("两人2号", entity=PLANNED)])
    put(secure.principals["department-tax"], "records.tax", [said])

    def folded() -> bool:
        return bool(json.loads(xinliu(secure, "show", generate(PLANNED), "--json").stdout)["penalties"])

    assert wait_until(folded, seconds=60, every=0.5)
    yield House(secure, owner, people)
    names.write_text("# both have left\n", encoding="utf-8")
    done = xinliu(secure, "access", "apply", **two, XINLIU_APPROVAL="false")
    assert done.returncode == 0, done.stderr


def write(connection: Connection, *operations: Operation, topic: str | None = None) -> None:
    """Write events as that principal, to its own topic or to another's."""
    with Registry(connection.registry) as registry:
        writer = OperationsWriter(connection.kafka, registry)
        if topic is not None:
            writer.topic = topic
        for operation in operations:
            writer.write(operation)


def approval(house: House, plan: str, by: str = "operator-li@desk-7") -> Operation:
    """Return an approval of the plan, to the letter, by whoever that says to be."""
    known = replay_standing(operations_of(house.secure.connection), plan)
    assert known is not None
    return Operation(
        "REPLAY_APPROVED", None, datetime.now(UTC), by, "已核对", {"replay": plan, **known.to_detail()}
    )  # fmt: skip


@pytest.mark.parametrize(
    "own", [{"XINLIU_APPROVAL": "false"}, {"XINLIU_APPROVAL": "false", "XINLIU_APPROVAL_HOURS": "100000"}]
)
def test_a_setting_in_the_actors_own_environment_switches_nothing_off(house: House, own: dict[str, str]) -> None:
    house.refuses(house.plan, **own)


def test_the_shared_principal_is_nobody_whatever_its_user_is_called(house: House) -> None:
    plan, shared = house.plan, {**house.people["zhang"], **installation_of(house, "operator")}
    for user in ("li", "operator-li"):
        pretended = {**shared, "LOGNAME": user, "USER": user}
        assert "which may be one person" in house.run(pretended, "replay", "approve", plan, *WHY, expect=2)
    write(house.principal("operator"), approval(house, plan), approval(house, plan, "li@desk"))
    house.refuses(plan)


def installation_of(house: House, principal: str) -> dict[str, str]:
    """Return the settings of a process of a principal, beside the people's files."""
    folder = Path(house.people["zhang"]["XINLIU_KAFKA_SECURITY"]).parent
    return installation(house.secure, principal, folder)


def test_one_person_approves_nothing_in_anothers_name(house: House) -> None:
    plan, zhang = house.plan, house.connection("zhang")
    assert "another operator must approve it" in house.run(
        house.people["zhang"], "replay", "approve", plan, *WHY, expect=2
    )
    for by in ("operator-li@desk-7", "li@desk", "operator-zhang@x@operator-li"):
        write(zhang, approval(house, plan, by))
    for topic in ("operations.li", "operations", "operations.workers", "operations.admin"):
        with pytest.raises(UsageError, match="does not let operator-zhang"):
            write(zhang, approval(house, plan), topic=topic)
    house.refuses(plan)
    house.run(house.people["li"], "replay", "approve", plan, *WHY, expect=0)
    house.run(house.with_tables("zhang"), "replay", "correct", plan, "--yes", expect=0)


@pytest.mark.parametrize("worker", ["link", "intake", "view"])
def test_a_workers_credentials_say_nothing_in_a_persons_name(house: House, worker: str) -> None:
    plan, acting = house.plan, house.principal(worker)
    write(acting, approval(house, plan), approval(house, plan, f"{worker}@m1"))
    for topic in ("operations.li", "operations", "operations.admin"):
        with pytest.raises(UsageError, match=f"does not let {worker}"):
            write(acting, approval(house, plan), topic=topic)
    house.refuses(plan)


def test_nobody_but_the_administrator_says_what_holds_for_the_installation(house: House) -> None:
    off = {"approval": {"required": False, "hours": 24}}
    event = Operation("INSTALLATION_SET", None, datetime.now(UTC), "admin@desk", "", off)
    for connection in (house.connection("zhang"), house.principal("operator"), house.principal("link")):
        write(connection, event)
        with pytest.raises(UsageError, match="does not let"):
            write(connection, event, topic="operations.admin")
    house.refuses(house.plan)


def test_a_topic_that_would_be_a_new_authors_is_not_made_by_an_operator(house: House) -> None:
    for connection in (house.connection("zhang"), house.principal("view")):
        admin = AdminClient(connection.kafka.client({}))
        (made,) = admin.create_topics([NewTopic("operations.wang", 1)]).values()
        with pytest.raises(KafkaException) as refused:
            made.result(30)
        assert connection.kafka.forbids(refused.value.args[0])


@pytest.mark.parametrize(
    ("step", "about"),
    [
        ("ROLL_BACK", {"replay": "r930001", "from": 2, "to": 1}),
        ("ACCEPT_LOSS", {"topic": "records.tax", "partition": 0, "begin": 930_001, "goes_on_at": 930_002}),
        ("CUT_OFF_KEY", {"province": "beijing", "key_id": "k930001", "until": None}),
    ],
)
def test_what_is_proposed_is_done_once_another_person_approves_it(
    house: House, step: str, about: dict[str, Any]
) -> None:
    zhang, li = house.connection("zhang"), house.connection("li")
    off = zhang.model_copy(update={"approval": zhang.approval.model_copy(update={"required": False})})
    with pytest.raises(UsageError, match="no person's"):
        require_two(house.principal("operator"), step, about, "因为")
    for _ in range(2):
        with pytest.raises(UsageError, match="nobody has approved it"):
            require_two(off, step, about, "因为")
    (waiting,) = (one for one in waiting_for(house) if one["detail"].get("step") == step)
    assert waiting["by"].startswith("operator-zhang")
    proposal = next(one for one in operations_of(zhang) if one.id == waiting["id"])
    forged = Operation(
        APPROVED, None, datetime.now(UTC), "operator-li@desk", "", {"of": proposal.id, "digest": digest(proposal)}
    )
    for connection in (zhang, house.principal("link"), house.principal("operator"), house.principal("admin")):
        write(connection, forged)
        with pytest.raises(UsageError, match="nobody has approved it"):
            require_two(off, step, about, "因为")
    assert "must approve it" in house.run(house.people["zhang"], "approve", waiting["id"], *WHY, expect=2)
    house.run(house.people["li"], "approve", waiting["id"][:12], *WHY, expect=0)
    assert require_two(off, step, about, "因为") == waiting["id"]
    assert require_two(li, step, about, "因为") == waiting["id"], "whoever carries it out"
    with pytest.raises(UsageError, match="nobody has approved it"):
        require_two(off, step, {**about, "more": 1}, "因为")


def waiting_for(house: House) -> list[dict[str, Any]]:
    """Return what waits for a second person."""
    ran = xinliu(house.secure, "approve", "--json", **house.people["li"])
    assert ran.returncode in (0, 1), ran.stderr
    return list(json.loads(ran.stdout)["waiting"])


def test_one_person_does_not_turn_what_is_to_be_checked_into_none(house: House) -> None:
    secure = house.secure
    (blank,) = framed(secure.connection, [penalty("两人3号", entity=PENDING, facts=" ")])
    ((partition, offset),) = put(secure.principals["department-tax"], "records.tax", [blank])
    entry = f"tax/{partition}/{offset}"

    def state() -> str:
        listed = xinliu(secure, "quarantine", "list", "--state", "ALL", "--json", **house.people["zhang"])
        return next((one["state"] for one in json.loads(listed.stdout)["entries"] if one["entry"] == entry), "")

    def shown() -> str:
        told = json.loads(xinliu(secure, "show", generate(PENDING), "--json").stdout)
        return str(next(domain["state"] for domain in told["domains"] if domain["domain"] == "tax"))

    assert wait_until(lambda: state() == "OPEN", seconds=60, every=0.5)
    assert xinliu(secure, "mark", "--department", "tax").returncode == 0
    assert wait_until(lambda: shown() == "待核", seconds=60, every=0.5)
    words = ("quarantine", "discard", entry, "--reason", "重复报送", "--wait", "--json")
    assert "no person's" in house.run(installation_of(house, "operator"), *words, expect=2)
    said = json.loads(house.run({**house.people["zhang"], "XINLIU_APPROVAL": "false"}, *words, expect=1))
    assert said["waits_for_approval"]
    (decision,) = said["decisions"]
    event = next(one for one in operations_of(secure.connection) if one.id == decision)
    forged = Operation(
        APPROVED, None, datetime.now(UTC), "operator-li@desk", "", {"of": decision, "digest": digest(event)}
    )
    for connection in (house.connection("zhang"), *map(house.principal, ("link", "view", "operator", "admin"))):
        write(connection, forged)
    assert "must approve it" in house.run(house.people["zhang"], "approve", decision, *WHY, expect=2)
    # What comes behind it is carried out, so that intake has seen the forgeries by then; it refuses the blank again.
    redriven = ("quarantine", "redrive", entry, "--reason", "再看", "--wait", "--json")
    assert json.loads(house.run(house.people["zhang"], *redriven, expect=1))["outcomes"] == {"REFUSED": 1}
    assert (state(), shown()) == ("OPEN", "待核")
    assert decision in {one["id"] for one in waiting_for(house)}
    house.run(house.people["li"], "approve", decision, *WHY, expect=0)
    assert wait_until(lambda: state() == "DISCARDED", seconds=60, every=0.5)
    assert wait_until(lambda: shown() == "无", seconds=60, every=0.5)


@contextmanager
def steward(house: House) -> Iterator[None]:
    """Run whoever holds the owner's rights."""
    words = [sys.executable, "-m", "xinliu", "--stack", house.secure.stack.name, "worker", "steward"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XINLIU_")}
    home = {"XINLIU_HOME": str(settings().home_folder)}
    with subprocess.Popen(words, env={**kept, **home}, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                _, log = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            assert process.returncode == 0, log


def test_a_person_without_the_owners_rights_has_the_steward_do_what_two_want_and_nothing_else(house: House) -> None:
    plan, zhang = house.plan, house.people["zhang"]
    why = ("--reason", "更正", "--timeout", "60")
    pretended = Operation(
        "REPLAY_REQUESTED", None, datetime.now(UTC), "operator-li@desk", "更正", {"step": "CORRECT", "replay": plan}
    )
    write(house.principal("link"), pretended)
    write(house.principal("operator"), pretended)
    with steward(house):
        assert "nobody has approved it" in house.run(zhang, "replay", "carry-out", plan, *why, expect=2)
        write(house.connection("zhang"), approval(house, plan))
        assert "nobody has approved it" in house.run(zhang, "replay", "carry-out", plan, *why, expect=2)
        house.run(house.people["li"], "replay", "approve", plan, *WHY, expect=0)
        said = json.loads(house.run(zhang, "replay", "carry-out", plan, *why, expect=0))
        assert said["equal"] is True, said
        assert "is DONE" in house.run(zhang, "replay", "carry-out", plan, *why, expect=2)
        assert "nothing to roll back" in house.run(zhang, "replay", "carry-out", "--rollback", *why, expect=2)
    steps = [one for one in operations_of(house.connection("li")) if one.detail.get("replay") == plan]
    did = [one.by.partition("@")[0] for one in steps if one.kind in ("REPLAY_RUNNING", "REPLAY_DONE")]
    assert did == ["steward", "steward"]
    answers = [one for one in operations_of(house.connection("li")) if one.kind == "REQUEST_DONE"]
    assert [
        one.detail.get("by", "").partition("@")[0] for one in answers if "no person" in one.detail.get("error", "")
    ] == ["operator"]


def test_the_audit_names_authors_and_finds_that_nothing_was_done_alone(house: House) -> None:
    ran = xinliu(house.secure, "audit", "verify", "--json", **house.people["li"])
    verdict = json.loads(ran.stdout)
    assert (ran.returncode, verdict["findings"]) == (0, []), ran.stdout
    assert verdict["disbelieved"] > 0, "what workers had said in people's names is counted"

    def entries() -> list[dict[str, Any]]:
        listed = xinliu(house.secure, "audit", "list", "--limit", "500", "--json", **house.people["li"])
        return list(json.loads(listed.stdout)["entries"])

    def taken_over() -> bool:
        return {"operations.zhang", "operations.li", "operations.workers"} <= {one["topic"] for one in entries()}

    assert wait_until(taken_over, seconds=60, every=1.0)
    owners = {one["by"].partition("@")[0] for one in entries() if one["topic"] == "operations.zhang"}
    assert owners == {"operator-zhang"}
    assert settings().approval is None, "no switch of this process was needed"
