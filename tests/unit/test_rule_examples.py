"""Every rule is proved by its own example: it breaks this rule and no other, for the rules, for intake and for the import."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from producers.files.import_file import import_file
from producers.statements.encoding import encoded, nested
from schemas.catalogue import load
from schemas.contracts.codec import encode, frame
from schemas.contracts.flat_frame import FLAT
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.rules import RULES, validate, validate_origin
from schemas.rules.examples import DEPARTMENT, EXAMPLES, broken, good
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.unit.test_registration_rules import BROKEN as REGISTRATIONS
from tests.unit.test_rules import BROKEN

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)
TAX = load().department("beijing", DEPARTMENT)
REGISTRY = MemoryRegistry()
BY_CODE = {rule.code: rule for rule in RULES}

NOT_IN_A_FILE = {
    "KIND": "the headers say the kind",
    "BODY": "a row in force has a body",
    "BODY_LEFT": "a row that is repaired or revoked has none",
    "PROVINCE": "the department says the province",
    "WRONG_PROVINCE": "the department says the province",
    "WRONG_DEPARTMENT": "the command says the department",
    "HIDDEN_CHARACTER": "the import takes it out, and tells",
}
"""Rules that no file can break, and why."""


def by_rules(said: dict[str, Any]) -> pl.DataFrame:
    frame = pl.DataFrame({name: [said.get(name, 0)] for name in FLAT.names()}, schema=FLAT)
    return pl.concat([validate(frame, load(), today=TODAY, now=NOW), validate_origin(frame, TAX)])


def by_intake(said: dict[str, Any]) -> tuple[set[str], bool]:
    stage = stage_of(REGISTRY, Recorder(), now=lambda: NOW)
    message = frame(REGISTRY.register("xinliu.Statement"), encode("xinliu.Statement", nested(said)))
    examined = stage.prepare([records_of(TAX.records_topic, [message])])
    verdict = examined.verdicts.get(0)
    return ({finding["code"] for finding in verdict.findings}, verdict.refused) if verdict else (set(), False)


def headers() -> dict[str, str]:
    known = Path("producers/files/headers/headers.csv").read_text(encoding="utf-8").splitlines()
    return {f"{row['kind']} {row['field']}": row["header"] for row in reversed(list(csv.DictReader(known)))}


def as_file(path: Path, said: dict[str, Any], changed: set[str]) -> Path:
    """Write a statement as a department's file would have it."""
    known, row = headers(), {}
    for name, value in said.items():
        field = {"record_id": "original_record_id"}.get(name, name)
        header = known.get(f"{said['kind']} {field}") or known.get(f"ANY {field}")
        if header and (name in changed or name not in ("record_id", "reason")):
            row[header] = "" if value is None else str(value)
    path.write_text("\n".join([json.dumps(row, ensure_ascii=True)]), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["PENALTY", "LISTING"])
def test_the_good_statements_break_none(kind: str, tmp_path: Path) -> None:
    said = good(kind)
    assert encoded(said) == encode("xinliu.Statement", nested(said))
    assert by_rules(said).is_empty()
    assert by_intake(said) == (set(), False)
    found = import_file(as_file(tmp_path / "a.jsonl", said, set()), TAX, load())
    assert [statement.body for statement in found.outgoing] == [encoded(said)], "a file says the very same"


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_breaks_its_rule_and_no_other(code: str) -> None:
    example = EXAMPLES[code]
    told = by_rules(broken(code))
    assert set(told["code"]) == {code, *example.also}
    assert example.told_of in told.filter(code=code)["field"]
    assert set(told["severity"]) == {BY_CODE[found].severity for found in told["code"]}


@pytest.mark.parametrize("code", EXAMPLES)
def test_intake_answers_as_the_rules_do(code: str) -> None:
    codes = {code, *EXAMPLES[code].also}
    assert by_intake(broken(code)) == (codes, any(BY_CODE[found].severity == "refuse" for found in codes))


@pytest.mark.parametrize("code", sorted(EXAMPLES.keys() - NOT_IN_A_FILE))
def test_the_import_answers_as_intake_does(code: str, tmp_path: Path) -> None:
    said, example = broken(code), EXAMPLES[code]
    found = import_file(as_file(tmp_path / "a.jsonl", said, set(example.change)), TAX, load())
    told = {error.code for error in (*found.errors, *found.remarks)}
    assert told == {code, *example.also}
    assert bool(found.outgoing) != by_intake(said)[1], "refused by both or by none"


def test_every_rule_has_an_example() -> None:
    assert EXAMPLES.keys() <= BY_CODE.keys()
    elsewhere = {"WRONG_REGISTRAR", *(code for code, _, _ in (*BROKEN, *REGISTRATIONS))}
    assert BY_CODE.keys() - EXAMPLES.keys() <= elsewhere, "here, in test_rules.py or test_registration_rules.py"
    assert EXAMPLES.keys() >= NOT_IN_A_FILE.keys()
    for example in EXAMPLES.values():
        json.dumps(dict(example.change), ensure_ascii=False)  # a machine can read it


def test_the_guide_names_every_rule_with_its_severity() -> None:
    guide = Path("docs/publishing.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in guide.splitlines() if line.startswith("|") and line.count("|") == 4]
    columns = {severity: " ".join(row[place] for row in rows) for severity, place in (("refuse", 2), ("flag", 3))}
    for code in EXAMPLES:
        assert code in columns[BY_CODE[code].severity].replace(",", "").split(), code
