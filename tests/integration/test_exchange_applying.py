"""What the view makes of other provinces' statements and checkpoints: folded, summed up, compared, and told to nobody here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.catalogue import load
from schemas.contracts.avro import CONTRACTS, parsed
from schemas.contracts.codec import decode, frame
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import ContractBroken
from schemas.exchange.keys import Keyring, Signer
from schemas.servers.connection import Connection
from streams.exchange.incoming.stage import ReceivingStage
from streams.kafka.headers import CARRIED, ORIGIN
from streams.kafka.ranges import TopicFacts
from streams.kafka.records import Run
from streams.projection.positions import load_catalogue
from streams.view.stage import ViewStage
from tests.exchanges import MADE_AT, Sent, Sharing, accepted_runs, as_run, entities, keys, shared, withdrawn
from tests.fuzz.properties import Recorder
from tests.statements import Statement, state
from tests.viewstore import Store, opened, tombstones

GENERATION = 945
ENTITIES = entities(0, 12)
FACTS = {topic: TopicFacts(topic, "id-of-" + topic, 4) for topic in ("accepted", "quarantine")}


@dataclass
class Beijing:
    """Intake and view of Beijing as far as the exchange goes, without the logs between them."""

    store: Store
    view: ViewStage
    stage: ReceivingStage
    out: Recorder
    registry: MemoryRegistry
    ids: dict[str, int]
    read: int = 0
    folded: dict[int, int] = field(default_factory=dict)
    now: datetime = MADE_AT
    """What intake's clock says."""

    def take(self, messages: list[Sent], *, batches: int = 1) -> None:
        """Let a link deliver messages, intake verify them and the view fold what comes of it, in so many batches."""
        run = as_run(messages, self.ids, first=self.read)
        self.read = run.next_offset
        self.out.accepted.clear()
        self.stage([run])
        self.fold(batches)

    def fold(self, batches: int = 1) -> None:
        """Fold what intake forwarded last."""
        for run in accepted_runs(self.out.accepted, 0):
            begin = self.folded.get(run.partition, 0)
            size = -(-len(run.records) // batches)
            for start in range(0, len(run.records), size):
                records = [r for r in run.records[start : start + size]]
                for record in records:
                    object.__setattr__(record, "offset", record.offset + begin)
                part = Run("accepted", run.partition, records[0].offset, tuple(records))
                self.view.finish(self.view.prepare([part]))
                self.folded[run.partition] = part.next_offset

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Ask the store."""
        return self.store.execute(query, values).fetchall()

    def equal(self) -> list[bool]:
        """Return, by domain, whether what was said is what is held."""
        return [one for (one,) in self.rows("SELECT equal FROM foreign_domain ORDER BY province, partition, domain")]


@pytest.fixture
def beijing(stack: Connection, tmp_path: Path) -> Iterator[Beijing]:
    registry = MemoryRegistry()
    ids = {name: registry.register(name) for name in CONTRACTS}
    out = Recorder()
    keys(tmp_path / "keyring")
    with opened(stack, GENERATION) as store:
        for topic, facts in FACTS.items():
            store.execute(
                "INSERT INTO position SELECT %s, %s, p, 0 FROM generate_series(0, 3) AS p", (topic, facts.topic_id)
            )
        view = ViewStage(stack.database.get_secret_value(), registry, FACTS, generation=GENERATION)
        keyring = Keyring(tmp_path / "keyring")
        stage = ReceivingStage(registry, load(), ("tianjin", "hebei"), keyring, out, now=lambda: made.now)
        yield (made := Beijing(store, view, stage, out, registry, ids))
        session, _ = view._connected()
        session.close()


@pytest.fixture
def tianjin(beijing: Beijing, tmp_path: Path) -> Sharing:
    return Sharing("tianjin", keys(tmp_path / "keyring", "tianjin")["tianjin"])


def penalties(many: int) -> list[Statement]:
    return [shared("tianjin", f"津税罚{n}", entity=ENTITIES[n]) for n in range(many)]


@pytest.mark.parametrize("batches", [1, 3])
def test_a_run_is_folded_and_its_checkpoint_noted_and_compared(
    beijing: Beijing, tianjin: Sharing, batches: int
) -> None:
    for statement in penalties(5):
        tianjin.say(statement, epoch=3)
    closing = tianjin.checkpoint()
    beijing.take(tianjin.log, batches=batches)
    assert beijing.rows("SELECT province, epoch, count(*) FROM record GROUP BY 1, 2") == [("tianjin", 3, 5)]
    assert beijing.rows('SELECT province, partition, sequence, "offset", complete FROM applied_checkpoint') == [
        ("tianjin", 0, 0, closing.offset, True)
    ]
    assert beijing.rows("SELECT domain, records, held_records, equal FROM foreign_domain") == [("tax", 5, 5, True)]
    assert beijing.rows("SELECT received_at FROM record_history WHERE received_at IS NOT NULL") == []
    assert beijing.rows("SELECT * FROM quality_day") == []
    assert beijing.rows("SELECT DISTINCT kind FROM outbox") == [("CHANGES",)], "no receipt goes anywhere"


def test_repaired_revoked_and_withdrawn_erase_what_is_held_and_count_nowhere_that_they_should_not(
    beijing: Beijing, tianjin: Sharing
) -> None:
    ended = penalties(3)
    for statement in ended:
        tianjin.say(statement)
    tianjin.checkpoint()
    tianjin.say(state(ended[0], "REPAIRED", version=2))
    tianjin.say(state(ended[1], "REVOKED", version=2))
    tianjin.say(withdrawn(ended[2]), epoch=2)
    tianjin.checkpoint()
    beijing.take(tianjin.log)
    forwarded = {(partition, key.decode()) for partition, key, _, _ in beijing.out.accepted}
    assert beijing.rows("SELECT status FROM record ORDER BY status") == [("REPAIRED",), ("REVOKED",), ("WITHDRAWN",)]
    assert beijing.rows("SELECT status FROM record_history WHERE statement IS NOT NULL ORDER BY status") == [
        ("REPAIRED",), ("REVOKED",), ("WITHDRAWN",)
    ]  # fmt: skip
    assert len(tombstones(beijing.store)) == 3
    assert tombstones(beijing.store) <= forwarded
    assert beijing.rows("SELECT records, held_records, equal FROM foreign_domain") == [(2, 2, True)]
    assert beijing.rows("SELECT sum(records) FROM credit_view") == [(2,)]
    again = tianjin.say(ended[2], epoch=3)
    tianjin.checkpoint()
    beijing.take(tianjin.log[tianjin.log.index(again) :])
    assert beijing.rows("SELECT records, held_records, equal FROM foreign_domain") == [(3, 3, True)]
    assert beijing.rows("SELECT statement IS NULL FROM record_history WHERE epoch = 3") == [(False,)]


def test_a_difference_shows_and_what_is_behind_a_checkpoint_is_not_held_against_it(
    beijing: Beijing, tianjin: Sharing
) -> None:
    first, second, third = penalties(3)
    tianjin.say(first)
    tianjin.checkpoint()
    tianjin.say(second)
    tianjin.checkpoint(complete=False)
    beijing.take(tianjin.log)
    assert beijing.rows("SELECT sequence FROM applied_checkpoint") == [(1,)]
    assert beijing.rows("SELECT * FROM foreign_domain") == [], "a statement came behind the complete one"
    beijing.store.execute("DELETE FROM foreign_digest")
    sent = tianjin.say(third)
    tianjin.checkpoint()
    beijing.take(tianjin.log[tianjin.log.index(sent) :])
    assert beijing.rows("SELECT records, held_records, equal FROM foreign_domain") == [(3, 1, False)]


def test_a_run_forwarded_again_rewinds_nothing(beijing: Beijing, tianjin: Sharing) -> None:
    (first,) = penalties(1)
    tianjin.say(first)
    tianjin.checkpoint()
    beijing.take(tianjin.log)
    old = list(beijing.out.accepted)
    begin = len(tianjin.log)
    tianjin.say(state(first, "REVOKED", version=2))
    tianjin.checkpoint()
    beijing.take(tianjin.log[begin:])
    beijing.out.accepted[:] = old
    beijing.fold()
    assert beijing.rows("SELECT sequence FROM applied_checkpoint") == [(1,)]
    assert beijing.rows("SELECT sequence, equal FROM foreign_domain") == [(1, True)]
    assert beijing.rows("SELECT status FROM record") == [("REVOKED",)]
    assert beijing.rows("SELECT count(*) FROM record_history WHERE statement IS NOT NULL") == [(1,)]


def test_no_source_vouches_for_a_time_after_it_spoke(beijing: Beijing, tianjin: Sharing) -> None:
    (first,) = penalties(1)
    tianjin.say(first)
    domains = tianjin.domains()
    domains[0]["data_as_of"] = MADE_AT + timedelta(days=300)
    tianjin.checkpoint(domains=domains)
    beijing.take(tianjin.log)
    assert beijing.rows("SELECT data_as_of FROM foreign_domain") == [(MADE_AT,)]


def test_a_statement_pushed_again_to_mend_takes_its_place_whatever_somebody_made_of_the_row(
    beijing: Beijing, tianjin: Sharing
) -> None:
    (first,) = penalties(1)
    tianjin.say(first, epoch=4)
    tianjin.checkpoint()
    beijing.take(tianjin.log)
    beijing.store.execute("UPDATE record SET penalty_facts = '改', status = 'REPAIRED'")
    begin = len(tianjin.log)
    tianjin.say(first, epoch=4, mend=True)
    tianjin.checkpoint()
    beijing.take(tianjin.log[begin:])
    assert beijing.rows("SELECT penalty_facts, status, epoch FROM record") == [
        (first["penalty"]["facts"], "IN_FORCE", 4)
    ]
    assert beijing.rows("SELECT count(*) FROM record_history") == [(1,)]
    assert beijing.rows("SELECT records, held_records, equal FROM foreign_domain") == [(1, 1, True)]


def test_a_move_to_an_entity_of_another_partition_keeps_every_set_whole(beijing: Beijing, tianjin: Sharing) -> None:
    (first,) = penalties(1)
    there = Sharing("tianjin", tianjin.signer, partition=2)
    moved = shared("tianjin", "津税罚0", entity=entities(2, 1)[0], version=2) | {"record_id": first["record_id"]}
    tianjin.say(first, epoch=1)
    tianjin.checkpoint()
    beijing.take(tianjin.log)
    begin = len(tianjin.log)
    tianjin.say(withdrawn(first), epoch=2)
    there.say(moved, epoch=3)
    tianjin.checkpoint()
    there.checkpoint()
    read = beijing.read
    beijing.read = 0
    beijing.take(there.log)  # the new partition comes first
    beijing.read = read
    beijing.take(tianjin.log[begin:])
    assert beijing.rows("SELECT uscc, epoch FROM record") == [(moved["subject"]["uscc"], 3)]
    assert beijing.rows("SELECT partition, records, held_records, equal FROM foreign_domain ORDER BY 1") == [
        (0, 0, 0, True), (2, 1, 1, True)
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["another province", "no epoch", "our own exchange"])
def test_what_intake_cannot_have_let_through_stops_the_view(beijing: Beijing, tianjin: Sharing, what: str) -> None:
    load_catalogue(beijing.store, load(), "beijing")
    (first,) = penalties(1)
    tianjin.say(first)
    tianjin.checkpoint()
    run = as_run(tianjin.log, beijing.ids)
    beijing.stage([run])
    partition, key, value, headers = beijing.out.accepted[0]
    changed = {
        "another province": [(ORIGIN, b"exchange.hebei t 0 0"), *headers[1:]],
        "no epoch": [one for one in headers if one[0] != "xinliu-epoch"],
        "our own exchange": [(CARRIED, b"exchange.beijing t 0 0")],
    }[what]
    beijing.out.accepted[:] = [(partition, key, value, changed)]
    if what == "our own exchange":
        body = Signer.record(tianjin.signer, "xinliu.Checkpoint", {**checkpoint_of(tianjin), "province": "beijing"})
        beijing.out.accepted[:] = [(partition, key, frame(beijing.ids["xinliu.Checkpoint"], body), changed)]
    with pytest.raises(ContractBroken):
        beijing.fold()
    assert beijing.rows("SELECT * FROM record") == []


def checkpoint_of(origin: Sharing) -> dict[str, Any]:
    """Return a checkpoint's fields, honest ones."""
    return decode(parsed("xinliu.Checkpoint"), origin.log[-1].body)
