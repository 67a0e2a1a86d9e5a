"""Columns that decide the meaning of a row: 当前状态, 是否移出, 撤销日期 … A file with an unknown one is not read.

The words for state, removal, revocation, repair or objection are data: states.csv for the names of columns,
state_values.csv for their values. A column of flags only (是 and 否, Y and N, 0 and 1) decides something, whatever its
name.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["DecidingColumn", "speaks_of_state", "state_in", "status_words", "text_speaks", "title_speaks"]

_LONGEST_HEADER, _LONGEST_VALUE, _LONGEST_TITLE, _LONGEST_SENTENCE = 400, 12, 60, 400
"""Characters of a header searched; longest value, title and sentence searched for such a word: in longer ones it may
mean anything.
"""

_BETWEEN = re.compile(r"[\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FLAGS = frozenset((
    "是", "否", "Y", "N", "YES", "NO", "T", "F", "TRUE", "FALSE", "√", "✓", "✔", "×", "✗", "✘", "X", "V", "D", "I", "U", "+I", "-D",
    "+U", "-U", "撤", "删", "移", "废", "停", "消", "增", "减", "改", "新增", "减少", "增加", "修改",
))  # fmt: skip
"""Values of a column that says yes or no, or gives the state of a row."""

_DIGITS = frozenset(("0", "1", "0.0", "1.0", "-1"))
_SAYS_SO = re.compile(
    r"(?:已经?|被|予以|经)[^,。;、]{0,8}(?:撤销|撤消|撤回|移出|移除|修复|作废|废止|删除|注销名单|解除列入|停止公示)"
    r"|(?:撤销|撤消|撤回|变更|纠正)(?:了|原|该|本|此|上述|前述)(?:行政)?(?:处罚|决定|记录|条目)"
    r"|(?:处罚|决定|记录|条目|文书)(?:书|信息)?[^,。;、]{0,4}(?:失效|无效|不再有效|停止执行)"
)
"""A sentence stating that its own row is not simply in force."""


@dataclass(frozen=True, slots=True)
class DecidingColumn:
    """A column that may decide the meaning of a row: its name, the deciding word, possible mappings."""

    header: str
    word: str
    meant: str = ""


@cache
def _rows(name: str) -> tuple[Mapping[str, str], ...]:
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def _telling() -> tuple[str, ...]:
    """Return the values that mark a row as not simply in force, in whichever column they stand."""
    return tuple(row["word"] for row in _rows("state_values.csv") if not row["only_in"] and row["word"] != "有效")


def speaks_of_state(header: str) -> DecidingColumn | None:
    """Return how the name of a column speaks of state; None if it does not."""
    plain = unicodedata.normalize("NFKC", header[:_LONGEST_HEADER])
    tokens = [token.upper() for token in _BETWEEN.split(_HUMP.sub("_", plain)) if token]
    folded = _BETWEEN.sub("", plain).upper()
    for row in _rows("states.csv"):
        if _stands_in(row["word"], row["how"], folded, tokens):
            shown = row["word"] if row["how"] != "pattern" else header
            return DecidingColumn(header, shown, row["meant"])
    return None


def _stands_in(word: str, how: str, folded: str, tokens: list[str]) -> bool:
    if how == "within":
        return word in folded
    if how == "first":
        return len(tokens) > 1 and tokens[0] == word
    if how == "pattern":
        return any(re.fullmatch(word, token, re.ASCII) for token in tokens)
    return word in tokens


def state_in(header: str, cells: Iterable[object]) -> DecidingColumn | None:
    """Return how the values of a column speak of state; None if they do not."""
    said: dict[str, None] = {}
    blank = False
    for cell in dict.fromkeys(cells):
        text = "" if cell is None else str(cell).strip()
        blank = blank or not text
        if isinstance(cell, str) and text_speaks(text):
            return DecidingColumn(header, text[:_LONGEST_VALUE])
        if text:
            said[text] = None
    return DecidingColumn(header, next(iter(said))) if said and _are_flags(said, blank) else None


def _are_flags(said: Collection[str], blank: bool) -> bool:
    """Return whether a column says yes or no. A 1 in every row may be a number of pieces; in some rows it is a flag."""
    if len(said) > len(_FLAGS):
        return False
    if all(text in _DIGITS for text in said):
        return len(said) > 1 or (blank and "0" not in said)
    return all(unicodedata.normalize("NFKC", text).upper() in _FLAGS | _DIGITS for text in said)


def text_speaks(text: str) -> bool:
    """Return whether a text says that its row is removed, revoked, repaired or disputed.

    A short text says so by a word, a sentence as a whole.
    """
    if len(text) > _LONGEST_SENTENCE:
        return False
    said = unicodedata.normalize("NFKC", text).upper()
    if len(text) <= _LONGEST_VALUE and any(word in said for word in _telling()):
        return True
    return len(text) > 2 and _SAYS_SO.search(said) is not None


def title_speaks(text: str) -> bool:
    """Return whether a title above a table says that all its rows are removed, revoked, repaired or disputed."""
    return len(text) <= _LONGEST_TITLE and any(word in text for word in _telling())


def status_words(header: str, catalogue: Mapping[str, str]) -> dict[str, str]:
    """Return word → status (IN_FORCE …) of a column; `catalogue` has the names of the catalogue.

    The form of 2015 writes 0 and 1 in 当前状态 (CF_ZT): elsewhere they may mean anything.
    """
    folded = _BETWEEN.sub("", unicodedata.normalize("NFKC", header)).upper()
    only = {row["word"]: row["status"] for row in _rows("state_values.csv") if row["status"]
            and (not row["only_in"] or folded in row["only_in"].replace("_", "").split())}  # fmt: skip
    return {**only, **catalogue}
