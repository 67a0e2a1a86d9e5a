"""What a link wrote here, through real intake and view: applied once its checkpoint holds, whatever dies in between."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Signer
from schemas.exchange.topics import exchange_topic
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.kafka.headers import CARRIED
from streams.projection.positions import INTAKE_GROUP
from tests.exchanges import Sent, Sharing, entities, keys, shared, withdrawn
from tests.offline import lag, log_of
from tests.statements import Statement, framed, penalty, put, state
from tests.workers import Worker

HELD = "SELECT province, status, count(*) FROM record WHERE uscc = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2"
ENTITIES = entities(1, 40, first=820_000)


@dataclass
class Running:
    """Beijing's servers, its view worker, and what makes intake read the other provinces' exchanges."""

    connection: Connection
    folder: Path
    settings: dict[str, str]
    signers: dict[str, Signer]
    ids: dict[str, int]

    def intake(self, *options: str) -> Worker:
        """Start intake; each start takes the partitions over at once."""
        return Worker(self.connection, "intake", self.folder, "--instance", "one", *options, settings=self.settings)

    def deliver(self, messages: list[Sent]) -> None:
        """Write messages as a link does."""
        producer = Producer(self.connection.kafka.client({"acks": "all", "enable.idempotence": True}))
        for sent in messages:
            key, value, headers = sent.arrived(self.ids[sent.name])
            producer.produce(sent.topic, value, key, sent.partition, headers=headers)
        assert producer.flush(30) == 0

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Ask the store."""
        with connect(self.connection.database.get_secret_value(), generation=1, autocommit=True) as store:
            return store.execute(query, values).fetchall()

    def until(self, expected: list[Any], query: str, *values: Any) -> None:
        """Wait until the store answers that."""
        assert wait_until(lambda: self.ask(query, *values) == expected, seconds=60), (
            self.ask(query, *values),
            [path.read_text()[-2500:] for path in self.folder.glob("*.log")],
        )

    def read(self, province: str) -> bool:
        """Tell whether intake has committed all that was delivered of a province."""
        return lag(self.connection, INTAKE_GROUP, [exchange_topic(province)]) == 0


@pytest.fixture(scope="module")
def running(own_stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("exchange")
    signers = keys(folder / "keyring", "tianjin", "hebei")
    file = folder / "exchange.json"
    file.write_text(json.dumps({"keyring": str(folder / "keyring")}))
    with Registry(own_stack.registry) as registry:
        ids = {name: registry.register(name) for name in ("xinliu.Statement", "xinliu.Checkpoint")}
    view = Worker(own_stack, "view", folder)
    try:
        yield Running(own_stack, folder, {"XINLIU_EXCHANGE": str(file)}, signers, ids)
    finally:
        view.stop()


def penalties(many: int, first: int = 0) -> list[Statement]:
    return [shared("tianjin", f"津{n}", entity=ENTITIES[n]) for n in range(first, first + many)]


def codes(statements: list[Statement]) -> list[str]:
    return [statement["subject"]["uscc"] for statement in statements]


def test_runs_are_applied_whole_also_when_intake_dies_between_a_run_and_its_checkpoint(running: Running) -> None:
    origin = Sharing("tianjin", running.signers["tianjin"], partition=1)
    said = penalties(10)
    intake = running.intake()
    for statement in said[:4]:
        origin.say(statement, epoch=11)
    origin.checkpoint()
    running.deliver(origin.log)
    running.until([("tianjin", "IN_FORCE", 4)], HELD, codes(said))

    begin = len(origin.log)
    for statement in said[4:]:
        origin.say(statement, epoch=12)
    running.deliver(origin.log[begin:])
    assert wait_until(lambda: running.read("tianjin"), seconds=60), "the run is read, and kept for its checkpoint"
    intake.kill()
    origin.checkpoint()
    begin = len(origin.log)
    origin.say(state(said[0], "REVOKED", version=2), epoch=13)
    origin.say(withdrawn(said[1]), epoch=14)
    origin.checkpoint()
    running.deliver(origin.log[begin - 1 :])
    for point in ("exchange.forwarding", "exchange.forwarded"):
        dying = running.intake("--crash-at", point)
        assert dying.wait(60) == -signal.SIGKILL, dying.log[-3000:]
    intake = running.intake()
    running.until(
        [("tianjin", "IN_FORCE", 8), ("tianjin", "REVOKED", 1), ("tianjin", "WITHDRAWN", 1)], HELD, codes(said)
    )
    running.until([(2, True)], "SELECT sequence, complete FROM applied_checkpoint")
    running.until([(9, 9, True)], "SELECT records, held_records, equal FROM foreign_domain")
    assert wait_until(lambda: running.read("tianjin"), seconds=60)
    assert intake.stop() == 0
    for word in ("exchange.gap", "exchange.broken", "exchange.stale", "not_believed"):
        assert word not in intake.log

    # Everything is delivered once more, to an intake that was started anew: it knows what it has applied.
    before = len(log_of(running.connection, "accepted"))
    running.deliver(origin.log)
    intake = running.intake()
    assert wait_until(lambda: running.read("tianjin"), seconds=60)
    assert intake.stop() == 0
    after = log_of(running.connection, "accepted")
    assert not [m for m in after[before:] if any(name in ("xinliu-epoch", CARRIED) for name, _ in m.headers() or [])]


def test_a_forged_checkpoint_and_another_provinces_words_change_nothing_and_are_loud(running: Running) -> None:
    tianjin, hebei = running.signers["tianjin"], running.signers["hebei"]
    (own,) = [penalty("京1", entity=ENTITIES[30])]
    put(running.connection, "records.tax", framed(running.connection, [own]))
    intake = running.intake()
    running.until([("beijing", "IN_FORCE", 1)], HELD, codes([own]))
    forged = Sharing("hebei", tianjin, partition=1)
    forged.say(shared("hebei", "冀1", entity=ENTITIES[31]), epoch=1)
    forged.checkpoint()
    running.deliver(forged.log)
    assert wait_until(lambda: "not_believed" in intake.log, seconds=60), intake.log[-2000:]

    # A genuine checkpoint of Hebei, over statements that speak for Beijing: refused, and to be seen.
    hostile = Sharing("hebei", hebei, partition=1)
    hostile.say({**own, "version": own["version"] + 1, "reason": "CORRECTED"}, epoch=99)
    hostile.say(shared("hebei", "冀2", entity=ENTITIES[32]), epoch=1)
    hostile.checkpoint()
    running.deliver(hostile.log)
    running.until([("hebei", "IN_FORCE", 1)], HELD, [*codes([own])[1:], shared("hebei", "冀2", entity=ENTITIES[32])["subject"]["uscc"]])  # fmt: skip
    running.until(
        [("exchange.hebei", "OPEN")], "SELECT department, state FROM quarantine WHERE topic LIKE 'exchange.%%'"
    )
    assert running.ask("SELECT version, epoch FROM record WHERE province = 'beijing'") == [(own["version"], 0)]
    assert running.ask("SELECT DISTINCT department FROM outbox WHERE kind = 'EXCEPTIONS'") == []
    assert intake.stop() == 0
