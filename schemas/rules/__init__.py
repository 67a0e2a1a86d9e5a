"""The rules: what makes a statement good, held against whole batches at once, by publishers and by intake alike.

Every rule has a code, a severity, a text in Chinese and English, a source and an example; `xinliu rules` lists them.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from schemas.catalogue import Catalogue
from schemas.rules.codes import CODE_TEXTS, broken_codes
from schemas.rules.content import CONTENT_RULES
from schemas.rules.findings import FINDINGS, collect
from schemas.rules.model import Context, Rule
from schemas.rules.origin import ORIGIN_RULES, validate_origin

__all__ = ["FINDINGS", "RULES", "Rule", "validate", "validate_origin"]


def _elsewhere(_: Context) -> dict[str, pl.Expr]:
    return {}  # codes are looked at in a pass of their own, see broken_codes


CODE_RULES = tuple(
    Rule(text.code, "refuse", text.text_zh, text.text_en, text.source, text.example, _elsewhere) for text in CODE_TEXTS
)

RULES: tuple[Rule, ...] = (*CONTENT_RULES, *CODE_RULES, *ORIGIN_RULES)
"""All rules, in the order in which they are told."""


def validate(frame: pl.DataFrame, catalogue: Catalogue, *, today: date, now: datetime) -> pl.DataFrame:
    """Hold statements (FLAT) against every rule on their content; return one row (FINDINGS) for each finding.

    `today` is the day in China, `now` the time in UTC. Values are masked where they may name a person.
    """
    context = Context(catalogue, today, now)
    expressions: dict[tuple[str, str], pl.Expr] = {}
    for rule in CONTENT_RULES:
        for name, expression in rule.breaks(context).items():
            expressions[rule.code, name] = expression
    marks = (
        frame.lazy()
        .select(expression.fill_null(False).alias(f"{code}|{name}") for (code, name), expression in expressions.items())
        .collect()
    )
    hits = marks.select(pl.all().any()).row(0, named=True)
    broken = {key: marks[f"{key[0]}|{key[1]}"] for key in expressions if hits[f"{key[0]}|{key[1]}"]}
    return collect(frame, {**broken, **broken_codes(frame)}, {rule.code: rule for rule in RULES})
