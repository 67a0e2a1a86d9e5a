"""Advisory locks by which one process of several does the work that only one may do: every key, and the leader
election.

One key is outside this room: that of the readers' views (schemas/store/serving_views.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from schemas.store.database import give_back

__all__ = [
    "AUDIT", "CASES", "EXCHANGE", "FILLING", "LEADERS", "PROMOTE", "RELAY", "SERVING", "SETTLING", "STATUS", "STATUS_READER",
    "SWEEP", "TABLE_AUDIT", "TENDING", "Lead", "leads_transaction",
]  # fmt: skip

# A key must not change: two releases may run side by side during an upgrade, and must exclude each other.
RELAY = 0x78696E6C6975  # "xinliu"
AUDIT = 0x78696E6C_61756474  # the projection of operations into xinliu.audit
CASES = 0x63617365  # "case"
SETTLING = 0x71756172616E74  # "quarant"; per transaction
EXCHANGE = 0x65786368616E6765  # "exchange", its publisher
SWEEP = 0x7377656570  # "sweep"
STATUS = 0x78696E6C6975_01
STATUS_READER = 0x78696E6C6975_02
TENDING = 0x74656E64  # "tend"; per generation
TABLE_AUDIT = 0x75646974  # "udit"; per generation
FILLING = 0x65627569  # "ebui", a rebuild; per generation
PROMOTE = 0x70726F6D6F7465  # "promote"
SERVING = (
    0x73657276696E67  # "serving": shared by those who publish from the serving generation, exclusive for a promote
)

LEADERS: Mapping[int, str] = {RELAY: "relay", AUDIT: "audit", CASES: "cases"}
"""Locks that some worker always holds while a generation serves, with their names."""


class Lead:
    """Leader election by one advisory lock, of the whole province or of one generation. It lasts as long as the session."""

    def __init__(self, key: int, *, generation: int | None = None) -> None:
        self._key = (key,) if generation is None else (key, generation)
        self._session: psycopg.Connection[object] | None = None

    @property
    def held(self) -> bool:
        """Return whether the session that was elected is still open."""
        return self._session is not None and not self._session.closed

    def take(self, connection: psycopg.Connection[object]) -> bool:
        """Return whether this session is elected; false if another one leads."""
        one, two = "SELECT pg_try_advisory_lock(%s)", "SELECT pg_try_advisory_lock(%s, %s)"
        row = connection.execute(one if len(self._key) == 1 else two, self._key).fetchone()
        self._session = connection if row == (True,) else None
        return self._session is not None

    def give_up(self) -> None:
        """End the lead; the session stays open."""
        if self._session is not None:
            one, two = "SELECT pg_advisory_unlock(%s)", "SELECT pg_advisory_unlock(%s, %s)"
            give_back(self._session, one if len(self._key) == 1 else two, self._key)
        self._session = None


def leads_transaction(connection: psycopg.Connection[object], key: int) -> bool:
    """Return whether this transaction is elected, until its end; false if another one leads."""
    return connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (key,)).fetchone() == (True,)
