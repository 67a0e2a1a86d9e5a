"""Tests of replays: the commands as an operator types them, and a second generation filled by the plain fold of the log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from schemas.errors import XinliuError
from schemas.servers.connection import Connection
from tests.commands import without_stack

__all__ = ["Answer", "replay"]


@dataclass(frozen=True)
class Answer:
    """What a command printed, its exit code, and the line that it ended with where it was refused."""

    code: int
    text: str
    refused: str = ""

    @property
    def told(self) -> Any:
        """What it said with --json."""
        return json.loads(self.text)


def replay(connection: Connection, *words: str, columns: int = 160) -> Answer:
    """Run `xinliu replay …` on these servers, in this process."""
    app = without_stack("replay")
    runner = CliRunner()
    done = runner.invoke(
        app, ["replay", *words], obj=lambda: connection, env={"COLUMNS": str(columns)}, standalone_mode=False
    )
    if isinstance(done.exception, XinliuError):
        return Answer(done.exception.exit_code, done.stdout, str(done.exception))
    assert done.exception is None, done.exception
    return Answer(done.return_value if isinstance(done.return_value, int) else 0, done.stdout)
