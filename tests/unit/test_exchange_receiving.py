"""What another province pushed here: only verified runs are applied, and of them only what the province may say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.catalogue import load
from schemas.contracts import CONTRACTS
from schemas.memory_registry import MemoryRegistry
from schemas.signing import Keyring, Signer
from streams.exchange.receiving import ReceivingStage
from streams.headers import CARRIED, ORIGIN, Origin, findings_of, header
from tests.exchanges import Sent, Sharing, as_run, entities, keys, shared, withdrawn
from tests.fuzz.properties import Recorder

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
    assert [name for name, _ in headers] == [ORIGIN, "xinliu-schema", "xinliu-epoch", "xinliu-known"]
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
        [one, two, three, replace(three, offset=3), replace(closing, offset=4)],
    ):
        far.take(hostile)
        assert far.out.accepted == []
    far.take(origin.log)
    assert (len(far.keys()), far.checkpoints()) == (3, 1)
