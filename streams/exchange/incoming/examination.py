"""Examination of the messages that came by another province's exchange: each by itself, as columns.

A message is part of a run, with its effect if the run is applied; or a verified checkpoint of its province; or a
message that cannot be believed or placed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from schemas.contracts.codec import HEADER, NotDecodable
from schemas.contracts.columns import decode_batch, digests
from schemas.contracts.registry import Registry, WriterSchema
from schemas.errors import ContractBroken
from schemas.exchange.keys import Keyring, NotBelieved
from schemas.exchange.topics import EPOCH, KNOWN, MEND, SCHEMA
from schemas.identifiers.persons import names_person
from schemas.records.identity import accepted_key
from streams.exchange.carried.message import CHECKPOINT, carried_key
from streams.exchange.contracts import CARRIED_CONTRACTS, checkpoint_fault
from streams.exchange.incoming.checkpoint_chain import ArrivedMessage, ChainPlace
from streams.exchange.incoming.entitlement import AHEAD, Entitlement
from streams.forwarding.findings import Finding, finding
from streams.forwarding.forwarder import Outgoing
from streams.forwarding.kept_values import kept
from streams.forwarding.masking import keepable, keepable_number
from streams.kafka.headers import CARRIED, ORIGIN, Origin, header
from streams.kafka.records import Record, Run

__all__ = ["Closing", "Doubt", "MessageExaminer", "QuarantineMessage", "Step"]

STATEMENT = "xinliu.Statement"
MAX_BYTES, MOST_CARRIED = 1 << 20, 4 << 20
"""Longest statement, and longest message of another contract, that is decoded."""


@dataclass(frozen=True, slots=True)
class QuarantineMessage:
    """A message as it goes to quarantine, once its run is verified."""

    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Closing:
    """A verified checkpoint of its province: its place in the chain, and its message for `accepted`."""

    told: ChainPlace
    outgoing: Outgoing


@dataclass(frozen=True, slots=True)
class Doubt:
    """A message that is no part of any run, and the reason."""

    why: str


Step = ArrivedMessage | Closing | Doubt


@dataclass(frozen=True, slots=True)
class _Unasked:
    """A decoder's registry that believes every id: whether the province signed that schema is checked for each
    message."""

    registry: Registry

    def believed(self, schema_id: int, _: bytes | None, askers: Callable[[], Collection[str]]) -> WriterSchema:
        return self.registry.writer(schema_id, askers)


class MessageExaminer:
    """Examines the runs of one province's exchange. `now` is the clock, in UTC."""

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        province: str,
        entitlement: Entitlement,
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._province = province
        self._entitlement = entitlement
        self._now = now

    def steps(self, run: Run) -> tuple[Step, ...]:
        """Return a step for each record of a run. Raises Retryable if the registry does not answer."""
        records = run.records
        batch = decode_batch(
            _Unasked(self._registry),
            [record.value for record in records],
            named=[None] * len(records),
            expected={STATEMENT, CHECKPOINT, *CARRIED_CONTRACTS},
            max_bytes=MOST_CARRIED,
        )
        places = [_placed(record, run) for record in records]
        unreadable = self._unreadable(records)
        says = self._statements(run, batch.statements, places)
        others = {row: (name, value) for row, name, value in batch.others}
        damage = {bad.row: finding(bad.code, detail=bad.message) for bad in batch.undecodable}
        steps: list[Step] = []
        for row, (record, place) in enumerate(zip(records, places, strict=True)):
            if place is None:
                where = f"{run.topic}/{run.partition}@{record.offset}"
                steps.append(
                    Doubt(f"{where} does not say where in {run.topic}/{run.partition} of its origin it stands")
                )
                continue
            name, value = others.get(row, ("", {}))
            if name == CHECKPOINT:
                steps.append(self._checkpoint(record, place, value, unreadable[row]))
                continue
            said: Outgoing | QuarantineMessage | None = says.get(row)
            if said is None:
                said = self._carried(record, place, name, value) if name else _refusal(record, place, [damage[row]])
            body = (record.value or b"")[HEADER:]
            whence = (place.topic_id, place.offset, record.offset)
            steps.append(ArrivedMessage(*whence, record.key or b"", record.headers, body, said, unreadable[row]))
        return tuple(steps)

    def _statements(
        self, run: Run, frame: pl.DataFrame, places: Sequence[Origin | None]
    ) -> dict[int, Outgoing | QuarantineMessage]:
        if frame.is_empty():
            return {}
        rows = frame["row"].to_list()
        chosen = [run.records[row] for row in rows]
        epochs = [_number(header(record.headers, EPOCH)) for record in chosen]
        told = [pl.Series("epoch", epochs, dtype=pl.Int64), pl.lit(run.partition, dtype=pl.Int64).alias("partition")]
        refused = self._entitlement.refused(frame.with_columns(told))
        high, low = digests([record.value[HEADER:] for record in chosen])
        known = frame.select("record_id", "version", "uscc", "domain").rows()
        says: dict[int, Outgoing | QuarantineMessage] = {}
        for row, record, epoch, hi, lo, (record_id, version, uscc, domain) in zip(
            rows, chosen, epochs, high.to_list(), low.to_list(), known, strict=True
        ):
            place = places[row]
            if place is None:
                continue
            found = refused.get(row, [])
            if len(record.value) > MAX_BYTES:
                found = [*found, finding("TOO_LARGE")]
            if found:
                says[row] = _refusal(record, place, found, uscc, keepable(domain), keepable(record_id), version)
                continue
            headers = [(ORIGIN, place.to_bytes()), *_kept(record, (SCHEMA, EPOCH, KNOWN, MEND))]
            key = accepted_key(record_id, epoch or 0, version, hi, lo).encode()
            says[row] = (run.partition, key, record.value, headers)
        return says

    def _checkpoint(
        self, record: Record, place: Origin, value: dict[str, Any], unreadable: str | None
    ) -> Closing | Doubt:
        if unreadable is not None:
            return Doubt(f"a checkpoint: {unreadable}")
        said = (value["province"], value["partition"], value["topic_id"])
        if said != (self._province, place.partition, place.topic_id):
            return Doubt(
                f"a checkpoint of {value['province']!r}, partition {value['partition']}, by another's exchange or log"
            )
        try:
            received_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            self._keyring.verify(CHECKPOINT, record.value[HEADER:], value, received_at=received_at)
        except NotBelieved as error:
            return Doubt(f"a checkpoint: {error}")
        if value["made_at"] > self._now() + AHEAD:
            return Doubt(f"a checkpoint of the future: made at {value['made_at'].isoformat()}")
        if why := checkpoint_fault(value):
            return Doubt(f"a checkpoint that says {why}")
        return Closing(ChainPlace.of(value), self._carry(record, place, CHECKPOINT))

    def _carried(self, record: Record, place: Origin, name: str, value: dict[str, Any]) -> Outgoing | QuarantineMessage:
        wrong = CARRIED_CONTRACTS[name](value, self._province, place.partition)
        latest = self._now() + AHEAD
        if wrong is None and any(isinstance(one, datetime) and one > latest for one in value.values()):
            wrong = "it speaks of a time to come"
        if wrong is not None:
            return _refusal(record, place, [finding("EXCHANGE_MESSAGE", detail=wrong)])
        return self._carry(record, place, name)

    def _carry(self, record: Record, place: Origin, name: str) -> Outgoing:
        headers = [(CARRIED, place.to_bytes()), *_kept(record, (SCHEMA,))]
        key = carried_key(self._province, place.partition, name, record.key or b"")
        return place.partition, key, record.value, headers

    def _unreadable(self, records: Sequence[Record]) -> list[str | None]:
        """Return for each record why its writer's schema is not the one that its province signed; None if it is."""
        keys = [((record.value or b"")[:HEADER], header(record.headers, SCHEMA)) for record in records]
        known = {key: self._other_schema(*key) for key in dict.fromkeys(keys)}
        return [known[key] for key in keys]

    def _other_schema(self, prefix: bytes, named: bytes | None) -> str | None:
        if len(prefix) < HEADER or prefix[0] != 0:
            return "no schema id stands before it"
        try:
            writer = self._registry.writer(int.from_bytes(prefix[1:], "big"), lambda: (self._province,))
        except NotDecodable as error:
            return str(error)
        same = writer.fingerprint.encode() == named
        return None if same else f"schema id {writer.id} is not the schema that its province names"


def _placed(record: Record, run: Run) -> Origin | None:
    try:
        place = Origin.from_bytes(header(record.headers, ORIGIN) or b"")
    except ContractBroken:
        return None
    return place if (place.topic, place.partition) == (run.topic, run.partition) and place.offset >= 0 else None


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) <= 18 else None


def _kept(record: Record, names: Sequence[str]) -> list[tuple[str, bytes]]:
    return [(name, value) for name in names if (value := header(record.headers, name)) is not None]


def _refusal(
    record: Record,
    place: Origin,
    findings: Sequence[Finding],
    uscc: str | None = None,
    domain: str | None = None,
    record_id: str | None = None,
    version: int | None = None,
) -> QuarantineMessage:
    # Only `masked` recognises a person's number, and keeps nothing of it.
    known = {
        "received_at": record.timestamp,
        "uscc": uscc if uscc is not None and names_person(uscc) else keepable(uscc),
        "domain": domain,
        "record_id": record_id,
        "version": keepable_number(version),
        "findings": list(findings),
    }
    return QuarantineMessage(*kept(record.value, known, (ORIGIN, place.to_bytes())))
