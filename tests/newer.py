"""The xinliu of a next release, for tests: `python -m tests.newer worker view`.

Its generations have a column more, credit_view.fines (罚款合计, 万元): the sum of the fines in force, computed by the fold.
It folds generations of before, too, without it. What docs/evolution.md has somebody write into the sources, `upgraded`
does here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from schemas.store import generations
from streams.projection.batch import Projection

__all__ = ["REPORT", "upgraded"]

COLUMN = "ALTER TABLE credit_view ADD COLUMN fines numeric(24, 6);"
"""What generation.sql would say in its place."""

FINES = """
UPDATE credit_view v SET fines = (
    SELECT COALESCE(sum(r.penalty_fine), 0) FROM record r
    WHERE (r.uscc, r.province, r.domain) = (v.uscc, v.province, v.domain) AND r.kind = 'PENALTY' AND r.status = 'IN_FORCE'
)
WHERE v.uscc = ANY(%s)
"""
HAS = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'credit_view'::regclass AND attname = 'fines')"

REPORT = """
CREATE OR REPLACE VIEW report.credit_view AS
SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at, fines FROM serving.credit_view
"""
"""The readers' view of the next release: NULL while a generation of before serves."""


@contextmanager
def upgraded() -> Iterator[None]:
    """Be the next release while this lasts."""
    sql, summarise, known = generations.sql, Projection._summarise, generations.FORMAT

    def newer_sql(name: str) -> str:
        return sql(name) + (COLUMN if name == "generation" else "")

    def newer_summarise(self: Projection, news: pl.DataFrame, outranking: pl.DataFrame) -> None:
        summarise(self, news, outranking)
        row: Any = self._connection.execute(HAS).fetchone()
        if row[0]:
            held = outranking["uscc_held"] if outranking.height else pl.Series([], dtype=pl.String)
            entities = pl.concat([news["uscc"], outranking["uscc"], held]).unique().sort()
            self._connection.execute(FINES, (entities.to_list(),))

    generations.sql = newer_sql  # type: ignore[assignment]
    generations.FORMAT = known + 1
    Projection._summarise = newer_summarise  # type: ignore[method-assign]
    try:
        yield
    finally:
        generations.sql, generations.FORMAT = sql, known
        Projection._summarise = summarise  # type: ignore[method-assign]


if __name__ == "__main__":
    from xinliu import main

    with upgraded():
        main()
