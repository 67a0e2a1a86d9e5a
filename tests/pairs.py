"""Two provinces at store level: an origin that shares, and a province that holds what it shares; messages go by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.exchange.topics import EPOCH, MEND
from streams.exchange.carried.message import Carried
from streams.exchange.carried.riders import OutgoingMessage
from streams.exchange.handlers import HANDLERS
from streams.exchange.incoming.checkpoints import CheckpointApplier
from streams.exchange.sets import answers as answering
from streams.exchange.sets import requests as asking
from streams.exchange.sets.answers import SetAnswers
from streams.exchange.sets.keeper import SetKeeper
from streams.integrity.table_audit import TableAudit
from streams.kafka.headers import Origin
from streams.projection.batch import Projection
from streams.projection.staging import MENDS, staged
from tests.damage import MemoryLog, fold, nobody_audits
from tests.statements import Statement
from tests.viewstore import Store, of_bodies, tombstones

__all__ = ["FAR", "ORIGIN", "Pair"]

ORIGIN, FAR = "beijing", "hebei"
_SHARED = """
INSERT INTO xinliu.shared_record (record_id, department, partition, epoch, state, kind, domain, uscc, version, digest_hi, digest_lo, status)
SELECT record_id, department, 0, 1000, 'SHARED', kind, domain, uscc, version, digest_hi, digest_lo, status FROM record
ON CONFLICT (record_id, department) DO UPDATE SET
    version = excluded.version, digest_hi = excluded.digest_hi, digest_lo = excluded.digest_lo, status = excluded.status
"""
_SUMMED = """
INSERT INTO xinliu.shared_digest
SELECT partition, domain, count(*), bit_xor(digest_hi), bit_xor(digest_lo) FROM xinliu.shared_record WHERE state = 'SHARED' GROUP BY 1, 2
"""
_STATEMENTS = """
SELECT h.statement FROM xinliu.shared_record s
JOIN record_history h ON h.record_id = s.record_id AND (h.version, h.digest_hi, h.digest_lo) = (s.version, s.digest_hi, s.digest_lo)
ORDER BY s.record_id
"""


@dataclass(slots=True)
class Pair:
    """Origin and far province, one partition of each."""

    origin: Store
    far: Store
    database: str
    origin_generation: int
    far_generation: int
    origin_log: MemoryLog = field(default_factory=MemoryLog)
    far_log: MemoryLog = field(default_factory=MemoryLog)
    sequence: int = 0
    answering: SetAnswers = field(default_factory=lambda: SetAnswers(ORIGIN))

    def share(self, statements: Sequence[Statement], *, lost: bool = False) -> None:
        """Let the origin fold and share these; `lost`: they never reach the far province."""
        fold(self.origin, self.origin_log, statements)
        with self.origin.transaction():
            self.origin.execute(_SHARED)
            self.origin.execute("DELETE FROM xinliu.shared_digest")
            self.origin.execute(_SUMMED)
        if not lost:
            bodies = [row[0] for row in self.origin.execute(_STATEMENTS).fetchall()]
            self.deliver(
                [OutgoingMessage(0, "", "xinliu.Statement", body, None, ((EPOCH, b"1000"),)) for body in bodies]
            )
        self.checkpoint()

    def deliver(self, messages: Sequence[OutgoingMessage], *, checkpoint: bool = False) -> None:
        """Fold messages of the origin at the far province, all in one batch, as its view does."""
        projection = Projection(self.far)
        with self.far.transaction():
            standing = projection.lock_positions([("accepted", 0)])["accepted", 0]
            told = [(standing + n, message) for n, message in enumerate(messages)]
            statements = [(offset, message) for offset, message in told if message.name == "xinliu.Statement"]
            taken = None
            if statements:
                frame = of_bodies([message.body for _, message in statements], 0)
                headers = [dict(message.headers) for _, message in statements]
                frame = frame.with_columns(
                    pl.Series("accepted_offset", [offset for offset, _ in statements], dtype=pl.Int64),
                    pl.Series("epoch", [int(one[EPOCH]) for one in headers], dtype=pl.Int64),
                    pl.Series(MENDS, [MEND in one for one in headers]),
                    pl.lit(None, dtype=pl.Datetime("ms", "UTC")).alias("received_at"),
                )
                taken = projection.fold(staged(frame)[0]).taken
                self.far_log.append(frame)
            came = [
                self._carried(m.name, decode(parsed(m.name), m.body), offset)
                for offset, m in told
                if m.name != "xinliu.Statement"
            ]
            if checkpoint:
                came.append(self._carried("xinliu.Checkpoint", self._said(), standing + len(told)))
            CheckpointApplier(HANDLERS).apply(self.far, taken, came, {})
            self.far.execute("UPDATE position SET next_offset = next_offset + %s", (len(told) + checkpoint,))
        self.far_log.erase(tombstones(self.far))

    def checkpoint(self) -> None:
        """Let the origin say what it shares, and the far province hold it against what it holds."""
        self.sequence += 1
        self.deliver([], checkpoint=True)

    def ask(self) -> int:
        """Let the far province tend its sets and ask; return how many sets it asks for."""
        made = SetKeeper(self.database, self.far_log, own=FAR, partitions=1, generation=self.far_generation)
        try:
            made.tend()
        finally:
            made.close()
        with self.far.transaction():
            self.far.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            sets = asking.differing_sets(self.far)
        with self.origin.transaction():
            answering.note_wanted(self.origin, FAR, datetime.now(UTC), sets)
        return len(sets)

    def answer(self) -> int:
        """Let the origin make one round; return how many messages went along."""
        with self.origin.transaction():
            self.origin.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            messages = list(self.answering.due(self.origin))
        self.deliver(messages)
        with self.origin.transaction():
            self.answering.sent(self.origin, messages)
        self.checkpoint()
        return len(messages)

    def heal(self, *, rounds: int = 12) -> int:
        """Audit, ask and answer until a whole round finds nothing; return the rounds that it took."""
        for number in range(rounds):
            found = self.audit()
            self.checkpoint()
            asked = self.ask()
            while self.answer():
                pass
            # What was asked for a moment ago would be asked for again only later.
            self.far.execute("UPDATE exchange_request SET due_at = now(), asked_at = now() - interval '1 minute'")
            self.origin.execute("UPDATE xinliu.exchange_wanted SET answered_at = now() - interval '1 minute'")
            if not found and not asked and self.ask() == 0:
                return number
        raise AssertionError(f"not healed after {rounds} rounds")

    def audit(self) -> int:
        """Let both audit their own tables once; return how much they found."""
        found = 0
        for own, log, generation in (
            (ORIGIN, self.origin_log, self.origin_generation),
            (FAR, self.far_log, self.far_generation),
        ):
            nobody_audits(self.database, generation)
            made = TableAudit(self.database, log, own=own, partitions=1, generation=generation)
            try:
                found += made.pass_through()
            finally:
                made.close()
        return found

    def held(self) -> list[Any]:
        """Return what the far province holds of the origin: every column but when it was known."""
        return self.far.execute(
            "SELECT to_jsonb(r) - 'known_at' FROM record r WHERE province = %s AND status <> 'WITHDRAWN' ORDER BY record_id",
            (ORIGIN,),
        ).fetchall()

    def shared(self) -> list[Any]:
        """Return what the origin shares, as the far province should hold it."""
        return self.origin.execute(
            "SELECT to_jsonb(r) - 'known_at' || '{\"epoch\": 1000}' FROM record r JOIN xinliu.shared_record s USING (record_id, department)"
            " WHERE s.state = 'SHARED' ORDER BY record_id"
        ).fetchall()

    def differences(self, *, open_only: bool = False) -> list[str]:
        """Return the differences that were named, as the far province shows them."""
        rows = self.far.execute(
            "SELECT difference FROM exchange_difference WHERE %s OR closed_at IS NULL ORDER BY 1", (not open_only,)
        )
        return [row[0] for row in rows]

    def _said(self) -> dict[str, Any]:
        rows = self.origin.execute("SELECT domain, records, digest_hi, digest_lo FROM xinliu.shared_digest").fetchall()
        names = ("domain", "records", "digest_hi", "digest_lo")
        return {
            "topic_id": "id", "sequence": self.sequence, "hash": "0" * 64, "made_at": datetime.now(UTC), "complete": True,
            "domains": [{**dict(zip(names, row, strict=True)), "data_as_of": None} for row in rows],
        }  # fmt: skip

    def _carried(self, name: str, value: Any, offset: int) -> Carried:
        origin = Origin(f"exchange.{ORIGIN}", "id", 0, offset)
        return Carried(name, ORIGIN, 0, b"", value, origin, offset, datetime.now(UTC))
