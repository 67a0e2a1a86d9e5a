"""A rebuild makes of a log what the live view makes of it, to the byte, whatever was said and wherever it was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.connection import Connection
from schemas.store import connect
from streams.replay.filling import Pace
from streams.replay.rebuilding import Rebuild
from tests.replays import History, Live, differences, ledger


@pytest.mark.parametrize("seed", range(4))
def test_a_rebuild_equals_the_live_view(own_stack: Connection, tmp_path: Path, seed: int) -> None:
    history = History(own_stack, seed, tmp_path)
    live = Live(own_stack, history)
    try:
        history.say(400)
        live.follow()
        with (
            connect(own_stack.database.get_secret_value(), generation=1, autocommit=True) as store,
            ledger(own_stack, store) as (steps, planned),
        ):
            made = Rebuild(own_stack, steps, pace=Pace(gentle=False)).run(planned)
            assert differences(store, 1, made) == {}
            row = store.execute("SELECT state FROM xinliu.generation WHERE generation = %s", (made,)).fetchone()
            assert row == ("READY",)
            assert steps.get(planned).state == "DONE"
    finally:
        live.close()
        history.close()
