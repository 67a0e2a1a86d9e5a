"""The view stage: folds `accepted` and `quarantine` into PostgreSQL, batch by batch, one transaction each.

The position moves in the same transaction as its effect. Kafka's committed offsets only show the lag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import psycopg
import structlog

from schemas.contracts.codec import HEADER, NotDecodable
from schemas.contracts.columns import decode_batch, digests
from schemas.contracts.registry import Registry, WriterSchema
from schemas.errors import ContractBroken, Retryable
from schemas.exchange.topics import exchange_topic
from schemas.servers.connection import WorkerTimes
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.exchange.carried.message import Carried
from streams.exchange.handlers import HANDLERS, ON_APPLIED
from streams.exchange.incoming.checkpoints import CheckpointApplier, carried
from streams.exchange.incoming.statements import last_of, of_exchange
from streams.exchange.outgoing.sharing import Sharing
from streams.forwarding.findings import Finding, finding
from streams.kafka.headers import CARRIED, FINDINGS, MANIFEST, ORIGIN, SCHEMA, Origin, findings_of, header, headers_of
from streams.kafka.progress import newest_vectors
from streams.kafka.ranges import TopicFacts
from streams.kafka.records import Record, Run
from streams.monitoring.instruments import Instruments
from streams.projection.batch import PositionMove, Projection, StoreFinding
from streams.projection.quality import with_receipt
from streams.projection.serving import must_serve
from streams.projection.staging import staged
from streams.quarantine.projection import project_refusal, project_store_refusal, record_of_key
from streams.reconciliation.manifests import Stated, keep, stated
from streams.runtime.collector import fresh_runs
from streams.runtime.crash_points import crash_point
from streams.view.current_rules import Rules, Withheld, withhold
from streams.view.cut_offs import Cuts, cuts_of
from streams.view.recorder import ViewRecorder, arrivals_of

__all__ = ["ViewStage"]

log = structlog.get_logger()

Place = tuple[str, int]

_LIMITS = {"lock_timeout": "10s", "statement_timeout": "120s"}
"""How long an SQL statement of a batch may wait for another session's lock, and may run. Beyond that the batch is tried
again and the log says why, instead of standing still in silence. A statement of 20,000 rows takes a second or two."""

_EXCHANGE = exchange_topic("").encode()
"""Prefix of the header ORIGIN of statements from other provinces' exchanges."""


@dataclass(slots=True)
class _Batch:
    """The Kafka records of some runs, divided by kind of message."""

    statements: list[Record] = field(default_factory=list)
    progress: list[Record] = field(default_factory=list)
    manifests: list[Record] = field(default_factory=list)
    quarantined: list[Record] = field(default_factory=list)
    carried: list[Record] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    """Indices, within `statements`, of those that other provinces shared."""

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.value is None:
                continue  # a tombstone: nothing is left to fold
            headers = record.headers
            # Intake writes it first.
            origin = headers[0][1] if headers and headers[0][0] == ORIGIN else header(headers, ORIGIN)
            if origin is None:
                self._beside(record).append(record)
            elif record.topic == "quarantine":
                self.quarantined.append(record)
            else:
                if origin.startswith(_EXCHANGE):
                    self.foreign.append(len(self.statements))
                self.statements.append(record)

    def _beside(self, record: Record) -> list[Record]:
        if not record.headers:
            return self.progress
        if header(record.headers, CARRIED) is not None:
            return self.carried
        return self.progress if header(record.headers, MANIFEST) is None else self.manifests


@dataclass(frozen=True, slots=True)
class Prepared:
    """Decoded runs, and the rows to be written from them."""

    runs: tuple[Run, ...]
    quarantined: tuple[Record, ...]
    progress: tuple[dict[str, Any], ...]
    manifests: tuple[Stated, ...]
    statements: tuple[Record, ...]
    frame: pl.DataFrame | None
    """As projection.staging.staged returns it, `writer` still an index into `writers`; None without statements."""
    refused: dict[int, str]
    writers: tuple[WriterSchema, ...]
    arrivals: pl.DataFrame | None
    """Of all statements of our own departments, as recorder.arrivals_of returns them."""
    carried: tuple[Carried, ...] = ()
    foreign: frozenset[int] = frozenset()
    """Rows of `statements` that other provinces shared: nobody here is notified of them, no department counts them."""
    behind: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """The offset of the last statement of each province in each partition of `accepted`."""
    withheld: tuple[Withheld, ...] = ()
    """Statements that the stage's current rules or cut-offs refuse: they are not in `frame`."""


class ViewStage:
    """The work of the view worker, in two steps: `prepare` decodes, `finish` writes, on one connection.

    `prepare` of the next batch may run while `finish` waits for PostgreSQL. `on_commit` is called after each
    transaction, which may have written rows for the relay to publish. `rules` validate statements as intake would
    today; a `silent` stage notifies nobody: both are for a generation that does not serve. A stage that `follows` folds
    only while its generation serves. If `ordered`, prepared statements are sorted by record. `idle` is
    WorkerTimes.idle_in_transaction.
    """

    def __init__(
        self,
        database: str,
        registry: Registry,
        facts: dict[str, TopicFacts],
        *,
        generation: int,
        recorder: ViewRecorder | None = None,
        on_commit: Callable[[], None] = lambda: None,
        sharing: Sharing | None = None,
        rules: Rules | None = None,
        silent: bool = False,
        follows: bool = False,
        ordered: bool = True,
        idle: float = WorkerTimes().idle_in_transaction,
    ) -> None:
        self._rules, self._silent, self._follows, self._ordered = rules, silent, follows, ordered
        self._database = database
        self._registry = registry
        self._facts = facts
        self._generation = generation
        self._on_commit = on_commit
        self._sharing = sharing
        self._idle = idle
        self._recorder = recorder or ViewRecorder(Instruments("view"))
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._projection: Projection | None = None
        self._writers: dict[str, int] = {}
        self._province: str | None = None
        self._applying = CheckpointApplier(HANDLERS, on_applied=ON_APPLIED)
        self._cuts = Cuts()

    def prepare(self, runs: Sequence[Run]) -> Prepared:
        """Decode these runs. Raises Retryable if the registry does not answer, ContractBroken if intake cannot have
        written a message."""
        batch = _Batch()
        for run in runs:
            batch.add(run.records)
        frame, refused, writers, arrivals = None, dict[int, str](), tuple[WriterSchema, ...](), None
        withheld: tuple[Withheld, ...] = ()
        if batch.statements:
            decoded, writers = self._decoded(batch.statements)
            arrivals = arrivals_of(decoded["department"], batch.statements)
            decoded = with_receipt(decoded, arrivals["received"])
            if batch.foreign:
                decoded = of_exchange(decoded, batch.statements, batch.foreign)
                arrivals = arrivals.filter(decoded["epoch"] == 0)
            if self._rules is not None:
                decoded, withheld = self._rules.hold(decoded, batch.statements)
            elif batch.foreign:
                decoded, withheld = self._cuts.hold(decoded, batch.statements)
            frame, refused = staged(decoded, ordered=self._ordered)
        told = tuple(newest_vectors(self._registry, batch.progress)), stated(self._registry, batch.manifests)
        crash_point("view.decoded")
        return Prepared(
            tuple(runs), tuple(batch.quarantined), *told, tuple(batch.statements), frame, refused, writers, arrivals,
            carried(self._registry, batch.carried), frozenset(batch.foreign), last_of(batch.statements, batch.foreign),
            withheld,
        )  # fmt: skip

    def finish(self, prepared: Prepared) -> None:
        """Fold the prepared runs and commit.

        Raises Retryable if PostgreSQL does not answer or asks to try again (nothing was written), Reread if the
        position in PostgreSQL lies before the fetched records, ServingMoved if the stage follows and its generation no
        longer serves.
        """
        crash_point("view.before-transaction")
        self._recorder.begins()
        try:
            self._transaction(prepared)
        except psycopg.Error as error:
            if not self._passes(error):
                raise
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise Retryable(f"PostgreSQL: {str(error).strip() or type(error).__name__}", server="postgres") from error
        crash_point("view.committed")
        self._recorder.committed()
        self._on_commit()

    def close(self) -> None:
        """Close the connection; the next batch opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _passes(self, error: psycopg.Error) -> bool:
        # The whole batch is tried again after a deadlock, after another worker entered the same record at the same
        # time, and after any end of the connection: an idle-in-transaction timeout is an error of another class.
        lost = self._connection is None or self._connection.closed
        return lost or isinstance(error, psycopg.OperationalError | psycopg.errors.UniqueViolation)

    def _connected(self) -> tuple[psycopg.Connection[tuple[Any, ...]], Projection]:
        if self._connection is None or self._projection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            for setting, most in _LIMITS.items():
                self._connection.execute(f"SET {setting} = '{most}'")
            if self._silent:
                self._connection.execute(sql("view/silent"))
            self._projection = Projection(self._connection, idle=self._idle)
            row = self._connection.execute("SELECT province FROM xinliu.installation").fetchone()
            self._province = None if row is None else str(row[0])
            self._writers.clear()  # numbers from a transaction that was rolled back would be wrong
        return self._connection, self._projection

    def _transaction(self, prepared: Prepared) -> None:
        connection, projection = self._connected()
        with connection.transaction():
            standing = projection.lock_positions({(run.topic, run.partition) for run in prepared.runs})
            if self._follows:
                must_serve(connection, self._generation)
            news, reached = fresh_runs(prepared.runs, standing)
            if news != prepared.runs:
                prepared = self.prepare(news)
            if prepared.foreign and (cuts := cuts_of(connection)) != self._cuts:
                # A cut-off was decided meanwhile: prepare the batch again.
                self._cuts = cuts
                prepared = self.prepare(prepared.runs)
            taken = None if prepared.frame is None else self._statements(projection, prepared)
            if prepared.carried or prepared.foreign:
                self._refuse_own(prepared)
                self._applying.apply(connection, taken, prepared.carried, prepared.behind)
            for record in prepared.quarantined:
                project_refusal(projection, record)
            projection.progress(prepared.progress)
            keep(connection, prepared.manifests)
            withhold(connection, prepared.withheld)
            moves = [
                PositionMove(topic, self._facts[topic].topic_id, partition, standing[topic, partition], next_offset)
                for (topic, partition), next_offset in sorted(reached.items())
                if next_offset != standing[topic, partition]
            ]
            if not projection.advance(moves):
                raise ContractBroken("a position moved under its own lock")
            crash_point("view.inside-transaction")

    def _refuse_own(self, prepared: Prepared) -> None:
        # Intake does not read our own exchange: a message that claims to come from it would change our own departments'
        # records.
        if self._province in {
            *(province for province, _ in prepared.behind),
            *(one.province for one in prepared.carried),
        }:
            raise ContractBroken(
                f"accepted holds messages that came by {exchange_topic(self._province)}, our own exchange"
            )

    def _decoded(self, records: Sequence[Record]) -> tuple[pl.DataFrame, tuple[WriterSchema, ...]]:
        places, writers = self._writers_of(records)  # first: decoding by another schema would give wrong values
        values = [record.value for record in records]
        named = headers_of(records, SCHEMA, 1)
        decoded = decode_batch(self._registry, values, named=named, expected={"xinliu.Statement"})
        if decoded.undecodable:
            worst = decoded.undecodable[0]
            raise ContractBroken(
                f"{_place(records[worst.row])} cannot be decoded ({worst.code}: {worst.message});"
                " intake forwards only what it has decoded"
            )
        bodies = [value[HEADER:] for value in values]
        high, low = digests(bodies)
        return decoded.statements.with_columns(
            pl.Series("writer", places, dtype=pl.Int16),
            pl.Series("accepted_partition", [record.partition for record in records], dtype=pl.Int16),
            pl.Series("accepted_offset", [record.offset for record in records], dtype=pl.Int64),
            high.alias("digest_hi"),
            low.alias("digest_lo"),
            pl.Series("statement", bodies, dtype=pl.Binary),
            pl.Series("known_at", [record.timestamp for record in records], dtype=pl.Int64).cast(
                pl.Datetime("ms", "UTC")
            ),
            epoch=pl.lit(0, dtype=pl.Int64),
        ), writers

    def _writers_of(self, records: Sequence[Record]) -> tuple[list[int], tuple[WriterSchema, ...]]:
        # Each row's writer schema as an index into the returned schemas: there are few, mostly one.
        fingerprints = headers_of(records, SCHEMA, 1)
        keys = [(record.value[1:HEADER], said) for record, said in zip(records, fingerprints, strict=True)]
        known: dict[tuple[bytes, bytes | None], int] = {}
        writers = list[WriterSchema]()
        for key in dict.fromkeys(keys):
            known[key] = len(writers)
            writers.append(self._writer(*key, records[keys.index(key)]))
        return [known[key] for key in keys] if len(writers) > 1 else [0] * len(keys), tuple(writers)

    def _writer(self, prefix: bytes, fingerprint: bytes | None, record: Record) -> WriterSchema:
        try:
            writer = self._registry.writer(int.from_bytes(prefix, "big"))
        except NotDecodable as error:
            raise ContractBroken(
                f"{_place(record)} was accepted, and now {error}: the registry was put back to an older state;"
                " restore its newest backup (`xinliu restore`)"
            ) from error
        if writer.fingerprint != (fingerprint or b"").decode():
            raise ContractBroken(
                f"schema id {writer.id} of {_place(record)} meant another schema when it was accepted: the"
                " registry was put back to an older state; restore its newest backup (`xinliu restore`)"
            )
        return writer

    def _statements(self, projection: Projection, prepared: Prepared) -> pl.DataFrame:
        assert prepared.frame is not None
        assert prepared.arrivals is not None
        numbers = [self._writer_number(projection, writer) for writer in prepared.writers]
        frame = prepared.frame.with_columns(
            pl.col("writer").replace_strict(list(range(len(numbers))), numbers, return_dtype=pl.Int16)
        )
        folded = projection.fold(frame)
        if self._sharing is not None and self._connection is not None:
            self._sharing.share(self._connection, folded.taken)
        refused = {**prepared.refused, **folded.refused}
        self._recorder.statements(prepared.arrivals)
        self._announce(projection, prepared, folded.findings, refused)
        return folded.taken

    def _writer_number(self, projection: Projection, writer: WriterSchema) -> int:
        if writer.fingerprint not in self._writers:
            self._writers[writer.fingerprint] = projection.writer_number(writer.fingerprint, writer.schema)
        return self._writers[writer.fingerprint]

    def _announce(
        self,
        projection: Projection,
        prepared: Prepared,
        findings: Sequence[StoreFinding],
        refused: dict[int, str],
    ) -> None:
        records, foreign = prepared.statements, prepared.foreign
        told: dict[str, dict[int, dict[str, Any]]] = {}

        def tell(row: int, outcome: str, what: Finding) -> None:
            if row in foreign:
                return
            origin = Origin.from_bytes(header(records[row].headers, ORIGIN) or b"")
            record_id, version = record_of_key(records[row])
            entries = told.setdefault(origin.department, {})
            entry = entries.setdefault(
                row,
                {
                    "partition": origin.partition,
                    "offset": origin.offset,
                    "outcome": outcome,
                    "findings": [],
                    "record_id": record_id,
                    "version": version,
                },
            )
            # One record, one outcome: the gravest, with every finding.
            entry["outcome"] = min(entry["outcome"], outcome, key=("REFUSED", "OLDER", "FLAGGED").index)
            entry["findings"].append(what)
            self._recorder.told(origin.department, outcome, what["code"])

        for row, reason in refused.items():
            tell(row, "REFUSED", finding("STORE_REFUSED", detail=reason))
            project_store_refusal(projection, records[row], reason)
        for remark in findings:
            tell(remark.row, remark.outcome, finding(remark.code, detail=remark.detail))
        for row, record in enumerate(records):
            if record.headers[-1][0] == FINDINGS:
                for noted in findings_of(header(record.headers, FINDINGS)) or ():
                    tell(row, "FLAGGED", noted)
        for department, entries in told.items():
            projection.announce("EXCEPTIONS", [entry for _, entry in sorted(entries.items())], department)


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}@{record.offset}"
