"""Two people, without servers: whose word an event is, what it may say, and what was done without a second person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.operations.topics import ADMIN_TOPIC, STEWARD_TOPIC, WORKERS_TOPIC, believed, may_say, topic_of
from schemas.operations.two_people import APPROVED, PROPOSED, TwoPeople, acting_as, digest, is_another, two_people
from schemas.servers.connection import Approval, Connection
from schemas.servers.kafka import Cluster
from schemas.servers.registry import RegistryAddress
from schemas.store.sql_files import sql
from streams.audit.approvals import unapproved
from streams.commands.exchange_contested import SETTLED
from streams.replay.plan.approval import replay_standing
from streams.replay.plan.ledger import _whole
from streams.workers.steward import REQUESTED, Steward, words_of

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECURITY: Any = {"security.protocol": "SASL_SSL", "sasl.username": "intake"}
ASKS = Cluster(servers="h:1", security=SECURITY)
PLAIN = Cluster.of("h:1")
LOCAL = Approval(required=False)
ZHANG, LI, SHARED, WORKERS, ADMIN = (
    "operations.zhang",
    "operations.li",
    "operations",
    "operations.workers",
    "operations.admin",
)
PLAN = {"replay": "r1", "kind": "CORRECT", "scope": {}, "plan": {"events": 1}}


class Log:
    """Events as readers believe them, a minute apart."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def say(
        self, topic: str, kind: str, by: str = "somebody@desk", id: str | None = None, /, **detail: Any
    ) -> Operation:
        """Write an event to a topic, and return it as it is believed; as it was written where nobody believes it."""
        received = NOON + timedelta(minutes=len(self.operations))
        written = Operation(kind, None, NOON, by, "因为", detail, **({"id": id} if id else {}))
        read = believed(topic, written, received, vouched=True)
        if read is None:
            return written
        self.operations.append(read)
        return read

    def approve(self, topic: str, one: Operation, by: str = "somebody@desk") -> Operation:
        """Approve an event as the owner of that topic."""
        return self.say(topic, APPROVED, by, of=one.id, digest=digest(one))

    def approve_replay(self, topic: str, by: str = "somebody@desk", replay: str = "r1") -> None:
        """Approve what is to be approved of a replay."""
        known = replay_standing(self.operations, replay)
        assert known is not None
        self.say(topic, "REPLAY_APPROVED", by, replay=replay, **known.to_detail())

    @property
    def people(self) -> TwoPeople:
        """What holds after these events, on a cluster that asks; the process's own setting asks for nothing."""
        found = TwoPeople(ASKS, LOCAL)
        for one in self.operations:
            found.follow(one)
        return found

    @property
    def found(self) -> list[str]:
        """The kinds of what was done without a second person."""
        return [one.operation.kind for one in unapproved(self.operations, self.people)]


@pytest.mark.parametrize(
    ("topic", "claims", "is_by"),
    [
        (ZHANG, "operator-li@desk-7", "operator-zhang@desk-7"),
        (ZHANG, "li", "operator-zhang"),
        (ZHANG, "", "operator-zhang"),
        (ZHANG, "operator-li@desk@vm", "operator-zhang@vm"),
        (SHARED, "operator-li@desk", "operator@desk"),
        (SHARED, "li@desk", "operator@desk"),
        (ADMIN, "operator-li@desk", "admin@desk"),
    ],
)
def test_an_event_is_by_whoever_alone_writes_its_topic(topic: str, claims: str, is_by: str) -> None:
    assert Log().say(topic, "NOTE", claims).by == is_by


@pytest.mark.parametrize(
    "kind", ["REPLAY_APPROVED", "REPLAY_PLANNED", APPROVED, PROPOSED, "QUARANTINE_DISCARD", "NOTE"]
)
@pytest.mark.parametrize("by", ["operator-li@desk-7", "link@m1", "operations.li"])
def test_workers_say_nothing_that_people_say(kind: str, by: str) -> None:
    log = Log()
    log.say(WORKERS, kind, by)
    assert log.operations == []


@pytest.mark.parametrize("kind", ["QUARANTINE_DONE", "AUDIT_HEAD", "INTAKE_STOPPED", "INSTALLATION_SET"])
@pytest.mark.parametrize("topic", [ZHANG, SHARED])
def test_people_say_nothing_that_workers_or_the_administrator_say(kind: str, topic: str) -> None:
    log = Log()
    log.say(topic, kind, "intake@m1", approval={"required": False})
    assert log.operations == []
    assert log.people.rule().required


@pytest.mark.parametrize(
    ("principal", "topic"),
    [
        ("operator-zhang", ZHANG),
        ("operator", SHARED),
        ("intake", WORKERS),
        ("link", WORKERS),
        ("view", WORKERS),
        ("admin", ADMIN),
    ],
)
def test_a_process_writes_its_principals_topic(principal: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(servers="h:1", security={**SECURITY, "sasl.username": principal})
    monkeypatch.setenv("LOGNAME", "operator-li")
    assert topic_of(cluster) == topic
    assert not acting_as(cluster).startswith("operator-li"), "no user's name is believed"
    assert topic_of(PLAIN) == SHARED
    with pytest.raises(UsageError, match="no name of a principal"):
        topic_of(Cluster(servers="h:1", security={"security.protocol": SecretStr("SSL")}))


_AUTHORS = (ZHANG, LI, SHARED, WORKERS, ADMIN)


@pytest.mark.parametrize("decided", _AUTHORS)
@pytest.mark.parametrize("approved", _AUTHORS)
@pytest.mark.parametrize("claims", ["operator-li@desk", "operator-zhang@desk", "li@desk", "wang@desk"])
def test_a_decision_holds_once_another_person_approves_it_whatever_is_claimed(
    decided: str, approved: str, claims: str
) -> None:
    log = Log()
    decision = log.say(decided, "QUARANTINE_DISCARD", claims, entries=[1])
    log.approve(approved, decision, claims)
    two = {decided, approved} == {ZHANG, LI}
    assert log.people.lacks(decision) == (not two)
    log.say(WORKERS, "QUARANTINE_DONE", "intake@m", decision=decision.id, outcomes={"DISCARDED": 1})
    assert (log.found == []) == (two or decided == WORKERS), "what intake does is held against approvals, too"


@pytest.mark.parametrize(
    "changed", [{"detail": {"entries": [1, 2]}}, {"reason": "别的"}, {"kind": "QUARANTINE_OVERRIDE"}]
)
def test_an_approval_is_of_exactly_what_was_said(changed: dict[str, Any]) -> None:
    log = Log()
    decision = log.say(ZHANG, "QUARANTINE_DISCARD", entries=[1])
    log.approve(LI, decision)
    other = replace(decision, **changed)
    assert not log.people.lacks(decision)
    assert log.people.lacks(other), "an event of the same id that says something else"


def test_an_approval_that_comes_afterwards_covers_nothing() -> None:
    log = Log()
    decision = log.say(ZHANG, "QUARANTINE_OVERRIDE", entries=[1])
    log.say(WORKERS, "QUARANTINE_DONE", decision=decision.id, outcomes={"ACCEPTED": 1})
    log.approve(LI, decision)
    assert log.found == ["QUARANTINE_DONE"]


def test_the_administrator_says_for_the_installation_whether_two_are_asked_for_and_from_when() -> None:
    log = Log()
    before = log.say(ZHANG, "QUARANTINE_DISCARD", entries=[1])
    assert log.people.lacks(before), (
        "an installation of which nothing was said asks for two, whatever a process has set"
    )
    log.say(ADMIN, "INSTALLATION_SET", approval={"required": False, "hours": 24})
    after = log.say(ZHANG, "QUARANTINE_DISCARD", entries=[2])
    assert not log.people.lacks(after)
    assert log.people.lacks(before), "what was decided before is not let through by it"
    log.say(ADMIN, "INSTALLATION_SET", approval={"required": "maybe"})
    assert not log.people.rule().required, "what is no rule changes nothing"
    plain = TwoPeople(PLAIN, LOCAL)
    for one in log.operations:
        plain.follow(replace(one, vouched=False))
    assert not plain.rule().required


def run(log: Log, *kinds: str, topic: str = ZHANG) -> None:
    """Write steps of the replay."""
    for kind in kinds:
        log.say(topic, f"REPLAY_{kind}", replay="r1")


@pytest.mark.parametrize("approver", [None, *_AUTHORS])
def test_a_replay_that_runs_unapproved_is_found(approver: str | None) -> None:
    log = Log()
    log.say(ZHANG, "REPLAY_PLANNED", **PLAN)
    if approver is not None:
        log.approve_replay(approver, "operator-li@desk")
    run(log, "RUNNING", "DONE")
    assert log.found == ([] if approver == LI else ["REPLAY_RUNNING"])
    run(log, "PROMOTED")
    assert "REPLAY_PROMOTED" in log.found, "what came of it was approved by nobody"


def test_what_was_approved_step_by_step_is_no_finding_and_what_nobody_planned_is_one() -> None:
    log = Log()
    log.say(ZHANG, "REPLAY_PLANNED", **PLAN)
    log.approve_replay(LI)
    run(log, "RUNNING", "DONE")
    log.approve_replay(LI)
    run(log, "PROMOTED")
    assert log.found == []
    log.say(ZHANG, "REPLAY_RUNNING", replay="r2")
    assert log.found == ["REPLAY_RUNNING"]


PROPOSALS: Iterable[tuple[str, str, dict[str, Any]]] = [
    ("REPLAY_ROLLED_BACK", "ROLL_BACK", {"replay": "r1"}),
    (
        "POSITION_LOSS_ACCEPTED",
        "ACCEPT_LOSS",
        {"topic": "records.tax", "topic_id": "t1", "partition": 0, "begin": 7, "goes_on_at": 9},
    ),
    ("KEY_RETIRED", "CUT_OFF_KEY", {"province": "beijing", "key_id": "k1", "compromised": True}),
]


@pytest.mark.parametrize(("kind", "step", "about"), PROPOSALS)
@pytest.mark.parametrize("approver", [None, *_AUTHORS])
def test_what_is_proposed_takes_another_person(
    kind: str, step: str, about: dict[str, Any], approver: str | None
) -> None:
    log = Log()
    proposal = log.say(ZHANG, PROPOSED, step=step, about={**about, "more": 1})
    if approver is not None:
        log.approve(approver, proposal, "operator-li@desk")
    log.say(ZHANG, kind, proposal=proposal.id, **about)
    assert log.found == ([] if approver == LI else [kind])
    log.say(ZHANG, kind, **about)
    assert log.found[-1:] == [kind], "without a proposal"
    log.say(ZHANG, kind, proposal=proposal.id, **dict.fromkeys(about, "another"))
    assert log.found[-1:] == [kind], "of something else"
    for name in about:
        log.operations.pop()
        log.say(ZHANG, kind, proposal=proposal.id, **{**about, name: "another"})
        assert log.found[-1:] == [kind], f"of another {name}"


def test_two_people_are_two_principals_of_people() -> None:
    log = Log()
    zhang, li, shared = (log.say(topic, "NOTE", "x@desk") for topic in (ZHANG, LI, SHARED))
    assert two_people(zhang, li)
    assert not two_people(zhang, log.say(ZHANG, "NOTE", "x@other"))
    assert not two_people(zhang, shared)
    assert not two_people(shared, log.say(ADMIN, "NOTE", "y@other"))
    assert not two_people(li, replace(zhang, vouched=False)), "one of whom nobody asked is nobody"


@pytest.mark.parametrize("topic", _AUTHORS)
@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ({"step": "CORRECT", "replay": "ab12"}, "更正"),
        ({"step": "ROLL_BACK"}, "误删"),
        ({"step": "CORRECT", "replay": "--help"}, "更正"),
        ({"step": "CORRECT", "replay": "ab 12"}, "更正"),
        ({"step": "CORRECT"}, "更正"),
        ({"step": "CORRECT", "replay": ["ab"]}, "更正"),
        ({"step": "APPROVE", "replay": "ab12"}, "更正"),
        ({"step": ["CORRECT"], "replay": "ab12"}, "更正"),
        ({"step": "PROMOTE", "replay": "ab12"}, "--yes"),
        ({"step": "PROMOTE", "replay": "ab12"}, " "),
    ],
)
def test_the_steward_does_known_steps_that_persons_ask_for(topic: str, detail: dict[str, Any], reason: str) -> None:
    said = Operation(REQUESTED, None, NOON, "operator-zhang@desk", reason, detail)
    request = believed(topic, said, NOON, vouched=True) or said
    asked = words_of(request)
    wanted = topic in (ZHANG, LI) and (detail, reason) in (
        ({"step": "CORRECT", "replay": "ab12"}, "更正"), ({"step": "ROLL_BACK"}, "误删"),
    )  # fmt: skip
    assert (asked is not None) == wanted


@pytest.mark.parametrize("wrong", [ValueError("a scope has no x"), KeyError("kind"), AssertionError()])
def test_no_request_can_stop_the_steward(wrong: Exception) -> None:
    def runs(_: Sequence[str]) -> int:
        raise wrong

    steward = Steward(Connection(province="beijing", kafka=ASKS, registry=RegistryAddress(url="http://h:2")), runs)
    request = Log().say(ZHANG, REQUESTED, step="CORRECT", replay="ab12")
    answer = steward._answer(request)
    assert (answer.detail["request"], answer.detail["exit_code"]) == (request.id, 3)
    assert answer.detail["error"]


def test_the_steward_says_what_it_does_and_plans_proposes_and_approves_nothing() -> None:
    log = Log()
    for kind in (
        "REPLAY_PLANNED",
        "REPLAY_APPROVED",
        APPROVED,
        PROPOSED,
        "QUARANTINE_DISCARD",
        REQUESTED,
        "INSTALLATION_SET",
    ):
        log.say("operations.steward", kind, "operator-li@desk")
    assert log.operations == []
    assert log.say("operations.steward", "REPLAY_RUNNING", "operator-li@desk", replay="r1").by == "steward@desk"
    log.say(ZHANG, "REQUEST_DONE", request="r")
    log.say(WORKERS, "REQUEST_DONE", request="r")
    assert [one.kind for one in log.operations] == ["REPLAY_RUNNING"]


@pytest.mark.parametrize(
    "detail",
    [{}, {"replay": 1}, {"replay": "r1", "kind": "X", "scope": {}, "plan": {}}, {"replay": "r1", "kind": "CORRECT"}],
)
def test_a_plan_that_is_not_whole_keeps_no_other_from_being_entered(detail: dict[str, Any]) -> None:
    assert not _whole(Operation("REPLAY_PLANNED", None, NOON, "x", "y", detail))
    assert _whole(Operation("REPLAY_PLANNED", None, NOON, "x", "y", PLAN))


@pytest.mark.parametrize("file", ["generation", "reader"])
def test_the_tables_believe_a_decision_of_those_alone_who_may_take_it(file: str) -> None:
    (listed,) = re.findall(r"topic NOT IN \(([^)]*)\)", sql(file))
    topics = (SHARED, ZHANG, WORKERS_TOPIC, STEWARD_TOPIC, ADMIN_TOPIC)
    assert set(listed.replace("'", "").split(", ")) == {topic for topic in topics if not may_say(topic, SETTLED)}


@pytest.mark.parametrize("mine", ["operator-li", "operator-zhang", "operator", "admin", "intake"])
@pytest.mark.parametrize("theirs", _AUTHORS)
def test_who_is_told_that_he_approves_is_who_counts(mine: str, theirs: str) -> None:
    """The commands say beforehand what readers will say of it."""
    kafka = Cluster(servers="h:1", security={**SECURITY, "sasl.username": mine})
    log = Log()
    planned = log.say(theirs, "NOTE")
    approval = log.approve(topic_of(kafka), planned)
    assert is_another(kafka, planned) == (log.people.approval(planned) == approval)
