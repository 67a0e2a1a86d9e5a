"""Anchors and gaps: what follows on what, what a replay can do (nothing), and how it goes on after something was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.exchange.keys import Keyring, Signer, retire
from streams.exchange.incoming.checkpoint_chain import ChainAnchor, note_of, read_note
from streams.exchange.incoming.recorder import ReceivingRecorder
from streams.exchange.incoming.stage import ReceivingStage
from streams.kafka.records import Run
from streams.monitoring.instruments import Instruments
from streams.runtime.collector import Reread
from tests.examples import examples
from tests.exchanges import MADE_AT, Sent, Sharing, as_run, entities, keys, shared
from tests.fuzz.properties import Recorder

ENTITIES = entities(0, 12)
PLACE = ("exchange.tianjin", 0)
REGISTRY = MemoryRegistry()
IDS = {name: REGISTRY.register(name) for name in CONTRACTS}


class Told(ReceivingRecorder):
    """Keeps what came of checkpoints."""

    def __init__(self) -> None:
        super().__init__(Instruments("intake"), ["tianjin"])
        self.outcomes: list[str] = []

    def closed(self, province: str, partition: int, sequence: int, outcome: object, why: str) -> None:
        """Keep it."""
        self.outcomes.append(str(outcome))

    def not_believed(self, province: str, partition: int, why: str) -> None:
        """Keep it."""
        self.outcomes.append("not_believed")


class Reader:
    """Intake of Beijing reading the log of exchange.tianjin here, which is `written` by links; it can be started anew."""

    def __init__(self, keyring: Path) -> None:
        self.keyring = Keyring(keyring)
        self.out, self.told = Recorder(), Told()
        self.written: list[Sent] = []
        self.committed, self.note = 0, ""
        self.next = 0
        self.start()

    def start(self) -> None:
        """Begin anew, from what is committed."""
        self.stage = ReceivingStage(
            REGISTRY, load(), ("tianjin",), self.keyring, self.out, recorder=self.told, now=lambda: MADE_AT
        )
        self.next = self.stage.resumed(PLACE, self.committed, self.note)

    def read(self, many: int | None = None) -> None:
        """Read so many records as one run and commit them."""
        end = len(self.written) if many is None else min(len(self.written), self.next + many)
        if end <= self.next:
            return
        self.stage([as_run(self.written[self.next : end], IDS, first=self.next)])
        self.next = end

    def commit(self) -> None:
        """Commit what was read."""
        self.committed, self.note = self.next, self.stage.note(PLACE, self.next)

    def take(self, messages: Sequence[Sent]) -> list[str]:
        """Write these to the log, read them, and return what came of the checkpoints among them."""
        before = len(self.told.outcomes)
        self.written += messages
        self.read()
        return self.told.outcomes[before:]

    def statements(self) -> Counter[bytes]:
        """Return what is in `accepted`, by key."""
        return Counter(key for _, key, _, _ in self.out.accepted if not key.startswith(b"checkpoint"))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Signer]:
    folder = tmp_path_factory.mktemp("chain") / "keyring"
    return folder, keys(folder, "tianjin")["tianjin"]


@pytest.fixture
def reader(ring: tuple[Path, Signer]) -> Reader:
    return Reader(ring[0])


@pytest.fixture
def origin(ring: tuple[Path, Signer]) -> Sharing:
    return Sharing("tianjin", ring[1])


def runs(origin: Sharing, sizes: Sequence[int]) -> list[list[Sent]]:
    """Write runs of these sizes and return each with its checkpoint."""
    made = []
    for size in sizes:
        begin = len(origin.log)
        for _ in range(size):
            number = len(origin.log)
            origin.say(shared("tianjin", f"津{number}", entity=ENTITIES[number % len(ENTITIES)]), epoch=number + 1)
        origin.checkpoint()
        made.append(origin.log[begin:])
    return made


def test_a_run_that_never_came_is_a_gap_that_is_told_and_what_follows_is_applied(
    reader: Reader, origin: Sharing
) -> None:
    first, _, third, fourth = runs(origin, [2, 2, 1, 1])
    assert reader.take(first) == ["followed"]
    assert reader.take(third) == ["gap"]
    assert reader.take(fourth) == ["followed"]
    assert sum(reader.statements().values()) == 4


def test_a_gap_is_not_filled_behind_its_back_by_what_was_missing(reader: Reader, origin: Sharing) -> None:
    first, second, third = runs(origin, [1, 1, 1])
    assert reader.take([*first, *third]) == ["followed", "gap"]
    assert reader.take(second) == ["repeated"], "the origin sends again what differs; a link cannot go back"
    assert sum(reader.statements().values()) == 2


def test_a_broken_run_is_mended_by_its_delivery_and_is_a_gap_without_it(reader: Reader, origin: Sharing) -> None:
    first, second, third, fourth = runs(origin, [1, 2, 1, 1])
    assert reader.take([*first, *second[1:]]) == ["followed", "broken"]
    assert reader.take(second) == ["followed"]
    assert reader.take(third[1:]) == ["broken"]
    assert reader.take(fourth) == ["gap"]


def test_a_checkpoint_that_was_lost_leaves_a_gap(reader: Reader, origin: Sharing) -> None:
    first, second, third = runs(origin, [1, 2, 1])
    assert reader.take([*first, *second[:-1], *third]) == ["followed", "gap"]
    assert sum(reader.statements().values()) == 2, "what no checkpoint closed is not applied"


def test_old_checkpoints_replayed_rewind_nothing(reader: Reader, origin: Sharing) -> None:
    made = runs(origin, [1, 2, 0, 1])
    reader.take([sent for run in made for sent in run])
    held = reader.statements()
    for run in made:
        assert set(reader.take(run)) == {"repeated"}
    assert reader.statements() == held
    assert reader.take(runs(origin, [1])[0]) == ["followed"]


def test_a_log_made_anew_is_a_gap_once_and_the_old_one_is_never_taken_for_newer(
    reader: Reader, origin: Sharing
) -> None:
    old = runs(origin, [1, 1])
    reader.take([*old[0], *old[1]])
    anew = origin.made_anew("newnewnewnewnewnewnewn", made_at=origin.made_at + timedelta(minutes=5))
    first, second = runs(anew, [1, 1])
    assert reader.take(first) == ["gap"]
    assert reader.take(old[1]) == ["stale"]
    more = runs(origin, [1])[0]
    assert reader.take(more) == ["stale"], "the old log goes on, by an older clock: a replay, or a second origin"
    assert reader.take(second) == ["followed"]


def test_a_log_that_claims_to_be_new_and_is_older_is_stale(reader: Reader, origin: Sharing) -> None:
    (first,) = runs(origin, [1])
    reader.take(first)
    older = origin.made_anew("oldoldoldoldoldoldoldo", made_at=origin.made_at - timedelta(days=1))
    (hostile,) = runs(older, [2])
    assert reader.take(hostile) == ["stale"]
    assert sum(reader.statements().values()) == 1


def test_an_origin_that_tells_two_stories_is_loud_and_goes_on_once_it_is_ahead(reader: Reader, origin: Sharing) -> None:
    (first,) = runs(origin, [1])
    other = origin.made_anew(origin.topic_id, made_at=origin.made_at)
    other.sequence, other.hash, other.predecessor = origin.sequence, origin.hash, origin.predecessor
    other.next_offset = origin.next_offset
    ours = runs(origin, [1])[0]
    theirs, later = runs(other, [2, 1])
    assert reader.take([*first, *ours]) == ["followed", "followed"]
    assert reader.take(theirs) == ["stale"]
    assert reader.take(later) == ["gap"]


@pytest.mark.parametrize("claimed", [0, 10**15])
def test_a_link_that_lies_about_a_checkpoints_place_harms_nothing_behind_it(
    reader: Reader, origin: Sharing, claimed: int
) -> None:
    first, second = runs(origin, [2, 2])
    assert reader.take([*first[:-1], replace(first[-1], offset=claimed), *second]) == ["followed", "followed"]
    assert sum(reader.statements().values()) == 4


def test_who_joins_late_is_told_that_it_lacks_the_beginning(reader: Reader, origin: Sharing) -> None:
    _, second, third = runs(origin, [1, 1, 1])
    assert reader.take([*second, *third]) == ["gap", "followed"]


def test_a_run_fetched_before_the_reader_went_back_is_not_looked_at(reader: Reader, origin: Sharing) -> None:
    first, second = runs(origin, [2, 2])
    reader.take(first[:1])
    reader.commit()
    reader.written = [*first, *second]
    stale = as_run(reader.written[2:], IDS, first=2)
    with pytest.raises(Reread) as again:
        reader.stage([stale])
    assert again.value.offsets == {PLACE: 1}
    reader.read()
    assert reader.told.outcomes == ["followed", "followed"]


def test_a_province_that_never_closes_a_run_fills_no_memory(
    reader: Reader, origin: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.exchange.incoming.checkpoint_chain.MOST_MESSAGES", 5)
    (endless,) = runs(origin, [9])
    assert reader.take(endless) == ["not_believed", "broken"]
    assert reader.take(runs(origin, [1])[0]) == ["gap"]


@pytest.mark.parametrize(
    "note", ["", " anchor", " start", " start x", " anchor t 1 2 ff 3 4", "\x00", " start 5 and more", " anchor t 1 2"]
)
def test_a_note_that_is_none_is_none(note: str) -> None:
    assert read_note(note) is None


@pytest.mark.parametrize(
    "anchor",
    [
        None,
        *(ChainAnchor("t" * 22, 3, last, "a" * 64, 1_772_000_000_000) for last in (-1, 0, 9)),
        ChainAnchor("t" * 22, 3, 5, "a" * 64, 1_772_000_000_000, "0a1b2c3d"),
    ],
)
def test_a_note_is_read_as_it_was_written(anchor: ChainAnchor | None) -> None:
    assert read_note(note_of(anchor, 17)) == (anchor, 17)


@given(data=st.data())
@examples(60)
def test_any_redelivery_and_any_restart_accept_the_same(ring: tuple[Path, Signer], data: st.DataObject) -> None:
    """Links repeat blocks from any earlier offset; intake stops anywhere, its commit where it was or behind."""
    origin = Sharing("tianjin", ring[1])
    # Whoever always takes the simplest choice comes to the end, here and below: Hypothesis often does.
    log = [sent for run in runs(origin, data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))) for sent in run]
    delivered: list[Sent] = []
    reached = 0
    while reached < len(log):
        begin = data.draw(st.integers(0, reached))
        end = len(log) - data.draw(st.integers(0, len(log) - begin - 1))
        delivered += log[begin:end]
        reached = max(reached, end)
    reader = Reader(ring[0])
    reader.written = delivered
    while reader.next < len(delivered):
        reader.read(data.draw(st.integers(1, 7)))
        if data.draw(st.booleans()):
            reader.commit()
        if data.draw(st.integers(0, 4)) == 4 and reader.next < len(delivered):
            reader.start()
    assert set(reader.told.outcomes) <= {"followed", "repeated"}
    straight = Reader(ring[0])
    straight.take(log)
    assert reader.statements().keys() == straight.statements().keys()
    assert list(dict.fromkeys(reader.statements())) == list(dict.fromkeys(straight.statements()))


def test_nothing_is_decided_twice_when_the_broker_refuses_once(reader: Reader, origin: Sharing) -> None:
    (first,) = runs(origin, [2])
    run: Run = as_run(first, IDS)
    received = reader.stage.prepare([run])
    reader.stage.finish(received)
    reader.stage.finish(received)
    assert reader.told.outcomes == ["followed"]
    assert set(reader.statements().values()) == {2}


@pytest.mark.parametrize(
    "claims",
    [
        {"sequence": 10**15 - 1},
        {"sequence": 1},
        {"sequence": 10**15 - 1, "predecessor": 10**15, "last_offset": 10**15},
        {"predecessor": 10**18, "last_offset": 10**18},
        {"sequence": 10**9, "predecessor": 10**9, "last_offset": 10**9},
    ],
    ids=str,
)
@pytest.mark.parametrize("anew", [False, True], ids=["same log", "new log"])
@pytest.mark.parametrize("known", [False, True], ids=["no anchor", "anchor"])
def test_no_checkpoint_leaps_and_what_is_true_goes_on_behind_one(
    reader: Reader, origin: Sharing, claims: dict[str, Any], anew: bool, known: bool
) -> None:
    """Signed, as whoever stole the key signs; an hour ahead, so that it is newer than whatever is honest."""
    first, second = runs(origin, [1, 1])
    if known:
        assert reader.take(first) == ["followed"]
    # Without an anchor nobody knows how old the log is: only what no log can be is refused.
    if not known and claims.get("sequence") == 10**9:
        claims = claims | {"sequence": 10**9 + 2}
    topic_id = "x" * 22 if anew else origin.topic_id
    hostile = Sharing("tianjin", origin.signer, topic_id=topic_id, made_at=origin.made_at + timedelta(minutes=59))
    assert reader.take([hostile.checkpoint(count=0, **claims)]) == ["stale"]
    assert reader.take(second if known else first) == ["followed"]


def test_a_run_made_before_the_one_it_follows_on_is_not_applied(reader: Reader, origin: Sharing) -> None:
    (first,) = runs(origin, [1])
    assert reader.take(first) == ["followed"]
    origin.say(shared("tianjin", "津旧", entity=ENTITIES[0]))
    antedated = replace(origin, log=list(origin.log), _run=list(origin._run))
    assert (
        reader.take([antedated.log[-1], antedated.checkpoint(made_at=origin.made_at - timedelta(days=40))])[-1]
        == "stale"
    )
    assert reader.take([origin.log[-1], origin.checkpoint()]) == ["followed"]


def test_behind_a_compromised_key_the_true_province_goes_on_by_another_wherever_the_thief_left_the_chain(
    reader: Reader, origin: Sharing, tmp_path: Path
) -> None:
    folder = tmp_path / "keyring"
    stolen, other = keys(folder, "tianjin")["tianjin"], keys(folder, "tianjin")["tianjin"]
    reader.keyring = Keyring(folder)
    reader.start()
    honest = replace(origin, signer=stolen, log=[], _run=[])
    (first,) = runs(honest, [1])
    thief = replace(honest, log=[], _run=[], held={}, made_at=honest.made_at - timedelta(seconds=10**5 - 1800))
    thief.predecessor, thief.next_offset = 10**6, 10**6 + 2
    thief.sequence = 10**5
    (taken,) = runs(thief, [1])
    assert reader.take([*first, *taken]) == ["followed", "gap"]
    assert reader.take(runs(honest, [1])[0]) == ["repeated"], "the thief is ahead of it"
    reader.commit()
    retire(folder, "tianjin", stolen.key_id, MADE_AT - timedelta(days=9), compromised=True)
    honest.signer = other
    reader.start()
    reader.keyring._looked_at = -10
    assert reader.take([thief.checkpoint()]) == ["not_believed"]
    assert reader.take(runs(honest, [1])[0]) == ["gap"]
    assert reader.take(runs(honest, [1])[0]) == ["followed"]


@pytest.mark.parametrize("date_written", [timedelta(0), timedelta(days=-31), timedelta(minutes=59)])
def test_a_retired_key_applies_nothing_whatever_date_it_writes(
    reader: Reader, origin: Sharing, tmp_path: Path, date_written: timedelta
) -> None:
    folder = tmp_path / "keyring"
    origin.signer = keys(folder, "tianjin")["tianjin"]
    retire(folder, "tianjin", origin.signer.key_id, datetime(2026, 1, 31, tzinfo=UTC))
    reader.keyring = Keyring(folder)
    reader.start()
    origin.made_at += date_written
    assert reader.take(runs(origin, [2])[0]) == ["not_believed"]
    assert sum(reader.statements().values()) == 0
