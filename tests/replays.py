"""Random histories on the real topics `accepted` and `quarantine`, and two ways to make tables of them: the live view's
stage, in batches of any size, and a rebuild."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import time
from typing import Any

import polars as pl
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer
from psycopg import sql as compose

from schemas.catalogue import load
from schemas.contracts.avro import CONTRACTS, fingerprint, source
from schemas.contracts.codec import encode, frame
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Keyring
from schemas.operations.log import OperationsWriter
from schemas.records.identity import accepted_key, digest
from schemas.records.partitioning import partitions_of
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.exchange.incoming.stage import ReceivingStage
from streams.forwarding.forwarder import Forwarder
from streams.intake.stage import IntakeStage
from streams.kafka.headers import DECISION, FINDINGS, ORIGIN, RECEIVED, SCHEMA, Origin
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.ranges import Logs
from streams.kafka.records import Run
from streams.kafka.scope import REBUILD, ReplayScope
from streams.projection.positions import PROJECTED, load_catalogue, prepare
from streams.replay.plan.ledger import Ledger
from streams.view.current_rules import Rules, overridden_by
from streams.view.stage import ViewStage
from tests.exchanges import Sharing, as_run, entities, keys, shared, withdrawn
from tests.statements import Statement, listing, penalty, registration, state

__all__ = ["History", "Live", "differences", "ledger", "rows_of"]

NAME = "xinliu.Statement"
TOPICS = ("records.tax", "records.market-regulation")
_NUMBERS, _ENTITIES = 40, 12


class History:
    """What departments and other provinces say, written as intake writes it; each call of `say` adds some of everything."""

    def __init__(self, connection: Connection, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self._seed = seed
        self._registry = Registry(connection.registry)
        self._ids = {name: self._registry.register(name) for name in CONTRACTS}
        catalogue = load()
        departments = {one.records_topic: one for one in catalogue.departments("beijing")}
        logs = Logs(connection.kafka)
        self.facts = logs.describe([*PROJECTED, *departments])
        self._forwarder = Forwarder(
            connection.kafka, self._registry,
            accepted_partitions=self.facts["accepted"].partitions,
            quarantine_partitions=self.facts["quarantine"].partitions,
        )  # fmt: skip
        self._intake = IntakeStage(
            self._registry, catalogue, departments, self.facts, self._forwarder, progress_every=0.0
        )
        signers = keys(folder / f"keyring{seed}", "tianjin", "hebei")
        self._receiving = ReceivingStage(
            self._registry, catalogue, ("tianjin", "hebei"), Keyring(folder / f"keyring{seed}"), self._forwarder
        )
        now = datetime.now(UTC) - timedelta(days=1)
        self._sharing = {
            (province, partition): Sharing(
                province, signers[province], partition, topic_id=f"t{seed:021d}", made_at=now
            )
            for province in signers
            for partition in range(2)
        }
        self._read: dict[tuple[str, int], int] = {}
        self._offsets = dict.fromkeys(TOPICS, seed * 1_000_000)
        self._accepted: list[tuple[int, bytes]] = []
        self._producer = Producer(connection.kafka.client({"acks": "all"}))
        self._foreign: list[Statement] = []

    def say(self, many: int) -> None:
        """Write about so many messages."""
        said = 0
        while said < many:
            said += self.chance.choice((self._own, self._own, self._own, self._others, self._beside))()

    def close(self) -> None:
        """Wait for the broker."""
        self._forwarder.flush()
        self._registry.close()

    def _own(self) -> int:
        topic = self.chance.choice(TOPICS)
        statements = [self._statement(topic) for _ in range(self.chance.randint(1, 40))]
        statements += self.chance.sample(statements, self.chance.randint(0, len(statements) // 3))
        self._intake([self._run(topic, [self._framed(NAME, one) for one in statements])])
        self._intake.tick()
        return len(statements)

    def _statement(self, topic: str) -> Statement:
        chance, number = self.chance, self.chance.randint(0, _NUMBERS)
        entity, version = chance.randint(0, _ENTITIES), chance.randint(1, 6)
        key = topic.removeprefix("records.")
        name = f"重{self._seed % 3}-{number}"
        if key != "tax" and chance.random() < 0.4:
            made = registration(entity=entity, version=version)
        elif number % 3:
            made = penalty(
                name, version=version, entity=entity, original_entity=number % _ENTITIES, key=key,
                fine=Decimal(chance.randint(1, 3)), decided_on=date(2026, 1, 1 + number % 28),
            )  # fmt: skip
            if chance.random() < 0.1:
                made["penalty"]["fine"] = Decimal(-1)  # refused by intake
        else:
            made = listing(name, version=version, entity=entity, key="tax")
            if chance.random() < 0.3:
                made["listing"] |= {"removed_on": date(2026, 3, 1), "removal_reason": "履行义务"}
                made["reason"] = "REMOVED"
            made |= {"department": key}  # of market regulation: another record, or refused
        if chance.random() < 0.25:
            made = state(made, chance.choice(("REPAIRED", "REVOKED")), version=version)
        elif chance.random() < 0.2:
            made |= {"reason": chance.choice(("PUBLISHED", "CORRECTED", "RELISTED", "UPHELD"))}
        return made

    def _others(self) -> int:
        (province, partition), sharing = self.chance.choice(sorted(self._sharing.items()))
        begun = len(sharing.log)
        for _ in range(self.chance.randint(1, 12)):
            version = self.chance.randint(1, 4)
            number, entity = self.chance.randint(0, 9), self.chance.choice(entities(partition, 4))
            one = shared(province, f"外{self._seed % 3}-{number}", entity=entity, version=version)
            what = self.chance.random()
            if what < 0.2:
                one = state(one, self.chance.choice(("REPAIRED", "REVOKED")), version=version)
            elif what < 0.35:
                one = withdrawn(one)
            sharing.say(one, epoch=self.chance.randint(1, 3), mend=self.chance.random() < 0.1)
        sharing.checkpoint()
        place = (f"exchange.{province}", partition)
        run = as_run(sharing.log[begun:], self._ids, first=self._read.get(place, 0))
        self._read[place] = run.next_offset
        self._receiving([run])
        return len(run.records)

    def _beside(self) -> int:
        """What is rare: tombstones, manifests, outcomes, what today's rules refuse, what no table can hold."""
        return self.chance.choice((self._manifest, self._outcome, self._bad, self._unstorable, self._tombstone))()

    def _manifest(self) -> int:
        made = {
            "department": "tax", "manifest_id": f"{self.chance.getrandbits(128):032x}", "part": 0, "domain": "tax",
            "kind": "PENALTY", "made_at": datetime.now(UTC), "first_period": None, "last_period": None, "bits": 0,
            "periods": [], "buckets": [], "lines": [],
        }  # fmt: skip
        self._intake([self._run("records.tax", [self._framed("xinliu.Manifest", made)])])
        return 1

    def _outcome(self) -> int:
        told = {
            "decision": f"{self.chance.getrandbits(64):x}", "kind": "QUARANTINE_DISCARD", "by": "test", "at": 0,
            "reason": "test", "outcome": "DISCARDED",
        }  # fmt: skip
        known = {"received_at": 0, "uscc": None, "domain": None, "record_id": None, "version": None, "findings": []}
        origin = self._origin("records.tax", self.chance.randint(0, 50))
        self._forwarder.quarantine(
            b"", [(ORIGIN, origin), (DECISION, json.dumps(told).encode()), (FINDINGS, json.dumps(known).encode())]
        )
        self._forwarder.flush()
        return 1

    def _bad(self) -> int:
        one = penalty(f"今{self._seed}-{self.chance.randint(0, 9)}", version=self.chance.randint(1, 3))
        one["penalty"]["fine"] = Decimal(-1)
        return self._accept(one)

    def _unstorable(self) -> int:
        one = penalty(f"空{self._seed}-{self.chance.randint(0, 9)}", version=self.chance.randint(1, 3))
        one["record_id"] = "no uuid"
        return self._accept(one, overridden=True)

    def _accept(self, one: Statement, *, overridden: bool = False) -> int:
        body = encode(NAME, one)
        place = int(partitions_of(pl.Series([one["subject"]["uscc"]]), 4)[0])
        key = accepted_key(one["record_id"], 0, one["version"], *digest(body)).encode()
        headers = [
            (ORIGIN, self._origin("records.tax", self._offsets["records.tax"])),
            (SCHEMA, fingerprint(source(NAME)).encode()),
            (RECEIVED, b"%d" % (time() * 1000)),
        ]
        self._offsets["records.tax"] += 1
        self._forwarder.accept([(place, key, frame(self._ids[NAME], body), headers)])
        self._forwarder.flush()
        return 1

    def _tombstone(self) -> int:
        self._producer.produce("accepted", None, b"%d|1|ab" % self.chance.getrandbits(64), self.chance.randint(0, 3))
        self._producer.flush(20)
        return 1

    def _framed(self, name: str, value: dict[str, Any]) -> bytes:
        return frame(self._ids[name], encode(name, value))

    def _origin(self, topic: str, offset: int) -> bytes:
        return Origin(topic, self.facts[topic].topic_id, 0, offset).to_bytes()

    def _run(self, topic: str, values: Iterable[bytes]) -> Run:
        first = self._offsets[topic]
        records = tuple(
            ConsumerRecord(
                topic, 0, first + n, int(time() * 1000) - self.chance.randint(0, 300_000_000), 1, b"", value, None, 0,
                len(value), (),
            )
            for n, value in enumerate(values)
        )  # fmt: skip
        self._offsets[topic] = first + len(records)
        return Run(topic, 0, first, records)


class Live:
    """The serving generation, folded by the live view's stage in batches of any size, by today's rules."""

    def __init__(self, connection: Connection, history: History) -> None:
        self._connection, self._chance = connection, history.chance
        self._database = connection.database.get_secret_value()
        self._registry = Registry(connection.registry)
        with connect(self._database, generation=1, autocommit=True) as store:
            load_catalogue(store, load(), "beijing")
            sources = {one.key: history.facts[one.records_topic] for one in load().departments("beijing")}
            prepare(store, history.facts, sources)
        self._asking = connect(self._database, generation=1, autocommit=True)
        rules = Rules(load(), "beijing", overridden_by(self._asking))
        self._stage = ViewStage(self._database, self._registry, history.facts, generation=1, rules=rules)

    def follow(self) -> None:
        """Fold all that there is."""
        logs = Logs(self._connection.kafka)
        with connect(self._database, generation=1, autocommit=True) as store:
            standing = {
                (str(topic), int(str(p))): int(str(at))
                for topic, p, at in store.execute("SELECT topic, partition, next_offset FROM position")
            }
        ends = logs.ends(standing)
        runs: list[Run] = []
        for place, first in standing.items():
            with closing(PartitionReader(self._connection.kafka, *place, principal="admin")) as reader:
                for run in reader.runs(first, ends[place]):
                    runs += self._cut(run)
        # Partitions come in any order to one another; each in its own.
        queues: dict[tuple[str, int], list[Run]] = {}
        for run in runs:
            queues.setdefault((run.topic, run.partition), []).append(run)
        while queues:
            chosen = self._chance.sample(sorted(queues), self._chance.randint(1, len(queues)))
            self._stage.finish(self._stage.prepare([queues[place].pop(0) for place in chosen]))
            queues = {place: left for place, left in queues.items() if left}

    def _cut(self, run: Run) -> list[Run]:
        parts, at = [], 0
        while at < len(run.records):
            size = self._chance.choice((1, 7, 30, 200))
            records = run.records[at : at + size]
            expected = run.expected_offset if at == 0 else int(run.records[at - 1].offset) + 1
            parts.append(Run(run.topic, run.partition, expected, records))
            at += size
        return parts

    def close(self) -> None:
        """Close connections."""
        self._stage.close()
        self._asking.close()
        self._registry.close()


@contextmanager
def ledger(connection: Connection, store: Any) -> Iterator[tuple[Ledger, str]]:
    """Yield a ledger and the id of a rebuild that is planned in it."""
    with Registry(connection.registry) as registry:
        made = Ledger(store, OperationsWriter(connection.kafka, registry), by="test@host")
        yield made, made.plan(REBUILD, ReplayScope(), "a test", {})


_TOLD = {
    # Of a row that another province's mending put again the live view says when that was; history has the first time.
    "record": "SELECT (to_jsonb(r) - CASE WHEN epoch > 0 THEN 'known_at' ELSE '' END)::text FROM {g}.record r",
    "record_history": "SELECT (to_jsonb(h) - 'writer' || jsonb_build_object('writer', w.fingerprint))::text"
    " FROM {g}.record_history h JOIN {g}.writer_schema w USING (writer)",
    "entities": "SELECT uscc || record_id FROM {g}.record UNION SELECT uscc || record_id FROM {g}.former_entity",
    "credit_view": "SELECT (to_jsonb(v) - 'changed_at')::text FROM {g}.credit_view v",
    "foreign_digest": "SELECT to_jsonb(d)::text FROM {g}.foreign_digest d WHERE records <> 0",
    "applied_checkpoint": "SELECT (to_jsonb(c) - 'applied_at')::text FROM {g}.applied_checkpoint c",
    "foreign_domain": "SELECT (to_jsonb(d) - 'checked_at')::text FROM {g}.foreign_domain d WHERE (records, held_records) <> (0, 0)",
    "foreign_pending": "SELECT to_jsonb(p)::text FROM {g}.foreign_pending p",
    "quality_day": "SELECT concat_ws('|', day, department, measure, bucket, sum(n)) FROM {g}.quality_day"
    " WHERE measure <> 'VISIBLE' GROUP BY day, department, measure, bucket HAVING sum(n) <> 0",
    "input_progress": "SELECT to_jsonb(p)::text FROM {g}.input_progress p",
    "quarantine": "SELECT to_jsonb(q)::text FROM {g}.quarantine q",
    "quarantine_outcome": "SELECT to_jsonb(o)::text FROM {g}.quarantine_outcome o",
    "manifest": "SELECT to_jsonb(m)::text FROM {g}.manifest m",
    "position": "SELECT to_jsonb(p)::text FROM {g}.position p",
    "source": "SELECT to_jsonb(s)::text FROM {g}.source s",
    # Each copy is named where it stands; compaction leaves one.
    "replay_refused": "SELECT DISTINCT (to_jsonb(r) - 'accepted_offset')::text FROM {g}.replay_refused r",
}
"""What two generations of the same log must have alike: every column, but for clocks and numbers that are a generation's own."""


def rows_of(store: Any, generation: int) -> dict[str, int]:
    """Return how many rows each of the compared tables has."""
    found = {}
    for name, query in _TOLD.items():
        text = compose.SQL(query).format(g=compose.Identifier(f"g{generation}"))
        found[name] = len(store.execute(text).fetchall())
    return found


def differences(store: Any, one: int, other: int) -> dict[str, tuple[list[str], list[str]]]:
    """Return, by table, what stands in one generation only and in the other only; nothing where they are the same."""
    found = {}
    for name, query in _TOLD.items():
        told = []
        for generation in (one, other):
            text = compose.SQL(query).format(g=compose.Identifier(f"g{generation}"))
            told.append(sorted(row[0] for row in store.execute(text).fetchall()))
        if told[0] != told[1]:
            found[name] = (_less(told[0], told[1]), _less(told[1], told[0]))
    return found


def _less(one: list[str], other: list[str]) -> list[str]:
    left = list(one)
    for text in other:
        if text in left:
            left.remove(text)
    return left
