"""The shape of a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from schemas.catalogue import Catalogue

__all__ = ["LATEST", "OVERRIDABLE", "Context", "Rule", "elsewhere"]


LATEST = "__latest"
"""Column beside those of the flat frame: the upper bound of versions and times, in milliseconds since 1970."""

OVERRIDABLE: Mapping[str, str] = {
    "USCC_CHECK_DIGIT": "firms with a wrong check digit exist (91350211M0000XUF46); characters 9-17 have a check of their own",
}
"""Code of a rule → why a reviewer may override it. Every other refusal is certain, or depends on the catalogue: correct
the statement or the catalogue, and redrive.
"""


@dataclass(frozen=True)
class Context:
    """Context of the rules: the catalogue and today in China. The present time is a column (LATEST)."""

    catalogue: Catalogue
    today: date


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule on the content of a statement.

    `severity` is refuse (the statement goes to the quarantine) or flag (it is accepted, and the source is notified).
    `breaks` returns, for the fields of the flat frame that the rule checks, an expression that is true if the rule is
    broken; null counts as kept.
    """

    code: str
    severity: str
    text_zh: str
    text_en: str
    source: str
    example: str
    breaks: Callable[[Context], dict[str, pl.Expr]]


def elsewhere(_: Context) -> dict[str, pl.Expr]:
    """The `breaks` of a rule that a pass of its own checks on whole batches, together with similar rules."""
    return {}
