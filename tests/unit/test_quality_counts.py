"""What a batch counts for, where each statement is the only one of its record; and what the documents say of it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from schemas.store.sql_files import sql
from streams.monitoring.metrics import VISIBLE_SECONDS
from streams.projection.quality import LONGEST_LAG, counts_of, visible_counts, with_receipt

DOCUMENT = Path(__file__).parents[2] / "docs" / "quality.md"
MIDNIGHT = datetime(2026, 3, 1, 16, tzinfo=UTC)
"""The beginning of 2 March in Beijing."""
BEFORE, DAY = date(2026, 3, 1), date(2026, 3, 2)


def batch(*rows: tuple[str, str, date | None, datetime]) -> pl.DataFrame:
    """Return statements: department, reason, day of decision, time of receipt."""
    return pl.DataFrame(
        rows,
        schema={
            "department": pl.String,
            "reason": pl.String,
            "penalty_decided_on": pl.Date,
            "received_at": pl.Datetime("ms", "UTC"),
        },
        orient="row",
    )


def test_a_day_is_chinas_and_a_lag_is_counted_from_the_decision() -> None:
    just_before = MIDNIGHT - timedelta(milliseconds=1)
    counts = counts_of(
        batch(
            ("tax", "PUBLISHED", date(2026, 2, 27), just_before),
            ("tax", "PUBLISHED", date(2026, 2, 27), MIDNIGHT),
            ("tax", "PUBLISHED", date(2020, 1, 1), MIDNIGHT),
            ("tax", "PUBLISHED", date(2026, 3, 9), MIDNIGHT),  # decided in the future: received on the day itself
            ("tax", "PUBLISHED", None, MIDNIGHT),  # a list entry
            ("tax", "CORRECTED", date(2026, 2, 27), MIDNIGHT),
            ("court", "REVOKED", None, MIDNIGHT),
        )
    )
    assert counts == {
        (BEFORE, "tax", "ACCEPTED", 0): 1,
        (BEFORE, "tax", "PUBLISHED", 2): 1,
        (DAY, "tax", "ACCEPTED", 0): 5,
        (DAY, "tax", "PUBLISHED", 3): 1,
        (DAY, "tax", "PUBLISHED", LONGEST_LAG): 1,
        (DAY, "tax", "PUBLISHED", 0): 1,
        (DAY, "tax", "CORRECTED", 0): 1,
        (DAY, "court", "ACCEPTED", 0): 1,
    }
    assert counts_of(batch()) == {}


@pytest.mark.parametrize(
    ("age", "place"), [(-3.0, 0), (0.0, 0), (0.05, 0), (0.051, 1), (1.0, 4), (86_400.0, 13), (86_400.1, 14)]
)
def test_a_bucket_holds_what_is_at_most_its_bound(age: float, place: int) -> None:
    frame = batch(("tax", "PUBLISHED", None, MIDNIGHT))
    assert visible_counts(frame, MIDNIGHT.timestamp() + age) == {(DAY, "tax", "VISIBLE", place): 1}


def test_where_nobody_wrote_when_it_was_received_it_is_when_it_was_accepted() -> None:
    known = pl.DataFrame({"known_at": [MIDNIGHT, MIDNIGHT]}, schema={"known_at": pl.Datetime("ms", "UTC")})
    received = pl.Series([0, 1_700_000_000_000], dtype=pl.Int64)
    frame = with_receipt(known, received)
    assert frame["received_at"].to_list() == [MIDNIGHT, datetime.fromtimestamp(1_700_000_000, UTC)]
    assert frame.schema["received_at"] == pl.Datetime("ms", "UTC")


def test_sql_and_document_have_the_bounds_of_the_metric() -> None:
    shown = re.search(r"ARRAY\[([^\]]+), 'infinity'\]", sql("report/quality"))
    told = re.search(r"upper bound of the bucket \(([^)]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    for found in (shown, told):
        assert found is not None
        assert tuple(float(bound) for bound in found[1].split(",")) == VISIBLE_SECONDS.buckets
    for text in (sql("projection/quality"), sql("generation")):
        assert str(LONGEST_LAG) in text
