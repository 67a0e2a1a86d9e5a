"""Whatever a link writes, intake goes on: it is applied, in quarantine, or told as not believed; nothing is raised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.contracts.avro import CONTRACTS
from schemas.contracts.codec import frame
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.exchange.keys import Keyring, Signer
from schemas.exchange.topics import EPOCH, KNOWN, MEND, ORIGIN, SCHEMA
from streams.exchange.incoming.stage import ReceivingStage
from tests.examples import examples
from tests.exchanges import MADE_AT, Sharing, as_run, entities, keys, shared
from tests.fuzz.properties import Recorder

ENTITY = entities(0, 1)[0]
REGISTRY = MemoryRegistry()
IDS = {name: REGISTRY.register(name) for name in CONTRACTS}
UNFIT = REGISTRY.add({"type": "record", "name": "Statement", "namespace": "xinliu", "fields": []}, checked=False)
NAMES = (ORIGIN, SCHEMA, EPOCH, KNOWN, MEND, "other")


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Signer]:
    folder = tmp_path_factory.mktemp("any") / "keyring"
    return folder, keys(folder, "tianjin")["tianjin"]


def stage(ring: tuple[Path, Signer], out: Recorder) -> ReceivingStage:
    return ReceivingStage(REGISTRY, load(), ("tianjin",), Keyring(ring[0]), out, now=lambda: MADE_AT)


@given(data=st.data())
@examples(60)
def test_any_bytes_of_a_link(ring: tuple[Path, Signer], data: st.DataObject) -> None:
    origin = Sharing("tianjin", ring[1])
    for number in range(3):
        origin.say(shared("tianjin", f"津{number}", entity=ENTITY))
        origin.checkpoint()
    run = as_run(origin.log, IDS)
    records: list[Any] = list(run.records)
    for place in data.draw(st.sets(st.integers(0, len(records) - 1), min_size=1, max_size=3)):
        records[place] = _spoiled(records[place], data)
    out = Recorder()
    stage(ring, out)([replace(run, records=tuple(records))])
    honest = Recorder()
    stage(ring, honest)([run])
    allowed = {(key, value) for _, key, value, _ in honest.accepted}
    # A link can keep something from us; it can put no word into a province's mouth.
    assert {(key, value) for _, key, value, _ in out.accepted} <= allowed
    assert out.quarantined == []


def _spoiled(record: Any, data: st.DataObject) -> Any:
    value, headers = record.value, list(record.headers)
    match data.draw(st.sampled_from(["value", "cut", "bit", "none", "key", "header", "unfit"])):
        case "value":
            value = data.draw(st.binary(max_size=40))
        case "cut":
            value = value[: data.draw(st.integers(0, len(value) - 1))]
        case "bit":
            at = data.draw(st.integers(0, len(value) - 1))
            value = value[:at] + bytes([value[at] ^ data.draw(st.integers(1, 255))]) + value[at + 1 :]
        case "none":
            value = None
        case "key":
            return replace(record, key=data.draw(st.none() | st.binary(max_size=9)))
        case "header":
            name = data.draw(st.sampled_from(NAMES))
            headers = [one for one in headers if one[0] != name]
            headers += [(name, told) for told in data.draw(st.lists(st.binary(max_size=30), max_size=2))]
        case "unfit":
            value = frame(UNFIT, value[5:])
    return replace(record, value=value, headers=tuple(headers))


@given(body=st.binary(max_size=60), name=st.sampled_from(sorted(CONTRACTS)), known=st.booleans())
@examples(60)
def test_any_bytes_under_a_provinces_own_signature(
    ring: tuple[Path, Signer], body: bytes, name: str, known: bool
) -> None:
    origin = Sharing("tianjin", ring[1])
    origin.say(shared("tianjin", "津1", entity=ENTITY))
    headers = ((SCHEMA, REGISTRY.writer(IDS[name]).fingerprint.encode()), (EPOCH, body[:3])) if known else ()
    origin.write(body, headers, name, body)
    origin.say(shared("tianjin", "津2", entity=ENTITY))
    origin.checkpoint()
    out = Recorder()
    stage(ring, out)([as_run(origin.log, IDS)])
    if known and name != "xinliu.Checkpoint":
        assert len([one for one in out.accepted if not one[1].startswith(b"c")]) + len(out.quarantined) in (2, 3)
        assert len(out.accepted) + len(out.quarantined) == 4
