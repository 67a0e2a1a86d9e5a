"""Origin rules: a department's topic holds that department's own statements (谁产生、谁负责)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import polars as pl

from schemas.catalogue import Department
from schemas.records.registration import DOMAIN, KIND
from schemas.rules.findings import collect
from schemas.rules.model import Context, Rule

__all__ = ["ORIGIN_RULES", "Origins", "validate_origin"]

_NOTICE = "notice of 2025-08-19 (谁产生、谁负责)"


def _elsewhere(_: Context) -> dict[str, pl.Expr]:
    return {}  # they need the topic's department, see Origins


ORIGIN_RULES = (
    Rule("WRONG_DEPARTMENT", "refuse", "部门与主题不符", "The topic belongs to another department", _NOTICE, "他部门的记录", _elsewhere),
    Rule("WRONG_PROVINCE", "refuse", "省份与部门不符", "The department is of another province", _NOTICE, "province = tianjin", _elsewhere),
    Rule("WRONG_DOMAIN", "refuse", "该部门不负责此领域", "The department does not answer for the domain", _NOTICE, "税务局报统计领域", _elsewhere),
    Rule("WRONG_AUTHORITY", "refuse", "该部门无权代此机关报送", "The department does not publish for the authority", _NOTICE, "他机关的代码", _elsewhere),
    Rule("WRONG_REGISTRAR", "refuse", "该部门不是登记机关", "The department does not register entities", _NOTICE, "税务局报登记记录", _elsewhere),
    Rule("WRONG_LIST", "refuse", "该部门不管理此名单", "The department does not keep the list", _NOTICE, "税务局报法院名单", _elsewhere),
)  # fmt: skip

_BY_CODE = {rule.code: rule for rule in ORIGIN_RULES}


_BY = "__by"
"""Column beside those of the flat frame: the key of the department whose topic carried the statement."""
_AND = "\x1f"
"""Separator between a department's key, which cannot contain it, and an allowed value."""

_Expressions = dict[tuple[str, str], pl.Expr]


class Origins:
    """Origin check of a batch: each statement against the department whose topic carried it.

    A batch mixes many departments; splitting it by department would cost more than all other checks.
    """

    def __init__(self, departments: Iterable[Department]) -> None:
        self._expressions = _expressions(tuple(departments))

    def validate(self, frame: pl.DataFrame, by: pl.Series) -> pl.DataFrame:
        """Return findings (FINDINGS) on statements (FLAT); `by` has each row's department, null: not checked."""
        marks = frame.with_columns(by.alias(_BY)).select(self._expressions.values())
        broken = {key: marks.to_series(place) for place, key in enumerate(self._expressions)}
        return collect(frame, broken, _BY_CODE)


def validate_origin(frame: pl.DataFrame, department: Department) -> pl.DataFrame:
    """Check statements (FLAT) against the one department whose topic carried them; return findings (FINDINGS)."""
    by = pl.repeat(department.key, frame.height, dtype=pl.String, eager=True)
    return Origins((department,)).validate(frame, by)


def _expressions(known: Sequence[Department]) -> _Expressions:
    def elsewhere(name: str, said: Callable[[Department], Iterable[str]]) -> pl.Expr:
        allowed = [f"{one.key}{_AND}{value}" for one in known for value in said(one)]
        return ~pl.concat_str(_BY, name, separator=_AND).is_in(allowed)

    registering = [one.key for one in known if one.registers]
    expressions = {
        ("WRONG_DEPARTMENT", "department"): pl.col("department") != pl.col(_BY),
        ("WRONG_PROVINCE", "province"): elsewhere("province", lambda one: (one.province,)),
        ("WRONG_DOMAIN", "domain"): elsewhere("domain", lambda one: (*one.domains, DOMAIN)),
        ("WRONG_REGISTRAR", "kind"): (pl.col("kind") == KIND) & ~pl.col(_BY).is_in(registering),
        ("WRONG_AUTHORITY", "authority"): elsewhere("authority", lambda one: (uscc for uscc, _ in one.authorities)),
        ("WRONG_LIST", "listing_list"): elsewhere("listing_list", lambda one: one.lists),
    }
    return {key: broken.fill_null(False).alias("|".join(key)) for key, broken in expressions.items()}
