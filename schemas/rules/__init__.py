"""The rules: what makes a statement good, held against whole batches at once, by publishers and by intake alike.

Every rule has a code, a severity, a text in Chinese and English, a source and an example; `xinliu rules` lists them.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

import polars as pl

from schemas.catalogue import Catalogue
from schemas.rules.codes import CODE_TEXTS, broken_codes
from schemas.rules.content import CONTENT_RULES
from schemas.rules.findings import FINDINGS, collect
from schemas.rules.model import LATEST, Context, Rule
from schemas.rules.origin import ORIGIN_RULES, validate_origin
from schemas.rules.registration import REGISTRATION_RULES, broken_registrations

__all__ = ["FINDINGS", "RULES", "Rule", "validate", "validate_origin"]


_AHEAD = timedelta(minutes=10)
"""How far a department's clock may be ahead of ours."""


def _elsewhere(_: Context) -> dict[str, pl.Expr]:
    return {}  # codes are looked at in a pass of their own, see broken_codes


CODE_RULES = tuple(
    Rule(text.code, "refuse", text.text_zh, text.text_en, text.source, text.example, _elsewhere) for text in CODE_TEXTS
)

RULES: tuple[Rule, ...] = (*CONTENT_RULES, *CODE_RULES, *REGISTRATION_RULES, *ORIGIN_RULES)
"""All rules, in the order in which they are told."""


def validate(frame: pl.DataFrame, catalogue: Catalogue, *, today: date, now: datetime) -> pl.DataFrame:
    """Hold statements (FLAT) against every rule on their content; return one row (FINDINGS) for each finding.

    `today` is the day in China, `now` the time in UTC. Values are masked where they may name a person.
    """
    keys, expressions = _expressions(catalogue, today)
    latest = pl.lit(int((now + _AHEAD).timestamp() * 1000), dtype=pl.Int64).alias(LATEST)
    marks = frame.lazy().with_columns(latest).select(expressions).collect()
    hits = marks.select(pl.all().any()).row(0)
    broken = {key: marks.to_series(place) for place, key in enumerate(keys) if hits[place]}
    broken |= {**broken_codes(frame), **broken_registrations(frame, catalogue, today)}
    return collect(frame, broken, {rule.code: rule for rule in RULES})


@lru_cache(maxsize=8)
def _expressions(catalogue: Catalogue, today: date) -> tuple[tuple[tuple[str, str], ...], tuple[pl.Expr, ...]]:
    # Made once a day: making a hundred expressions takes longer than holding a small batch against them.
    context = Context(catalogue, today)
    broken = {
        (rule.code, name): expression.fill_null(False).alias(f"{rule.code}|{name}")
        for rule in CONTENT_RULES
        for name, expression in rule.breaks(context).items()
    }
    return tuple(broken), tuple(broken.values())
