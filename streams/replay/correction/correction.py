"""A targeted correction: some records folded again from the log by the current rules, in the serving generation.

Each batch is one transaction under the locks of all positions, as in a repair (streams/integrity/repair.py). History,
rows, counts and digests follow the log. Statements that the current rules refuse leave the tables, are listed in
replay_refused and enter the quarantine, so that no report says 无 meanwhile. Sharing follows. A dry run does the same,
and rolls every batch back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from schemas.errors import Retryable
from schemas.exchange.topics import province_of
from schemas.records.identity import digest_hex
from schemas.store.sql_files import sql
from streams.exchange.outgoing.sharing import Sharing
from streams.integrity.comparison import TableComparison
from streams.integrity.repair import RowRepair
from streams.kafka.scope import ReplayScope
from streams.projection.serving import serves
from streams.replay.correction.log_evidence import Gathered, LogEvidence
from streams.replay.correction.sharing import leave, share_again
from streams.replay.diff.differences import (
    APPEARS,
    CHANGES,
    DISAPPEARS,
    REFUSED,
    STATUS,
    Compared,
    RecordChange,
    StateChange,
)
from streams.replay.plan.planner import scope_values
from streams.runtime.crash_points import crash_point
from streams.view.current_rules import Withheld, withhold

__all__ = ["Corrected", "Correction"]

T = TypeVar("T")
R = TypeVar("R")
Connection = psycopg.Connection[tuple[Any, ...]]

_MOST = 500
"""Records that one transaction corrects: it delays the view by some 50 ms."""
_GATHERED = 50_000
"""Records whose statements are in memory at a time; for more, the log is read again."""
_KEPT = 100_000
"""Differences kept for the report; further ones are only counted."""

_VIEW = ("records", "penalties", "listings", "pending")


@dataclass(slots=True)
class Corrected:
    """The result of a correction or of its dry run."""

    records: int = 0
    refused: int = 0
    beyond: list[str] = field(default_factory=list)
    """Records that could not be corrected: their statements do not match their digests or rows, or cannot be read."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the records in the scope: number, penalties and listings in force, XOR of their digests."""
    after: Mapping[str, Any] = field(default_factory=dict)
    changes: list[RecordChange] = field(default_factory=list)
    turns: list[StateChange] = field(default_factory=list)
    counted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    turned: Counter[tuple[str, str]] = field(default_factory=Counter)

    def compared(self, generation: str, *, dry_run: bool) -> Compared:
        """Return the result in the form of a comparison."""
        return Compared(
            f"{generation} as it stands" if dry_run else f"{generation} as it stood",
            "as the log makes it by today's rules",
            "every column of the records in question, and what is counted of their entities",
            self.before["records"],
            self.after["records"],
            0,
            0,
            dict(sorted(self.turned.items(), key=lambda one: one[0] != ("有", "无"))),
            [(*key, n) for key, n in sorted(self.counted.items())],
            unexplained=sum(not turn.explained for turn in self.turns),
        )


class Correction:
    """Corrects over one connection in autocommit, whose search_path names the serving generation.

    `own` is the province, `partitions` the number of partitions of `accepted`; `sharing` is the rule of sharing, None
    if this province shares nothing.
    """

    def __init__(
        self,
        connection: Connection,
        gathering: LogEvidence,
        *,
        own: str,
        partitions: int,
        generation: int,
        sharing: Sharing | None = None,
    ) -> None:
        self._connection, self._gathering, self._sharing = connection, gathering, sharing
        self._own, self._partitions, self._generation = own, partitions, generation
        self._comparing = TableComparison(connection, own=own, partitions=partitions)
        self.read: Mapping[int, int] = {}
        """End offsets of the last reading of the log, by partition."""
        self.passes, self.reading = 0, 0.0
        """Number of readings of the log, and their seconds."""

    def correct(
        self, scope: ReplayScope, *, write: bool, told: Callable[[int, int], None] = lambda done, of: None
    ) -> Corrected:
        """Correct the records of a scope and return the changes; without `write`, everything is rolled back.

        `told` is the progress callback: records done, and records in all. Raises Retryable if a server does not answer,
        or another generation serves: committed batches stay, and the correction may be run again.
        """
        read = {int(p): int(o) for p, o in self._connection.execute(
            "SELECT partition, next_offset FROM position WHERE topic = 'accepted' ORDER BY partition"
        )}  # fmt: skip
        known = self._connection.execute(sql("replay/correction/records_of"), scope_values(scope)).fetchall()
        self.read, self.passes, self.reading = read, 0, 0.0
        ids = sorted({UUID(str(row[0])) for row in known} | self._timed(self._gathering.records, scope))
        done = Corrected(records=len(ids), before=_told(self._figures(ids)))
        told(0, len(ids))
        figures = None
        for start in range(0, len(ids), _GATHERED):
            portion = ids[start : start + _GATHERED]
            gathered = self._timed(self._gathering.gather, portion)
            mending = RowRepair(self._connection, self._comparing, gathered, own=self._own)
            for first in range(0, len(portion), _MOST):
                batch = portion[first : first + _MOST]
                figures = self._batch(mending, gathered, batch, done, write=write, figures=figures)
                told(min(start + first + len(batch), len(ids)), len(ids))
        done.after = _told(self._figures(ids) if write or figures is None else figures)
        return done

    def _timed(self, work: Callable[[T, Mapping[int, int]], R], of: T) -> R:
        began = monotonic()
        found = work(of, self.read)
        self.passes, self.reading = self.passes + 1, self.reading + monotonic() - began
        return found

    def _figures(self, ids: Collection[UUID]) -> dict[str, int]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(sql("replay/correction/figures"), {"ids": list(ids)}).fetchone()
        assert row is not None
        return row

    def _batch(
        self,
        mending: RowRepair,
        gathered: Gathered,
        ids: Sequence[UUID],
        done: Corrected,
        *,
        write: bool,
        figures: Mapping[str, int] | None,
    ) -> Mapping[str, int]:
        with self._connection.transaction(force_rollback=not write):
            mending.lock()
            if not serves(self._connection, self._generation):
                raise Retryable(f"generation {self._generation} serves no longer: ask again", server="postgres")
            before = self._rows(ids)
            entities = {uscc for record in ids for uscc in gathered.entities.get(record, ())}
            entities |= {row["uscc"] for row in before.values()}
            views = self._views(entities)
            refused = [one for record in ids for one in gathered.refused.get(record, ())]
            # Statements that are no longer refused must leave the list.
            self._connection.execute(
                "DELETE FROM replay_refused WHERE record_id = ANY(%s)", ([record.hex for record in ids],)
            )
            self._withhold(refused)
            done.beyond.extend(record.hex for record in mending.records(ids, read=gathered.read).beyond)
            # Also for entities without a wrong record.
            mending.counts(entities)
            after = self._rows(ids)
            changes = list(_changes(before, after, refused))
            self._share(ids)
            done.refused += len(refused)
            _keep(done, changes, list(_turns(views, self._views(entities), changes)))
            crash_point("correct.inside-transaction")
            held = self._figures(ids)
        if write:
            crash_point("correct.committed")
        return _sum(figures, held)

    def _rows(self, ids: Sequence[UUID]) -> dict[tuple[UUID, str, str], dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(sql("replay/correction/held"), {"ids": list(ids)}).fetchall()
        return {(row["record_id"], row["province"], row["department"]): row for row in rows}

    def _views(self, usccs: Collection[str]) -> dict[tuple[str, str, str], dict[str, Any]]:
        values = {"usccs": sorted(usccs)}
        waits = set(self._connection.execute(sql("replay/correction/waiting"), values).fetchall())
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(sql("replay/correction/views"), values).fetchall()
        views = {(row["uscc"], row["province"], row["domain"]): row for row in rows}
        for uscc, domain in waits:
            # No counts, but an open quarantine entry: 待核 and not 无.
            views.setdefault((uscc, self._own, domain), {**dict.fromkeys(_VIEW[:3], 0), "pending": True})
        return views

    def _withhold(self, refused: Sequence[Withheld]) -> None:
        news = withhold(self._connection, refused)
        by_department: dict[str, list[dict[str, Any]]] = {}
        for department, partition, offset, record_id, version, findings in news:
            if province_of(department) is not None:
                continue  # another province's statement that was cut off: no department here to notify
            by_department.setdefault(department, []).append(
                {"partition": partition, "offset": offset, "record_id": record_id, "version": version, "outcome": "REFUSED",
                 "findings": findings}
            )  # fmt: skip
        for department, exceptions in sorted(by_department.items()):
            self._connection.execute(
                "INSERT INTO outbox (kind, department, payload) VALUES ('EXCEPTIONS', %s, %s)",
                (department, Jsonb(exceptions)),
            )

    def _share(self, ids: Sequence[UUID]) -> None:
        if self._sharing is not None:
            leave(self._connection, self._sharing, ids, own=self._own)
            share_again(self._connection, self._sharing, ids, own=self._own)


def _changes(
    before: Mapping[tuple[UUID, str, str], Mapping[str, Any]],
    after: Mapping[tuple[UUID, str, str], Mapping[str, Any]],
    refused: Iterable[Withheld],
) -> Iterable[RecordChange]:
    why = {
        (one.record_id, one.version, one.digest_hi, one.digest_lo): [f["code"] for f in one.findings] for one in refused
    }
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None and old["row"] == new["row"]:
            continue
        codes = why.get((key[0].hex, old["version"], old["digest_hi"], old["digest_lo"])) if old is not None else None
        some = new or old
        assert some is not None
        fields = {} if old is None or new is None else _fields(old["row"], new["row"])
        yield RecordChange(
            key[0], key[1], key[2], some["domain"], _of(old, "uscc"), _of(new, "uscc"), _kind(old, new, codes),
            _of(old, "status"), _of(new, "status"), _of(old, "version"), _of(new, "version"), sorted(set(codes or ())), fields,
        )  # fmt: skip


def _of(row: Mapping[str, Any] | None, name: str) -> Any:
    return None if row is None else row[name]


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [value, new.get(name)] for name, value in old.items() if value != new.get(name)}


def _kind(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, codes: Collection[str] | None) -> str:
    if codes:
        return REFUSED
    if old is None:
        return APPEARS
    if new is None:
        return DISAPPEARS
    return STATUS if old["status"] != new["status"] else CHANGES


def _turns(
    before: Mapping[tuple[str, str, str], Mapping[str, Any]],
    after: Mapping[tuple[str, str, str], Mapping[str, Any]],
    changes: Iterable[RecordChange],
) -> Iterable[StateChange]:
    said = {(uscc, one.province, one.domain) for one in changes for uscc in (one.old_uscc, one.new_uscc)}
    compared = (*_VIEW, "digest_hi", "digest_lo")
    for key in sorted({*before, *after}):
        old, new = before.get(key, {}), after.get(key, {})
        if [old.get(name) for name in compared] != [new.get(name) for name in compared]:
            was, becomes = ([row.get(name) for name in _VIEW] for row in (old, new))
            yield StateChange(
                key[0], key[1], key[2], was[0], was[1], was[2], was[3], becomes[0], becomes[1], becomes[2], becomes[3],
                key in said,
            )  # fmt: skip


def _keep(done: Corrected, changes: Sequence[RecordChange], turns: Sequence[StateChange]) -> None:
    done.counted.update((one.domain, one.department, one.change) for one in changes)
    done.turned.update((one.was, one.becomes) for one in turns if one.turns)
    done.changes.extend(changes[: max(0, _KEPT - len(done.changes))])
    done.turns.extend(turns[: max(0, _KEPT - len(done.turns))])


def _sum(one: Mapping[str, int] | None, other: Mapping[str, int]) -> Mapping[str, int]:
    if one is None:
        return other
    return {name: one[name] ^ n if name.startswith("digest") else one[name] + n for name, n in other.items()}


def _told(row: Mapping[str, int]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("records", "penalties", "listings")}
    return {**counts, "digest": digest_hex(row["digest_hi"], row["digest_lo"])}
