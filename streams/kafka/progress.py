"""Intake's progress vectors, merged for each input partition, as the view reads them.

Each part only advances: vectors that come again, late or in another order change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from schemas.contracts.columns import decode_batch
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken
from streams.kafka.headers import SCHEMA, header
from streams.kafka.records import Record

__all__ = ["latest", "newest_vectors"]

_TIMES = ("as_of", "marked_at")


def latest(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two times; None is before all others."""
    return max((time for time in (one, other) if time is not None), default=None)


def newest_vectors(registry: Registry, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return a row of input_progress, as projection/progress.sql names it, for each input partition and each reporter.

    Raises Retryable if the registry does not answer, ContractBroken if a message is no Progress vector.
    """
    together: dict[tuple[str, int, str, int], dict[str, Any]] = {}
    values, named = [record.value for record in records], [header(record.headers, SCHEMA) for record in records]
    decoded = decode_batch(registry, values, named=named, expected={"xinliu.Progress"})
    if decoded.undecodable:
        record = records[decoded.undecodable[0].row]
        raise ContractBroken(f"{record.topic}/{record.partition}@{record.offset} is no Progress vector")
    for row, _, vector in decoded.others:
        reporter = records[row]
        for told in vector["inputs"]:
            key = (told["topic"], told["partition"], reporter.topic, reporter.partition)
            held = together.get(key)
            if held is None or told["topic_id"] != held["topic_id"]:
                together[key] = {**told, "reporter_topic": reporter.topic, "reporter_partition": reporter.partition}
                continue
            held["next_offset"] = max(held["next_offset"], told["next_offset"])
            for name in _TIMES:
                held[name] = latest(held[name], told[name])
    return [
        entry | {name: entry[name].isoformat() if entry[name] else None for name in _TIMES}
        for entry in together.values()
    ]
