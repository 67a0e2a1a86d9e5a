"""What a rebuild does once the log is in the tables: phases, each one transaction that notes that it is done.

Nothing here depends on how far an earlier try came: whatever ended it, the phases that are not noted are done again, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql as compose

from schemas.exchange import EXCHANGE_PARTITIONS
from schemas.registry import Registry
from schemas.store import sql
from streams.crashing import crash_point
from streams.exchange.applying import Applying, carried
from streams.exchange.handling import ON_APPLIED
from streams.projection import Projection
from streams.refusals import project_store_refusal
from streams.replay.reading import record_of
from streams.stored import StoredMessages

__all__ = ["PHASES", "Finishing"]

Connection = psycopg.Connection[tuple[Any, ...]]

PHASES = ("carry", "fold", "index", "derive", "foreign", "unstorable", "evidence")
"""In this order."""

_MEMORY = "256MB"


class Finishing:
    """Finishes one generation, on the owner's connection whose search_path names it; `serving` is the schema that serves."""

    def __init__(self, store: Connection, stored: StoredMessages, registry: Registry, *, serving: str) -> None:
        self._store, self._stored, self._registry = store, stored, registry
        self._serving = compose.Identifier(serving)
        self._steps: Mapping[str, Callable[[], None]] = {
            "carry": self._carry,
            "fold": self._fold,
            "index": lambda: None,
            "derive": self._derive,
            "foreign": self._foreign,
            "unstorable": self._unstorable,
            "evidence": self._evidence,
        }
        assert tuple(self._steps) == PHASES

    def run(self, told: Callable[[str], None] = lambda _: None) -> None:
        """Do what is not done yet; `told` hears of each phase that begins."""
        for phase in PHASES:
            if self._done(phase):
                continue
            told(phase)
            if phase == "index":
                self._index()
            with self._transaction():
                self._steps[phase]()
                self._store.execute("INSERT INTO rebuild_phase (phase) VALUES (%s)", (phase,))
                crash_point(f"rebuild.{phase}")

    def _done(self, phase: str) -> bool:
        return self._store.execute("SELECT FROM rebuild_phase WHERE phase = %s", (phase,)).fetchone() is not None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._store.transaction():
            # Bounded, whatever the tables hold: what does not fit is sorted on disk.
            for setting in ("work_mem", "maintenance_work_mem"):
                self._store.execute(f"SET LOCAL {setting} = '{_MEMORY}'")
            self._store.execute("SET LOCAL jit = off")
            yield

    def _of_serving(self, name: str) -> None:
        self._store.execute(compose.SQL(sql(f"replay/{name}")).format(serving=self._serving))

    def _carry(self) -> None:
        # What the log has let go of is looked for only where it has: a log without holes holds everything.
        self._store.execute(sql("replay/again"))
        self._store.execute("CREATE TABLE rebuild_carried (LIKE record_history)")
        self._store.execute(
            "CREATE TABLE rebuild_earlier AS SELECT record_id, epoch, version, digest_hi, digest_lo, known_at, received_at,"
            " accepted_offset FROM record_history WITH NO DATA"
        )
        holes = self._has_holes()
        if holes:
            self._store.execute("ANALYZE record_history")
            self._of_serving("earliest")
            self._of_serving("uncarried")
            self._store.execute(
                "INSERT INTO rebuild_again (SELECT record_id FROM rebuild_carried UNION SELECT record_id FROM rebuild_earlier)"
                " EXCEPT SELECT record_id FROM rebuild_again"
            )
        self._store.execute("ANALYZE rebuild_again")
        self._store.execute(sql("replay/said"))
        # Before anything is changed that they were counted by.
        self._store.execute(sql("replay/uncount"))
        if holes:
            for name in ("known", "known_records", "carry"):
                self._store.execute(sql(f"replay/{name}"))
            self._store.execute("DROP TABLE rebuild_said")
            self._store.execute(sql("replay/said"))

    def _fold(self) -> None:
        self._store.execute("ANALYZE rebuild_said")
        self._store.execute(sql("replay/repeated"))
        self._store.execute(sql("replay/outranked"))

    def _index(self) -> None:
        rows: Sequence[tuple[Any, ...]] = self._store.execute(
            "SELECT place, statement FROM rebuild_index ORDER BY place"
        ).fetchall()
        for place, statement in rows:
            with self._transaction():
                self._store.execute(statement)
                self._store.execute("DELETE FROM rebuild_index WHERE place = %s", (place,))
                crash_point("rebuild.indexed")

    def _derive(self) -> None:
        self._store.execute(
            "CREATE TEMPORARY TABLE suspect ON COMMIT DROP AS SELECT DISTINCT record_id, province, department FROM rebuild_said"
        )
        self._store.execute("ANALYZE suspect")
        self._store.execute(
            f"WITH gone AS ({sql('view/erase')}) UPDATE rebuild_said s SET decided_on = NULL FROM gone g"
            " WHERE (s.record_id, s.epoch, s.version, s.digest_hi, s.digest_lo)"
            " = (g.record_id, g.epoch, g.version, g.digest_hi, g.digest_lo)"
        )
        # What is counted stands in history; what stands there of these records has been read.
        self._store.execute("CREATE INDEX ON rebuild_said (record_id)")
        self._store.execute("CREATE TEMPORARY VIEW record_history AS TABLE rebuild_said")
        self._store.execute(
            "INSERT INTO quality_day AS held (day, department, measure, bucket, shard, n)"
            f" SELECT day, department, measure, bucket, 0, n FROM ({sql('view/quality')})"
            " AS counted (day, department, measure, bucket, n)"
            " ON CONFLICT (day, department, measure, bucket, shard) DO UPDATE SET n = held.n + excluded.n"
        )
        self._store.execute("DROP VIEW pg_temp.record_history")
        self._store.execute("DELETE FROM quality_day WHERE n = 0")
        self._store.execute(sql("replay/former"))
        self._store.execute(sql("replay/credit_view"))
        self._store.execute(sql("replay/left"))
        self._store.execute(sql("replay/foreign_digest"), {"partitions": EXCHANGE_PARTITIONS})

    def _foreign(self) -> None:
        rows = self._store.execute(
            "SELECT province, partition, checkpoint_offset, COALESCE(statement_offset, -1) FROM rebuild_foreign"
            " WHERE checkpoint_offset IS NOT NULL ORDER BY 1, 2"
        ).fetchall()
        found = self._stored.read(("accepted", partition, offset) for _, partition, offset, _ in rows)
        came = carried(self._registry, [record_of(message) for message in found.values()])
        behind = {(province, partition): statement for province, partition, _, statement in rows}
        Applying({}, on_applied=ON_APPLIED).apply(self._store, None, came, behind)

    def _unstorable(self) -> None:
        rows = self._store.execute(
            'SELECT partition, "offset", reason FROM rebuild_unstorable ORDER BY 1, 2'
        ).fetchall()
        reasons = {("accepted", partition, offset): reason for partition, offset, reason in rows}
        if not reasons:
            return
        projection = Projection(self._store)
        for place, message in self._stored.read(reasons).items():
            project_store_refusal(projection, record_of(message), reasons[place])
        # What suits a worker that folds small batches suits nothing else here.
        for setting in (
            "enable_seqscan",
            "enable_hashjoin",
            "enable_mergejoin",
            "jit",
            "idle_in_transaction_session_timeout",
        ):
            self._store.execute(f"RESET {setting}")

    def _evidence(self) -> None:
        self._of_serving("expired")
        if self._has_holes():
            # Of manifests compaction keeps the newest; what became of the others stays known.
            names = [
                compose.Identifier(name)
                for (name,) in self._store.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = 'manifest'::regclass AND attnum > 0"
                    " AND NOT attisdropped ORDER BY attnum"
                )
            ]
            self._store.execute(
                compose.SQL(
                    "INSERT INTO manifest ({names}) SELECT {names} FROM {serving}.manifest ON CONFLICT DO NOTHING"
                ).format(names=compose.SQL(", ").join(names), serving=self._serving)
            )

    def _has_holes(self) -> bool:
        row = self._store.execute("SELECT sum(holes) > 0 FROM rebuild_log WHERE topic = 'accepted'").fetchone()
        return row is not None and bool(row[0])
