"""The repair of rows that the audit found wrong, from history and, if that is spoiled, from the log.

The log is read before anything is locked. Then one transaction locks all positions of `accepted`, which the view locks
first too. The view folds nothing meanwhile, so the rows compared again under the lock are the present ones, and no
newer statement can be overwritten. Counts and digests follow in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import polars as pl
import structlog
from psycopg.types.json import Jsonb

from schemas.contracts.columns import digests
from schemas.contracts.registry import WriterSchema
from schemas.records.identity import accepted_key
from schemas.store.binary_copy import copy_rows
from schemas.store.sql_files import sql
from streams.integrity.accepted import AcceptedLog, AcceptedStatement
from streams.integrity.comparison import Connection, RowDifference, TableComparison
from streams.integrity.expected_rows import decoded
from streams.projection.columns import HISTORY
from streams.projection.fold import KEY, RANK
from streams.projection.staging import ranked

__all__ = ["MendedRows", "RowRepair", "note"]

log = structlog.get_logger()

_LOCK_TIMEOUT = "5s"
FROM_HISTORY, FROM_LOG, FROM_ROWS = "HISTORY", "LOG", "ROWS"


@dataclass(frozen=True, slots=True)
class MendedRows:
    """The result of a repair: number of repaired rows by their source, and records that nothing could repair."""

    rows: Mapping[str, int]
    beyond: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The log's evidence on some records: those looked up in all of it, the offsets read to, and their statements."""

    records: frozenset[UUID]
    read: Mapping[int, int]
    entries: Sequence[AcceptedStatement]


def note(connection: Connection, differences: Iterable[RowDifference]) -> None:
    """Store differences; one that is open already keeps its first time."""
    connection.execute(sql("integrity/repair/found"), {"rows": Jsonb([_plain(row) for row in differences])})


def _plain(row: RowDifference) -> dict[str, Any]:
    return {
        **asdict(row),
        "record_id": None if row.record_id is None else str(row.record_id),
        "fields": list(row.fields),
    }


class RowRepair:
    """Repairs over one connection in autocommit, whose search_path names the generation; `log` is the log of truth.

    Every method raises psycopg.OperationalError if PostgreSQL asks for another try (a lock was not available in time),
    and Retryable if the log cannot be read; it has written nothing then.
    """

    def __init__(self, connection: Connection, comparing: TableComparison, log: AcceptedLog, *, own: str) -> None:
        self._connection, self._comparing, self._log, self._own = connection, comparing, log, own

    def records(
        self, ids: Collection[UUID], *, doubted: bool = False, read: Mapping[int, int] | None = None
    ) -> MendedRows:
        """Repair these records: history where the log contradicts it, then their rows, counts and digests.

        `doubted`: look all of them up in the log, whether or not the tables contradict themselves, and drop withdrawals
        that it does not contain. `read`: the log was read up to these offsets, and is believed on all of these records;
        statements that this province itself took out stay out.
        """
        if read is not None:
            evidence = _Evidence(frozenset(ids), read, self._about(ids, read))
        else:
            evidence = self._evidence(ids, all_of_them=doubted)
        with self._connection.transaction():
            folded = self.lock()
            if evidence.records:
                self._correct(evidence, folded, keeps_withdrawn=not doubted)
            found = self._comparing.records(ids=ids)
            beyond = frozenset(UUID(bytes=record_id) for record_id in found.expected.unsound["record_id"])
            chosen = [row for row in found.differences if row.record_id not in beyond]
            self._replace(chosen)
            if chosen or evidence.records:
                self._connection.execute(sql("integrity/repair/former"), {"ids": list(ids)})
            entities = found.entities
            self._count(self._comparing.credit_views(usccs=entities))
            if any(row.province != self._own for row in chosen):
                self._digests()
            values = {"relations": ["record", "record_history"], "ids": list(ids), "usccs": None, "still": list(beyond)}
            for how, ours in (
                (FROM_LOG, [i for i in ids if i in evidence.records]),
                (FROM_HISTORY, [i for i in ids if i not in evidence.records]),
            ):
                self._connection.execute(sql("integrity/repair/mended"), {**values, "ids": ours, "how": how})
            self._announce(entities)
        from_log = sum(row.record_id in evidence.records for row in chosen)
        return MendedRows({FROM_LOG: from_log, FROM_HISTORY: len(chosen) - from_log}, beyond)

    def entities(self, usccs: Collection[str]) -> MendedRows:
        """Count the rows of these entities anew. Records of theirs that only the log has are restored first."""
        lost = self._lost(usccs)
        restored = self.records(lost, doubted=True) if lost else MendedRows({})
        with self._connection.transaction():
            self.lock()
            wrong = self._comparing.credit_views(usccs=usccs)
            self._count(wrong)
            values = {"relations": ["credit_view"], "ids": None, "usccs": list(usccs), "still": [], "how": FROM_ROWS}
            self._connection.execute(sql("integrity/repair/mended"), values)
            self._announce(usccs)
        return MendedRows({**restored.rows, FROM_ROWS: len(wrong)}, restored.beyond)

    def counts(self, usccs: Collection[str]) -> int:
        """Count the rows of these entities anew, under the caller's lock; return the number of wrong counts."""
        wrong = self._comparing.credit_views(usccs=usccs)
        self._count(wrong)
        self._announce({row.uscc for row in wrong if row.uscc is not None})
        return len(wrong)

    def _lost(self, usccs: Collection[str]) -> list[UUID]:
        # Counts are kept by delta: if a record and its history are both gone, only the counts still show it.
        with self._connection.transaction():
            rows = self._connection.execute("SELECT partition, next_offset FROM position WHERE topic = 'accepted'")
            read = {partition: offset for partition, offset in rows}
        told = list(self._log.mentioning(usccs, read))
        held = self._connection.execute("SELECT record_id FROM record WHERE record_id = ANY(%s)", (told,))
        return sorted(set(told) - {record_id for (record_id,) in held})

    def digests(self) -> MendedRows:
        """Sum up the rows of other provinces anew where a digest differs from them."""
        with self._connection.transaction():
            self.lock()
            wrong = self._digests()
            values = {"relations": ["foreign_digest"], "ids": None, "usccs": None, "still": [], "how": FROM_ROWS}
            self._connection.execute(sql("integrity/repair/mended"), values)
        return MendedRows({FROM_ROWS: wrong})

    def shared(self, wrong: Sequence[RowDifference], *, partitions: int) -> MendedRows:
        """Repair shared_record. Records of ours that are gone, or older than shared, are restored from the log
        first."""
        gone = {
            row.record_id
            for row in wrong
            if row.record_id is not None and (row.difference == "EXTRA" or {"version", "digest"} & {*row.fields})
        }
        if gone:
            self.records(sorted(gone), doubted=True)
        rows = [row for row in wrong if row.relation == "shared_record"]
        values = {
            "ids": [row.record_id for row in rows], "departments": [row.department for row in rows],
            "own": self._own, "partitions": partitions,
        }  # fmt: skip
        with self._connection.transaction():
            self.lock()
            # The sweep writes here without locking a position.
            self._connection.execute("LOCK TABLE xinliu.shared_record IN SHARE ROW EXCLUSIVE MODE")
            done = self._connection.execute(sql("integrity/repair/shared"), values).rowcount
            done += self._connection.execute(sql("integrity/repair/shared_digest")).rowcount
            told = {
                "relations": ["shared_record", "shared_digest"],
                "ids": None,
                "usccs": None,
                "still": [],
                "how": FROM_ROWS,
            }
            self._connection.execute(sql("integrity/repair/mended"), told)
        return MendedRows({FROM_ROWS: done})

    def lock(self) -> dict[int, int]:
        """Lock all positions of `accepted` for the rest of the transaction; return them by partition."""
        # In the view's order of locking, to prevent a deadlock.
        self._connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        rows = self._connection.execute(
            "SELECT partition, next_offset FROM position WHERE topic = 'accepted' ORDER BY topic, partition FOR UPDATE"
        )
        return {partition: offset for partition, offset in rows}

    def _evidence(self, ids: Collection[UUID], *, all_of_them: bool = False) -> _Evidence:
        """Look up in the log the records whose history does not agree with the message that it names."""
        with self._connection.transaction():
            found = self._comparing.records(ids=ids)
            rows = self._connection.execute("SELECT partition, next_offset FROM position WHERE topic = 'accepted'")
            read = {partition: offset for partition, offset in rows}
        if all_of_them:
            return _Evidence(frozenset(ids), read, self._about(ids, read))
        newest = found.expected.newest
        places = newest.select("accepted_partition", "accepted_offset").rows()
        standing = {(entry.partition, entry.offset): entry for entry in self._log.at(places)} if places else {}
        unproven = {
            row["record_id"]
            for row in newest.iter_rows(named=True)
            if not _same(row, standing.get((row["accepted_partition"], row["accepted_offset"])))
        } | set(found.expected.unsound["record_id"])
        # If history lacks a row, or ranks it otherwise, it may have lost the statement that made the row.
        contradicted = {
            row.record_id for row in found.differences if {*row.fields} & {*RANK} or row.difference == "EXTRA"
        }
        doubted = found.suspects & (contradicted | {UUID(bytes=record_id) for record_id in unproven})
        if not doubted:
            return _Evidence(frozenset(), {}, ())
        log.warning("mending.reads_the_log", records=len(doubted))
        return _Evidence(doubted, read, self._about(doubted, read))

    def _about(self, ids: Collection[UUID], read: Mapping[int, int]) -> Sequence[AcceptedStatement]:
        """Return the log's statements about these records, but for those refused when this generation was filled."""
        rows = self._connection.execute(
            "SELECT accepted_partition, accepted_offset FROM replay_refused WHERE record_id = ANY(%s)",
            ([record.hex for record in ids],),
        )
        refused = set(rows)
        return [entry for entry in self._log.about(ids, read) if (entry.partition, entry.offset) not in refused]

    def _correct(self, evidence: _Evidence, folded: Mapping[int, int], *, keeps_withdrawn: bool) -> None:
        copy_rows(self._connection, "told", self._history(evidence.entries), HISTORY)
        values = {
            "own": self._own,
            "keeps_withdrawn": keeps_withdrawn,
            "ids": list(evidence.records),
            "partitions": list(folded),
            "read": [evidence.read.get(partition, 0) for partition in folded],
            "folded": list(folded.values()),
        }
        for step in ("erased", "correct", "restore", "strike"):
            done = self._connection.execute(sql(f"integrity/repair/{step}"), values).rowcount
            if step != "erased" and done:
                log.warning("mending.history", step=step, rows=done)
        # Repeats while rows go: each may have erased others itself.
        while lost := self._connection.execute(sql("integrity/repair/lose"), values).rowcount:
            log.warning("mending.history", step="lose", rows=lost)

    def _history(self, entries: Sequence[AcceptedStatement]) -> pl.DataFrame:
        """Return the rows of history that these messages give, the earliest of equal ones."""
        writers = {entry.writer.fingerprint: entry.writer for entry in entries}
        numbers = {fingerprint: self._writer_number(writer) for fingerprint, writer in writers.items()}
        bodies = [entry.body for entry in entries]
        high, low = digests(bodies) if bodies else (pl.Series(dtype=pl.Int64), pl.Series(dtype=pl.Int64))
        time = pl.Datetime("us", "UTC")
        raw = pl.DataFrame(
            {
                "key": pl.Series([entry.key for entry in entries], dtype=pl.String),
                "row": pl.Series(range(len(entries)), dtype=pl.UInt32),
                "epoch": pl.Series([entry.epoch for entry in entries], dtype=pl.Int64),
                "known_at": pl.Series([entry.known_at for entry in entries], dtype=time),
                "received_at": pl.Series([entry.received_at for entry in entries], dtype=time),
                "accepted_partition": pl.Series([entry.partition for entry in entries], dtype=pl.Int16),
                "accepted_offset": pl.Series([entry.offset for entry in entries], dtype=pl.Int64),
                "writer": pl.Series([numbers[entry.writer.fingerprint] for entry in entries], dtype=pl.Int16),
                "statement": pl.Series(bodies, dtype=pl.Binary),
                "digest_hi": high.alias("digest_hi"),
                "digest_lo": low.alias("digest_lo"),
            }
        )
        flat = decoded(raw, {numbers[name]: writer for name, writer in writers.items()})
        whole = flat.join(raw, on="row", how="inner").sort("known_at", maintain_order=True)
        whole = whole.unique([*KEY, *RANK], keep="first", maintain_order=True)
        # A message whose key does not match its body is nobody's statement.
        keys = [accepted_key(*row) for row in whole.select("record_id", *RANK).rows()]
        return ranked(whole.filter(pl.Series(keys, dtype=pl.String) == whole["key"])) if whole.height else ranked(whole)

    def _writer_number(self, writer: WriterSchema) -> int:
        row = self._connection.execute(
            "INSERT INTO writer_schema (fingerprint, schema) VALUES (%s, %s)"
            " ON CONFLICT (fingerprint) DO UPDATE SET schema = excluded.schema RETURNING writer",
            (writer.fingerprint, Jsonb(writer.schema)),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _replace(self, differences: Sequence[RowDifference]) -> None:
        keys = [(str(row.record_id), row.province, row.department) for row in differences]
        if not keys:
            return
        ids, provinces, departments = (list(column) for column in zip(*keys, strict=True))
        values = {"ids": ids, "provinces": provinces, "departments": departments}
        self._connection.execute(sql("integrity/repair/take"), values)
        self._connection.execute(sql("integrity/repair/put"), values)

    def _count(self, wrong: Sequence[RowDifference]) -> None:
        if wrong:
            columns = zip(*((row.uscc, row.province, row.domain) for row in wrong), strict=True)
            values = dict(zip(("usccs", "provinces", "domains"), map(list, columns), strict=True))
            self._connection.execute(sql("integrity/repair/count"), values)

    def _digests(self) -> int:
        wrong = self._comparing.foreign_digests()
        if wrong:
            self._connection.execute(sql("integrity/repair/foreign_digest"), {"rows": Jsonb(wrong)})
        return len(wrong)

    def _announce(self, entities: Collection[str]) -> None:
        # Readers that cache answers about these entities must ask anew.
        if entities:
            self._connection.execute(
                "INSERT INTO outbox (kind, payload) VALUES ('CHANGES', %s)", (Jsonb({"uscc": sorted(entities)}),)
            )


def _same(row: Mapping[str, Any], entry: AcceptedStatement | None) -> bool:
    """Return whether a row of history agrees with the message that it names."""
    if entry is None:
        return False
    key = accepted_key(row["record_id"].hex(), *(row[name] for name in RANK))
    return (entry.key, entry.epoch, entry.body, entry.known_at) == (
        key,
        row["epoch"],
        row["statement"],
        row["known_at"],
    )
