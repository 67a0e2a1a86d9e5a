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
import psycopg
from psycopg.types.json import Jsonb

from schemas.columns import decode_batch
from schemas.errors import ContractBroken
from schemas.exchange import EXCHANGE_PARTITIONS, WITHDRAWN
from schemas.partitioning import partitions_of
from schemas.registry import Registry
from schemas.store import sql
from streams.exchange.contracts import CARRIED_CONTRACTS, CHECKPOINT
from streams.headers import CARRIED, SCHEMA, Origin, header
from streams.runs import Record

__all__ = ["Applied", "Applying", "Carried", "Handler", "carried"]

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Carried:
    """A message that came by a province's exchange beside its statements, as its contract has it."""

    name: str
    """Full name of the contract."""
    province: str
    partition: int
    """Of the exchange, and of `accepted`."""
    key: bytes
    """As it is in `accepted` (contracts.carried_key)."""
    value: Mapping[str, Any]
    origin: Origin
    """Where it stands in the origin's log."""
    accepted_offset: int
    known_at: datetime
    """When `accepted` had it."""


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


Handler = Callable[[Connection, Sequence[Carried]], None]
"""Takes all messages of one contract of a batch, in the order of `accepted`, in the transaction that has folded the batch's
statements, those that came behind them among them: `accepted_offset` tells what came first."""


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
            _sum_up(connection, taken.filter(pl.col("epoch") > 0))
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


def _sum_up(connection: Connection, taken: pl.DataFrame) -> None:
    """Add to foreign_digest what these statements change; an entity's partition is the same everywhere."""
    if taken.is_empty():
        return
    gains = taken.filter(pl.col("status") != WITHDRAWN).select(
        "province", "uscc", "domain", pl.lit(1, dtype=pl.Int64).alias("records"), "digest_hi", "digest_lo"
    )
    losses = pl.DataFrame(schema=gains.schema)
    if "status_held" in taken.columns:
        losses = taken.filter(pl.col("status_held").is_not_null() & (pl.col("status_held") != WITHDRAWN)).select(
            "province",
            pl.col("uscc_held").alias("uscc"),
            pl.col("domain_held").alias("domain"),
            pl.lit(-1, dtype=pl.Int64).alias("records"),
            pl.col("digest_hi_held").alias("digest_hi"),
            pl.col("digest_lo_held").alias("digest_lo"),
        )
    changes = pl.concat([gains, losses])
    delta = (
        changes.with_columns(partition=pl.Series(partitions_of(changes["uscc"], EXCHANGE_PARTITIONS)))
        .group_by("province", "partition", "domain")
        .agg(pl.col("records").sum(), pl.col("digest_hi").bitwise_xor(), pl.col("digest_lo").bitwise_xor())
        .sort("province", "partition", "domain")
    )
    if delta.height:
        names = ("provinces", "partitions", "domains", "records", "high", "low")
        columns = {name: column.to_list() for name, column in zip(names, delta.get_columns(), strict=True)}
        connection.execute(sql("exchange/foreign_digest"), columns)


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
        sql("exchange/applied"),
        {
            **place,
            **{name: value[name] for name in ("topic_id", "sequence", "hash", "made_at", "complete")},
            "offset": newest.origin.offset,
        },
    )
    if compared:
        domains = [{**one, "data_as_of": _text(one["data_as_of"])} for one in value["domains"]]
        told = {**place, "sequence": value["sequence"], "made_at": value["made_at"], "domains": Jsonb(domains)}
        connection.execute(sql("exchange/compared"), told)
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
