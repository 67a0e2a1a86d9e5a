"""What provinces hold each other to: the names of their topics, and the hash of a run of messages.

A run is what stands in one partition of `exchange.<province>` between two checkpoints. Its hash covers what every cluster
can see alike: offsets of the origin's log, keys, headers and Avro bodies, in order. It does not cover the 5 bytes before a
body: schema ids are each registry's own; the header SCHEMA names the writer's schema by its fingerprint instead.
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
"""As many as `accepted` has: what is about one entity stands in the partition of the same number in all four provinces."""

EPOCH: Final = "xinliu-epoch"
"""Decimal: the epoch in which the statement is shared. A record that leaves what is shared (WITHDRAWN), or comes back, begins a
new one; of two statements of a record the higher (epoch, version, digest) wins. What a department states itself has 0."""

KNOWN: Final = "xinliu-known"
"""Decimal: when `accepted` of the origin had the statement, in milliseconds since 1970."""

MEND: Final = "xinliu-mend"
"""Present where a statement is pushed again because a set differed: it counts even where its rank is held already."""

ORIGIN: Final = "xinliu-origin"
"""Added by the link: topic, topic id, partition and offset in the origin's log, separated by blanks."""

SIGNED_HEADERS: Final = (SCHEMA, EPOCH, KNOWN, MEND)
"""What a hash covers, in this order; other headers say nothing that is believed."""

WITHDRAWN: Final = "WITHDRAWN"
"""Status and reason of a statement without a body by which a province, not a department, takes a record out of what is
shared. No department can say it."""

FIRST_HASH: Final = "0" * 64
"""What the first run of a partition follows on."""

_EXCHANGE, _STATUS = "exchange.", "status."
_HEAD = struct.Struct(">qI")
_LENGTH = struct.Struct(">I")


def exchange_topic(province: str) -> str:
    """Return the topic of what a province shares; it has that name on every cluster, and only its own relay writes it."""
    return _EXCHANGE + province


def status_topic(province: str) -> str:
    """Return the topic on which a province says how far it is."""
    return _STATUS + province


def province_of(topic: str) -> str | None:
    """Return whose topic it is; None where it is no topic of the exchange."""
    for prefix in (_EXCHANGE, _STATUS):
        if topic.startswith(prefix):
            return topic.removeprefix(prefix)
    return None


class RunHash:
    """The hash of a run, message by message.

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
        """Return the hash of all that was added: 64 hexadecimal digits."""
        return self._sha.hexdigest()


def _values(headers: Iterable[tuple[str, bytes]], name: str) -> tuple[bytes, bytes]:
    """Return how often a header stands there and the value of its first: an absent one differs from an empty one."""
    found = [value for key, value in headers if key == name]
    return b"%d" % len(found), found[0] if found else b""
