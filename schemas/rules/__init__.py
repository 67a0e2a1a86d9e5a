"""Rules on the quality of a statement, checked on whole batches, by publishers and intake alike.

Every rule has a code, a severity, a text in Chinese and English, a source and an example; `xinliu rules` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

import polars as pl

from schemas.calendar.periods import china_day
from schemas.catalogue import Catalogue, Department
from schemas.rules.codes import CODE_TEXTS, broken_codes
from schemas.rules.content import CONTENT_RULES
from schemas.rules.findings import FINDINGS, collect
from schemas.rules.life import LIFE_RULES
from schemas.rules.model import LATEST, Context, Rule, elsewhere
from schemas.rules.origin import ORIGIN_RULES, Origins, validate_origin
from schemas.rules.quality import MEANT, QUALITY_RULES, broken_quality, short
from schemas.rules.registration import REGISTRATION_RULES, broken_registrations
from schemas.rules.texts import TEXT_RULES, TEXTS, broken_texts, suspect

__all__ = ["FINDINGS", "RULES", "Origins", "Rule", "validate", "validate_origin", "validate_publication"]


_AHEAD = timedelta(minutes=10)
"""Allowed lead of a department's clock over ours."""


CODE_RULES = tuple(
    Rule(text.code, "refuse", text.text_zh, text.text_en, text.source, text.example, elsewhere) for text in CODE_TEXTS
)

_EXPRESSED: tuple[Rule, ...] = (*CONTENT_RULES, *LIFE_RULES, *QUALITY_RULES)
"""Rules with an expression of their own; the others are checked on a batch in separate passes."""

RULES: tuple[Rule, ...] = (
    *CONTENT_RULES, *LIFE_RULES, *TEXT_RULES, *QUALITY_RULES, *CODE_RULES, *REGISTRATION_RULES, *ORIGIN_RULES
)  # fmt: skip
"""All rules, in the order of reports."""

_BY_CODE = {rule.code: rule for rule in RULES}
_SUSPECT, _SHORT = "~suspect", "~short"
_NULL_KEEPS = frozenset(("REQUIRED", "TEXT_TOO_LONG", "DATE_RANGE", "NEGATIVE_AMOUNT", _SUSPECT, _SHORT))
"""Rules on every field of a kind that a null keeps: skipped for a field that is null in the whole batch."""


def validate(frame: pl.DataFrame, catalogue: Catalogue, *, today: date, now: datetime) -> pl.DataFrame:
    """Check statements (FLAT) against every rule on their content; return one row (FINDINGS) for each finding.

    `today` is the day in China, `now` the time in UTC. Values that may name a person are masked.
    """
    latest = pl.lit(int((now + _AHEAD).timestamp() * 1000), dtype=pl.Int64).alias(LATEST)
    empty = {name for name in frame.columns if frame[name].null_count() == frame.height}
    held = _held(catalogue, today)
    chosen = [
        (key, expression)
        for key, expression in held.expressions.items()
        if key[0] not in _NULL_KEEPS or key[1] not in empty
    ]
    # Eager, not lazy: optimizing a hundred expressions costs more than it saves, for 50 rows as for 10,000.
    marks = frame.with_columns(latest).select(expression for _, expression in chosen)
    hits = marks.select(pl.all().any()).row(0)
    broken = {key: marks.to_series(place) for place, (key, _) in enumerate(chosen) if hits[place]}
    suspects = [name for code, name in broken if code == _SUSPECT]
    shorts = [name for code, name in broken if code == _SHORT]
    broken = {key: found for key, found in broken.items() if key[0] in _BY_CODE}
    broken |= broken_texts(frame, suspects) | broken_quality(frame, held.categories, shorts)
    broken |= broken_codes(frame, held.excepted)
    broken |= broken_registrations(frame, catalogue, today)
    return collect(frame, broken, _BY_CODE)


@dataclass(frozen=True, slots=True)
class _Held:
    """Expressions and codes for one day. Built once a day: a hundred expressions take longer than a small batch."""

    expressions: dict[tuple[str, str], pl.Expr]
    categories: frozenset[str]
    excepted: frozenset[str]


@lru_cache(maxsize=8)
def _held(catalogue: Catalogue, today: date) -> _Held:
    context = Context(catalogue, today)
    expressions = {(rule.code, name): found for rule in _EXPRESSED for name, found in rule.breaks(context).items()}
    # Coarse screens in the same pass: texts that pass them need no closer check.
    expressions |= {(_SUSPECT, name): suspect(name) for name in TEXTS} | {(_SHORT, name): short(name) for name in MEANT}
    return _Held(
        {key: found.fill_null(False).alias("|".join(key)) for key, found in expressions.items()},
        frozenset(catalogue.codes("penalty_category")),
        catalogue.excepted_codes(today),
    )


def validate_publication(
    frame: pl.DataFrame, department: Department, catalogue: Catalogue, *, now: datetime
) -> pl.DataFrame:
    """Check statements (FLAT) of one department against every rule, as intake will; return findings (FINDINGS).

    `now` is the time, with a zone.
    """
    found = validate(frame, catalogue, today=china_day(now), now=now)
    return pl.concat([found, validate_origin(frame, department)])
