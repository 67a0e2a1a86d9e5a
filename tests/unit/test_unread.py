"""Partitions that nobody reads: a table of what a group can have come to, and what is shown and done about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import UNREAD
from streams.monitoring.unread_partitions import PATIENCE, GroupReading, UnreadPartitions

A, B = ("records.tax", 0), ("records.tax", 1)


class Group:
    """A worker subscribed to A and B, and what its group has come to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ends: dict[tuple[str, int], int] = {A: 5, B: 5}
        self.probe = Probe((), clock=lambda: self.now)
        self.probe.assigned(1)
        self.instruments = Instruments("intake")
        self.unread = UnreadPartitions((A, B), self._ends, self.instruments, self.probe, clock=lambda: self.now)

    def _ends(self, places: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {place: self.ends[place] for place in places}

    def look(
        self,
        shared_out: Collection[tuple[str, int]] | None,
        standing: Mapping[tuple[str, int], int],
        in_hand: Collection[tuple[str, int]] = (),
        *,
        after: float = 0.0,
    ) -> bool:
        """Look after so many seconds; tell whether the group is to be rejoined."""
        self.now += after
        return self.unread.look(GroupReading(shared_out, standing, in_hand))

    @property
    def shown(self) -> dict[tuple[str, ...], float]:
        """The series of the metric."""
        samples = self.instruments.latest(UNREAD).family().samples
        return {(sample.labels["topic"], sample.labels["partition"]): sample.value for sample in samples}


@pytest.fixture
def group() -> Group:
    """A worker whose group has come to nothing yet."""
    return Group()


READ: list[tuple[str, Collection[tuple[str, int]] | None, dict[tuple[str, int], int], Collection[tuple[str, int]]]] = [
    ("all ours, to the end", [A, B], {A: 5, B: 5}, ()),
    ("shared with another worker", [A, B], {A: 5}, ()),
    ("sharing out", None, {}, ()),
    ("one in hand, or paused", [A, B], {A: 5, B: 3}, [B]),
]


@pytest.mark.parametrize(("what", "shared_out", "standing", "in_hand"), READ, ids=[row[0] for row in READ])
def test_what_is_read_is_ready_for_ever(
    group: Group,
    what: str,
    shared_out: Collection[tuple[str, int]] | None,
    standing: dict[tuple[str, int], int],
    in_hand: Collection[tuple[str, int]],
) -> None:
    assert not any(group.look(shared_out, standing, in_hand, after=5.0) for _ in range(60)), what
    assert group.shown == {}
    assert group.probe.unready() == []


def test_what_is_shared_out_to_nobody_is_not_ready_at_once_and_rejoined_after_a_while(group: Group) -> None:
    assert not group.look([A], {A: 5})
    assert group.probe.unready() == ["records.tax/1: nobody has read it for 0 s"]
    assert not group.look([A], {A: 5}, after=PATIENCE - 1)
    assert not group.look(None, {}, after=0.5), "while it is shared out nothing is known anew"
    assert group.shown == {("records.tax", "1"): PATIENCE - 0.5}
    assert group.look([A], {A: 5}, after=1.0)
    tries = [group.look([A], {A: 5}, after=10.0) for _ in range(20)]
    assert [place for place, tried in enumerate(tries, 1) if tried] == [3, 9], "each try after twice as long"
    assert not group.look([A, B], {A: 5, B: 0}, after=1.0)
    assert (group.shown, group.probe.unready()) == ({}, [])
    assert not group.look([A], {A: 5}, after=1.0)
    assert group.look([A], {A: 5}, after=PATIENCE), "another time it does not wait longer"


def test_what_is_assigned_and_never_fetched_is_unread(group: Group) -> None:
    group.ends[B] = 9
    assert not group.look([A, B], {A: 5, B: 5})
    assert not group.look([A, B], {A: 5, B: 5}, after=PATIENCE - 1)
    assert group.probe.unready() == []
    assert group.look([A, B], {A: 5, B: 5}, after=1.0)
    assert group.shown == {("records.tax", "1"): PATIENCE}
    assert not group.look([A, B], {A: 5, B: 7}, after=1.0), "it moves"
    assert group.shown == {}


def test_news_behind_a_long_silence_are_no_alarm(group: Group) -> None:
    for _ in range(20):
        assert not group.look([A, B], {A: 5, B: 5}, after=10.0)
    group.ends[B] = 6
    assert not group.look([A, B], {A: 5, B: 5}, after=1.0)
    assert not group.look([A, B], {A: 5, B: 6}, after=5.0)
    assert group.shown == {}


def test_work_that_waits_for_a_server_is_another_reason(group: Group) -> None:
    group.ends[B] = 9
    group.probe.call_begins("finish")
    for _ in range(20):
        assert not group.look([A, B], {A: 5, B: 5}, after=10.0)
    group.probe.call_ends("finish", "PostgreSQL is away")
    assert not group.look([A, B], {A: 5, B: 5}, after=10.0)
    assert group.shown == {}
    group.probe.call_ends("finish")
    assert not group.look([A, B], {A: 5, B: 5}, after=10.0)
    assert group.look([A, B], {A: 5, B: 5}, after=PATIENCE), "and once it goes on, this one must, too"
