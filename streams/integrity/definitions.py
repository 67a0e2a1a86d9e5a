"""The watch on definitions and rights: compares those in the database with the shipped and declared ones.

The owner of the tables can make a view leave out a record, or let everybody read the quarantine: rows stay as they are,
and no audit of rows would find it. The log names each difference, and a gauge counts them, for an alert; nothing is
changed back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog
from psycopg import sql as compose

from schemas.errors import Retryable, UsageError
from schemas.store.definitions import differences
from schemas.store.grants import foreign
from schemas.store.roles import difference
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import DEFINITIONS_DIFFER
from streams.runtime.service import Service

__all__ = ["CATALOGUE", "DefinitionsWatch", "catalogue_sums"]

log = structlog.get_logger()

CATALOGUE = (
    "domain", "domain_source", "list", "province", "heartbeat", "mutual_domain", "silence", "installation", "level", "list_period",
    "report_window", "visibility", "deadline", "exchange_limit", "workday",
)  # fmt: skip
"""Tables that the catalogue fills. The state 无 depends on them: which domains there are, their sources,
and how long a source may be silent."""


def catalogue_sums(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return a sum of each catalogue table; it differs if a row does, but for a collision of 64 bits."""
    sums = {}
    for table in CATALOGUE:
        query = compose.SQL("SELECT concat(count(*), ' ', sum(hash_record_extended(t, 0))) FROM xinliu.{} t")
        row = connection.execute(query.format(compose.Identifier(table))).fetchone()
        assert row is not None
        sums[table] = str(row[0])
    return sums


class DefinitionsWatch(Service):
    """Compares at once and then every so many seconds, in a thread of its own. `others` are login roles that may exist.
    `catalogue` are the sums of the tables that this worker has filled from its catalogue: another worker may have
    another one. A database that does not answer is waited for; no other fault may end the view."""

    waits = "definitions.waits"
    transient = (psycopg.Error, Retryable, UsageError)

    def __init__(
        self,
        database: str,
        *,
        every: float,
        others: Sequence[str] = (),
        catalogue: Mapping[str, str] | None = None,
        shown: Instruments | None = None,
    ) -> None:
        super().__init__(database)
        self._every, self._others = every, list(others)
        self._catalogue = dict(catalogue or {})
        self._shown = (shown or Instruments("view")).latest(DEFINITIONS_DIFFER)
        self._told = dict[str, frozenset[str]]()

    def _round(self) -> float:
        self.look()
        return self._every

    def look(self) -> int:
        """Compare once; return how many definitions and rights differ."""
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
        with self._connect() as connection:
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
