"""Columns of the tables of a generation, in the order in which rows are copied into them."""

from __future__ import annotations

from schemas.contracts.columns import FLAT

__all__ = ["HISTORY", "RECORD"]

_NOT_STORED = {"row", "has_penalty", "has_listing", "has_registration"}

RECORD = (
    *(name for name in FLAT.names() if name not in _NOT_STORED),
    "digest_hi", "digest_lo", "content_key", "known_at", "epoch",
)  # fmt: skip
"""Of the table `record`, and of `stage`."""

HISTORY = (
    "record_id", "version", "digest_hi", "digest_lo", "status", "uscc", "known_at", "accepted_partition",
    "accepted_offset", "writer", "statement", "province", "department", "reason", "disputed", "removed",
    "received_at", "decided_on", "epoch",
)  # fmt: skip
"""Of the table `record_history`."""
