"""A log that lost its beginning is seen: one that keeps everything at once,
one with a retention where it lost what is younger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from streams.monitoring.instruments import Instruments
from streams.workers import server_watch as watch
from streams.workers.server_watch import Beginnings

Place = tuple[str, int]
PLACES = [("accepted", 0), ("accepted", 1), ("quarantine", 0), ("operations", 0), ("cases", 0)]


class Broker:
    """What the broker says of its logs."""

    def __init__(self) -> None:
        self.first = dict.fromkeys(PLACES, 0)
        self.young: dict[Place, int] = {("quarantine", 0): 5}
        """The first offset that is younger than the retention."""

    def firsts(self, partitions: Iterable[Place]) -> Mapping[Place, int]:
        return {place: self.first[place] for place in partitions}

    def since(self, partitions: Iterable[Place], moment: float) -> Mapping[Place, int]:
        assert moment == 1_000_000_000 - 360 * 86_400
        return {place: self.young[place] for place in partitions if place in self.young}


@pytest.mark.parametrize(
    ("lost", "seen"),
    [
        ({}, set()),
        ({("accepted", 1): 50}, {("accepted", "1")}),
        ({("operations", 0): 1, ("cases", 0): 2}, {("operations", "0"), ("cases", "0")}),
        ({("quarantine", 0): 5}, set()),
        ({("quarantine", 0): 6}, {("quarantine", "0")}),
    ],
)
def test_what_is_lost_is_seen(lost: dict[Place, int], seen: set[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BEGINNINGS_EVERY", 0.0)
    broker, shown = Broker(), Instruments("view")
    begins = Beginnings(shown, broker, clock=lambda: 1_000_000_000)
    begins.look(PLACES)
    broker.first |= lost
    for _ in range(2):  # and it stays seen
        begins.look(PLACES)
        told = shown.exposition()[0].decode()
        for topic, partition in PLACES:
            labels = f'{{partition="{partition}",topic="{topic}"}}'
            assert f"xinliu_log_first_offset{labels} {float(broker.first[topic, partition])}" in told
            assert f"xinliu_log_lost{labels} {float((topic, str(partition)) in seen)}" in told
        broker.young = {("quarantine", 0): 100}


def test_it_is_looked_at_no_more_often_than_need_be() -> None:
    asked = []

    class Counting(Broker):
        def firsts(self, partitions: Iterable[Place]) -> Mapping[Place, int]:
            asked.append(1)
            return super().firsts(partitions)

    begins = Beginnings(Instruments("view"), Counting(), clock=lambda: 1_000_000_000)
    for _ in range(3):
        begins.look(PLACES)
    assert len(asked) == 1
    assert watch.BEGINNINGS_EVERY < 30, "within a minute, alert and all"
