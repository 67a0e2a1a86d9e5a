"""Findings: which rows break which rules, with the offending value."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from schemas.identifiers.persons_columns import covered_column
from schemas.rules.model import Rule
from schemas.texts.visible import visible

__all__ = ["FINDINGS", "collect"]

FINDINGS = pl.Schema(
    {
        "row": pl.UInt32(),
        "code": pl.String(),
        "severity": pl.String(),
        "field": pl.String(),
        "value": pl.String(),
        "message_zh": pl.String(),
    }
)
"""Columns of a frame of findings."""

_NONE = FINDINGS.to_frame()
_SHOWN = 80
_UNSEEN = r"[\p{C}\p{Z}--\x20]"
"""Characters that Python does not print: controls, marks, private use, and all spaces but the plain one."""


def collect(
    frame: pl.DataFrame, broken: Mapping[tuple[str, str], pl.Series], rules: Mapping[str, Rule]
) -> pl.DataFrame:
    """Return the findings, by row, then in the order of the rules."""
    parts = []
    places = {code: place for place, code in enumerate(rules)}
    for (code, name), marks in sorted(broken.items(), key=lambda item: places[item[0][0]]):
        if not marks.any():
            continue
        bad = frame.filter(marks)
        value = _shown(bad, name)
        if code == "USCC_RESIDENT_ID":  # in any spelling
            value = pl.concat_str(pl.col(name).str.slice(0, 6), pl.lit("***********"))
        parts.append(
            bad.select(
                pl.col("row"),
                pl.lit(code).alias("code"),
                pl.lit(rules[code].severity).alias("severity"),
                pl.lit(name).alias("field"),
                value.alias("value"),
                pl.lit(rules[code].text_zh).alias("message_zh"),
            )
        )
    return _all_visible(pl.concat(parts).sort("row", maintain_order=True)) if parts else _NONE


def _all_visible(findings: pl.DataFrame) -> pl.DataFrame:
    """Return findings without invisible characters in their values; only few contain any."""
    if not findings["value"].str.contains(_UNSEEN).any():
        return findings
    return findings.with_columns(pl.Series("value", [text and visible(text) for text in findings["value"]]))


def _shown(bad: pl.DataFrame, name: str) -> pl.Expr:
    if name not in bad.columns:
        return pl.lit(None, dtype=pl.String)
    # Masked before it is cut: half a person's number is personal, too.
    return pl.lit(covered_column(bad[name].cast(pl.String)).str.slice(0, _SHOWN))
