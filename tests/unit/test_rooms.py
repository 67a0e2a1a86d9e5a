"""Which rooms a command line mounts: those that have the command, and no more, since importing them all takes seconds."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer
from typer.main import get_command

from xinliu import ROOMS, rooms_of


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_is_said_to_have_is_what_it_has(room: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    import_module(f"{room}.commands").mount(app)
    assert sorted(get_command(app).commands) == sorted(ROOMS[room])  # type: ignore[attr-defined]


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in ROOMS.items() for name in names])
def test_a_room_that_mounts_one_command_mounts_all_of_it(room: str, name: str) -> None:
    whole, part = typer.Typer(), typer.Typer()
    for app, only in ((whole, None), (part, name)):
        app.callback()(lambda: None)
        import_module(f"{room}.commands").mount(app, only)
    of_all, alone = (get_command(app).commands[name] for app in (whole, part))  # type: ignore[attr-defined]
    assert sorted(getattr(alone, "commands", ())) == sorted(getattr(of_all, "commands", ()))


@pytest.mark.parametrize(
    ("words", "rooms"),
    [
        (["replay", "rebuild", "--reason", "show"], ["streams"]),
        (["--stack", "show", "publish", "file.csv"], ["producers"]),
        (["--stack=mine", "up"], ["deploy"]),
        (["reconcile", "status"], ["producers", "consumers"]),
        (["exchange"], ["deploy", "streams", "consumers"]),
        (["--help"], list(ROOMS)),
        (["nonsense"], list(ROOMS)),
        ([], list(ROOMS)),
        (["--stack", "publish"], list(ROOMS)),
    ],
)
def test_a_command_line_mounts_the_rooms_that_have_its_command(words: list[str], rooms: list[str]) -> None:
    assert rooms_of(words)[0] == rooms


def test_what_a_rebuild_needs_is_imported_without_faust() -> None:
    script = "import sys, streams.replay.rebuilding, streams.replay.filling; sys.exit('faust' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
