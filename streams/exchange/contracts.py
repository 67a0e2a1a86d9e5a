"""What a province's exchange carries beside statements, by contract."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.cases import CONTRACT as CASE
from streams.exchange import asking, cases, pending
from streams.masking import keepable

__all__ = ["CARRIED_CONTRACTS", "CHECKPOINT", "carried_key", "fault"]

CHECKPOINT: Final = "xinliu.Checkpoint"

Check = Callable[[Mapping[str, Any], str, int], str | None]
"""Takes a decoded message, the province and the partition by which it came; returns what that province may not have said."""


def _of_province(message: Mapping[str, Any], province: str, _partition: int) -> str | None:
    return None if message.get("province") == province else "it speaks for another province"


CARRIED_CONTRACTS: Final[Mapping[str, Check]] = {
    "xinliu.SharedSet": asking.wrong_set,
    pending.CONTRACT: pending.wrong_in,
    CASE: cases.wrong_in,
}
"""Contracts that ride along in the runs, covered by their checkpoints like statements, and what intake makes sure of; the view
hands them to whoever handles them (streams/exchange/handling.py)."""

_LONGEST_KEY = 200
_HASH = re.compile(r"^[0-9a-f]{64}$")
_TOPIC_ID = re.compile(r"^[!-~]{1,40}$")


def carried_key(province: str, partition: int, name: str, key: bytes) -> bytes:
    """Return the key under which intake forwards such a message to `accepted`, where the newest of a key stays.

    It begins with the province and its partition: no province can take another's messages out of `accepted`, nor a
    department's. Of a partition's checkpoints the newest stays.
    """
    if name == CHECKPOINT:
        return f"checkpoint|{province}|{partition}".encode()
    own = key if len(key) <= _LONGEST_KEY else hashlib.blake2b(key, digest_size=16).hexdigest().encode()
    return f"carried|{province}|{partition}|{name.removeprefix('xinliu.')}|".encode() + own


def fault(checkpoint: Mapping[str, Any]) -> str:
    """Say what of a checkpoint cannot be kept as its contract means it; empty where it is sound."""
    domains = [one["domain"] for one in checkpoint["domains"]]
    if len(domains) != len(set(domains)) or any(keepable(domain) is None for domain in domains):
        return "a domain twice, or one that is none"
    if any(one["records"] < 0 for one in checkpoint["domains"]):
        return "that less than nothing is shared"
    if min(checkpoint["sequence"], checkpoint["count"], checkpoint["predecessor"] + 1) < 0:
        return "a place that no log has"
    if not all(_HASH.match(checkpoint[name]) for name in ("hash", "predecessor_hash")):
        return "a hash that is none"
    return "" if _TOPIC_ID.match(checkpoint["topic_id"]) else "a topic id that is none"
