"""The house keeps its order: names that stand once, SQL that somebody reads, pages that name what there is.

Which folder may import which is held by import-linter (`make lint`, contracts in pyproject.toml).
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "producers", "streams", "consumers", "deploy")
MODULES = sorted(
    path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "migrations" not in path.relative_to(ROOT).parts
)
SQL = ROOT / "schemas" / "sql"
MOST_MODULES = 12
"""Of a folder beside commands/: more than a dozen names nobody takes in at once."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_PATH = re.compile(
    r"(?<![\w/.-])(?:\.\./)?((?:schemas|producers|streams|consumers|deploy|tests|benchmarks|docs)/[\w./-]*\w/?)"
)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")


def _classes(path: Path) -> list[str]:
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return [node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def test_no_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for name in _classes(path):
            places[name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_folder_holds_more_than_a_dozen_modules() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py")
    crowded = {folder: count for folder, count in counts.items() if count > MOST_MODULES}
    assert {folder for folder in crowded if not folder.endswith("/commands")} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_says_what_it_is(room: str) -> None:
    folders = {path.parent for path in MODULES if path.relative_to(ROOT).parts[0] == room}
    silent = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()]
    assert silent == []
    assert all(ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) for folder in folders)


def test_every_sql_file_is_read_by_the_code_of_its_folder() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in [*MODULES, *SQL.rglob("*.py")]}
    unread = []
    for file in sorted(SQL.rglob("*.sql")):
        name = str(file.relative_to(SQL).with_suffix(""))
        folder, _, last = name.rpartition("/")
        if not any(
            f'"{name}"' in text or f"'{name}'" in text or (f'"{folder}/{{' in text and f'"{last}"' in text)
            for text in texts.values()
        ):
            unread.append(name)
    assert unread == []


def test_every_sql_file_that_is_read_is_there() -> None:
    named = {
        name
        for path in MODULES
        for name in re.findall(r"""\bsql\(["']([^"'{}]+)["']\)""", path.read_text(encoding="utf-8"))
    }
    assert {name for name in named if not (SQL / f"{name}.sql").is_file()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {target for target in _LINK.findall(text) if "://" not in target}
    gone = {target for target in links if not (page.parent / target).exists()}
    gone |= {path for path in _PATH.findall(text) if not (ROOT / path).exists() and not _is_pattern(text, path)}
    assert gone == set()


def _is_pattern(text: str, path: str) -> bool:
    """Tell whether a path goes on with what stands for many: `schemas/sql/NAME.sql`, `streams/*/commands`, `docs/…`."""
    return re.search(re.escape(path) + r"[*<{…]", text) is not None or re.search(r"/[A-Z]{3,}\b", path) is not None
