"""What keeps a province's tables equal to what was said, beside its view worker: the audit, and tending the sets of the others."""

from __future__ import annotations

from collections.abc import Callable

from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection
from streams.exchange.sets.keeper import Tending
from streams.integrity.accepted import Accepted
from streams.integrity.quarantine_audit import QuarantineAudit, QuarantineLog
from streams.integrity.table_audit import Reshares, TableAudit
from streams.monitoring.endpoint import Outside

__all__ = ["equal_threads"]


def equal_threads(
    connection: Connection,
    *,
    generation: int,
    partitions: int,
    shown: Outside,
    sharing: Reshares | None = None,
    on_commit: Callable[[], None] = lambda: None,
) -> dict[str, TableAudit | Tending]:
    """Return the threads by name; sets of others are tended where the province shares.
    `partitions` is how many `accepted` has."""
    database, own = connection.database.get_secret_value(), connection.province
    # A log and a registry each: a client is used by one thread alone.
    audited, tended = (Accepted(connection.kafka, Registry(connection.registry)) for _ in range(2))
    auditor = TableAudit(
        database, audited, own=own, partitions=partitions, generation=generation, instruments=shown.instruments,
        on_commit=on_commit, sharing=sharing, shortest_pass=connection.looks.audit,
        quarantine=QuarantineAudit(database, QuarantineLog(connection.kafka), generation=generation),
    )  # fmt: skip
    if connection.exchange is None:
        return {"audit": auditor}
    tending = Tending(
        database, tended, own=own, partitions=partitions, generation=generation, instruments=shown.instruments,
        on_commit=on_commit,
    )  # fmt: skip
    return {"audit": auditor, "tending": tending}
