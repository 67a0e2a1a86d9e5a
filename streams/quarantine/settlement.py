"""Settlement: updates the stored state of quarantine entries from their outcomes, and answers the department.

The folds only add rows: entries, outcomes, records. Readers query these themselves, so that 待核 and 有 change in one
transaction. The stored state, which holds back a source's *data as of*, catches up here within about a second. If it is
late, an entry stays open for longer, never for too short.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from psycopg.types.json import Jsonb

from schemas.store.sql_files import sql
from streams.forwarding.findings import finding
from streams.kafka.headers import ACCEPTED, DISCARDED, IMPOSSIBLE, REFUSED
from streams.projection.serving import while_serving
from streams.quarantine.entries import OPEN, STATES, state_of
from streams.runtime.locks import SETTLING, leads_transaction
from streams.runtime.service import Connection, Service, plan_by_index

__all__ = ["Settlement", "receipt_of"]

_EVERY = 1.0
_SHARE = 20.0
"""A long round is followed by a pause so many times as long: a full quarantine must not keep PostgreSQL busy."""
_ROWS = 500

_RECEIPT_AS = {"OVERRIDDEN": ACCEPTED, "REDRIVEN": ACCEPTED, "SUPERSEDED": "SUPERSEDED", "DISCARDED": DISCARDED}

Outcome = Mapping[str, Any]


def receipt_of(before: str, after: str, outcomes: Sequence[Outcome]) -> tuple[str, list[Any]] | None:
    """Return outcome and findings of a receipt about an entry's change, or None if there is no news.

    `outcomes` are all outcomes of the entry, oldest first; those that are not `settled` are news.
    """
    if after != before:
        kinds = {"OVERRIDDEN": ("QUARANTINE_OVERRIDE", ACCEPTED), "REDRIVEN": ("QUARANTINE_REDRIVE", ACCEPTED)}
        wanted = kinds.get(after)
        decided = [one for one in outcomes if (one["kind"], one["outcome"]) == wanted or one["outcome"] == after]
        reason = decided[-1]["reason"] if decided else None
        # A discarded entry has no findings but its discarding; an accepted one has its remarks, too.
        remarks = decided[-1]["findings"] if decided and wanted else []
        return _RECEIPT_AS[after], [finding(after, detail=reason or None), *remarks]
    news = [one for one in outcomes if not one["settled"] and one["outcome"] in (REFUSED, IMPOSSIBLE)]
    return (REFUSED, news[-1]["findings"]) if news and after == OPEN else None


class Settlement(Service):
    """Settles in a thread of its own; `on_commit` is called when there is a receipt to publish."""

    waits = "settling.waits"

    def __init__(self, database: str, *, generation: int, on_commit: Callable[[], None] = lambda: None) -> None:
        super().__init__(database, generation=generation)
        self._generation, self._on_commit = generation, on_commit

    def _round(self) -> float:
        began = monotonic()
        while self._settle_next() and not self._stopped.is_set():
            began = monotonic()
        return max(_EVERY, _SHARE * (monotonic() - began))

    def _settle_next(self) -> bool:
        with while_serving(self._connected(), self._generation) as ours:
            return ours and self.settle_some()

    def settle_some(self) -> bool:
        """Settle one portion in one transaction; return whether there may be more."""
        connection = self._connected()
        with connection.transaction():
            if not leads_transaction(connection, SETTLING):  # so that each change is published once
                return False
            due = connection.execute(sql("quarantine/due"), {"limit": _ROWS}).fetchall()
            receipts = defaultdict[str, list[Any]](list)
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
                # An entry of another province's exchange belongs to no department of ours.
                if news is not None and key["topic"].startswith("records."):
                    outcome, findings = news
                    receipts[department].append(
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
            for department, exceptions in sorted(receipts.items()):
                connection.execute(
                    "INSERT INTO outbox (kind, department, payload) VALUES ('EXCEPTIONS', %s, %s)",
                    (department, Jsonb(exceptions)),
                )
        if receipts:
            self._on_commit()
        return len(due) == _ROWS

    def _set_up(self, connection: Connection) -> None:
        plan_by_index(connection)  # entries are few beside records
