"""Whom an approval lets do what: another person's, of this very plan, in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.operations.event import Operation
from schemas.operations.operators import another, operator, person
from schemas.servers.kafka import Cluster
from streams.replay.plan.approval import refusal, replay_standing
from streams.replay.plan.ledger import Replay

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PLAN: dict[str, Any] = {"kind": "REBUILD", "scope": {}, "plan": {"events": 3}}


def said(kind: str, by: str, hours: float = 0, /, **detail: Any) -> Operation:
    """Return an event of the replay, so many hours after noon."""
    at = NOON + timedelta(hours=hours)
    return Operation(f"REPLAY_{kind}", None, at, by, "因为", {"replay": "r1", **detail}, f"{kind}-{by}-{hours}")


def row(**changed: Any) -> Replay:
    """Return the row of that plan."""
    known = {**PLAN, **changed}
    return Replay(
        "r1",
        known["kind"],
        known["scope"],
        "因为",
        known["plan"],
        "zhang@desk",
        NOON,
        None,
        None,
        "PLANNED",
        None,
        {},
        NOON,
    )


def why(
    events: Sequence[Operation], *, promote: bool = False, hours: float = 1, replay: Replay | None = None
) -> str | None:
    """Return why a step may not begin so many hours after noon."""
    return refusal(
        replay_standing(events, "r1"), replay or row(), promote=promote, hours=24, now=NOON + timedelta(hours=hours)
    )


PLANNED = said("PLANNED", "zhang@desk", **PLAN)


def approved(events: Sequence[Operation], by: str, hours: float) -> Operation:
    """Return an approval of what these events leave to be approved."""
    known = replay_standing(events, "r1")
    assert known is not None
    return said("APPROVED", by, hours, **known.to_detail())


def test_nobody_approves_his_own_plan_from_whatever_machine() -> None:
    assert "nobody has approved it" in str(why([PLANNED]))
    for by in ("zhang@desk", "zhang@other"):
        assert "nobody has approved it" in str(why([PLANNED, approved([PLANNED], by, 0.5)]))
    assert why([PLANNED, approved([PLANNED], "li@desk", 0.5)]) is None


@pytest.mark.parametrize(
    ("planner", "approver", "may"),
    [
        ("operator-zhang@desk", "operator-li@desk", True),
        ("operator-zhang@desk", "operator-zhang@other", False),
        ("root@desk", "operator-zhang@desk", False),
        ("operator-zhang@desk", "root@desk", False),
    ],
)
def test_a_principal_and_a_user_of_a_machine_may_be_one_person(planner: str, approver: str, may: bool) -> None:
    planned = said("PLANNED", planner, **PLAN)
    assert (why([planned, approved([planned], approver, 0.5)]) is None) == may
    assert another(approver, planner) == may


def test_an_approval_is_of_one_plan_and_one_replay() -> None:
    other = said("PLANNED", "zhang@desk", **{**PLAN, "plan": {"events": 4}})
    assert "nobody" in str(why([PLANNED, approved([other], "li@desk", 0.5)]))
    of_another = Operation("REPLAY_APPROVED", None, NOON, "li@desk", "", {"replay": "r2", "plan": "x", "covers": "RUN"})
    assert "nobody" in str(why([PLANNED, of_another]))
    assert "no such plan" in str(why([of_another]))


def test_a_row_that_was_changed_is_not_what_was_approved() -> None:
    events = [PLANNED, approved([PLANNED], "li@desk", 0.5)]
    for changed in ({"plan": {"events": 4}}, {"scope": {"domains": ["tax"]}}, {"kind": "CORRECT"}):
        assert "another plan" in str(why(events, replay=row(**changed)))


def test_a_second_plan_of_the_same_id_is_none() -> None:
    events = [PLANNED, said("PLANNED", "li@desk", **PLAN), approved([PLANNED], "wang@desk", 0.5)]
    assert why(events) is None


@pytest.mark.parametrize(("hours", "may"), [(24, True), (24.6, False)])
def test_an_approval_holds_for_a_time(hours: float, may: bool) -> None:
    assert (why([PLANNED, approved([PLANNED], "li@desk", 0.5)], hours=hours) is None) == may


def test_what_began_in_time_may_be_resumed_after_it_and_approved_anew() -> None:
    events = [PLANNED, approved([PLANNED], "li@desk", 0.5), said("RUNNING", "zhang@desk", 1, generation=2)]
    assert why(events, hours=100) is None
    late = [PLANNED, approved([PLANNED], "li@desk", 0.5)]
    assert why([*late, approved(late, "li@desk", 99)], hours=100) is None


def test_to_promote_takes_an_approval_of_what_came_of_it() -> None:
    ran = [PLANNED, approved([PLANNED], "li@desk", 0.5), said("RUNNING", "zhang@desk", 1)]
    assert "not done" in str(why(ran, promote=True))
    done = [*ran, said("DONE", "zhang@desk", 2)]
    assert "nobody has approved what came of it" in str(why(done, promote=True, hours=3))
    assert why([*done, approved(done, "li@desk", 2.5)], promote=True, hours=3) is None
    again = [*done, approved(done, "li@desk", 2.5), said("DONE", "zhang@desk", 2.7)]
    assert "nobody" in str(why(again, promote=True, hours=3)), "it was built anew since"


def test_a_principal_of_ones_own_is_who_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    security: Any = {"sasl.username": "operator-zhang", "security.protocol": "SASL_SSL"}
    own = operator(Cluster(servers="h:1", security=security))
    assert person(own) == "operator-zhang"
    shared = operator(Cluster(servers="h:1", security={**security, "sasl.username": "operator"}))
    assert person(shared) == person(operator(Cluster.of("h:1")))
    monkeypatch.setenv("LOGNAME", "operator-zhang")
    pretended = operator(Cluster(servers="h:1", security={**security, "sasl.username": "operator"}))
    assert not another(own, pretended), "no broker has asked that user for a password"
