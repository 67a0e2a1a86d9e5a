"""Contracts that a province's exchange carries beside statements, each with its check."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.cases.fold import CONTRACT as CASE
from streams.exchange.carried import cases
from streams.exchange.carried import pending_entries as pending
from streams.exchange.sets import requests as asking
from streams.forwarding.masking import keepable

__all__ = ["CARRIED_CONTRACTS", "checkpoint_fault"]

Check = Callable[[Mapping[str, Any], str, int], str | None]
"""Takes a decoded message, the province and the partition by which it came; returns why it may not stand there, or
None."""


def _of_province(message: Mapping[str, Any], province: str, _partition: int) -> str | None:
    return None if message.get("province") == province else "it speaks for another province"


CARRIED_CONTRACTS: Final[Mapping[str, Check]] = {
    "xinliu.SharedSet": asking.set_fault,
    pending.CONTRACT: pending.pending_fault,
    CASE: cases.case_fault,
}
"""Contracts whose messages ride along in the runs, covered by their checkpoints like statements, and intake's check of
each. The view passes the messages to their handlers (streams/exchange/handlers.py)."""

_HASH = re.compile(r"^[0-9a-f]{64}$")
_TOPIC_ID = re.compile(r"^[!-~]{1,40}$")


def checkpoint_fault(checkpoint: Mapping[str, Any]) -> str:
    """Return the fault for which a checkpoint cannot be stored as its contract means it; empty if it is sound."""
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
