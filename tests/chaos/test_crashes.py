"""A crash at every named point: a short run; `make chaos SEEDS=200` is the long one (docs/reliability.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.servers.connection import Connection
from streams.runtime.crash_points import POINTS, arm
from tests.chaos.crashes import run_seed

FORCED = (
    ("intake.decoded", "view.decoded", "rebalance.revoked"),
    ("intake.forwarding", "view.before-transaction", "relay.before-publish"),
    ("intake.forwarded", "view.inside-transaction", "relay.published"),
    ("intake.vector", "view.committed", "rebalance.assigned"),
)


def test_every_point_is_among_them() -> None:
    # Those of decisions about the quarantine are armed where decisions are made: tests/integration/test_quarantine.py.
    assert {point for points in FORCED for point in points} == {
        p
        for p in POINTS
        if not p.startswith(("redrive.", "exchange.", "publisher.", "rebuild.", "correct.", "promote."))
    }


@pytest.mark.timeout(280)
@pytest.mark.parametrize("seed", range(len(FORCED)))
def test_a_crash_loses_and_doubles_nothing(stack: Connection, tmp_path: Path, seed: int) -> None:
    outcome = run_seed(stack, 9_000 + seed, tmp_path, forced=FORCED[seed])
    reached = {crash.partition(":")[0] for crash in outcome.crashes}
    assert reached, "no worker crashed"
    assert outcome.records > 0


def test_a_point_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"view\.committed"):
        arm("view.comitted")
