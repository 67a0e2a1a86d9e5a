"""Application of other provinces' checkpoints, in the view's transaction that folds their statements.

foreign_digest sums up each province's stored records by delta. The view applies a checkpoint that comes behind all of
its run: it stores the checkpoint and, if that covers the whole set, compares the checkpoint's digests with the stored
ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from psycopg.types.json import Jsonb

from schemas.contracts.columns import decode_batch
from schemas.contracts.registry import Registry
from schemas.errors import ContractBroken
from schemas.store.sql_files import sql
from streams.exchange.carried.message import CHECKPOINT, Carried, Connection, Handler
from streams.exchange.contracts import CARRIED_CONTRACTS
from streams.exchange.sets.foreign_digests import add_to_digests
from streams.kafka.headers import CARRIED, SCHEMA, Origin, header
from streams.kafka.records import Record

__all__ = ["Applied", "CheckpointApplier", "carried", "reflect"]


@dataclass(frozen=True, slots=True)
class Applied:
    """A checkpoint whose run this view has folded; `compared`: its digests were compared with the stored ones."""

    province: str
    partition: int
    topic_id: str
    sequence: int
    offset: int
    made_at: datetime
    compared: bool


def carried(registry: Registry, records: Sequence[Record]) -> tuple[Carried, ...]:
    """Decode messages that intake forwarded with the header CARRIED. Raises ContractBroken if it cannot have."""
    if not records:
        return ()
    values, named = [record.value for record in records], [header(record.headers, SCHEMA) for record in records]
    decoded = decode_batch(registry, values, named=named, expected={CHECKPOINT, *CARRIED_CONTRACTS})
    if decoded.undecodable or decoded.statements.height:
        record = records[decoded.undecodable[0].row] if decoded.undecodable else records[0]
        raise ContractBroken(f"{record.topic}/{record.partition}@{record.offset} is nothing that an exchange carries")
    return tuple(_carried(records[row], name, value) for row, name, value in decoded.others)


def _carried(record: Record, name: str, value: Mapping[str, Any]) -> Carried:
    origin = Origin.from_bytes(header(record.headers, CARRIED) or b"")
    known_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    province = origin.province or ""
    if value.get("province") != province:
        raise ContractBroken(f"{record.topic}/{record.partition}@{record.offset} is not the word of {province}")
    return Carried(name, province, record.partition, record.key or b"", value, origin, record.offset, known_at)


class CheckpointApplier:
    """Applies other provinces' messages in a batch; `handlers` take those that are no statements or checkpoints."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        on_applied: Sequence[Callable[[Connection, Sequence[Applied]], None]] = (),
    ) -> None:
        self._handlers = handlers
        self._on_applied = on_applied

    def apply(
        self,
        connection: Connection,
        taken: pl.DataFrame | None,
        came: Sequence[Carried],
        behind: Mapping[tuple[str, int], int],
    ) -> None:
        """Apply a folded batch: `taken` is Folded.taken; `behind` is the offset in `accepted` of the last statement of
        each province in each partition."""
        if taken is not None:
            add_to_digests(connection, taken)
        for name, handler in self._handlers.items():
            if told := [one for one in came if one.name == name]:
                handler(connection, told)
        applied = []
        places = sorted({(one.province, one.partition) for one in came if one.name == CHECKPOINT})
        for place in places:
            checkpoints = [one for one in came if one.name == CHECKPOINT and (one.province, one.partition) == place]
            applied += _apply(connection, checkpoints, behind.get(place, -1))
        if applied:
            for hook in self._on_applied:
                hook(connection, applied)


def _apply(connection: Connection, checkpoints: Sequence[Carried], behind: int) -> list[Applied]:
    """Apply the newest checkpoint of one province's partition; compare if no statement of it came behind."""
    (first, *_) = checkpoints
    held = connection.execute(
        "SELECT topic_id, sequence, made_at FROM applied_checkpoint WHERE province = %s AND partition = %s FOR UPDATE",
        (first.province, first.partition),
    ).fetchone()
    newest: Carried | None = None
    for one in checkpoints:
        value = one.value
        if held is None or _newer(value, *held):
            newest = one
            held = (value["topic_id"], value["sequence"], value["made_at"])
    if newest is None:
        return []  # a run that was forwarded again: newer ones are applied already
    value = newest.value
    compared = bool(value["complete"]) and newest.accepted_offset > behind
    place = {"province": newest.province, "partition": newest.partition}
    connection.execute(
        sql("exchange/incoming/applied"),
        {
            **place,
            **{name: value[name] for name in ("topic_id", "sequence", "hash", "made_at", "complete")},
            "offset": newest.origin.offset,
        },
    )
    if compared:
        domains = [{**one, "data_as_of": _text(one["data_as_of"])} for one in value["domains"]]
        told = {**place, "sequence": value["sequence"], "made_at": value["made_at"], "domains": Jsonb(domains)}
        connection.execute(sql("exchange/incoming/compared"), told)
    return [
        Applied(
            newest.province,
            newest.partition,
            value["topic_id"],
            value["sequence"],
            newest.origin.offset,
            value["made_at"],
            compared,
        )
    ]


def _newer(value: Mapping[str, Any], topic_id: str, sequence: int, made_at: datetime) -> bool:
    """Return whether a checkpoint comes after the applied one; intake's chain has verified both."""
    if value["topic_id"] == topic_id:
        return bool(value["sequence"] > sequence)
    return bool(value["made_at"] > made_at)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def reflect(connection: Connection, applied: Sequence[Applied]) -> None:
    """Store how far another province's part of a report follows from the statements that this one has shared with it.

    A province shares an entity's records by where the entity is registered, which another province may have published.
    Until it has applied that registration, and has closed its own runs since, its part may lack records that it holds:
    无 never means "has not heard of it yet". Stored for partitions whose checkpoints were applied and compared, in the
    view's transaction.
    """
    places = sorted({(one.province, one.partition) for one in applied if one.compared})
    if places:
        values = {"provinces": [province for province, _ in places], "partitions": [place for _, place in places]}
        connection.execute(sql("exchange/incoming/reflected"), values)
