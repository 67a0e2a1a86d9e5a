"""The rooms' doors: who may import whom, and that no module outgrows a person's view."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOORS: dict[str, set[str]] = {
    "schemas": set(),
    "producers": {"schemas"},
    "streams": {"schemas"},
    "consumers": {"schemas"},
    "deploy": {"schemas"},
}
"""Room → the rooms that it may import from; tests, benchmarks and xinliu.py stand outside and may import all."""

LONGEST = 400


def _modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import, also those within functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "a relative import"


@pytest.mark.parametrize("room", DOORS)
def test_a_room_imports_only_through_its_doors(room: str) -> None:
    closed = {*DOORS, "xinliu", "tests", "benchmarks", "a relative import"} - DOORS[room] - {room}
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _modules(room)
        for line, name in _imported(path)
        if name in closed
    ]
    assert broken == []


def test_who_acts_is_asked_in_one_place() -> None:
    modules = [ROOT / "xinliu.py", *(path for room in DOORS for path in _modules(room))]
    asking = [str(path.relative_to(ROOT)) for path in modules if "getpass" in {name for _, name in _imported(path)}]
    assert asking == ["schemas/operations/operators.py"]


def test_every_room_is_there() -> None:
    assert all(_modules(room) for room in DOORS)


def test_no_module_is_longer_than_400_lines() -> None:
    modules = [ROOT / "xinliu.py", *(path for room in (*DOORS, "tests", "benchmarks") for path in _modules(room))]
    lengths = {path.relative_to(ROOT): path.read_text(encoding="utf-8").count("\n") for path in modules}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}
