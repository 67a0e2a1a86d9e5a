"""Commands are loaded one by one, since importing all of them takes seconds, and each is where its file says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from xinliu import COMMANDS, app

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("word", COMMANDS)
def test_each_first_word_is_a_command(word: str) -> None:
    command = get_command(app)
    found = command.get_command(typer.Context(command), word)  # type: ignore[attr-defined]
    assert found.name == word


def test_every_module_that_mounts_commands_is_in_the_table() -> None:
    named = {module for modules in COMMANDS.values() for module in modules} | {"streams.commands.worker_province"}
    mounting = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for path in ROOT.glob("*/commands/**/*.py")
        if "\ndef mount(" in path.read_text(encoding="utf-8")
    }
    assert mounting == named


@pytest.mark.parametrize(
    ("words", "not_loaded"),
    [
        (["show", "--help"], {"producers", "deploy.commands", "faust", "consumers.links"}),
        (["publish", "--help"], {"consumers", "streams", "faust"}),
        (["worker", "--help"], {"producers", "faust", "consumers.report"}),
        (["nonsense"], {"producers", "streams", "consumers", "deploy.commands"}),
    ],
)
def test_a_command_line_loads_what_it_names(words: list[str], not_loaded: set[str]) -> None:
    script = f"""
import sys
sys.argv[1:] = {words!r}
import xinliu
try:
    xinliu.main()
except SystemExit:
    pass
loaded = [name for name in sys.modules if any((name + ".").startswith(room + ".") for room in {not_loaded!r})]
print(loaded, file=sys.stderr)
sys.exit(bool(loaded))
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_a_rebuild_needs_is_imported_without_faust() -> None:
    script = (
        "import sys, streams.replay.rebuild.rebuild, streams.replay.rebuild.lanes; sys.exit('faust' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
