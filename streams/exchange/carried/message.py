"""A message that a province's exchange carries beside its statements."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from streams.kafka.headers import Origin

__all__ = ["CHECKPOINT", "Carried", "Connection", "Handler", "carried_key"]

CHECKPOINT: Final = "xinliu.Checkpoint"
"""Full name of the contract of checkpoints."""

Connection = psycopg.Connection[tuple[Any, ...]]

_LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Carried:
    """A decoded message that came by a province's exchange beside its statements."""

    name: str
    """Full name of the contract."""
    province: str
    partition: int
    """Of the exchange, and of `accepted`."""
    key: bytes
    """As in `accepted` (`carried_key`)."""
    value: Mapping[str, Any]
    origin: Origin
    """Its place in the origin's log."""
    accepted_offset: int
    known_at: datetime
    """When `accepted` received it."""


Handler = Callable[[Connection, Sequence[Carried]], None]
"""Takes all messages of one contract in a batch, in the order of `accepted`, in the transaction that has folded the
batch's statements. These may include statements behind the messages: `accepted_offset` gives the order."""


def carried_key(province: str, partition: int, name: str, key: bytes) -> bytes:
    """Return the key under which intake forwards such a message to `accepted`; compaction keeps the newest of a key.

    It begins with the province and its partition: no province can replace another's messages in `accepted`, nor a
    department's. Of a partition's checkpoints only the newest stays.
    """
    if name == CHECKPOINT:
        return f"checkpoint|{province}|{partition}".encode()
    own = key if len(key) <= _LONGEST_KEY else hashlib.blake2b(key, digest_size=16).hexdigest().encode()
    return f"carried|{province}|{partition}|{name.removeprefix('xinliu.')}|".encode() + own
