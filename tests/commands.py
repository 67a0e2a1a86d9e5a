"""The command `xinliu` run within the process of a test: the same way through `main`, without another interpreter."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from unittest.mock import patch

import typer

import xinliu
from deploy.settings import settings

__all__ = ["Ran", "run", "without_stack"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command ended with, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command line. Its environment has no XINLIU_ variable but those of `env`, and its settings are read anew."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XINLIU_")}
    out, err = io.StringIO(), io.StringIO()
    settings.cache_clear()
    try:
        with (
            patch.dict(os.environ, {**kept, **(env or {})}, clear=True),
            patch.object(sys, "argv", ["xinliu", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                xinliu.main()
            except SystemExit as end:
                assert isinstance(end.code, int)
                return Ran(end.code, out.getvalue(), err.getvalue())
            raise AssertionError("main ends by an exit code")
    finally:
        settings.cache_clear()


def without_stack(*words: str) -> typer.Typer:
    """Return the commands that begin with these words; `obj` of the runner stands for the connection of a stack."""
    app = typer.Typer(callback=lambda: None)
    for module in dict.fromkeys(module for word in words for module in xinliu.COMMANDS[word]):
        import_module(module).mount(app)
    return app
