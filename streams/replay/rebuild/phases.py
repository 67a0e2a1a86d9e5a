"""The finishing phases of a rebuild, after the log is in the tables: each is one transaction that notes its completion.

Nothing depends on the progress of an earlier try: phases that are not noted run again from their beginning. At full
speed independent phases run in parallel, each on its own connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import sql as compose

from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.store.sql_files import sql
from streams.exchange.handlers import ON_APPLIED
from streams.exchange.incoming.checkpoints import CheckpointApplier, carried
from streams.kafka.partition_reader import record_of
from streams.kafka.single_messages import StoredMessages
from streams.projection.batch import Projection
from streams.quarantine.projection import project_store_refusal
from streams.runtime.crash_points import crash_point

__all__ = ["PHASES", "Phases"]

Connection = psycopg.Connection[tuple[Any, ...]]

PHASES: Mapping[str, frozenset[str]] = {
    "carry": frozenset(),
    "repeated": frozenset(("carry",)),
    "outranked": frozenset(("carry",)),
    "index-history": frozenset(("repeated",)),
    "key": frozenset(("outranked",)),
    "index-record": frozenset(("key",)),
    "derive": frozenset(("index-history", "key")),
    "credit": frozenset(("index-record",)),
    "analyze": frozenset(("index-record",)),
    "left": frozenset(("derive", "credit")),
    "foreign": frozenset(("left", "analyze")),
    "unstorable": frozenset(("foreign",)),
    "evidence": frozenset(("unstorable",)),
}
"""Phases in order, each with those that must be done before it begins."""

_INDEXES = {"index-history": "^record_history_", "key": "^record_pkey$", "index-record": "^record_(?!history_)"}
"""Names of the indexes that a phase makes unless an earlier phase made them, as a PostgreSQL pattern."""

_MEMORY = "256MB"
_LOOK = 0.2


class Phases:
    """Finishes one generation. `open_store` connects as its owner, with a search_path that names it; `serving` is the
    serving schema; `side_by_side` is the number of parallel phases."""

    def __init__(
        self,
        open_store: Callable[[], Connection],
        stored: StoredMessages,
        registry: Registry,
        *,
        serving: str,
        side_by_side: int = 1,
    ) -> None:
        self._open, self._stored, self._registry = open_store, stored, registry
        self._serving, self._side_by_side = compose.Identifier(serving), side_by_side
        self._at_work: set[Connection] = set()
        self._works: Mapping[str, Callable[[Connection], None]] = {
            "carry": self._carry,
            "repeated": self._repeated,
            "outranked": lambda store: _do(store, "outranked"),
            "derive": self._derive,
            "credit": self._credit,
            "analyze": lambda store: _execute(store, "ANALYZE record"),
            "left": lambda store: _do(store, "left"),
            "foreign": self._foreign,
            "unstorable": self._unstorable,
            "evidence": self._evidence,
        }
        assert self._works.keys() | _INDEXES.keys() == PHASES.keys()

    def run(self, told: Callable[[str], None] = lambda _: None) -> None:
        """Run the phases that are not done yet; `told` is the progress callback with the last phase that began."""
        with self._open() as store:
            done = {str(name) for (name,) in store.execute("SELECT phase FROM rebuild_phase").fetchall()}
            if done and store.execute("SELECT to_regclass('rebuild_said') IS NULL").fetchone() == (True,):
                raise UsageError(
                    "another release began to finish this rebuild, in phases of its own: plan another one, and drop this generation"
                )
        running: dict[Future[None], str] = {}
        last = ""
        with ThreadPoolExecutor(self._side_by_side, thread_name_prefix="finish") as pool:
            try:
                while not done >= PHASES.keys():
                    for phase, needed in PHASES.items():
                        if phase not in done and phase not in running.values() and needed <= done:
                            if len(running) == self._side_by_side:
                                break
                            running[pool.submit(self._phase, phase)] = last = phase
                    told(last)
                    ended, _ = wait(running, _LOOK, return_when=FIRST_COMPLETED)
                    for one in ended:
                        phase = running.pop(one)
                        one.result()
                        done.add(phase)
            except BaseException:
                # An interrupt does not wait for PostgreSQL's current statement: it is cancelled, rolled back, and run
                # again the next time.
                for store in list(self._at_work):
                    with suppress(psycopg.Error):
                        store.cancel_safe()
                raise

    def _phase(self, phase: str) -> None:
        with self._open() as store:
            self._at_work.add(store)
            try:
                if phase in _INDEXES:
                    self._index(store, _INDEXES[phase])
                with _transaction(store):
                    if phase in self._works:
                        self._works[phase](store)
                    store.execute("INSERT INTO rebuild_phase (phase) VALUES (%s)", (phase,))
                    crash_point(f"rebuild.{phase}")
            finally:
                self._at_work.discard(store)

    def _of_serving(self, store: Connection, name: str) -> None:
        store.execute(compose.SQL(sql(f"replay/rebuild/{name}")).format(serving=self._serving))

    def _index(self, store: Connection, names: str) -> None:
        rows = store.execute(
            "SELECT place, statement FROM rebuild_index WHERE name ~ %s ORDER BY place", (names,)
        ).fetchall()
        for place, statement in rows:
            with _transaction(store):
                store.execute(statement)
                store.execute("DELETE FROM rebuild_index WHERE place = %s", (place,))
                crash_point("rebuild.indexed")

    def _carry(self, store: Connection) -> None:
        # Search the serving tables for compacted messages only if the log has gaps: without gaps it is complete.
        _do(store, "again")
        store.execute("CREATE TABLE rebuild_carried (LIKE record_history)")
        store.execute(
            "CREATE TABLE rebuild_earlier AS SELECT record_id, epoch, version, digest_hi, digest_lo, known_at, received_at,"
            " accepted_offset FROM record_history WITH NO DATA"
        )
        holes = _has_holes(store)
        if holes:
            store.execute("ANALYZE record_history")
            self._of_serving(store, "earliest")
            self._of_serving(store, "uncarried")
            store.execute(
                "INSERT INTO rebuild_again (SELECT record_id FROM rebuild_carried UNION SELECT record_id FROM rebuild_earlier)"
                " EXCEPT SELECT record_id FROM rebuild_again"
            )
        store.execute("ANALYZE rebuild_again")
        _do(store, "said")
        # Before any column changes by which they were counted.
        _do(store, "uncount")
        if holes:
            for name in ("known", "known_records", "carry"):
                _do(store, name)
            store.execute("DROP TABLE rebuild_said")
            _do(store, "said")

    def _repeated(self, store: Connection) -> None:
        store.execute("ANALYZE rebuild_said")
        _do(store, "repeated")

    def _derive(self, store: Connection) -> None:
        store.execute(
            "CREATE TEMPORARY TABLE suspect ON COMMIT DROP AS SELECT DISTINCT record_id, province, department FROM rebuild_said"
        )
        store.execute("ANALYZE suspect")
        store.execute(
            f"WITH gone AS ({sql('projection/erase')}) UPDATE rebuild_said s SET decided_on = NULL FROM gone g"
            " WHERE (s.record_id, s.epoch, s.version, s.digest_hi, s.digest_lo)"
            " = (g.record_id, g.epoch, g.version, g.digest_hi, g.digest_lo)"
        )
        # The query counts from record_history; these records' rows are already in rebuild_said, so it stands in.
        store.execute("CREATE INDEX ON rebuild_said (record_id)")
        store.execute("CREATE TEMPORARY VIEW record_history AS TABLE rebuild_said")
        store.execute(
            "INSERT INTO quality_day AS held (day, department, measure, bucket, shard, n)"
            f" SELECT day, department, measure, bucket, 0, n FROM ({sql('projection/quality')})"
            " AS counted (day, department, measure, bucket, n)"
            " ON CONFLICT (day, department, measure, bucket, shard) DO UPDATE SET n = held.n + excluded.n"
        )
        store.execute("DROP VIEW pg_temp.record_history")
        store.execute("DELETE FROM quality_day WHERE n = 0")
        _do(store, "former")
        store.execute("ANALYZE record_history, former_entity, writer_schema")

    def _credit(self, store: Connection) -> None:
        _do(store, "credit_view")
        store.execute(sql("replay/rebuild/foreign_digest"), {"partitions": EXCHANGE_PARTITIONS})
        store.execute("ANALYZE credit_view")

    def _foreign(self, store: Connection) -> None:
        rows = store.execute(
            "SELECT province, partition, checkpoint_offset, COALESCE(statement_offset, -1) FROM rebuild_foreign"
            " WHERE checkpoint_offset IS NOT NULL ORDER BY 1, 2"
        ).fetchall()
        found = self._stored.read(("accepted", partition, offset) for _, partition, offset, _ in rows)
        came = carried(self._registry, [record_of(message) for message in found.values()])
        behind = {(province, partition): statement for province, partition, _, statement in rows}
        CheckpointApplier({}, on_applied=ON_APPLIED).apply(store, None, came, behind)

    def _unstorable(self, store: Connection) -> None:
        rows = store.execute('SELECT partition, "offset", reason FROM rebuild_unstorable ORDER BY 1, 2').fetchall()
        reasons = {("accepted", partition, offset): reason for partition, offset, reason in rows}
        if not reasons:
            return
        projection = Projection(store)
        for place, message in self._stored.read(reasons).items():
            project_store_refusal(projection, record_of(message), reasons[place])

    def _evidence(self, store: Connection) -> None:
        self._of_serving(store, "expired")
        if _has_holes(store):
            # Compaction keeps only the newest manifests; the results of the others are carried over.
            names = [
                compose.Identifier(name)
                for (name,) in store.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = 'manifest'::regclass AND attnum > 0"
                    " AND NOT attisdropped ORDER BY attnum"
                )
            ]
            store.execute(
                compose.SQL(
                    "INSERT INTO manifest ({names}) SELECT {names} FROM {serving}.manifest ON CONFLICT DO NOTHING"
                ).format(names=compose.SQL(", ").join(names), serving=self._serving)
            )


def _execute(store: Connection, statement: LiteralString) -> None:
    store.execute(statement)


def _do(store: Connection, name: str) -> None:
    store.execute(sql(f"replay/rebuild/{name}"))


def _has_holes(store: Connection) -> bool:
    row = store.execute("SELECT sum(holes) > 0 FROM rebuild_log WHERE topic = 'accepted'").fetchone()
    return row is not None and bool(row[0])


@contextmanager
def _transaction(store: Connection) -> Iterator[None]:
    with store.transaction():
        # A bound on memory, whatever the size of the tables: larger sorts go to disk.
        for setting in ("work_mem", "maintenance_work_mem"):
            store.execute(f"SET LOCAL {setting} = '{_MEMORY}'")
        store.execute("SET LOCAL jit = off")
        yield
