"""Where intake goes on, and that a department which was stopped, and whose log is full, does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from schemas.errors import PositionLost
from streams.kafka.ranges import Committed, TopicFacts
from streams.projection.positions import resume_intake

FACTS = {topic: TopicFacts(topic, "id", 1) for topic in ("records.tax", "records.water")}
TAX, WATER = ("records.tax", 0), ("records.water", 0)


class _Logs:
    """Logs that begin at 50, and what intake has committed of them."""

    def __init__(self, *reached: int) -> None:
        self._reached = dict(zip((TAX, WATER), reached, strict=True))

    def ranges(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        return dict.fromkeys(places, (50, 100))

    def committed(self, _group: str, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Committed]:
        return {place: Committed(self._reached[place], "id") for place in places}


def resumed(logs: _Logs, stopped: str = "") -> Any:
    """Resume both."""
    return resume_intake(logs, FACTS, [TAX, WATER], stopped.__eq__)  # type: ignore[arg-type]


def test_what_is_there_goes_on_where_it_was() -> None:
    assert resumed(_Logs(60, 70)) == ({TAX: 60, WATER: 70}, frozenset())


def test_what_was_lost_stops_everything_unless_its_department_is_stopped_already() -> None:
    with pytest.raises(PositionLost, match=r"records 20 to 49 were deleted.*accept-loss records.tax 0"):
        resumed(_Logs(20, 70))
    with pytest.raises(PositionLost):
        resumed(_Logs(20, 70), "records.water")
    assert resumed(_Logs(20, 70), "records.tax") == ({TAX: 50, WATER: 70}, {TAX})


def test_a_log_that_ends_before_it_is_lost_for_everybody() -> None:
    with pytest.raises(PositionLost, match="the log ends at 100"):
        resumed(_Logs(120, 70), "records.tax")
