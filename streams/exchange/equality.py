"""What keeps a province's tables equal to what was said, beside its view worker: the audit, and tending the sets of the others."""

from __future__ import annotations

from collections.abc import Callable

from schemas.connection import Connection
from schemas.registry import Registry
from streams.endpoint import Outside
from streams.exchange.auditing import Auditor, Reshares
from streams.exchange.quarantine_audit import QuarantineAudit, Refused
from streams.exchange.rereading import Accepted
from streams.exchange.tending import Tending

__all__ = ["equal_threads"]


def equal_threads(
    connection: Connection,
    *,
    generation: int,
    partitions: int,
    shown: Outside,
    sharing: Reshares | None = None,
    on_commit: Callable[[], None] = lambda: None,
) -> dict[str, Auditor | Tending]:
    """Return the threads by name; sets of others are tended where the province shares.
    `partitions` is how many `accepted` has."""
    database, own = connection.database.get_secret_value(), connection.province
    # A log and a registry each: a client is used by one thread alone.
    audited, tended = (Accepted(connection.kafka, Registry(connection.registry)) for _ in range(2))
    auditor = Auditor(
        database, audited, own=own, partitions=partitions, generation=generation, instruments=shown.instruments,
        on_commit=on_commit, sharing=sharing, shortest_pass=connection.looks.audit,
        quarantine=QuarantineAudit(database, Refused(connection.kafka), generation=generation),
    )  # fmt: skip
    if connection.exchange is None:
        return {"audit": auditor}
    tending = Tending(
        database, tended, own=own, partitions=partitions, generation=generation, instruments=shown.instruments,
        on_commit=on_commit,
    )  # fmt: skip
    return {"audit": auditor, "tending": tending}
