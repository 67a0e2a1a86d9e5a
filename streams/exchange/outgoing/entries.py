"""Outbox entries for the other provinces, one per line, as exchange/outgoing/share.sql writes them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OutboxEntry"]


class OutboxEntry(NamedTuple):
    """A statement to publish, or a record's withdrawal; both point to a statement in history by its rank."""

    action: str
    """SHARE or WITHDRAW."""
    partition: int
    record_id: str
    """32 hexadecimal digits."""
    department: str
    epoch: int
    """Its epoch in the exchange; in history our own statements have none."""
    version: int
    digest_hi: int
    digest_lo: int
    """Of a withdrawal: those of the last shared statement."""
    mends: bool
    uscc: str
    domain: str
    kind: str
    status: str
    """As published: a withdrawal's is WITHDRAWN, and the three before it are as they were shared."""

    @classmethod
    def of(cls, line: str) -> OutboxEntry:
        """Parse a line of a row's payload."""
        action, partition, record_id, department, epoch, version, high, low, mends, *rest = line.split("|")
        key = record_id.replace("-", "")
        return cls(
            action, int(partition), key, department, int(epoch), int(version), int(high), int(low), mends == "t", *rest
        )
