"""A manifest on its way: what intake forwards and refuses, and what a department makes of files and answers."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from producers.errors import NotVisibleYet
from producers.receipts import Receipts
from producers.reconciliation.dialogue import _Answers
from producers.reconciliation.from_files import from_files
from producers.reconciliation.from_outbox import from_outbox
from schemas.catalogue import load
from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import decode, encode, frame, unframe
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.contracts.registry import writer_schema
from schemas.errors import UsageError
from schemas.reconciliation.manifest import ManifestScope, manifest_fault, newest, summary
from schemas.records.identity import digest
from streams.kafka.headers import FINDINGS, MANIFEST, Origin, findings_of, header
from streams.reconciliation.manifests import answer, stated
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.statements import penalty as statement
from tests.unit.importing import TAX, penalty, write
from tests.unit.test_manifest import lines

TOPIC = "records.tax"
NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def registry() -> MemoryRegistry:
    """A registry that knows our contracts."""
    return MemoryRegistry()


def message(registry: MemoryRegistry, **changes: Any) -> bytes:
    """Return the message of a manifest."""
    made = summary(newest(lines({"a" * 32: (1, 2, 3)})), "tax", ManifestScope("tax", "PENALTY"), made_at=NOW) | changes
    return frame(registry.register("xinliu.Manifest"), encode("xinliu.Manifest", made))


def test_intake_forwards_a_manifest_behind_the_statements_before_it(registry: MemoryRegistry) -> None:
    recorder = Recorder()
    said = frame(registry.register("xinliu.Statement"), encode("xinliu.Statement", statement("单1")))
    manifest = message(registry)
    stage_of(registry, recorder)([records_of(TOPIC, [said, manifest, said], 7)])
    assert [value for _, _, value, _ in recorder.accepted] == [said, said, manifest]
    _, key, value, headers = recorder.accepted[-1]
    assert key == b"manifest|records.tax|0|tax|PENALTY|0"
    assert Origin.from_bytes(header(headers, MANIFEST) or b"").offset == 8
    assert value == manifest, "byte for byte"
    assert recorder.vectors[-1]["inputs"][0]["next_offset"] == 10, "told at once, as for a marker"
    assert recorder.vectors[-1]["inputs"][0]["as_of"] is None, "it vouches for nothing"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"department": "finance"}, "WRONG_DEPARTMENT"),
        ({"domain": "finance"}, "MANIFEST_SCOPE"),
        ({"kind": "x" * 5_000}, "MANIFEST_SCOPE"),
    ],
)
def test_a_manifest_of_what_is_not_the_departments_is_refused(
    registry: MemoryRegistry, changes: dict[str, Any], code: str
) -> None:
    recorder = Recorder()
    stage_of(registry, recorder)([records_of(TOPIC, [message(registry, **changes)])])
    assert recorder.accepted == []
    ((_, headers),) = recorder.quarantined
    assert [found["code"] for found in findings_of(header(headers, FINDINGS))["findings"]] == [code]


def test_what_contradicts_itself_is_kept_out_of_the_quarantine_and_answered(registry: MemoryRegistry) -> None:
    recorder = Recorder()
    stage_of(registry, recorder)([records_of(TOPIC, [message(registry, bits=99, manifest_id="\0")])])
    assert recorder.quarantined == [], "an open entry without a USCC would hold back the department's data"
    (_, key, value, headers) = recorder.accepted[0]
    (one,) = stated(registry, [_accepted(key, value, headers)])
    assert one.fault is not None
    told = answer(one.manifest | {"manifest_id": "0" * 32}, "REFUSED", NOW, message=one.fault)
    receipt = {"department": "tax", "issued_at": NOW, "watermark": [], "exceptions": []}
    body = encode("xinliu.Receipt", receipt | {"reconciliation": told | {"compared_at": NOW}})
    assert decode(parsed("xinliu.Receipt"), body)["reconciliation"]["state"] == "REFUSED"


def _accepted(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> Any:
    (run,) = (records_of("accepted", [value]),)
    (record,) = run.records
    return type(record)("accepted", 0, 0, record.timestamp, 1, key, value, None, 1, len(value), tuple(headers))


def test_files_tell_the_newest_statement_of_each_record(tmp_path: Path) -> None:
    old, new = penalty(), penalty(CF_NR="罚款3000元", 更新时间="2025-10-02 10:00:00")
    other = penalty(CF_WSH="京税罚〔2025〕2号")
    bad = penalty(CF_WSH="京税罚〔2025〕3号", CF_SY="")
    first, second = write(tmp_path / "a.csv", [old, other]), write(tmp_path / "b.csv", [new, bad])
    told = from_files([first, second], TAX, load())
    assert (told.records.height, told.refused) == (2, 1)
    by_place = {row["place"]: row for row in told.records.rows(named=True)}
    assert {told.where(place): row["period"] for place, row in by_place.items()} == {
        "a.csv:3": "2025-09",
        "b.csv:2": "2025-10",
    }
    for place, row in by_place.items():
        assert digest(told.statement(place)) == (row["digest_hi"], row["digest_lo"])
    made = summary(told.records, "tax", ManifestScope("tax", "PENALTY"), made_at=NOW)
    assert manifest_fault(made) is None
    assert unframe(frame(1, encode("xinliu.Manifest", made)))[0] == 1


def test_an_outbox_tells_what_was_confirmed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'outbox.db'}"
    columns = "id INTEGER PRIMARY KEY, department TEXT, version INTEGER, writer_schema TEXT, body BLOB, state TEXT"
    told = [statement("箱1"), statement("箱1", version=2), statement("箱2", entity=1), statement("箱3", entity=2)]
    bodies = [encode("xinliu.Statement", one) for one in told]
    known = fingerprint(source("xinliu.Statement"))
    with sqlite3.connect(tmp_path / "outbox.db") as database:
        database.execute(f"CREATE TABLE xinliu_outbox ({columns})")
        rows = [
            ("tax", one["version"], known, body, state)
            for one, body, state in zip(told, bodies, ("SENT", "SENT", "SENT", "WAITING"), strict=True)
        ]
        database.executemany(
            "INSERT INTO xinliu_outbox (department, version, writer_schema, body, state) VALUES (?, ?, ?, ?, ?)",
            [*rows, ("finance", 1, known, bodies[3], "SENT")],
        )
    writers = {known: writer_schema(0, json.dumps(source("xinliu.Statement")))}
    found = from_outbox(url, "tax", writers)
    assert {found.where(place) for place in found.records["place"]} == {"outbox:2", "outbox:3"}
    assert {found.statement(place) for place in found.records["place"]} == {bodies[1], bodies[2]}
    assert found.records["version"].max() == told[1]["version"]
    with pytest.raises(UsageError, match="fingerprint"):
        from_outbox(url, "tax", {})
    with pytest.raises(UsageError, match="no such table"):
        from_outbox(f"sqlite:///{tmp_path / 'empty.db'}", "tax", writers)
    with pytest.raises(UsageError, match="no database address"):
        from_outbox("nonsense://x", "tax", writers)


class Said:
    """Receipts that were written beforehand, given out one at a time."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self._left = list(answers)

    def read(self, seconds: float) -> list[dict[str, Any]]:
        """Return the next."""
        return [{"reconciliation": self._left.pop(0)}] if self._left else []


def _answer(part: int, *records: str, complete: bool = True, manifest_id: str = "m") -> dict[str, Any]:
    differences = [{"record_id": one} for one in records]
    return {"manifest_id": manifest_id, "part": part, "differences": differences, "complete": complete}


def test_answers_come_in_portions_and_more_than_once() -> None:
    said = Said(
        None,
        _answer(1, "a", complete=False),
        _answer(1, "z", manifest_id="another"),
        _answer(1, "a", complete=False),
        _answer(2),
        _answer(1, "b"),
        _answer(1, "b"),
    )
    found = _Answers(cast(Receipts, said), "m", 5.0).wait([1, 2])
    assert [[one["record_id"] for one in answer["differences"]] for answer in found] == [["a", "b"], []]


def test_an_answer_that_does_not_come_is_told() -> None:
    clock = iter(range(100))
    with pytest.raises(NotVisibleYet, match="--timeout"):
        _Answers(cast(Receipts, Said()), "m", 5.0, lambda: float(next(clock))).wait([0])
