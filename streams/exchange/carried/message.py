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
    """A message that came by a province's exchange beside its statements, as its contract has it."""

    name: str
    """Full name of the contract."""
    province: str
    partition: int
    """Of the exchange, and of `accepted`."""
    key: bytes
    """As it is in `accepted` (`carried_key`)."""
    value: Mapping[str, Any]
    origin: Origin
    """Where it stands in the origin's log."""
    accepted_offset: int
    known_at: datetime
    """When `accepted` had it."""


Handler = Callable[[Connection, Sequence[Carried]], None]
"""Takes all messages of one contract of a batch, in the order of `accepted`, in the transaction that has folded the batch's
statements, those that came behind them among them: `accepted_offset` tells what came first."""


def carried_key(province: str, partition: int, name: str, key: bytes) -> bytes:
    """Return the key under which intake forwards such a message to `accepted`, where the newest of a key stays.

    It begins with the province and its partition: no province can take another's messages out of `accepted`, nor a
    department's. Of a partition's checkpoints the newest stays.
    """
    if name == CHECKPOINT:
        return f"checkpoint|{province}|{partition}".encode()
    own = key if len(key) <= _LONGEST_KEY else hashlib.blake2b(key, digest_size=16).hexdigest().encode()
    return f"carried|{province}|{partition}|{name.removeprefix('xinliu.')}|".encode() + own
