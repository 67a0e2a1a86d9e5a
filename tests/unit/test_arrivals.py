"""How far another province's messages have arrived, counted in the offsets of its own log."""

from __future__ import annotations

import pytest

from streams.exchange.status.arrivals import Arrived, behind


@pytest.mark.parametrize(
    ("last", "waiting"),
    [
        # Applied is checkpoint 3 at offset 30; at 31 stands the end of its transaction.
        (Arrived("t", 30, 3), 0),
        (Arrived("t", 32, 4), 0),  # the next checkpoint, and nothing between
        (Arrived("t", 42, 4), 10),
        (Arrived("t", 46, 6), 10),  # ten messages in three runs
        (Arrived("t", 32, None), 1),  # a run that has not arrived whole
        (Arrived("t", 41, None), 10),
        (Arrived("t", 29, None), 0),  # the view is further than what a link has just begun again
        (Arrived("made anew", 500, 40), 0),  # offsets of another log are not those
    ],
)
def test_what_waits_are_messages_and_no_checkpoints(last: Arrived, waiting: int) -> None:
    assert behind(last, "t", sequence=3, offset=30) == waiting
