"""JSON Lines: one flat object a line; its names are the headers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from producers.files.table import Fault, Table
from schemas.errors import UsageError

__all__ = ["NOTHING", "json_table"]

_LONGEST_LINE = 8 << 20
_BEGINNING = 1 << 16
NOTHING = " \t\r\n\v\f\x1a\0\ufeff"
"""Characters around an object that do not belong to it."""


def json_table(path: Path, text: str, encoding: str, fits: Callable[[Path, int, int], None]) -> Table:
    """Read one object a line. Raises UsageError if no line is one; `fits` raises on too many rows or columns."""
    objects: list[tuple[int, dict[str, Any]]] = []
    faults: list[Fault] = []
    headers: dict[str, None] = {}
    doubled: list[tuple[int, _SaidTwice]] = []
    for number, line in _lines(text):
        fits(path, len(objects) + len(faults) + len(doubled) + 1, len(headers) or 1)
        try:
            value = _object(line) if len(line) <= _LONGEST_LINE else None
            if "\\ud" in line.lower():
                json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            faults.append(Fault(number, "NOT_TEXT", "此行含有不成对的代理码(\\ud800 至 \\udfff), 不是文字"))
            continue
        except _SaidTwice as twice:
            headers.update(dict.fromkeys(twice.said))
            doubled.append((number, twice))
            continue
        except (ValueError, RecursionError):
            faults.append(Fault(number, "NOT_JSON", f"此行不是 JSON{_why_no_json(line)}"))
            continue
        if not isinstance(value, dict) or any(isinstance(cell, dict | list) for cell in value.values()):
            faults.append(Fault(number, "NOT_FLAT", '每行须为一个不嵌套的对象, 如 {"CF_WSH": …}'))
            continue
        objects.append((number, value))
        headers.update(dict.fromkeys(value))
    fits(path, len(objects) + len(faults) + len(doubled), len(headers) or 1)
    faults += (
        Fault(
            number,
            "NAME_TWICE",
            f"此行的 {twice.name[:60]!r} 出现两次, 不知以何者为准; 请保留一个",
            tuple(None if isinstance(cell := twice.said.get(header), dict | list) else cell for header in headers),
        )
        for number, twice in doubled
    )
    if not objects and not doubled:
        begin = text.lstrip()[:1]
        joined = re.search(r"\}\s*\{", text[:_BEGINNING]) is not None
        what = (
            "一个数组 ([…])"
            if begin == "["
            else "其他内容"
            if begin != "{"
            else "写在一行的几个对象"
            if joined
            else "跨多行的对象"
        )
        raise UsageError(
            f'{path}: 没有一行是 JSON 对象, 文件是{what}; 每行须为一个完整的对象, 如 {{"CF_WSH": …}}'
            " (数组可用 jq -c '.[]' 原文件 > 新文件.jsonl 转换)"
        )
    rows = tuple((number, tuple(value.get(header) for header in headers)) for number, value in objects)
    return Table("JSON Lines", encoding, tuple(headers), rows, tuple(faults))


def _why_no_json(line: str) -> str:
    if line in ("[", "]", "],") or line.endswith("},"):
        return ": 是数组 ([…]) 的一部分; 请去掉首尾的方括号和行末的逗号, 每行一个对象"
    if re.search(r"\}\s*\{", line):
        return ": 一行有几个对象; 请每行一个"
    return ": 对象没有写完, 文件可能被截断" if line.startswith("{") and not line.endswith("}") else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not split: a file of line ends alone would make hundreds of millions of strings at once.
    begin = number = 0
    while begin <= len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        number += 1
        if line := text[begin:end].strip(NOTHING):
            yield number, line
        begin = end + 1


class _SaidTwice(Exception):
    """An object has a name twice."""

    def __init__(self, name: str, said: dict[str, Any]) -> None:
        super().__init__(name)
        self.name, self.said = name, said


def _object(line: str) -> Any:
    return json.loads(line, parse_float=Decimal, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        names = [name for name, _ in pairs]
        raise _SaidTwice(next(name for name in names if names.count(name) > 1), said)
    return said
