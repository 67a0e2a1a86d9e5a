"""A tour of the system: commands as a person would type them, each shown before its output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection

from rich.markup import escape

from deploy.settings import settings
from schemas.console.terminal import Console
from schemas.errors import UsageError

__all__ = ["Tour"]


class Tour:
    """Announces each step, and runs it."""

    def __init__(self, console: Console, stack: str | None = None) -> None:
        """`stack` is the default stack of the commands."""
        self._console, self._stack = console, stack

    def say(self, text: str) -> None:
        """Print the next step."""
        self._console.print(f"\n[bold cyan]{escape(text)}[/bold cyan]", highlight=False)

    def note(self, text: str) -> None:
        """Print a finding."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def run(self, *words: str, stack: str | None = None, codes: Collection[int] = (0,)) -> None:
        """Run a command on a stack. Raises UsageError if it ends with another exit code than these."""
        chosen = stack or self._stack
        command = ["--stack", chosen, *words] if chosen else list(words)
        self._console.print(f"[dim]$ xinliu {escape(' '.join(command))}[/dim]", highlight=False, soft_wrap=True)
        sys.stdout.flush()
        home = {"XINLIU_HOME": str(settings().home_folder)}
        done = subprocess.run([sys.executable, "-m", "xinliu", *command], env={**os.environ, **home}, check=False)
        if done.returncode not in codes:
            raise UsageError(
                f"`xinliu {' '.join(command)}` ended with exit code {done.returncode}; the demo stops here"
            )
