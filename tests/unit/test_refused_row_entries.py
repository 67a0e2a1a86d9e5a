"""What intake and the view make of a refused row: an entry in a place of its own, and what may be kept and shown of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from producers.files.import_file import import_file
from schemas.catalogue import load
from schemas.contracts.codec import encode, frame
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.records.refused_row import LOG, PARTITION
from streams.kafka.headers import DECISION, FINDINGS, ORIGIN, Origin, findings_of, header
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.unit.importing import TAX, listing, write

TOPIC = "records.tax"


def told_of(change: dict[str, Any]) -> list[tuple[Origin, dict[str, Any], dict[str, Any] | None]]:
    """Return what intake writes to `quarantine` of one RefusedRow: place, what is known, the decision."""
    registry, recorder = MemoryRegistry(), Recorder()
    value = {
        "department": "tax", "refusal_id": 12, "outcome": "REFUSED", "at": datetime.now(UTC), "known_since": None,
        "domain": "tax", "uscc": "91110000101623741K", "record_id": "0" * 32, "version": 5, "by": None, "reason": None,
        "findings": [{"code": "DATE_FORM", "field": "处罚决定日期", "message": "不是日期"}],
    }  # fmt: skip
    message = frame(registry.register("xinliu.RefusedRow"), encode("xinliu.RefusedRow", value | change))
    stage_of(registry, recorder)([records_of(TOPIC, [message])])
    assert recorder.accepted == []
    return [
        (
            Origin.from_bytes(header(headers, ORIGIN) or b""),
            findings_of(header(headers, FINDINGS)),
            findings_of(header(headers, DECISION)),
        )
        for _, headers in recorder.quarantined
    ]


def test_a_refused_row_stands_in_a_place_of_its_own() -> None:
    ((origin, known, decision),) = told_of({})
    assert origin == Origin(TOPIC, LOG, PARTITION, 12)
    assert (known["uscc"], known["domain"], known["record_id"], known["version"]) == (
        "91110000101623741K", "tax", "0" * 32, 5,
    )  # fmt: skip
    assert decision is None


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"outcome": "DISCARDED", "reason": "重复录入", "by": "zhang@desk"}, "DISCARDED"),
        ({"outcome": "MENDED"}, "ACCEPTED"),
    ],
)
def test_what_became_of_a_refused_row_is_an_outcome_of_its_entry(change: dict[str, Any], outcome: str) -> None:
    ((origin, known, decision),) = told_of(change)
    assert origin == Origin(TOPIC, LOG, PARTITION, 12)
    assert decision is not None
    assert (decision["outcome"], known["record_id"]) == (outcome, "0" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "FORGET"}, {"outcome": "DISCARDED", "reason": " "}, {"outcome": "MENDED", "record_id": None},
        {"outcome": "MENDED", "version": None}, {"refusal_id": -1}, {"refusal_id": 1 << 60}, {"department": "water"},
    ],
)  # fmt: skip
def test_what_a_department_cannot_say_of_a_refused_row_holds_it_back(change: dict[str, Any]) -> None:
    ((origin, known, decision),) = told_of(change)
    assert (origin.topic_id, origin.partition) == ("id", 0), "an entry as of any message that makes no sense"
    assert (known["uscc"], decision) == (None, None)


@pytest.mark.parametrize(
    "change", [{"uscc": "110101199003074514"}, {"uscc": "91110000101623741X"}, {"uscc": ""}, {"uscc": "\x00" * 18}]
)
def test_a_code_that_is_nobodys_for_certain_holds_the_source_back(change: dict[str, Any]) -> None:
    since = datetime(2025, 9, 1, tzinfo=UTC)
    ((_, known, _),) = told_of({**change, "known_since": since})
    assert known["uscc"] is None
    assert known["held_from"] == since.timestamp() * 1000 - 1, "before the row was known"


def test_texts_of_a_refused_row_can_be_kept_and_shown() -> None:
    findings = [{"code": "X" * 900, "field": "\x00列", "message": "110101199003074514 \x00\x1b[31m " * 100}] * 30
    ((_, known, _),) = told_of({"findings": findings, "domain": "\x00", "record_id": "不是"})
    assert len(known["findings"]) == 20
    assert not any(hidden in json.dumps(known) for hidden in ("\\u0000", "19900307"))
    assert (known["domain"], known["record_id"]) == (None, None)


def test_a_list_entry_is_told_of_in_its_domain(tmp_path: Path) -> None:
    found = import_file(write(tmp_path / "a.csv", [listing(列入日期="bad")]), TAX, load())
    ((_, refusal),) = found.refusals
    assert (refusal.domain, refusal.uscc) == ("tax", "91110000101623741K")
