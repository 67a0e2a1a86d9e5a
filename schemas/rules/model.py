"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from schemas.catalogue import Catalogue

__all__ = ["LATEST", "OVERRIDABLE", "Context", "Rule", "elsewhere"]


LATEST = "__latest"
"""Column beside those of the flat frame: milliseconds since 1970 beyond which no version and no time may lie."""

OVERRIDABLE: Mapping[str, str] = {
    "USCC_CHECK_DIGIT": "firms with a wrong check digit exist (91350211M0000XUF46); characters 9-17 have a check of their own",
}
"""Code of a rule → why a reviewer may let a statement through that breaks it. Every other refusal is either certain or a
matter of the catalogue: mend the statement, or the catalogue, and redrive."""


@dataclass(frozen=True)
class Context:
    """What rules hold a statement against: the catalogue and today in China. What time it is stands in a column (LATEST)."""

    catalogue: Catalogue
    today: date


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule on the content of a statement.

    `severity` is refuse (it goes to the quarantine) or flag (accepted, the source is told). `breaks` returns, for the
    fields of the flat frame that the rule looks at, an expression that is true where the rule is broken; null counts
    as kept.
    """

    code: str
    severity: str
    text_zh: str
    text_en: str
    source: str
    example: str
    breaks: Callable[[Context], dict[str, pl.Expr]]


def elsewhere(_: Context) -> dict[str, pl.Expr]:
    """What a rule `breaks` that is held against batches in a pass of its own, together with its neighbours."""
    return {}
