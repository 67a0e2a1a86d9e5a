"""A lane of a rebuild, for one partition of `accepted`: consume, decode, validate by the rules, COPY.

A lane decodes one batch while it writes the batch before, and lanes run in parallel: polars, COPY and the Kafka client
all work outside the GIL. A batch and the lane's position are one transaction, so that after any end of the process the
next one resumes after the last commit, and no row is written twice. Comparisons with other batches wait for the end
(streams/replay/rebuild/phases.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg

from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken, Retryable
from schemas.store.binary_copy import copy_rows
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.exchange.carried.message import CHECKPOINT
from streams.exchange.carried.pending_entries import CONTRACT as PENDING
from streams.exchange.carried.pending_entries import project_pending
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.ranges import TopicFacts
from streams.kafka.records import Run
from streams.projection.batch import Projection
from streams.projection.columns import HISTORY, RECORD
from streams.projection.fold import KEY, RANK
from streams.projection.quality import counts_of
from streams.projection.staging import ranked
from streams.reconciliation.manifests import keep
from streams.runtime.crash_points import crash_point
from streams.view.current_rules import Rules, withhold
from streams.view.stage import Prepared, ViewStage

__all__ = ["Lane", "LaneSettings", "once"]

Connection = psycopg.Connection[tuple[Any, ...]]

TOPIC = "accepted"


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """The common settings of all lanes of a rebuild."""

    database: str
    generation: int
    province: str
    facts: dict[str, TopicFacts]
    serving: int
    """The generation whose outcomes list the statements that a person let through."""


class Lane:
    """Fills one partition. `admit` takes the number of the next events, and returns when they may be written."""

    def __init__(
        self,
        settings: LaneSettings,
        registry: Registry,
        reader: PartitionReader,
        rules: Callable[[Connection], Rules],
        partition: int,
        *,
        admit: Callable[[int], None] = lambda _: None,
        on_session: Callable[[Connection], None] = lambda _: None,
        stopped: threading.Event | None = None,
    ) -> None:
        self._stopped = stopped or threading.Event()
        self._settings, self._reader, self._partition = settings, reader, partition
        self._admit, self._on_session = admit, on_session
        self._asking: Connection = connect(settings.database, generation=settings.serving, autocommit=True)
        self._stage = ViewStage(
            settings.database,
            registry,
            settings.facts,
            generation=settings.generation,
            rules=rules(self._asking),
            silent=True,
            ordered=False,
        )
        self._writers: dict[str, int] = {}
        self._store: Connection = connect(settings.database, generation=settings.generation, autocommit=True)
        self._store.execute(sql("view/silent"))
        # A lost commit loses its position too; READY is written with a flush of all commits before it.
        self._store.execute("SET synchronous_commit = off")
        on_session(self._store)
        self._projection = Projection(self._store)
        # Nobody waits for this generation's positions, and a backend of lowest priority may idle for long.
        self._store.execute("SET idle_in_transaction_session_timeout = 0")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"copy-{partition}")

    def close(self) -> None:
        """Close the connections, the reader and the writing thread."""
        self._writer.shutdown(cancel_futures=True)
        self._stage.close()
        self._reader.close()
        self._store.close()
        self._asking.close()

    def fill(self, end: int) -> int:
        """Fill up to this offset; return the number of records read.

        Raises Retryable if a server does not answer (committed batches stay), ContractBroken if another process fills
        the same partition.
        """
        done, writing = 0, None
        for run in self._reader.runs(self._position(), end):
            self._admit(len(run.records))
            if self._stopped.is_set():
                break
            prepared = self._stage.prepare([run])
            crash_point("rebuild.decoded")
            _settled(writing)
            writing = self._writer.submit(self._write, prepared)
            done += len(run.records)
        _settled(writing)
        if not self._stopped.is_set():
            self._reach(end)
        return done

    def _position(self) -> int:
        row = self._store.execute(
            "SELECT next_offset FROM position WHERE topic = %s AND partition = %s", (TOPIC, self._partition)
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _reach(self, end: int) -> None:
        # No record is left between the last one and the end: compaction removed them, or a transaction marker is last.
        self._store.execute(
            "UPDATE position SET next_offset = GREATEST(next_offset, %s) WHERE topic = %s AND partition = %s",
            (end, TOPIC, self._partition),
        )

    def _write(self, prepared: Prepared) -> None:
        try:
            self._transaction(prepared)
        except psycopg.OperationalError as error:
            raise Retryable(f"PostgreSQL: {str(error).strip() or type(error).__name__}", server="postgres") from error
        crash_point("rebuild.committed")

    def _transaction(self, prepared: Prepared) -> None:
        (run,) = prepared.runs
        frame = None if prepared.frame is None else self._numbered(prepared)
        unstorable = dict(prepared.refused)
        with self._store.transaction():
            self._claim(run)
            if frame is not None:
                try:
                    with self._store.transaction():
                        self._copy(frame)
                except psycopg.DataError:
                    more = self._projection.refused_of(frame.filter("newest"))
                    # A refused row may have been its record's newest: rank the others again without it.
                    kept = frame.filter(~pl.col("row").is_in(list(more)))
                    self._copy(
                        ranked(kept.with_columns(record_id=pl.col("record_id").bin.encode("hex")), ordered=False)
                    )
                    unstorable |= more
            self._note_unstorable(prepared, unstorable)
            withhold(self._store, prepared.withheld)
            self._projection.progress(prepared.progress)
            keep(self._store, prepared.manifests)
            self._note_foreign(prepared)
            self._advance(run)
            crash_point("rebuild.inside-transaction")

    def _numbered(self, prepared: Prepared) -> pl.DataFrame:
        assert prepared.frame is not None
        for writer in prepared.writers:
            if writer.fingerprint not in self._writers:
                number = self._projection.writer_number(writer.fingerprint, writer.schema)
                self._writers[writer.fingerprint] = number
        numbers = [self._writers[writer.fingerprint] for writer in prepared.writers]
        return prepared.frame.with_columns(
            pl.col("writer").replace_strict(list(range(len(numbers))), numbers, return_dtype=pl.Int16)
        )

    def _claim(self, run: Run) -> None:
        row = self._store.execute(
            "SELECT next_offset FROM position WHERE topic = %s AND partition = %s FOR UPDATE", (TOPIC, run.partition)
        ).fetchone()
        if row is None or row[0] != run.expected_offset:
            raise ContractBroken(
                f"generation {self._settings.generation} stands at {row and row[0]} in {TOPIC}/{run.partition}, and"
                f" {run.expected_offset} was expected: does another process fill it?"
            )

    def _advance(self, run: Run) -> None:
        values = {"topic": TOPIC, "partition": run.partition, "next": run.next_offset}
        self._store.execute(
            "UPDATE position SET next_offset = %(next)s WHERE topic = %(topic)s AND partition = %(partition)s", values
        )
        holes = run.next_offset - run.expected_offset - len(run.records)
        self._store.execute(
            "UPDATE rebuild_log SET holes = holes + %(holes)s, folded = folded + %(folded)s"
            " WHERE topic = %(topic)s AND partition = %(partition)s",
            {**values, "holes": holes, "folded": len(run.records)},
        )

    def _copy(self, frame: pl.DataFrame) -> None:
        history = once(frame.select(*HISTORY, "again", "row", "penalty_decided_on"))
        copy_rows(self._store, "record", frame.filter("newest"), RECORD)
        copy_rows(self._store, "record_history", history, HISTORY)
        rows = sorted((*key, n) for key, n in counts_of(history).items() if n)
        if rows:
            names = ("days", "departments", "measures", "buckets", "counts")
            columns = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
            self._store.execute(sql("projection/count"), {"shard": self._partition, **columns})

    def _note_unstorable(self, prepared: Prepared, unstorable: dict[int, str]) -> None:
        for row, reason in sorted(unstorable.items()):
            place = (self._partition, prepared.statements[row].offset, reason)
            self._store.execute("INSERT INTO rebuild_unstorable VALUES (%s, %s, %s)", place)

    def _note_foreign(self, prepared: Prepared) -> None:
        # Other carried messages (answers to this province's requests, cases) are not part of a generation: they are
        # stored already.
        project_pending(self._store, [one.value for one in prepared.carried if one.name == PENDING])
        for one in prepared.carried:
            if one.name == CHECKPOINT:
                values = {"made_at": one.value["made_at"], "checkpoint": one.accepted_offset, "statement": None}
                self._note(one.province, values)
        for (province, _), offset in sorted(prepared.behind.items()):
            self._note(province, {"made_at": None, "checkpoint": None, "statement": offset})

    def _note(self, province: str, values: Mapping[str, Any]) -> None:
        self._store.execute(
            sql("replay/rebuild/foreign"), {"province": province, "partition": self._partition, **values}
        )


def _settled(writing: Future[None] | None) -> None:
    if writing is not None:
        writing.result()


def once(frame: pl.DataFrame) -> pl.DataFrame:
    """Return each statement once: the first copy, with the earliest receipt."""
    if not frame["again"].any():
        return frame
    again = frame.filter("again").sort("row")
    again = again.with_columns(received_at=pl.col("received_at").min().over(*KEY, *RANK))
    return pl.concat([frame.filter(~pl.col("again")), again.unique([*KEY, *RANK], keep="first", maintain_order=True)])
