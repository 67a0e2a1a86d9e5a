"""Command `xinliu demo`: the main job from beginning to end, on real servers, as a person would type it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.tour import Tour
from deploy.local.stack import Stack
from schemas.console.terminal import Console

__all__ = ["demo", "mount"]

_STACK = "demo"


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave servers, data and sample as they are at the end.")
    ] = False,
) -> None:
    """Show the main job: start servers, publish a made-up sample, and see what became of every row."""
    folder = Path(tempfile.mkdtemp(prefix="xinliu-sample-"))
    tour = _Tour(Console(), folder)
    stack = Stack(_STACK)
    if stack.layout.exists:
        stack.reset()  # the figures below are those of an empty view
    try:
        tour.walk()
    finally:
        if keep:
            tour.say(
                f"The servers still run: try `xinliu --stack {_STACK} show …`; stop them with `xinliu --stack {_STACK} down`."
            )
            tour.say(f"The sample is in {folder}.")
        else:
            tour.run("down")
            Stack(_STACK).reset()
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


class _Tour(Tour):
    """The main job."""

    def __init__(self, console: Console, folder: Path) -> None:
        super().__init__(console, _STACK)
        self._folder = folder

    def walk(self) -> None:
        self.say("1. Real servers on this machine: Kafka, schema registry, PostgreSQL, and the two workers.")
        self.run("up")
        self.say(
            "2. Made-up files of every department of Beijing: CSV, Excel, JSON Lines; UTF-8, GBK, GB18030; some rows bad."
        )
        self.run("sample", str(self._folder))
        self.say("3. The departments publish. Bad rows are named with their reasons; the others reach the credit view.")
        self.run("sample", str(self._folder), "--publish", "1")
        corrected = json.loads((self._folder / "manifest.json").read_text(encoding="utf-8"))["corrected_in_wave_2"]
        self.say(f"4. The credit view of {corrected['name']}, before its penalty {corrected['document']} is corrected.")
        self.run("show", corrected["uscc"])
        self.say(
            "5. The second wave: corrections, records moved to another entity, repairs, revocations, removals from lists."
        )
        self.run("sample", str(self._folder), "--publish", "2")
        self.say("6. The same entity after the correction.")
        self.run("show", corrected["uscc"])
        self.say("7. Publishing everything again changes nothing: every statement is there already.")
        self.run("sample", str(self._folder), "--publish", "2")
        self.run("status")


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(demo)
