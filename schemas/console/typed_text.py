"""Keys and codes typed by a person, with full-width characters, spaces and Chinese names.

Used as callbacks of options and arguments, so that every command reads typed text alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.errors import UsageError

__all__ = ["code_typed", "department_key", "department_typed", "entry_typed", "plain_text"]

Value = TypeVar("Value", str, str | None, Sequence[str], Sequence[str] | None)

_KEY = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)


def plain_text(text: str) -> str:
    """Return a text without full-width forms, blanks and invisible characters.

    >>> plain_text(" ９１１１ 0000Ｍ\\u200b")
    '91110000M'
    """
    return "".join(one for one in unicodedata.normalize("NFKC", text) if one.isprintable() and not one.isspace())


def department_key(text: str) -> str:
    """Return the key of a department from its key, its name in Chinese, or a part of the name.

    A key is returned as it is, known or not: only the caller knows the province. Raises UsageError if a Chinese name
    fits no department, or departments of several keys.

    >>> department_key("北京市财政局"), department_key("ｔａｘ")
    ('finance', 'tax')
    """
    plain = plain_text(text)
    if _KEY.fullmatch(plain):
        return plain.lower()
    from schemas.catalogue import load  # only a name needs it

    rows = load().department_rows
    named = {row.key for row in rows if plain_text(row.name_zh) == plain}
    fitting = named or {row.key for row in rows if plain in plain_text(row.name_zh)}
    if len(fitting) == 1:
        return fitting.pop()
    if fitting:
        names = {row.key: row.name_zh for row in reversed(rows) if row.key in fitting}
        choice = ", ".join(f"{key} ({name})" for key, name in sorted(names.items())[:6])
        raise UsageError(f"{text!r} fits {len(fitting)} departments: choose one of {choice}{'…' * (len(names) > 6)}")
    raise UsageError(f"there is no department {text!r}: `xinliu catalogue show departments` names them")


def _entry(text: str) -> str:
    department, slash, place = text.strip().replace("／", "/").partition("/")
    return f"{department_key(department)}{slash}{plain_text(place)}"


def _each(value: Value, read: Callable[[str], str]) -> Value:
    if value is None:
        return value
    if isinstance(value, str):
        return read(value)
    return [read(one) for one in value]


def department_typed(value: Value) -> Value:
    """Read one department, several or none: see department_key."""
    return _each(value, department_key)


def code_typed(value: Value) -> Value:
    """Read codes such as 统一社会信用代码: without full-width characters and blanks, letters in upper case."""
    return _each(value, lambda text: plain_text(text).upper())


def entry_typed(value: Value) -> Value:
    """Read names of quarantine entries, department/partition/offset: the department by its key or its name."""
    return _each(value, _entry)
