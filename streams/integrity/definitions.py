"""Watches beside the view worker that definitions and rights in the database are what was shipped and declared.

Whoever owns the tables can have a view leave a record out, or let everybody read the quarantine: rows stay as they are,
and no audit of rows would see it. What differs is named in the log and counted in a gauge, for an alert; nothing is
changed back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog
from psycopg import sql as compose

from schemas.errors import Retryable, UsageError
from schemas.store.database import connect
from schemas.store.definitions import differences
from schemas.store.grants import foreign
from schemas.store.roles import difference
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import DEFINITIONS_DIFFER
from streams.runtime.service import go_round

__all__ = ["CATALOGUE", "DefinitionsWatch", "catalogue_sums"]

log = structlog.get_logger()

CATALOGUE = (
    "domain", "domain_source", "list", "province", "heartbeat", "mutual_domain", "silence", "installation", "level", "list_period",
    "report_window", "visibility", "deadline", "exchange_limit", "workday",
)  # fmt: skip
"""Tables that the catalogue fills: of which domains there are, from where,
and how long a source may be silent, 无 depends."""


def catalogue_sums(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return what differs, but for a collision of 64 bits, where a row does that the catalogue filled, by table."""
    sums = {}
    for table in CATALOGUE:
        query = compose.SQL("SELECT concat(count(*), ' ', sum(hash_record_extended(t, 0))) FROM xinliu.{} t")
        row = connection.execute(query.format(compose.Identifier(table))).fetchone()
        assert row is not None
        sums[table] = str(row[0])
    return sums


class DefinitionsWatch:
    """Looks at once and then every so many seconds, in a thread of its own; `others` are login roles that may be there,
    `catalogue` the sums of the tables that this worker has filled from its catalogue: another worker's may be another
    one."""

    def __init__(
        self,
        database: str,
        *,
        every: float,
        others: Sequence[str] = (),
        catalogue: Mapping[str, str] | None = None,
        shown: Instruments | None = None,
    ) -> None:
        self._database, self._every, self._others = database, every, list(others)
        self._catalogue = dict(catalogue or {})
        self._shown = (shown or Instruments("view")).latest(DEFINITIONS_DIFFER)
        self._told = dict[str, frozenset[str]]()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until stopped. A database that does not answer is waited for;
        whatever else is wrong must not end the view."""
        wrong = (psycopg.Error, Retryable, UsageError)
        go_round(self._look, self._stopped, waits="definitions.waits", close=lambda: None, passing=wrong)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def _look(self) -> float:
        self.look()
        return self._every

    def look(self) -> int:
        """Look once; return how many definitions and rights differ."""
        found = self._found()
        if any(found.values()) and not self._stopped.wait(1.0):
            again = self._found()  # a generation that is just promoted or dropped differs for a moment
            found = {part: found[part] & again[part] for part in found}
        for part, names in found.items():
            for name in sorted(names - self._told.get(part, frozenset())):
                log.error("definitions.differs", part=part, what=name, see="xinliu access plan")
            for name in sorted(self._told.get(part, frozenset()) - names):
                log.info("definitions.as_shipped_again", part=part, what=name)
        self._told = found
        self._shown.replace({(part,): float(len(names)) for part, names in found.items()})
        return sum(len(names) for names in found.values())

    def _found(self) -> dict[str, frozenset[str]]:
        with connect(self._database, autocommit=True) as connection:
            missing, stale = difference(connection)
            rights = [*foreign(connection, self._others), *(f"{one.role}: {one}" for one in stale)]
            rights += [f"{one.role}: not {one}" for one in missing]
            sums = catalogue_sums(connection) if self._catalogue else {}
            return {
                "catalogue": frozenset(
                    f"CHANGED rows of xinliu.{table}" for table in sums if sums[table] != self._catalogue.get(table)
                ),
                "definitions": frozenset(map(str, differences(connection))),
                "rights": frozenset(map(str, rights)),
            }
