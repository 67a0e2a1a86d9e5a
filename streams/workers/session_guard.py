"""The session guard: protects the workers from other sessions in the database.

It ends a reader's session that lifted its own limits. A foreign advisory lock, and a leader's lock that no worker of
ours holds, make the worker unready: nothing would be published, and nothing else would report it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic

import psycopg
import structlog

from schemas.store import limits
from schemas.store.roles import OWNER, WORKER
from schemas.store.sql_files import sql
from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import FOREIGN_LOCKS, LEADER_MISSING, LIMITS_LACKING, READERS_ENDED
from streams.projection.serving import serves
from streams.runtime.locks import LEADERS
from streams.runtime.service import Connection, DatabaseSession

__all__ = ["PATIENCE", "SessionGuard"]

log = structlog.get_logger()

PATIENCE = 30.0
"""Seconds that a leader's lock may be free: after a worker was killed the next one takes it within a few seconds."""

_COMPARE_EVERY = 300.0
"""Seconds between two comparisons of the roles' limits."""


class SessionGuard(DatabaseSession):
    """One look per call, on a connection of its own."""

    def __init__(
        self,
        instruments: Instruments,
        probe: Probe,
        database: str,
        *,
        generation: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(database, generation=generation)
        self._probe, self._generation, self._clock = probe, generation, clock
        self._foreign = instruments.latest(FOREIGN_LOCKS)
        self._missing = instruments.latest(LEADER_MISSING)
        self._lacking = instruments.latest(LIMITS_LACKING)
        self._ended = instruments.total(READERS_ENDED)
        self._since: dict[int, float] = {}
        self._seen: frozenset[str] = frozenset()
        self._compared_at = -_COMPARE_EVERY
        self._may_not: str | None = None

    def look(self) -> None:
        """Look once. Raises Retryable or psycopg.OperationalError if PostgreSQL does not answer."""
        try:
            connection = self._connected()
            self._end_readers(connection)
            self._look_at_locks(connection)
            self._compare(connection)
        except psycopg.OperationalError:
            self.close()
            raise

    def _set_up(self, connection: Connection) -> None:
        connection.execute("SET statement_timeout = '10s'")

    def _end_readers(self, connection: Connection) -> None:
        try:
            ended = Counter(str(row[0]) for row in connection.execute(sql("workers/end_readers"), limits.GRACE))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction) as error:
            # Readers go on as before; `limits.lacking` names the missing limits, and an alert of its own reports them.
            if (why := str(error).strip()) != self._may_not:
                log.error("guard.may_not_end_readers", why=why, see="xinliu access plan")
            self._may_not = why
            return
        self._may_not = None
        self._ended.add({(limit,): float(sessions) for limit, sessions in ended.items()})
        for limit, sessions in ended.items():
            log.warning("guard.readers_ended", sessions=sessions, lifted=limit, after_seconds=limits.GRACE[limit])

    def _look_at_locks(self, connection: Connection) -> None:
        row = connection.execute("SELECT current_user::text").fetchone()
        ours = {OWNER, WORKER, "" if row is None else str(row[0])}
        rows = connection.execute(sql("workers/locks")).fetchall()
        foreign = Counter(str(role) for role, _, _ in rows if role not in ours)
        now, held = self._clock(), {key for _, worker, key in rows if worker}
        absent = LEADERS.keys() - held if serves(connection, self._generation) else frozenset[int]()
        self._since = {key: self._since.get(key, now) for key in absent}
        waited = {LEADERS[key]: now - since for key, since in self._since.items()}
        self._foreign.replace({(role,): float(locks) for role, locks in foreign.items()})
        self._missing.replace({(name,): waited.get(name, 0.0) for name in LEADERS.values()})
        reasons = [
            *(
                f"{role} holds or awaits {n} advisory locks, which are the workers'"
                for role, n in sorted(foreign.items())
            ),
            *(
                f"no worker has had the lock of the {name} for {seconds:.0f} s"
                for name, seconds in sorted(waited.items())
                if seconds > PATIENCE
            ),
        ]
        self._probe.found("guard", reasons)
        if news := foreign.keys() - self._seen:
            log.error("guard.foreign_locks", roles=sorted(news), see="docs/security.md")
        self._seen = frozenset(foreign)

    def _compare(self, connection: Connection) -> None:
        if self._clock() - self._compared_at < _COMPARE_EVERY:
            return
        self._compared_at = self._clock()
        self._lacking.replace(
            {(role,): float(n) for role, n in Counter(lack.role for lack in limits.lacking(connection)).items()}
        )
