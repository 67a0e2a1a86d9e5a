"""A province that shares records with others, played by tests: what its publisher would write, and what links make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import polars as pl
from aiokafka.structs import ConsumerRecord

from schemas.catalogue import load
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.codec import encode, frame
from schemas.exchange.keys import Signer, make_key
from schemas.exchange.topics import EPOCH, FIRST_HASH, KNOWN, MEND, ORIGIN, SCHEMA, WITHDRAWN, RunHash, exchange_topic
from schemas.identifiers.uscc import generate
from schemas.records.identity import digest, record_id, registration_id
from schemas.records.partitioning import partitions_of
from streams.forwarding.forwarder import Outgoing
from streams.kafka.headers import Origin
from streams.kafka.records import Run
from tests.statements import Statement, penalty

__all__ = [
    "MADE_AT",
    "Sent",
    "Sharing",
    "accepted_runs",
    "as_run",
    "entities",
    "keys",
    "of_province",
    "shared",
    "withdrawn",
]

MADE_AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
"""When the first checkpoint of a province is made, unless a test says otherwise; each further one is a second later."""

NAME = "xinliu.Statement"


def keys(folder: Path, *provinces: str) -> dict[str, Signer]:
    """Make a key of each province in this keyring; return their signers. The private keys lie beside it."""
    return {one: Signer.from_file(make_key(one, folder.parent / f"{folder.name}-private", folder)) for one in provinces}


def entities(partition: int, many: int, *, first: int = 0) -> list[int]:
    """Return numbers of entities (schemas.identifiers.uscc.generate) that belong to a partition of four."""
    found = (n for n in count(first) if partitions_of(pl.Series([generate(n)]), 4)[0] == partition)
    return list(islice(found, many))


def of_province(province: str, statement: Statement) -> Statement:
    """Return a statement of Beijing as the department of the same key in another province would have made it."""
    department = load().department(province, statement["department"])
    authority = department.authorities[0][0]
    uscc, kind = statement["subject"]["uscc"], statement["kind"]
    body = statement.get("penalty") or statement.get("listing") or {}
    number = body.get("document_number") or f"{body.get('list')}:{body.get('entry_id')}"
    known = (
        registration_id(province, uscc)
        if kind == "REGISTRATION"
        else record_id(
            kind=kind, province=province, domain=statement["domain"], authority=authority, number=number, uscc=uscc
        )
    )
    return {**statement, "record_id": known, "province": province, "authority": authority}


def shared(province: str, number: str, *, entity: int, version: int = 1, key: str = "tax", **content: Any) -> Statement:
    """Return a penalty that a department of a province has made."""
    return of_province(province, penalty(number, version=version, entity=entity, key=key, **content))


def withdrawn(statement: Statement) -> Statement:
    """Return what takes a record out of what is shared."""
    return {
        **statement,
        "status": WITHDRAWN,
        "reason": WITHDRAWN,
        "penalty": None,
        "listing": None,
        "registration": None,
    }


@dataclass(frozen=True, slots=True)
class Sent:
    """A message in a province's own log of its exchange."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    name: str
    body: bytes = field(repr=False)

    def arrived(self, schema_id: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Return key, value and headers as a link writes them on another cluster, where the schema has this id."""
        place = Origin(self.topic, self.topic_id, self.partition, self.offset)
        return self.key, frame(schema_id, self.body), [*self.headers, (ORIGIN, place.to_bytes())]


@dataclass(slots=True)
class Sharing:
    """One partition of a province's exchange, as its publisher writes it: runs, each closed by a signed checkpoint."""

    province: str
    signer: Signer
    partition: int = 0
    topic_id: str = "originoriginoriginorigi"
    made_at: datetime = MADE_AT
    log: list[Sent] = field(default_factory=list)
    next_offset: int = 0
    sequence: int = 0
    hash: str = FIRST_HASH
    predecessor: int = -1
    held: dict[str, tuple[str, tuple[int, int]]] = field(default_factory=dict)
    """What is shared: record → domain and digest."""
    _run: list[Sent] = field(default_factory=list)

    def say(
        self, statement: Statement, *, epoch: int = 1, mend: bool = False, told: Mapping[str, bytes] | None = None
    ) -> Sent:
        """Share a statement (tests may say anything); `told` replaces headers: schema, epoch, known, mend."""
        body = encode(NAME, statement)
        known = {"schema": fingerprint(source(NAME)).encode(), "epoch": b"%d" % epoch, "known": b"1767225600000"}
        known |= {"mend": b"1"} if mend else {}
        names = {"schema": SCHEMA, "epoch": EPOCH, "known": KNOWN, "mend": MEND}
        headers = tuple((names[name], value) for name, value in {**known, **(told or {})}.items())
        high, low = digest(body)
        if statement["status"] == WITHDRAWN:
            self.held.pop(statement["record_id"], None)
        else:
            self.held[statement["record_id"]] = (statement["domain"], (high, low))
        key = f"{statement['record_id']}|{statement['version']}|{high:x}{low:x}|{epoch}".encode()
        return self.write(key, headers, NAME, body)

    def carry(self, name: str, value: Mapping[str, Any], key: bytes) -> Sent:
        """Say something of another contract."""
        told = ((SCHEMA, fingerprint(source(name)).encode()),)
        return self.write(key, told, name, encode(name, dict(value)))

    def write(self, key: bytes, headers: tuple[tuple[str, bytes], ...], name: str, body: bytes) -> Sent:
        """Append a message to the run."""
        sent = Sent(
            exchange_topic(self.province), self.topic_id, self.partition, self.next_offset, key, headers, name, body
        )
        self.next_offset += 1
        self._run.append(sent)
        self.log.append(sent)
        return sent

    def checkpoint(self, *, signer: Signer | None = None, complete: bool = True, **claims: Any) -> Sent:
        """Close the run; `claims` replace what an honest checkpoint says."""
        sums = RunHash(self.hash)
        for sent in self._run:
            sums.add(sent.offset, sent.key, sent.headers, sent.body)
        told = {
            "province": self.province,
            "topic_id": self.topic_id,
            "partition": self.partition,
            "sequence": self.sequence,
            "predecessor": self.predecessor,
            "predecessor_hash": self.hash,
            "last_offset": self._run[-1].offset if self._run else self.predecessor,
            "count": sums.count,
            "hash": sums.hexdigest(),
            "made_at": self.made_at + timedelta(seconds=self.sequence),
            "complete": complete,
            "domains": self.domains() if complete else [],
        } | claims
        name = "xinliu.Checkpoint"
        body = (signer or self.signer).record(name, told)
        sent = Sent(
            exchange_topic(self.province), self.topic_id, self.partition, self.next_offset,
            f"checkpoint|{self.province}|{self.partition}".encode(), ((SCHEMA, fingerprint(source(name)).encode()),),
            name, body,
        )  # fmt: skip
        self.log.append(sent)
        # A transaction's marker follows: offsets of an origin have holes.
        self.predecessor, self.hash, self._run = sent.offset, sums.hexdigest(), []
        self.next_offset += 2
        self.sequence += 1
        return sent

    def domains(self) -> list[dict[str, Any]]:
        """Return what a complete checkpoint says now."""
        sums: dict[str, list[int]] = {}
        for domain, (high, low) in self.held.values():
            known = sums.setdefault(domain, [0, 0, 0])
            known[:] = [known[0] + 1, known[1] ^ high, known[2] ^ low]
        return [
            {"domain": domain, "records": n, "digest_hi": high, "digest_lo": low, "data_as_of": self.made_at}
            for domain, (n, high, low) in sorted(sums.items())
        ]

    def made_anew(self, topic_id: str, *, made_at: datetime) -> Sharing:
        """Return the same partition after its topic was lost and made anew."""
        return replace(
            self, topic_id=topic_id, made_at=made_at, log=[], next_offset=0, sequence=0, hash=FIRST_HASH, predecessor=-1,
            held=dict(self.held), _run=[],
        )  # fmt: skip


def as_run(
    messages: Iterable[Sent], schema_ids: Mapping[str, int], *, first: int = 0, expected: int | None = None
) -> Run:
    """Return messages as they are fetched from the log here, from offset `first` on."""
    records = [_record(sent, first + n, schema_ids) for n, sent in enumerate(messages)]
    return Run(records[0].topic, records[0].partition, first if expected is None else expected, tuple(records))


def _record(sent: Sent, offset: int, schema_ids: Mapping[str, int]) -> ConsumerRecord:
    key, value, headers = sent.arrived(schema_ids[sent.name])
    received = 1_772_000_000_000 + offset
    return ConsumerRecord(
        sent.topic, sent.partition, offset, received, 1, key, value, None, len(key), len(value), tuple(headers)
    )


def accepted_runs(messages: Iterable[Outgoing], first: int) -> list[Run]:
    """Return what intake forwarded as the view fetches it from `accepted`, each partition from offset `first` on."""
    runs: dict[int, list[ConsumerRecord]] = {}
    for partition, key, value, headers in messages:
        run = runs.setdefault(partition, [])
        at = first + len(run)
        known = 1_772_100_000_000 + at
        run.append(ConsumerRecord("accepted", partition, at, known, 1, key, value, None, 1, len(value), tuple(headers)))
    return [Run("accepted", partition, first, tuple(run)) for partition, run in sorted(runs.items())]
