"""The applying half of the exchange: what the view notes of other provinces, in the transaction that folds their statements.

What is held of each of them is summed up by delta (foreign_digest). A checkpoint of theirs that comes behind all of its run is
applied then: it is written down as such, and, where it speaks of the whole set, what it says is held against what is held.
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

__all__ = ["Applied", "Applying", "carried", "reflect"]


@dataclass(frozen=True, slots=True)
class Applied:
    """A checkpoint that this view holds whole; `compared`: what it says was held against what is held here."""

    province: str
    partition: int
    topic_id: str
    sequence: int
    offset: int
    made_at: datetime
    compared: bool


def carried(registry: Registry, records: Sequence[Record]) -> tuple[Carried, ...]:
    """Decode what intake forwarded with the header CARRIED. Raises ContractBroken where it cannot have."""
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


class Applying:
    """Notes what came of other provinces; `handlers` take what their exchanges carry beside statements and checkpoints."""

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
        """Note a batch that is folded: `taken` is Folded.taken; `behind` is the offset in `accepted` of the last statement of
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
    """Apply the newest checkpoint of one province's partition, and compare where nothing of the province came behind it."""
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
        return []  # a run that was forwarded again: what came since is held already
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
    """Tell whether a checkpoint comes after the one that is held; intake's chain has found both to be the province's word."""
    if value["topic_id"] == topic_id:
        return bool(value["sequence"] > sequence)
    return bool(value["made_at"] > made_at)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def reflect(connection: Connection, applied: Sequence[Applied]) -> None:
    """Note how far another province's part of a report follows from what this one has shared with it.

    What a province shares of an entity depends on where it is registered, which another province may have said. Until it has
    applied that registration, and has closed its own runs since, its part may lack records that it holds: 无 is never "has not
    heard of it yet". Noted for the partitions whose checkpoints were applied and compared, in the view's transaction.
    """
    places = sorted({(one.province, one.partition) for one in applied if one.compared})
    if places:
        values = {"provinces": [province for province, _ in places], "partitions": [place for _, place in places]}
        connection.execute(sql("exchange/incoming/reflected"), values)
