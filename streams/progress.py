"""Intake's progress vectors, as the view reads them: what each tells of each input partition, the newest of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.columns import decode_batch
from schemas.errors import ContractBroken
from schemas.registry import Registry
from streams.runs import Record

__all__ = ["newest_vectors"]


def newest_vectors(registry: Registry, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return a row of input_progress, as view/progress.sql names it, for each input partition and each reporter.

    Raises Retryable where the registry does not answer, ContractBroken where a message is no Progress vector.
    """
    newest: dict[tuple[str, int, str, int], dict[str, Any]] = {}
    decoded = decode_batch(registry, [record.value for record in records], expected={"xinliu.Progress"})
    if decoded.undecodable:
        record = records[decoded.undecodable[0].row]
        raise ContractBroken(f"{record.topic}/{record.partition}@{record.offset} is no Progress vector")
    for row, _, vector in decoded.others:
        reporter = records[row]
        for told in vector["inputs"]:
            key = (told["topic"], told["partition"], reporter.topic, reporter.partition)
            entry = {
                **told,
                **{name: told[name].isoformat() if told[name] else None for name in ("as_of", "marked_at")},
                "reporter_topic": reporter.topic,
                "reporter_partition": reporter.partition,
            }
            held = newest.get(key)
            if held is None or entry["topic_id"] != held["topic_id"] or entry["next_offset"] >= held["next_offset"]:
                newest[key] = entry
    return list(newest.values())
