"""Hints: commands that a message tells a person to run, with the name of this command's local stack."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["hint", "hints_for"]


@dataclass
class _Stack:
    command: re.Pattern[str] | None = None
    named: str = ""


_STACK = _Stack()
"""The stack of this process's command, which is chosen once."""


def hints_for(stack: str | None, commands: Iterable[str]) -> None:
    """Add this stack's name to every hint from now on; None: a command without --stack finds the same servers.

    `commands` are the words that may follow `xinliu`: elsewhere the word is a name.
    """
    words = "|".join(map(re.escape, commands))
    _STACK.command = None if stack is None else re.compile(rf"\bxinliu (?=(?:{words})(?![\w-]))")
    _STACK.named = f"xinliu --stack {stack} "


def hint(text: str) -> str:
    """Return a text with the stack of this command in every `xinliu COMMAND`, if the command has one.

    >>> hints_for("trial", ["status"])
    >>> hint("see `xinliu status`; data of xinliu stay")
    'see `xinliu --stack trial status`; data of xinliu stay'
    >>> hints_for(None, [])
    """
    return text if _STACK.command is None else _STACK.command.sub(lambda _: _STACK.named, text)
