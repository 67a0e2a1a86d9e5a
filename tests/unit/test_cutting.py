"""What was cut off stays so: no generation that was filled before comes to serve again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.errors import UsageError
from schemas.operations.event import Operation
from streams.view.cut_offs import require_cut

AT = datetime(2026, 11, 30, tzinfo=UTC)


def said(step: str, replay: str, /, **detail: Any) -> Operation:
    """Return a step of a replay."""
    return Operation(f"REPLAY_{step}", None, AT, "operator-zhang@desk", "", {"replay": replay, **detail})


CUT = said("PLANNED", "c", kind="CORRECT", scope={"province": "hebei", "cut_off": True}, plan={})
CORRECTED = said("PLANNED", "o", kind="CORRECT", scope={"province": "hebei"}, plan={})
BUILT = (said("PLANNED", "b", kind="REBUILD", scope={}, plan={}), said("RUNNING", "b", generation=2), said("DONE", "b"))
RAN, DONE = said("RUNNING", "c", serving=1), said("DONE", "c")


@pytest.mark.parametrize(
    ("operations", "refused"),
    [
        ([], set()),
        ([CUT, *BUILT], set()),
        ([CUT, RAN, DONE], {2, 3}),
        ([*BUILT, CUT, RAN, DONE], {2, 3}),
        ([CUT, *BUILT, RAN, DONE], {2, 3}),
        ([CUT, *BUILT[:2], RAN, BUILT[2]], {2, 3}),
        ([CUT, RAN, DONE, *BUILT], {3}),
        ([CUT, RAN, *BUILT, RAN, DONE], {3}),
        ([CUT, *BUILT, RAN, said("RUNNING", "c", serving=2), DONE], {3}),
        ([CUT, RAN, said("ABANDONED", "c")], set()),
        ([CORRECTED, said("RUNNING", "o", serving=1)], set()),
        ([said("PLANNED", "c", scope="junk"), RAN], set()),
    ],
)
def test_a_generation_that_was_filled_before_a_cut_off_serves_no_more(
    operations: list[Operation], refused: set[int]
) -> None:
    for generation in (1, 2, 3):
        if generation in refused:
            with pytest.raises(UsageError, match=f"generation {generation} was filled before c cut off"):
                require_cut(operations, generation)
        else:
            require_cut(operations, generation)
