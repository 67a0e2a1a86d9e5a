"""Differences put by hand into real provinces: found, named and mended within a minute, by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.injected import LONGEST_SECONDS, differences, inject, ready
from tests.chaos.provinces import four


@pytest.mark.timeout(900)
def test_a_difference_lives_less_than_a_minute(tmp_path: Path, backend: str) -> None:
    if backend != "local":
        pytest.skip("several provinces share a machine with the local backend alone")
    with four(tmp_path, clocks_apart=False) as running:
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
