"""The page of threats: every actor against every asset, and no cell without a test that is there or the word open."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
ASSETS = [f"A{number}" for number in range(1, 10)]
ACTORS = 9


def test_every_cell_is_filled_or_open() -> None:
    actors = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(actors) == ACTORS
    for actor in actors:
        rows = [line.strip("| ").split(" | ", 1) for line in actor.splitlines() if line.startswith("| A")]
        assert [asset.split()[0] for asset, _ in rows] == ASSETS, actor.splitlines()[0]
        for asset, cell in rows:
            tests = re.findall(r"\]\((\.\./tests/[^)]+)\)", cell)
            assert tests or re.search(r"\*\*open \(F\d+(, F\d+)*\)\*\*", cell), (actor.splitlines()[0], asset)


def test_every_test_that_is_named_is_there() -> None:
    linked = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert [target for _, target in linked if not (PAGE.parent / target).exists()] == []
    assert [name for name, target in linked if name.startswith("test_") and Path(target).stem != name] == []
