"""A rebuild: a new generation, filled from `accepted` by the current rules until READY; the live one keeps serving.

Every step commits before the next begins, and is noted in the generation itself, so that an interrupted rebuild resumes
there, whatever ended it: call `run` again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import psycopg
from psycopg import sql as compose
from psycopg.types.json import Jsonb

from schemas.catalogue import load
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken, Retryable, UsageError
from schemas.servers.connection import Connection
from schemas.store.database import connect, serving_generation
from schemas.store.generations import create, set_state
from schemas.store.sql_files import sql
from streams.kafka.partition_reader import RUN_RECORDS
from streams.kafka.ranges import Logs, TopicFacts
from streams.kafka.scope import REBUILD
from streams.kafka.single_messages import StoredMessages
from streams.projection.positions import PROJECTED, prepare
from streams.replay.generations.catch_up import catch_up
from streams.replay.plan.ledger import Ledger, Replay
from streams.replay.rebuild.lanes import Share, fill
from streams.replay.rebuild.phases import Phases
from streams.replay.rebuild.throttle import Pace
from streams.runtime.crash_points import crash_point
from streams.runtime.locks import FILLING, Lead
from streams.runtime.priority import lower_priority

__all__ = ["Rebuild", "RebuildProgress"]

Store = psycopg.Connection[tuple[Any, ...]]

_SIDE_BY_SIDE = 2
"""Finishing phases at once: each keeps a processor of PostgreSQL's machine busy, and sorts besides."""


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """The progress of a rebuild. `folded` and `total` are offsets of accepted; times in seconds."""

    generation: int
    phase: str
    folded: int
    total: int
    rate: float
    """Messages a second since the rebuild began or resumed."""
    seconds_left: float | None
    memory: float
    """MiB of this process and its child processes."""
    partitions: Mapping[str, int]


class Rebuild:
    """Runs one planned rebuild; `tell` is the progress callback, several times a second; `principal` reads the logs."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        *,
        processes: int = 1,
        pace: Pace | None = None,
        principal: str = "admin",
        tell: Callable[[RebuildProgress], None] = lambda _: None,
        batch: int = RUN_RECORDS,
        crash_at: str | None = None,
    ) -> None:
        self._batch = batch
        self._connection, self._ledger = connection, ledger
        self._processes, self._pace, self._principal = processes, pace or Pace(), principal
        self._tell, self._crash_at = tell, crash_at
        self._database = connection.database.get_secret_value()
        self._began: tuple[float, int] | None = None
        self._told_at, self._told = 0.0, ""

    def run(self, named: str) -> int:
        """Run or resume the rebuild of that id; return the number of its generation, which is READY.

        Raises UsageError if the replay is no rebuild, is done, or the log does not reach back to its beginning;
        Retryable if a server does not answer: the next run resumes it.
        """
        replay = self._ledger.get(named)
        if replay.kind != REBUILD:
            raise UsageError(f"replay {replay.replay} is a {replay.kind}: only a REBUILD fills a generation")
        try:
            with connect(self._database, autocommit=True) as store:
                serving = serving_generation(store)
                generation, state = self._generation(store, replay)
                with self._alone(store, generation):
                    if state == "BUILDING":
                        self._build(replay, generation, serving)
                    self._done(store, replay, generation, serving)
        except psycopg.OperationalError as error:
            raise Retryable(f"PostgreSQL: {str(error).strip() or type(error).__name__}", server="postgres") from error
        return generation

    def _generation(self, store: Store, replay: Replay) -> tuple[int, str]:
        row = store.execute(
            "SELECT generation, state FROM xinliu.generation WHERE replay = %s AND state <> 'DROPPED'", (replay.replay,)
        ).fetchone()
        if row is None:
            if replay.state not in ("PLANNED", "APPROVED", "RUNNING"):
                raise UsageError(f"replay {replay.replay} is {replay.state}: plan another one")
            made = create(store, replay=replay.replay)
            row = (made.number, made.state)
            crash_point("rebuild.created")
        elif row[1] not in ("BUILDING", "READY") or replay.state not in ("PLANNED", "APPROVED", "RUNNING"):
            raise UsageError(
                f"replay {replay.replay} is {replay.state}, its generation {row[0]} {row[1]}: plan another one"
            )
        if replay.state != "RUNNING":
            self._ledger.step("REPLAY_RUNNING", replay.replay, replay.reason, generation=int(row[0]))
        return int(row[0]), str(row[1])

    @contextmanager
    def _alone(self, store: Store, generation: int) -> Iterator[None]:
        lead = Lead(FILLING, generation=generation)
        if not lead.take(store):
            raise UsageError(f"another process fills generation {generation}: `xinliu replay list` tells how far it is")
        try:
            yield
        finally:
            lead.give_up()

    def _build(self, replay: Replay, generation: int, serving: int) -> None:
        logs = Logs(self._connection.kafka)
        facts = logs.describe(PROJECTED)
        with connect(self._database, generation=generation, autocommit=True) as store:
            ends = self._begin(store, logs, facts)

            def look(phase: str = "fill") -> None:
                self._look(store, replay, generation, phase, sum(ends.values()))

            if self._finishing_begun(store):
                look()
            else:
                fill(self._shares(generation, serving, ends), look)
                look()
            self._must_be_full(store)
            crash_point("rebuild.filled")
            with (
                Registry(self._connection.registry) as registry,
                closing(StoredMessages(self._connection.kafka, principal=self._principal)) as stored,
            ):
                Phases(
                    lambda: self._owner(generation),
                    stored,
                    registry,
                    serving=f"g{serving}",
                    side_by_side=1 if self._pace.gentle else _SIDE_BY_SIDE,
                ).run(look)
            look("quarantine")
            catch_up(self._connection, generation, until=self._ends(store), principal=self._principal)
            crash_point("rebuild.caught-up")
            for table in ("record", "record_history"):
                store.execute(
                    compose.SQL("ALTER TABLE {} RESET (autovacuum_enabled)").format(compose.Identifier(table))
                )
            # PostgreSQL's autovacuum vacuums them, at its own pace.
            with store.transaction():
                for table in ("phase", "log", "index", "unstorable", "foreign", "again", "said", "carried", "earlier"):
                    store.execute(compose.SQL("DROP TABLE {}").format(compose.Identifier(f"rebuild_{table}")))
                set_state(store, generation, "READY")
        crash_point("rebuild.ready")

    def _owner(self, generation: int) -> Store:
        store = connect(self._database, generation=generation, autocommit=True)
        if self._pace.gentle:
            lower_priority(store)
        return store

    def _begin(self, store: Store, logs: Logs, facts: Mapping[str, TopicFacts]) -> dict[int, int]:
        """Note the end offsets of the fill; return those of accepted, by partition."""
        row = store.execute("SELECT to_regclass('rebuild_log') IS NOT NULL").fetchone()
        assert row is not None
        if not row[0]:
            known = load().departments(self._connection.province)
            sources = logs.describe([department.records_topic for department in known])
            ranges = logs.ranges((topic, p) for topic in PROJECTED for p in range(facts[topic].partitions))
            for (topic, partition), (first, _) in ranges.items():
                if topic == "accepted" and first > 0:
                    raise UsageError(
                        f"accepted/{partition} holds nothing before offset {first}: 0 to {first - 1} are missing, and"
                        " a generation without them would say 无 where there is 有; restore the topic first"
                    )
            with store.transaction():
                prepare(store, facts, {one.key: sources[one.records_topic] for one in known})
                store.execute(sql("replay/rebuild/scratch"))
                for (topic, partition), (first, end) in ranges.items():
                    store.execute(
                        "INSERT INTO rebuild_log (topic, partition, end_offset, first_offset) VALUES (%s, %s, %s, %s)",
                        (topic, partition, end, first),
                    )
                    store.execute(
                        "UPDATE position SET next_offset = %s WHERE topic = %s AND partition = %s",
                        (first, topic, partition),
                    )
        crash_point("rebuild.begun")
        return {partition: end for (topic, partition), end in self._ends(store).items() if topic == "accepted"}

    def _ends(self, store: Store) -> dict[tuple[str, int], int]:
        rows = store.execute("SELECT topic, partition, end_offset FROM rebuild_log").fetchall()
        return {(topic, partition): end for topic, partition, end in rows}

    def _must_be_full(self, store: Store) -> None:
        row = store.execute(
            "SELECT topic, partition, next_offset, end_offset FROM position JOIN rebuild_log USING (topic, partition)"
            " WHERE topic = 'accepted' AND next_offset <> end_offset LIMIT 1"
        ).fetchone()
        if row is not None:
            raise ContractBroken(f"{row[0]}/{row[1]} is filled up to {row[2]}, and ends at {row[3]}")

    def _finishing_begun(self, store: Store) -> bool:
        return store.execute("SELECT FROM rebuild_phase LIMIT 1").fetchone() is not None

    def _shares(self, generation: int, serving: int, ends: Mapping[int, int]) -> list[Share]:
        count = max(1, min(self._processes, len(ends)))
        pace = self._pace if self._pace.rate is None else Pace(self._pace.rate / count, self._pace.gentle)
        return [
            Share(
                self._connection, generation, serving,
                {partition: end for partition, end in sorted(ends.items()) if partition % count == number},
                pace, self._principal, self._batch, self._crash_at if count > 1 else None,
            )
            for number in range(count)
        ]  # fmt: skip

    def _look(self, store: Store, replay: Replay, generation: int, phase: str, total: int) -> None:
        rows = store.execute(
            "SELECT partition, next_offset FROM position WHERE topic = 'accepted' ORDER BY 1"
        ).fetchall()
        folded, now = sum(offset for _, offset in rows), time.monotonic()
        if self._began is None:
            self._began = (now, folded)
        rate = (folded - self._began[1]) / max(now - self._began[0], 1e-3)
        left = (total - folded) / rate if rate > 0 else None
        partitions = {str(partition): int(offset) for partition, offset in rows}
        state = RebuildProgress(generation, phase, folded, total, round(rate, 1), left, _memory(), partitions)
        self._tell(state)
        if now - self._told_at >= 1.0 or phase != self._told:
            self._told_at, self._told = now, phase
            # Progress for other readers: it may be lost.
            store.execute(
                "UPDATE xinliu.replay SET progress = %s WHERE replay = %s", (Jsonb(asdict(state)), replay.replay)
            )

    def _done(self, store: Store, replay: Replay, generation: int, serving: int) -> None:
        before, after = _figures(store, serving), _figures(store, generation)
        self._ledger.step(
            "REPLAY_DONE", replay.replay, replay.reason, generation=generation, before=before, after=after
        )


def _figures(store: Store, generation: int) -> dict[str, int]:
    schema = compose.Identifier(f"g{generation}")
    row = store.execute(
        compose.SQL(
            "SELECT (SELECT count(*) FROM {s}.record), (SELECT count(*) FROM {s}.record_history),"
            " (SELECT count(*) FROM {s}.replay_refused)"
        ).format(s=schema)
    ).fetchone()
    assert row is not None
    return {"generation": generation, "records": row[0], "statements": row[1], "refused": row[2]}


def _memory() -> float:
    process = psutil.Process()
    size = int(process.memory_info().rss)
    for child in process.children(recursive=True):
        try:
            size += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return round(size / (1 << 20), 1)
