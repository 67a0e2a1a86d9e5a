"""How the intake worker feeds two works from one consumer, and where it goes on in other provinces' exchanges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from schemas.catalogue import load
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import Retryable
from schemas.exchange.keys import Keyring, Signer
from schemas.servers.connection import Connection, Exchange
from schemas.servers.kafka import Cluster
from streams.exchange.incoming.checkpoint_chain import ChainAnchor, note_of
from streams.exchange.incoming.input import Both, others, resume_exchange
from streams.exchange.incoming.stage import ReceivingStage
from streams.kafka.ranges import Committed, Logs, TopicFacts
from streams.kafka.records import Run
from streams.runtime.collector import Reread
from tests.exchanges import MADE_AT, Sharing, as_run, entities, keys, shared
from tests.fuzz.properties import Recorder, records_of

TOPIC = "exchange.tianjin"
FACTS = {TOPIC: TopicFacts(TOPIC, "here" * 5 + "it", 4)}
ANCHOR = ChainAnchor("t" * 22, 3, 40, "a" * 64, 1_772_000_000_000)


class Broker:
    """What the logs and the group's commits are said to be."""

    def __init__(self, first: int, end: int, commit: Committed | None) -> None:
        self.first, self.end, self.commit = first, end, commit

    def ranges(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        return dict.fromkeys(wanted, (self.first, self.end))

    def committed(self, group: str, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Committed]:
        return {} if self.commit is None else dict.fromkeys(wanted, self.commit)


class Refusing(Recorder):
    """Refuses the first flush."""

    refuse = True

    def flush(self) -> None:
        if self.refuse:
            self.refuse = False
            raise Retryable("Kafka does not answer", server="kafka")


class Own:
    """The departments' half: keeps what it was given."""

    def __init__(self) -> None:
        self.finished: list[Any] = []

    def prepare(self, runs: Sequence[Run]) -> Any:
        return [run.topic for run in runs]

    def finish(self, prepared: Any) -> None:
        self.finished.append(prepared)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return keys(tmp_path / "keyring", "tianjin")["tianjin"]


def stage(folder: Path, out: Recorder) -> tuple[ReceivingStage, dict[str, int]]:
    registry = MemoryRegistry()
    ids = {name: registry.register(name) for name in CONTRACTS}
    keyring = Keyring(folder / "keyring")
    return ReceivingStage(registry, load(), ("tianjin",), keyring, out, now=lambda: MADE_AT), ids


def test_a_province_that_shares_nothing_reads_no_exchange(tmp_path: Path) -> None:
    alone = Connection(province="beijing", kafka=Cluster.of("127.0.0.1:9"), registry="http://127.0.0.1:9")
    assert others(alone, load()) == ()
    sharing = alone.model_copy(update={"exchange": Exchange(keyring=tmp_path)})
    assert set(others(sharing, load())) == {"tianjin", "hebei", "shanxi"}


def test_what_was_finished_is_not_repeated_where_the_other_half_is_tried_again(tmp_path: Path, signer: Signer) -> None:
    out, own = Refusing(), Own()
    foreign, ids = stage(tmp_path, out)
    origin = Sharing("tianjin", signer)
    origin.say(shared("tianjin", "津1", entity=entities(0, 1)[0]))
    origin.checkpoint()
    both = Both(own, foreign)
    prepared = both.prepare([records_of("records.tax", [b"x"]), as_run(origin.log, ids)])
    with pytest.raises(Retryable):
        both.finish(prepared)
    both.finish(prepared)
    assert own.finished == [["records.tax"]]
    assert {key for _, key, _, _ in out.accepted if key.startswith(b"checkpoint")} == {b"checkpoint|tianjin|0"}


def test_a_run_that_must_be_read_again_leaves_the_other_half_without_effect(tmp_path: Path, signer: Signer) -> None:
    own = Own()
    foreign, ids = stage(tmp_path, Recorder())
    foreign.resumed((TOPIC, 0), 0, "")
    origin = Sharing("tianjin", signer)
    origin.checkpoint()
    late = replace(as_run(origin.log, ids, first=5), expected_offset=5)
    both = Both(own, foreign)
    with pytest.raises(Reread):
        both.finish(both.prepare([records_of("records.tax", [b"x"]), late]))
    assert own.finished == []


@pytest.mark.parametrize(
    ("broker", "goes_on"),
    [
        (Broker(7, 90, None), 7),
        (Broker(0, 90, Committed(60, FACTS[TOPIC].topic_id, note_of(ANCHOR, 55))), 55),
        (Broker(58, 90, Committed(60, FACTS[TOPIC].topic_id, note_of(ANCHOR, 55))), 58),
        (Broker(70, 90, Committed(60, FACTS[TOPIC].topic_id, note_of(ANCHOR, 55))), 70),
        (Broker(0, 50, Committed(60, FACTS[TOPIC].topic_id, note_of(ANCHOR, 55))), 0),
        (Broker(0, 90, Committed(60, "another" * 3 + "x", note_of(ANCHOR, 55))), 0),
        (Broker(0, 90, Committed(60, FACTS[TOPIC].topic_id, "garbage")), 60),
        (Broker(0, 90, Committed(60, "", "")), 60),
    ],
)
def test_reading_goes_on_where_nothing_that_is_open_is_missed(tmp_path: Path, broker: Broker, goes_on: int) -> None:
    foreign, _ = stage(tmp_path, Recorder())
    found = resume_exchange(foreign, cast(Logs, broker), FACTS, [(TOPIC, 0), ("records.tax", 0)])
    assert found == {(TOPIC, 0): goes_on}
    if broker.commit is not None and "anchor" in broker.commit.note:
        assert foreign.note((TOPIC, 0), goes_on) == note_of(ANCHOR, goes_on)
