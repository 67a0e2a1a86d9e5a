"""Words of a table of codes that are not in it: which ones are, and which was probably meant."""

from __future__ import annotations

import difflib

from producers.importing.cells import shown
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

_NO_CODE_HAS = "IOSVZ"
"""Letters that GB 32100-2015 leaves out, since they look like figures."""

_BY_CODE = ("CATEGORY", "LEVEL")
"""Tables whose short words are what the form has."""


class Words:
    """The words that may stand in columns of codes, by the code of the rule that a word breaks."""

    def __init__(self, catalogue: Catalogue, department: Department) -> None:
        self._allowed: dict[str, list[str]] = {
            "DOMAIN": [row.name_zh for row in catalogue.domains() if row.key in department.domains],
            "LIST": [row.name_zh for key, row in catalogue.lists.items() if key in department.lists],
        }
        for code, table in _TABLES.items():
            names = catalogue.codes(table)
            self._allowed[code] = list(names if code in _BY_CODE else names.values())

    def explained(self, code: str, met: str, message: str) -> tuple[str, str]:
        """Return what was met and why it is refused: with the words that are allowed, and the nearest of them."""
        if code == "USCC_ALPHABET":
            letters = "、".join(f"第 {place} 位 {one}" for place, one in enumerate(met, 1) if one in _NO_CODE_HAS)
            return met, f"{message}{letters and f': {letters}'} (没有字母 I、O、S、V、Z; 是数字 1、0、5、2 吗)"
        allowed = self._allowed.get(code)
        if not allowed or not met:
            return met, message
        unknown = met
        if code == "CATEGORY":  # of six that are joined, one may be wrong
            unknown = "、".join(part for part in separated(met) if part not in allowed) or met
            message = f"{message}: {shown(unknown)}"
        near = difflib.get_close_matches(unknown[:60], allowed, n=1, cutoff=0.4)
        meant = f"; 是 {near[0]} 吗" if near else ""
        more = " 等" if len(allowed) > _MOST else ""
        return shown(unknown), f"{message}{meant}; 可填: {'、'.join(allowed[:_MOST])}{more}"
