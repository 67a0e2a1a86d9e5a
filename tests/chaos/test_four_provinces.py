"""Four real provinces, struck while records flow: in the end all four hold what was said, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.provinces import four, run_seed


@pytest.mark.timeout(900)
def test_four_provinces_hold_the_same_whatever_strikes_them(tmp_path: Path, backend: str) -> None:
    if backend != "local":
        pytest.skip("kills server processes, which only the local backend has")
    with four(tmp_path) as running:
        crashed = run_seed(running, 0, faults=["kill", "wipe", "forget"])
        damaged = run_seed(running, 1, faults=["damage", "cut", "break"])
    assert crashed.shared
    assert damaged.shared > crashed.shared
