"""The rules on who speaks: a department's topic holds that department's own statements (谁产生、谁负责)."""

from __future__ import annotations

import polars as pl

from schemas.catalogue import Department
from schemas.registration import DOMAIN, KIND
from schemas.rules.findings import collect
from schemas.rules.model import Context, Rule

__all__ = ["ORIGIN_RULES", "validate_origin"]

_NOTICE = "notice of 2025-08-19 (谁产生、谁负责)"


def _elsewhere(_: Context) -> dict[str, pl.Expr]:
    return {}  # they need the topic's department, see validate_origin


ORIGIN_RULES = (
    Rule("WRONG_DEPARTMENT", "refuse", "部门与主题不符", "The topic belongs to another department", _NOTICE, "他部门的记录", _elsewhere),
    Rule("WRONG_PROVINCE", "refuse", "省份与部门不符", "The department is of another province", _NOTICE, "province = tianjin", _elsewhere),
    Rule("WRONG_DOMAIN", "refuse", "该部门不负责此领域", "The department does not answer for the domain", _NOTICE, "税务局报统计领域", _elsewhere),
    Rule("WRONG_AUTHORITY", "refuse", "该部门无权代此机关报送", "The department does not publish for the authority", _NOTICE, "他机关的代码", _elsewhere),
    Rule("WRONG_REGISTRAR", "refuse", "该部门不是登记机关", "The department does not register entities", _NOTICE, "税务局报登记记录", _elsewhere),
    Rule("WRONG_LIST", "refuse", "该部门不管理此名单", "The department does not keep the list", _NOTICE, "税务局报法院名单", _elsewhere),
)  # fmt: skip

_BY_CODE = {rule.code: rule for rule in ORIGIN_RULES}


def validate_origin(frame: pl.DataFrame, department: Department) -> pl.DataFrame:
    """Hold statements (FLAT) against the department whose topic they came by; return findings (FINDINGS)."""
    authorities = [uscc for uscc, _ in department.authorities]
    expressions = {
        ("WRONG_DEPARTMENT", "department"): pl.col("department") != department.key,
        ("WRONG_PROVINCE", "province"): pl.col("province") != department.province,
        ("WRONG_DOMAIN", "domain"): ~pl.col("domain").is_in([*department.domains, DOMAIN]),
        ("WRONG_REGISTRAR", "kind"): (pl.col("kind") == KIND) & (not department.registers),
        ("WRONG_AUTHORITY", "authority"): ~pl.col("authority").is_in(authorities),
        ("WRONG_LIST", "listing_list"): ~pl.col("listing_list").is_in(list(department.lists)),
    }
    marks = frame.select(
        expression.fill_null(False).alias(f"{code}|{name}") for (code, name), expression in expressions.items()
    )
    broken = {key: marks.to_series(place) for place, key in enumerate(expressions)}
    return collect(frame, broken, _BY_CODE)
