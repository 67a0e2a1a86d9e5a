"""What a rebuild copies of a batch: its winners, and each statement once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from streams.projection.staging import staged
from streams.replay.rebuild.lane import once
from tests.statements import penalty
from tests.viewstore import decoded

RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_statement_that_is_said_again_stands_once_as_of_its_earliest_receipt() -> None:
    first, other, second = penalty("1"), penalty("2"), penalty("1", version=2)
    frame = decoded([first, other, second, first, second], 10)
    later = pl.Series(
        "received_at", [RECEIVED + timedelta(hours=5 - n) for n in range(5)], dtype=pl.Datetime("ms", "UTC")
    )
    made = once(staged(frame.with_columns(later))[0]).sort("accepted_offset")
    assert made["accepted_offset"].to_list() == [10, 11, 12]
    assert made["received_at"].to_list() == [RECEIVED + timedelta(hours=hours) for hours in (2, 4, 1)]


def test_nothing_is_gathered_where_nothing_is_said_again() -> None:
    frame = staged(decoded([penalty("1"), penalty("2")], 0))[0]
    assert once(frame) is frame
