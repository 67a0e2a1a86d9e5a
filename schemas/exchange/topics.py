"""Topics and headers of the exchange between provinces, and the hash of a run of messages.

A run is the messages of one partition of `exchange.<province>` between two checkpoints. Its hash covers only data that
is equal on every cluster: offsets of the origin's log, keys, headers and Avro bodies, in order. It does not cover the 5
bytes before a body, because each registry assigns its own schema ids; the header SCHEMA names the writer's schema by
its fingerprint instead.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.contracts.avro import SCHEMA

__all__ = [
    "EPOCH",
    "EXCHANGE_PARTITIONS",
    "FIRST_HASH",
    "KNOWN",
    "MEND",
    "ORIGIN",
    "SCHEMA",
    "SIGNED_HEADERS",
    "WITHDRAWN",
    "RunHash",
    "exchange_topic",
    "province_of",
    "status_topic",
]

EXCHANGE_PARTITIONS: Final = 4
"""Partitions of an exchange topic, as many as `accepted` has: an entity's messages have the same partition number in
all four provinces.
"""

EPOCH: Final = "xinliu-epoch"
"""Decimal: the epoch in which the statement is shared. A record begins a new epoch when it leaves the shared set
(WITHDRAWN) or returns to it; of two statements of a record the higher (epoch, version, digest) wins. A department's own
statement has 0.
"""

KNOWN: Final = "xinliu-known"
"""Decimal: when `accepted` of the origin received the statement, in milliseconds since 1970."""

MEND: Final = "xinliu-mend"
"""Present if a statement is pushed again because a set differed (anti-entropy): it is applied even if its rank is
stored already.
"""

ORIGIN: Final = "xinliu-origin"
"""Added by the link: topic, topic id, partition and offset in the origin's log, separated by blanks."""

SIGNED_HEADERS: Final = (SCHEMA, EPOCH, KNOWN, MEND)
"""Headers that a hash covers, in this order; readers trust no other header."""

WITHDRAWN: Final = "WITHDRAWN"
"""Status and reason of a statement without a body by which a province removes a record from the shared set. No
department can state it.
"""

FIRST_HASH: Final = "0" * 64
"""Predecessor hash of the first run of a partition."""

_EXCHANGE, _STATUS = "exchange.", "status."
_HEAD = struct.Struct(">qI")
_LENGTH = struct.Struct(">I")


def exchange_topic(province: str) -> str:
    """Return the topic of the statements that a province shares.

    The topic has that name on every cluster, and only the province's own relay writes to it.
    """
    return _EXCHANGE + province


def status_topic(province: str) -> str:
    """Return the topic on which a province publishes its progress."""
    return _STATUS + province


def province_of(topic: str) -> str | None:
    """Return the province of a topic; None if it is no topic of the exchange."""
    for prefix in (_EXCHANGE, _STATUS):
        if topic.startswith(prefix):
            return topic.removeprefix(prefix)
    return None


class RunHash:
    """Running hash of a run, message by message.

    >>> one, other = RunHash(FIRST_HASH), RunHash(FIRST_HASH)
    >>> one.add(0, b"key", [(EPOCH, b"7")], b"body")
    >>> other.add(0, b"key", [(EPOCH, b"8")], b"body")
    >>> one.hexdigest() == other.hexdigest(), one.count
    (False, 1)
    """

    def __init__(self, predecessor_hash: str) -> None:
        self._sha = hashlib.sha256(bytes.fromhex(predecessor_hash))
        self.count = 0

    def add(self, offset: int, key: bytes, headers: Sequence[tuple[str, bytes]], body: bytes) -> None:
        """Add a message: its offset in the origin's log, and its Avro body without the 5 bytes before it."""
        signed = [value for name in SIGNED_HEADERS for value in _values(headers, name)]
        self._sha.update(_HEAD.pack(offset, len(key)))
        self._sha.update(key)
        for value in (*signed, body):
            self._sha.update(_LENGTH.pack(len(value)))
            self._sha.update(value)
        self.count += 1

    def hexdigest(self) -> str:
        """Return the hash of all added messages: 64 hexadecimal digits."""
        return self._sha.hexdigest()


def _values(headers: Iterable[tuple[str, bytes]], name: str) -> tuple[bytes, bytes]:
    """Return how many headers have this name, and the first one's value: an absent header differs from an empty one."""
    found = [value for key, value in headers if key == name]
    return b"%d" % len(found), found[0] if found else b""
