"""The threads beside a view worker that keep its tables equal to the logs: the table audit and the set keeper."""

from __future__ import annotations

from collections.abc import Callable

from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection
from streams.exchange.sets.keeper import SetKeeper
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
) -> dict[str, TableAudit | SetKeeper]:
    """Return the threads by name; the set keeper only if the province shares records. `partitions` is the number of
    partitions of `accepted`."""
    database, own = connection.database.get_secret_value(), connection.province
    # A log and a registry each: one thread alone may use a client.
    audited, tended = (Accepted(connection.kafka, Registry(connection.registry)) for _ in range(2))
    auditor = TableAudit(
        database, audited, own=own, partitions=partitions, generation=generation, instruments=shown.instruments,
        on_commit=on_commit, sharing=sharing, shortest_pass=connection.looks.audit,
        quarantine=QuarantineAudit(database, QuarantineLog(connection.kafka), generation=generation),
    )  # fmt: skip
    if connection.exchange is None:
        return {"audit": auditor}
    tending = SetKeeper(
        database, tended, own=own, partitions=partitions, generation=generation, instruments=shown.instruments,
        on_commit=on_commit,
    )  # fmt: skip
    return {"audit": auditor, "tending": tending}
