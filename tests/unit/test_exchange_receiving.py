"""What another province pushed here: only verified runs are applied, and of them only what the province may say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.catalogue import load
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.exchange.keys import Keyring, Signer
from schemas.identifiers.uscc import generate
from schemas.records.partitioning import partitions_of
from streams.exchange.incoming.stage import ReceivingStage
from streams.kafka.headers import CARRIED, ORIGIN, Origin, findings_of, header
from tests.exchanges import Sent, Sharing, as_run, entities, keys, of_province, shared, withdrawn
from tests.fuzz.properties import Recorder
from tests.statements import Statement, listing, registration, state

ENTITIES = entities(0, 8)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Far:
    """Intake of Beijing, as far as others' exchanges go, and what it forwarded."""

    stage: ReceivingStage
    out: Recorder
    ids: dict[str, int]
    signers: dict[str, Signer]
    registry: MemoryRegistry
    keyring: Path
    read: int = 0

    def take(self, messages: list[Sent]) -> None:
        """Have a link deliver messages, and intake read them."""
        run = as_run(messages, self.ids, first=self.read)
        self.read = run.next_offset
        self.stage([run])

    def keys(self) -> list[bytes]:
        """Return what is in `accepted`, checkpoints left out."""
        return [key for _, key, _, headers in self.out.accepted if header(headers, CARRIED) is None]

    def checkpoints(self) -> int:
        """Return how many checkpoints are in `accepted`."""
        return sum(key.startswith(b"checkpoint|") for _, key, _, _ in self.out.accepted)

    def codes(self) -> list[list[str]]:
        """Return why messages are in quarantine."""
        told = [findings_of(header(headers, "xinliu-findings")) for _, headers in self.out.quarantined]
        return [[found["code"] for found in one["findings"]] for one in told]


@pytest.fixture
def far(tmp_path: Path) -> Far:
    registry = MemoryRegistry()
    ids = {name: registry.register(name) for name in CONTRACTS}
    signers = keys(tmp_path / "keyring", "tianjin", "hebei")
    out = Recorder()
    return Far(_stage(registry, tmp_path / "keyring", out), out, ids, signers, registry, tmp_path / "keyring")


def _stage(registry: MemoryRegistry, keyring: Path, out: Recorder) -> ReceivingStage:
    return ReceivingStage(registry, load(), ("tianjin", "hebei"), Keyring(keyring), out, now=lambda: NOW)


def tianjin(far: Far) -> Sharing:
    return Sharing("tianjin", far.signers["tianjin"])


def test_a_verified_run_reaches_accepted_with_its_checkpoint_behind_it(far: Far) -> None:
    origin = tianjin(far)
    first = origin.say(shared("tianjin", "津税罚1", entity=ENTITIES[0]), epoch=7)
    origin.say(withdrawn(shared("tianjin", "津税罚2", entity=ENTITIES[1])), epoch=9)
    far.take(origin.log)
    assert far.out.accepted == [], "nothing is applied before its checkpoint"
    far.take([origin.checkpoint()])
    (partition, key, value, headers), second, checkpoint = far.out.accepted
    assert (partition, value) == (0, first.arrived(far.ids["xinliu.Statement"])[1])
    assert key.endswith(b"|7") and second[1].endswith(b"|9")
    assert Origin.from_bytes(header(headers, ORIGIN) or b"") == Origin("exchange.tianjin", origin.topic_id, 0, 0)
    assert [name for name, _ in headers] == [ORIGIN, "xinliu-schema", "xinliu-epoch", "xinliu-known", "xinliu-signed"]
    assert header(headers, "xinliu-signed") == far.signers["tianjin"].key_id.encode()
    assert checkpoint[1] == b"checkpoint|tianjin|0"
    assert header(checkpoint[3], ORIGIN) is None and header(checkpoint[3], CARRIED) is not None
    assert far.out.quarantined == []


def test_runs_follow_on_each_other_and_an_empty_one_is_a_heartbeat(far: Far) -> None:
    origin = tianjin(far)
    for number in range(4):
        if number % 2:
            origin.say(shared("tianjin", f"津税罚{number}", entity=ENTITIES[number]))
        origin.checkpoint()
    far.take(origin.log)
    assert (len(far.keys()), far.checkpoints()) == (2, 4)
    far.take(origin.log)
    assert (len(far.keys()), far.checkpoints()) == (2, 4), "delivered again, it is known"


def test_a_run_with_a_message_altered_missing_or_out_of_order_is_not_applied_and_may_come_again(far: Far) -> None:
    origin = tianjin(far)
    for number in range(3):
        origin.say(shared("tianjin", f"津税罚{number}", entity=ENTITIES[number]))
    origin.checkpoint()
    one, two, three, closing = origin.log
    body = two.body.replace("津税罚1".encode(), "津税罚9".encode())
    for hostile in (
        [one, replace(two, body=body), three, closing],
        [one, replace(two, headers=(*two.headers[:1], ("xinliu-epoch", b"2"), *two.headers[2:])), three, closing],
        [one, replace(two, key=b"another"), three, closing],
        [one, three, closing],
        [one, replace(two, offset=2), replace(three, offset=1), closing],
        [replace(one, topic_id="another"), two, three, closing],
    ):
        far.take(hostile)
        assert far.out.accepted == []
    far.take(origin.log)
    assert (len(far.keys()), far.checkpoints()) == (3, 1)


def test_what_a_link_puts_behind_a_run_is_no_part_of_it_nor_of_the_next(far: Far) -> None:
    origin = tianjin(far)
    one = origin.say(shared("tianjin", "津税罚1", entity=ENTITIES[0]))
    closing = origin.checkpoint()
    two = origin.say(shared("tianjin", "津税罚2", entity=ENTITIES[1]))
    last = origin.checkpoint()
    far.take([one, replace(two, offset=closing.offset), closing, two, last])
    assert (len(far.keys()), far.checkpoints()) == (2, 2)
    assert len(set(far.keys())) == 2


def test_a_signature_that_does_not_hold_closes_nothing_and_the_genuine_one_still_does(far: Far) -> None:
    origin = tianjin(far)
    origin.say(shared("tianjin", "津税罚1", entity=ENTITIES[0]))
    before = replace(origin, log=list(origin.log), _run=list(origin._run))
    genuine = origin.checkpoint()
    by_hebei = before.checkpoint(signer=far.signers["hebei"])
    unsigned = replace(genuine, body=genuine.body[:-1] + bytes([genuine.body[-1] ^ 1]))
    for forged in (by_hebei, unsigned, replace(genuine, headers=())):
        far.take([*origin.log[:1], forged])
        assert far.out.accepted == []
    far.take([genuine])
    assert (len(far.keys()), far.checkpoints()) == (1, 1)


@pytest.mark.parametrize(
    "claims",
    [
        {"province": "hebei"},
        {"partition": 1},
        {"topic_id": "another"},
        {"count": 2},
        {"last_offset": 5},
        {"hash": "f" * 64},
        {"hash": "no hash"},
        {"predecessor_hash": "f" * 64},
        {"made_at": NOW + timedelta(hours=2)},
        {"domains": [{"domain": "tax\0", "records": 1, "digest_hi": 1, "digest_lo": 1, "data_as_of": None}]},
        {"domains": [{"domain": "tax", "records": 1, "digest_hi": 1, "digest_lo": 1, "data_as_of": None}] * 2},
        {"domains": [{"domain": "tax", "records": -1, "digest_hi": 1, "digest_lo": 1, "data_as_of": None}]},
    ],
    ids=str,
)
def test_a_signed_checkpoint_that_says_what_is_not_so_applies_nothing(far: Far, claims: dict[str, Any]) -> None:
    origin = tianjin(far)
    origin.say(shared("tianjin", "津税罚1", entity=ENTITIES[0]))
    origin.checkpoint(**claims)
    far.take(origin.log)
    assert far.out.accepted == []
    assert far.out.quarantined == []


def test_no_province_is_heard_on_anothers_exchange(far: Far) -> None:
    origin = Sharing("hebei", far.signers["hebei"])
    origin.say(shared("hebei", "冀税罚1", entity=ENTITIES[0]))
    origin.checkpoint()
    moved = [replace(sent, topic="exchange.tianjin") for sent in origin.log]
    far.take(moved)
    assert far.out.accepted == []


def test_a_message_whose_schema_id_means_another_schema_here_is_not_believed(far: Far) -> None:
    origin = tianjin(far)
    origin.say(shared("tianjin", "津税罚1", entity=ENTITIES[0]))
    origin.checkpoint()
    wrong = {**far.ids, "xinliu.Statement": far.ids["xinliu.Marker"]}
    unknown = {**far.ids, "xinliu.Statement": 4_000}
    for ids in (wrong, unknown):
        run = as_run(origin.log, ids, first=far.read)
        far.read = run.next_offset
        far.stage([run])
        assert far.out.accepted == []
    far.take(origin.log)
    assert len(far.keys()) == 1


def _said(far: Far, statement: Statement, partition: int = 0, **options: Any) -> list[str]:
    """Return for what a statement is refused that a verified run holds beside a good one; nothing where it is not."""
    origin = Sharing("tianjin", far.signers["tianjin"], partition=partition)
    origin.say(statement, **options)
    good = origin.say(shared("tianjin", "津好", entity=entities(partition, 1)[0]))
    origin.checkpoint()
    run = as_run(origin.log, far.ids)
    far.stage([run])
    values = [value for _, _, value, headers in far.out.accepted if header(headers, CARRIED) is None]
    assert good.arrived(far.ids["xinliu.Statement"])[1] in values
    assert len(values) + len(far.out.quarantined) == 2, "each is in one of both"
    return far.codes()[0] if far.out.quarantined else []


def _fit(number: str = "津税罚1", **content: Any) -> Statement:
    return shared("tianjin", number, entity=ENTITIES[0], **content)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ({**_fit(), "province": "beijing"}, "WRONG_PROVINCE"),
        ({**_fit(), "province": "hebei"}, "WRONG_PROVINCE"),
        ({**_fit(), "department": "no-such"}, "WRONG_DEPARTMENT"),
        ({**_fit(), "domain": "finance"}, "WRONG_DOMAIN"),
        ({**_fit(), "domain": "registration"}, "EXCHANGE_BODY"),
        ({**_fit(), "kind": "LISTING"}, "EXCHANGE_BODY"),
        ({**_fit(), "status": "REPAIRED"}, "EXCHANGE_BODY"),
        ({**_fit(), "status": "GONE"}, "EXCHANGE_BODY"),
        ({**withdrawn(_fit()), "reason": "PUBLISHED"}, "EXCHANGE_BODY"),
        ({**_fit(), "record_id": "beijing|1|2"}, "EXCHANGE_RECORD"),
        ({**_fit(), "record_id": "A" * 32}, "EXCHANGE_RECORD"),
        (shared("tianjin", "津税罚1", entity=entities(1, 1)[0]), "EXCHANGE_PARTITION"),
        (of_province("tianjin", listing("L1", entity=ENTITIES[0], list="COURT")), "WRONG_LIST"),
        ({**of_province("tianjin", registration(entity=ENTITIES[0])), "department": "tax"}, "WRONG_REGISTRAR"),
        (_fit(facts="甲" * 400_000), "TOO_LARGE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_province_may_say_only_what_its_own_departments_may(far: Far, statement: Statement, code: str) -> None:
    assert code in _said(far, statement)
    origin = Origin.from_bytes(header(far.out.quarantined[0][1], ORIGIN) or b"")
    assert (origin.department, origin.province, origin.offset) == ("exchange.tianjin", "tianjin", 0)


@pytest.mark.parametrize("statement", [
    _fit(), withdrawn(_fit()), state(_fit(), "REPAIRED", version=2), state(_fit(), "REVOKED", version=2),
    of_province("tianjin", listing("L1", entity=ENTITIES[0])), of_province("tianjin", registration(entity=ENTITIES[0])),
])  # fmt: skip
def test_what_it_may_say_passes(far: Far, statement: Statement) -> None:
    assert _said(far, statement) == []


@pytest.mark.parametrize("epoch", [b"0", b"-1", b"1e9", b"", b"9" * 30, "１".encode()])
def test_no_statement_passes_without_an_epoch(far: Far, epoch: bytes) -> None:
    assert _said(far, _fit(), told={"epoch": epoch}) == ["EXCHANGE_EPOCH"]


def test_a_code_that_names_a_person_is_refused_and_kept_nowhere(far: Far) -> None:
    person = "362322198709086409"
    statement = {**_fit(), "subject": {**_fit()["subject"], "uscc": person}}
    partition = int(partitions_of(pl.Series([person]), 4)[0])
    assert "EXCHANGE_PERSON" in _said(far, statement, partition)
    value, headers = far.out.quarantined[0]
    assert b"19870908" not in value and not any(b"19870908" in told for _, told in headers)
    assert findings_of(header(headers, "xinliu-findings"))["uscc"] is None


def test_bytes_that_are_no_statement_and_other_contracts_go_to_quarantine(far: Far) -> None:
    origin = tianjin(far)
    good = origin.say(_fit())
    broken = replace(good, offset=1, body=good.body[:-3])
    origin._run.append(broken)
    origin.log.append(broken)
    origin.next_offset = 2
    marker = {"department": "tax", "marker_id": "0" * 32, "as_of": NOW}
    origin.carry("xinliu.Marker", marker, b"m")
    origin.carry("xinliu.SharedSet", _set("hebei"), b"set|1")
    origin.carry("xinliu.SharedSet", _set("tianjin"), b"set|2")
    origin.checkpoint()
    far.take(origin.log)
    assert far.codes() == [["DAMAGED"], ["UNEXPECTED_RECORD"], ["EXCHANGE_MESSAGE"]]
    assert [key for _, key, _, _ in far.out.accepted][1:] == [
        b"carried|tianjin|0|SharedSet|set|2", b"checkpoint|tianjin|0",
    ]  # fmt: skip


def _set(province: str) -> dict[str, Any]:
    return {
        "province": province, "partition": 0, "domain": "tax", "bits": 0, "buckets": [0], "asked_by": "beijing",
        "made_at": NOW, "lines": [],
    }  # fmt: skip


def test_what_a_link_cannot_place_is_no_part_of_a_run(far: Far) -> None:
    origin = tianjin(far)
    origin.say(_fit())
    origin.checkpoint()
    run = as_run(origin.log, far.ids)
    bare = [(name, value) for name, value in run.records[0].headers if name != ORIGIN]
    for told in (b"", b"exchange.tianjin x 0", b"exchange.hebei x 0 0", b"exchange.tianjin x 3 0", b"\xff"):
        first = replace_headers(run.records[0], (*bare, (ORIGIN, told)))
        far.stage([replace(run, records=(first, *run.records[1:]))])
        assert far.out.accepted == []


def replace_headers(record: Any, headers: tuple[tuple[str, bytes], ...]) -> Any:
    return replace(record, headers=headers)


LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "claims",
    [
        {"sequence": 2**63 - 1},
        {"sequence": int((NOW + timedelta(hours=2)).timestamp() * 1000)},
        {"at": NOW + timedelta(hours=2)},
        {"at": LAST, "sequence": 2**62},
        {"entries": [{"domain": "tax", "department": "tax", "open": 1, "since": LAST}]},
        {"at": datetime(1, 1, 1, tzinfo=UTC), "sequence": 1},
    ],
    ids=str,
)
def test_what_waits_elsewhere_is_bounded_or_nothing_true_could_take_its_place(far: Far, claims: dict[str, Any]) -> None:
    origin = tianjin(far)
    said = {"province": "tianjin", "partition": 0, "uscc": generate(ENTITIES[0]), "at": NOW, "entries": []}
    said["sequence"] = int(NOW.timestamp() * 1000)
    origin.carry("xinliu.PendingEntries", said, b"good")
    origin.carry("xinliu.PendingEntries", said | claims, b"bad")
    origin.carry("xinliu.SharedSet", _set("tianjin") | {"made_at": LAST}, b"set")
    origin.checkpoint()
    far.take(origin.log)
    assert far.codes() == [["EXCHANGE_MESSAGE"], ["EXCHANGE_MESSAGE"]]
    assert [key for _, key, _, _ in far.out.accepted] == [
        b"carried|tianjin|0|PendingEntries|good",
        b"checkpoint|tianjin|0",
    ]
