"""Settling: the state of quarantine entries follows what is known of them, and the department is told.

The folds only add what they read: entries, outcomes, records. Readers ask these themselves, so that 待核 and 有 change in one
transaction; here the state that the tables keep, and with it what holds back a source's *data as of*, catches up within a
second or so. Being late keeps an entry open for longer, never for too short.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.forwarding.findings import finding
from streams.kafka.headers import ACCEPTED, DISCARDED, IMPOSSIBLE, REFUSED
from streams.projection.serving import while_serving
from streams.quarantine.entries import OPEN, STATES, state_of
from streams.runtime.service import go_round

__all__ = ["Settling", "receipt_of"]

_EVERY = 1.0
_SHARE = 20.0
"""A round that took long is followed by a pause so many times as long: a full quarantine must not keep PostgreSQL busy."""
_ROWS = 500
_ADVISORY_LOCK = 0x71756172616E74  # "quarant": one worker settles at a time, so that each change is told once

_TOLD_AS = {"OVERRIDDEN": ACCEPTED, "REDRIVEN": ACCEPTED, "SUPERSEDED": "SUPERSEDED", "DISCARDED": DISCARDED}

Outcome = Mapping[str, Any]


def receipt_of(before: str, after: str, outcomes: Sequence[Outcome]) -> tuple[str, list[Any]] | None:
    """Return outcome and findings that the department is told of an entry's change, or None where there is no news.

    `outcomes` are all of the entry, oldest first; those that are not `settled` are news.
    """
    if after != before:
        kinds = {"OVERRIDDEN": ("QUARANTINE_OVERRIDE", ACCEPTED), "REDRIVEN": ("QUARANTINE_REDRIVE", ACCEPTED)}
        wanted = kinds.get(after)
        decided = [one for one in outcomes if (one["kind"], one["outcome"]) == wanted or one["outcome"] == after]
        reason = decided[-1]["reason"] if decided else None
        # What discarding found is the discarding itself; remarks of what was accepted are told beside it.
        remarks = decided[-1]["findings"] if decided and wanted else []
        return _TOLD_AS[after], [finding(after, detail=reason or None), *remarks]
    news = [one for one in outcomes if not one["settled"] and one["outcome"] in (REFUSED, IMPOSSIBLE)]
    return (REFUSED, news[-1]["findings"]) if news and after == OPEN else None


class Settling:
    """Settles in a thread of its own; `on_commit` is called where the relay has something to publish after it."""

    def __init__(self, database: str, *, generation: int, on_commit: Callable[[], None] = lambda: None) -> None:
        self._database, self._generation, self._on_commit = database, generation, on_commit
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` after the round that is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Settle until stopped; waits, with a message, for a PostgreSQL that does not answer."""
        go_round(self._go_round, self._stopped, waits="settling.waits", close=self.close)

    def _go_round(self) -> float:
        began = monotonic()
        while self._round() and not self._stopped.is_set():
            began = monotonic()
        return max(_EVERY, _SHARE * (monotonic() - began))

    def close(self) -> None:
        """Close the connection; the next round opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _round(self) -> bool:
        with while_serving(self._connected(), self._generation) as ours:
            return ours and self.settle_some()

    def settle_some(self) -> bool:
        """Settle one portion in one transaction; true where there may be more."""
        connection = self._connected()
        with connection.transaction():
            row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_ADVISORY_LOCK,)).fetchone()
            if not (row and row[0]):
                return False  # another worker does
            due = connection.execute(sql("quarantine/due"), {"limit": _ROWS}).fetchall()
            told = defaultdict[str, list[Any]](list)
            states, settled = list[Any](), list[Any]()
            for *place, department, record_id, version, before, held, outcomes in due:
                key = dict(zip(("topic", "topic_id", "partition", "offset"), place, strict=True))
                found = state_of(((one["kind"], one["outcome"]) for one in outcomes), held=held)
                after = max(before, found, key=STATES.index)
                if after != before:
                    states.append({**key, "state": after})
                settled += [
                    {**key, "decision": one["decision"], "outcome": one["outcome"]}
                    for one in outcomes
                    if not one["settled"] and (held or one["outcome"] != ACCEPTED)
                ]
                news = receipt_of(before, after, outcomes)
                # What another province's exchange brought is no department's of ours to be told.
                if news is not None and key["topic"].startswith("records."):
                    outcome, findings = news
                    told[department].append(
                        {
                            "partition": key["partition"],
                            "offset": key["offset"],
                            "outcome": outcome,
                            "findings": findings,
                            "record_id": record_id,
                            "version": version,
                        }
                    )
            connection.execute(sql("quarantine/states"), {"rows": Jsonb(states)})
            connection.execute(sql("quarantine/settled_outcomes"), {"rows": Jsonb(settled)})
            for department, exceptions in sorted(told.items()):
                connection.execute(
                    "INSERT INTO outbox (kind, department, payload) VALUES ('EXCEPTIONS', %s, %s)",
                    (department, Jsonb(exceptions)),
                )
        if told:
            self._on_commit()
        return len(due) == _ROWS

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            # Row by row through indexes, whatever the statistics say: entries are few beside records.
            for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
                self._connection.execute(f"SET {setting} = off")
        return self._connection
