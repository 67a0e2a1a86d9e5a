"""A rebuild makes of a log what the live view makes of it, to the byte, whatever was said; catching up goes on with the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from schemas.errors import UsageError
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.generations import generations
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.records import Run
from streams.replay.diff.comparison import GenerationComparison, record_changes
from streams.replay.generations.catch_up import catch_up
from streams.replay.rebuild import lanes as filling
from streams.replay.rebuild.rebuild import Rebuild, RebuildProgress
from streams.replay.rebuild.throttle import Pace
from tests.replays import History, Live, differences, ledger, rows_of


def rebuilt(connection: Connection, store: Any, **options: Any) -> int:
    """Plan a rebuild and carry it out; return its generation."""
    with ledger(connection, store) as (steps, planned):
        made = Rebuild(connection, steps, pace=Pace(gentle=False), **options).run(planned)
        assert steps.get(planned).state == "DONE"
        with pytest.raises(UsageError, match="plan another one"):
            Rebuild(connection, steps).run(planned)
    assert store.execute("SELECT state FROM xinliu.generation WHERE generation = %s", (made,)).fetchone() == ("READY",)
    return made


@pytest.mark.parametrize("seed", range(3))
def test_a_rebuild_equals_the_live_view_and_catches_up_with_it(
    own_stack: Connection, tmp_path: Path, seed: int
) -> None:
    history = History(own_stack, seed, tmp_path)
    with (
        closing(history),
        closing(Live(own_stack, history)) as live,
        connect(own_stack.database.get_secret_value(), generation=1, autocommit=True) as store,
    ):
        history.say(300)
        live.follow()
        told: list[RebuildProgress] = []
        made = rebuilt(own_stack, store, batch=37 if seed else 10_000, tell=told.append)
        assert differences(store, 1, made) == {}
        assert told[-1].folded == told[-1].total > 0
        history.say(150)
        live.follow()
        assert catch_up(own_stack, made) > 0
        assert differences(store, 1, made) == {}
        assert catch_up(own_stack, made) == 0
        assert _deeply(own_stack, made) <= {"known_at"}, "as `xinliu replay diff --deep` sees it, too"
        assert store.execute(f"SELECT count(*) FROM g{made}.outbox").fetchone() == (0,), "nobody is told of anything"
        empty = {name for name, count in rows_of(store, 1).items() if not count}
        assert empty <= {"foreign_pending"} or seed < 2, "a history that says too little proves too little"


def _deeply(connection: Connection, made: int) -> set[str]:
    """Return in which fields records, or their histories, differ from those of the first generation."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        held = {one.number: one for one in generations(store)}
        with GenerationComparison(store, held[1], held[made], deep=True).snapshot() as compared:
            assert compared.old_rows == compared.new_rows > 0
            assert (compared.later, compared.unexplained) == (0, 0)
            return {name for change in record_changes(store) for name in change.fields or (change.change,)}


class Compacted(PartitionReader):
    """A log that was compacted: of each key its last message, and nothing that a tombstone erases."""

    erased: frozenset[tuple[int, bytes]] = frozenset()

    def runs(self, first: int, end: int) -> Iterator[Run]:
        whole = list(super().runs(first, end))
        last = {record.key: record.offset for run in whole for record in run.records if record.key}
        expected = first
        for run in whole:
            kept = tuple(record for record in run.records if self._stays(run.partition, record, last))
            if kept:
                yield Run(run.topic, run.partition, expected, kept)
                expected = int(kept[-1].offset) + 1

    def _stays(self, partition: int, record: ConsumerRecord, last: Mapping[bytes, int]) -> bool:
        if not record.key:
            return True
        return last[record.key] == record.offset and (partition, record.key) not in self.erased


def test_what_compaction_has_taken_is_carried_over(
    own_stack: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(own_stack, 90, tmp_path)
    with (
        closing(history),
        closing(Live(own_stack, history)) as live,
        connect(own_stack.database.get_secret_value(), generation=1, autocommit=True) as store,
    ):
        history.say(400)
        live.follow()
        rows = store.execute("SELECT payload FROM outbox WHERE kind = 'TOMBSTONES'").fetchall()
        gone = frozenset((int(p), str(key).encode()) for (told,) in rows for p, key in told)  # type: ignore[attr-defined]
        assert gone
        monkeypatch.setattr(Compacted, "erased", gone)
        monkeypatch.setattr(filling, "PartitionReader", Compacted)
        made = rebuilt(own_stack, store)
        assert differences(store, 1, made) == {}
