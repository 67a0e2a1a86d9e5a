"""What the benchmark tells: nothing is rounded in its own favour, and unequal rows are not passed over."""

from __future__ import annotations

from benchmarks.bench import Measured, ratios, table
from benchmarks.events import events
from benchmarks.rig import Gauge
from schemas.contracts.columns import decode_batch
from schemas.contracts.memory_registry import MemoryRegistry


def measured(name: str, rate: float, p99: float, fold: int = 1) -> Measured:
    """Return made-up figures."""
    return Measured(name, rate=rate, latency={"5000": {"p50": 1.0, "p99": p99}}, fold={"record": (10, fold)})


def test_each_aim_is_told_with_what_was_reached() -> None:
    told = ratios(
        [measured("column floor", 30_000, 50), measured("row floor", 15_000, 40), measured("xinliu view", 26_700, 90)]
    )
    assert told == [
        "view / column floor, events/s: 0.89 (aim: at least 0.9)",
        "view / row floor, p99 at 5,000/s: 2.25 (aim: at most 2)",
        "rows written by all of them: equal",
    ]


def test_rows_that_differ_are_told() -> None:
    text = table([measured("column floor", 30_000, 50), measured("xinliu view", 26_700, 90, fold=2)])
    assert "NOT EQUAL" in text


def test_a_latency_ends_when_the_position_has_passed_the_event() -> None:
    gauge = object.__new__(Gauge)
    gauge.changes = {0: ([10.0, 20.0, 30.0], [0, 5, 9])}
    assert [gauge.reached(0, offset) for offset in (0, 4, 5, 8, 9)] == [20.0, 20.0, 30.0, 30.0, None]
    assert gauge.last == (30.0, 9)


def test_one_event_in_ten_is_no_news() -> None:
    registry = MemoryRegistry()
    said = [event.value for event in events(registry.register("xinliu.Statement"), 2_000)]
    frame = decode_batch(registry, said, named=[None] * len(said), expected={"xinliu.Statement"}).statements
    assert frame.height == 2_000
    assert frame["record_id"].n_unique() == 1_800
    assert len(set(said)) == 1_900, "said again to the byte: one in twenty; in a new version: another"
