"""Log evidence for a correction: all statements of its records in `accepted`, validated by the current rules.

The log is read twice: once to find the records with any statement in the scope, once for all of their statements, since
a record is folded from all of them. Statements that the current rules refuse are left out; one without content
(REPAIRED, REVOKED) is never refused, or the record that it ended would come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import polars as pl
from confluent_kafka import Message

from schemas.contracts.columns import digests
from schemas.contracts.registry import WriterSchema
from streams.integrity.accepted import Accepted, AcceptedStatement
from streams.integrity.expected_rows import decoded
from streams.kafka.headers import ORIGIN, SIGNED
from streams.kafka.records import Fetched
from streams.kafka.scope import ReplayScope
from streams.view.current_rules import Rules, Withheld

__all__ = ["Gathered", "LogEvidence"]

_TOGETHER = 5_000
"""Statements decoded at a time."""

_SHOWN = ("record_id", "uscc")

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Gathered:
    """All statements of some records: a log (streams.integrity.accepted.Log) of those that the current rules accept."""

    read: Mapping[int, int]
    """End offsets of the reading, by partition."""
    entries: Mapping[UUID, Sequence[AcceptedStatement]]
    refused: Mapping[UUID, Sequence[Withheld]]
    """Refused statements, by record."""
    entities: Mapping[UUID, frozenset[str]]
    """Entities of all their statements, refused ones included."""

    def at(self, places: Collection[Place]) -> Sequence[AcceptedStatement]:
        """Return the statements at these places that stand."""
        wanted = set(places)
        return [one for several in self.entries.values() for one in several if (one.partition, one.offset) in wanted]

    def about(self, records: Collection[UUID], upto: Mapping[int, int]) -> Sequence[AcceptedStatement]:
        """Return every statement about these records that stands."""
        return [one for record in records for one in self.entries.get(record, ())]

    def mentioning(self, usccs: Collection[str], upto: Mapping[int, int]) -> Collection[UUID]:
        """Return the records whose statements are about one of these entities."""
        return [record for record, about in self.entities.items() if not about.isdisjoint(usccs)]


class LogEvidence:
    """Reads `accepted`. Every method raises Retryable if a server does not answer."""

    def __init__(self, accepted: Accepted, rules: Rules) -> None:
        self._accepted, self._rules = accepted, rules

    def records(self, scope: ReplayScope, upto: Mapping[int, int]) -> set[UUID]:
        """Return the records with a statement in the scope before these offsets."""
        found = set[UUID]()
        content = bool(scope.domains or scope.entities or scope.departments or scope.province)
        waiting: list[Message] = []
        for message in self._statements(upto):
            if not _fits_outside(message, scope):
                continue
            if not content:
                found.add(_record(message))
                continue
            waiting.append(message)
            if len(waiting) >= _TOGETHER:
                found |= self._fitting(waiting, scope)
                waiting = []
        return found | self._fitting(waiting, scope)

    def gather(self, records: Collection[UUID], upto: Mapping[int, int]) -> Gathered:
        """Return all statements of these records before these offsets."""
        wanted = {record.hex.encode() for record in records}
        standing: dict[tuple[int, bytes], Message | None] = {}
        for message in self._statements(upto, tombstones=True):
            key = bytes(message.key() or b"")
            if key[:32] in wanted:
                standing[message.partition() or 0, key] = message if message.value() is not None else None
        messages = [message for message in standing.values() if message is not None]
        entries: dict[UUID, list[AcceptedStatement]] = {}
        refused: dict[UUID, list[Withheld]] = {}
        entities: dict[UUID, set[str]] = {}
        for start in range(0, len(messages), _TOGETHER):
            told = ((self._accepted.entry(message), message) for message in messages[start : start + _TOGETHER])
            pairs = [(one, message) for one, message in told if one is not None]
            read, part = [one for one, _ in pairs], [message for _, message in pairs]
            flat = _flat(read)
            for row in flat.select(_SHOWN).rows(named=True):
                entities.setdefault(UUID(row["record_id"]), set()).add(row["uscc"])
            withheld = {(one.accepted_partition, one.accepted_offset): one for one in self._refused(flat, part)}
            for one in read:
                record = UUID(one.key[:32])
                why = withheld.get((one.partition, one.offset))
                if why is None:
                    entries.setdefault(record, []).append(one)
                else:
                    refused.setdefault(record, []).append(why)
        return Gathered(upto, entries, refused, {record: frozenset(about) for record, about in entities.items()})

    def _statements(self, upto: Mapping[int, int], *, tombstones: bool = False) -> Iterator[Message]:
        for message in self._accepted.every(upto):
            if (message.key() or b"")[32:33] == b"|" and (tombstones or message.value() is not None):
                yield message

    def _fitting(self, messages: Sequence[Message], scope: ReplayScope) -> set[UUID]:
        read = [one for message in messages if (one := self._accepted.entry(message)) is not None]
        fits = [
            pl.col(name).is_in(list(values))
            for name, values in (("domain", scope.domains), ("uscc", scope.entities), ("department", scope.departments))
            if values
        ]
        if scope.province is not None:
            fits.append(pl.col("province") == scope.province)
        chosen = _flat(read).filter(*fits) if read else pl.DataFrame({"record_id": []})
        return {UUID(record) for record in chosen["record_id"].unique().to_list()}

    def _refused(self, flat: pl.DataFrame, messages: Sequence[Message]) -> Sequence[Withheld]:
        # A cut-off refuses another province's statements whatever their status: a forged revocation ends nothing.
        judged = flat.filter((pl.col("status") == "IN_FORCE") | (pl.col("epoch") > 0))
        return self._rules.hold(judged, [_headed(message) for message in messages])[1]


def _fits_outside(message: Message, scope: ReplayScope) -> bool:
    """Return whether a statement can fit the scope, by its metadata and by the bytes of its content."""
    partition, offset = message.partition() or 0, message.offset() or 0
    if scope.offsets is not None:
        first, last = scope.offsets.get(partition, (0, 0))
        if not first <= offset < last:
            return False
    at = message.timestamp()[1]
    if scope.since is not None and at < scope.since.timestamp() * 1000:
        return False
    if scope.until is not None and at >= scope.until.timestamp() * 1000:
        return False
    value = message.value() or b""
    return all(
        any(name.encode() in value for name in names)
        for names in (scope.domains, scope.entities, scope.departments)
        if names
    )


def _flat(entries: Sequence[AcceptedStatement]) -> pl.DataFrame:
    """Return these statements as FLAT, with digest, epoch, receipt and place; `row` is an index into `entries`."""
    writers: dict[str, tuple[int, WriterSchema]] = {}
    for entry in entries:
        writers.setdefault(entry.writer.fingerprint, (len(writers), entry.writer))
    bodies = [entry.body for entry in entries]
    time = pl.Datetime("ms", "UTC")
    raw = pl.DataFrame(
        {
            "row": pl.Series(range(len(entries)), dtype=pl.UInt32),
            "writer": pl.Series([writers[entry.writer.fingerprint][0] for entry in entries], dtype=pl.Int16),
            "statement": pl.Series(bodies, dtype=pl.Binary),
            "epoch": pl.Series([entry.epoch for entry in entries], dtype=pl.Int64),
            "accepted_partition": pl.Series([entry.partition for entry in entries], dtype=pl.Int16),
            "accepted_offset": pl.Series([entry.offset for entry in entries], dtype=pl.Int64),
            "received_at": pl.Series([entry.received_at or entry.known_at for entry in entries], dtype=time),
        }
    )
    high, low = digests(bodies) if bodies else (pl.Series(dtype=pl.Int64), pl.Series(dtype=pl.Int64))
    beside = raw.drop("writer", "statement").with_columns(high.alias("digest_hi"), low.alias("digest_lo"))
    return decoded(raw, dict(writers.values())).join(beside, on="row", how="inner", maintain_order="left")


def _record(message: Message) -> UUID:
    return UUID(bytes(message.key() or b"")[:32].decode())


def _headed(message: Message) -> Fetched:
    # Of the headers, the rules read only the origin and the signing key.
    at, headers = message.timestamp()[1], dict(message.headers() or ())
    told = tuple((name, bytes(headers[name] or b"")) for name in (ORIGIN, SIGNED) if name in headers)
    return Fetched("accepted", message.partition() or 0, message.offset() or 0, at, None, None, told)
