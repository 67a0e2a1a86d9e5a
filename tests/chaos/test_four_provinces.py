"""Four real provinces: struck while records flow, and differences put by hand; in the end all four hold what was said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.injected import LONGEST_SECONDS, differences, inject, ready
from tests.chaos.provinces import Four, four, run_seed

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def running(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Four]:
    """Four provinces, two of them with clocks that are ten minutes wrong."""
    if backend != "local":
        pytest.skip("several provinces share a machine, and are killed as processes, with the local backend alone")
    with four(tmp_path_factory.mktemp("four")) as running:
        yield running


def test_four_provinces_hold_the_same_whatever_strikes_them(running: Four) -> None:
    kinds = ["kill", "wipe", "forget", "damage", "cut", "break"]
    struck = run_seed(running, 0, faults=kinds, each=True)
    assert sorted(fault.partition(" ")[0] for fault in struck.faults) == sorted(kinds)
    assert struck.shared


def test_a_difference_lives_less_than_a_minute(running: Four) -> None:
    running.set_clocks_right()
    ready(running)
    for name, what in (
        ("beijing", "own row deleted"),
        ("tianjin", "foreign row changed"),
        ("hebei", "foreign row added"),
        ("shanxi", "shared row added"),
    ):
        lived = inject(running, name, what)
        assert lived.seconds < LONGEST_SECONDS
        assert lived.named, "what was mended is named"
    told = differences(running.provinces["tianjin"])
    assert [row for row in told["rows"] if row["mended_at"]]
    assert not told["unequal"]
