"""Words that are missing from a table of codes, and the nearest allowed ones."""

from __future__ import annotations

import difflib
import re

from producers.files.rows.cells import shown
from producers.files.values.placeholders import is_placeholder
from schemas.catalogue import Catalogue, Department
from schemas.rules.quality import separated

__all__ = ["Words"]

_MOST = 12
_TABLES = {
    "STATUS": "status",
    "REASON": "reason",
    "REMOVAL_CODE": "removal_reason",
    "SUBJECT_KIND": "subject_kind",
    "LEVEL": "level",
    "ENTITY_KIND": "entity_kind",
    "CATEGORY": "penalty_category",
}

_LONGEST_CODE = 20
_NO_CODE_HAS = "IOSVZ"
"""Letters that GB 32100-2015 leaves out, because they look like figures."""

_BY_CODE = ("CATEGORY", "LEVEL")
"""Tables whose short words, not the names, are in the form."""


class Words:
    """The allowed words of code columns, by the code of the rule that a wrong word breaks."""

    def __init__(self, catalogue: Catalogue, department: Department) -> None:
        self._allowed: dict[str, list[str]] = {
            "DOMAIN": [row.name_zh for row in catalogue.domains() if row.key in department.domains],
            "LIST": [row.name_zh for key, row in catalogue.lists.items() if key in department.lists],
        }
        for code, table in _TABLES.items():
            names = catalogue.codes(table)
            self._allowed[code] = list(names if code in _BY_CODE else names.values())

    def explained(self, code: str, met: str, message: str) -> tuple[str, str]:
        """Return the wrong word and why it is refused: with the allowed words, and the nearest of them."""
        if code == "USCC_ALPHABET":
            letters = "、".join(f"第 {place} 位 {one}" for place, one in enumerate(met, 1) if one in _NO_CODE_HAS)
            return met, f"{message}{letters and f': {letters}'} (没有字母 I、O、S、V、Z; 是数字 1、0、5、2 吗)"
        if code == "USCC_LENGTH":
            return met, message + _why_no_code(met)
        allowed = self._allowed.get(code)
        if not allowed or not met:
            return met, message
        unknown = met
        if code == "CATEGORY":  # one of six joined words may be wrong
            unknown = "、".join(part for part in separated(met) if part not in allowed) or met
            message = f"{message}: {shown(unknown)}"
        near = difflib.get_close_matches(unknown[:60], allowed, n=1, cutoff=0.4)
        meant = f"; 是 {near[0]} 吗" if near else ""
        more = " 等" if len(allowed) > _MOST else ""
        return shown(unknown), f"{message}{meant}; 可填: {'、'.join(allowed[:_MOST])}{more}"


_CODE = re.compile(r"(?<![0-9A-Z])[0-9A-HJ-NPQRTUWXY]{18}(?![0-9A-Z])")


def _why_no_code(met: str) -> str:
    if is_placeholder(met):
        return "; 只是占位文字, 请写明代码"
    codes = _CODE.findall(met)
    if codes:
        several = (
            "几个代码, 须以分号分隔, 且与名称一一对应"
            if len(codes) > 1
            else f"代码 {shown(codes[0])} 和别的文字; 请只写代码"
        )
        return f"; 此格有{several}"
    foreign = "、".join(f"第 {place} 位 {one}" for place, one in enumerate(met, 1) if not one.isascii())
    if foreign and len(met) <= _LONGEST_CODE:
        return f"; 不是数字或拉丁字母: {foreign}"
    return f" (有 {len(met)} 位)" if met else ""
