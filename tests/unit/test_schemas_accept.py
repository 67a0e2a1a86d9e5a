"""`xinliu schemas accept` and `register FILE`: an operator vouches for a version that was not shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from schemas.commands.schemas import mount
from schemas.contracts.avro import fingerprint, source
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.operations.log import SCHEMA_ACCEPTED
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster
from streams.intake.schema_ids import Meanings
from tests.registry_between import swapped

STATEMENT = "xinliu.Statement"


def newer() -> Any:
    """Return the next version of Statement."""
    schema = source(STATEMENT)
    schema["fields"].append({"name": "note", "type": ["null", "string"], "default": None, "doc": "下一版"})
    return schema


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Operation]:
    """The events that a command writes, in order."""
    events: list[Operation] = []

    class Writer:
        def __init__(self, *_: object) -> None:
            self.write = events.append

    monkeypatch.setattr("schemas.operations.log.OperationsWriter", Writer)
    return events


def run(monkeypatch: pytest.MonkeyPatch, registry: MemoryRegistry, *words: str) -> Result:
    monkeypatch.setattr("schemas.contracts.registry.Registry", lambda _: registry)
    app = typer.Typer()
    mount(app)
    connection = Connection(province="beijing", kafka=Cluster.of("127.0.0.1:1"), registry="http://127.0.0.1:1")
    return CliRunner().invoke(app, ["schemas", *words], obj=lambda: connection, standalone_mode=False)


def test_a_version_is_accepted_by_its_file_or_its_fingerprint_with_who_and_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: list[Operation]
) -> None:
    registry, file, mark = MemoryRegistry(), tmp_path / "Statement.avsc", fingerprint(newer())
    registry.register(STATEMENT)
    file.write_text(json.dumps(newer()), encoding="utf-8")
    unknown = run(monkeypatch, registry, "accept", mark, "--reason", "下一版")
    assert isinstance(unknown.exception, UsageError), "what nobody can look at is not accepted by its number"
    assert run(monkeypatch, registry, "accept", str(file), "--reason", "下一版", "--dry-run").exit_code == 0
    assert written == []
    assert run(monkeypatch, registry, "register", str(file)).exit_code == 0
    assert set(registry.ids(STATEMENT)) == {mark, fingerprint(source(STATEMENT))}
    for version in (str(file), mark):
        done = run(monkeypatch, registry, "accept", version, "--reason", "下一版")
        assert done.exit_code == 0, done.output
    assert [(one.kind, one.reason, one.detail["fingerprint"]) for one in written] == [
        (SCHEMA_ACCEPTED, "下一版", mark)
    ] * 2
    meanings = Meanings()
    meanings.follow(written[0])
    known = registry.writer(registry.id_of(STATEMENT, mark))
    assert meanings.believed(known, None) is known


@pytest.mark.parametrize("words", [("--reason", " "), ()])
def test_without_a_reason_nothing_is_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: list[Operation], words: tuple[str, ...]
) -> None:
    file = tmp_path / "Statement.avsc"
    file.write_text(json.dumps(newer()), encoding="utf-8")
    assert run(monkeypatch, MemoryRegistry(), "accept", str(file), *words).exit_code != 0
    assert written == []


def test_what_was_shipped_needs_nobody_and_what_breaks_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: list[Operation]
) -> None:
    file, registry = tmp_path / "Statement.avsc", MemoryRegistry()
    registry.register(STATEMENT)
    file.write_text(json.dumps(source(STATEMENT)), encoding="utf-8")
    done = run(monkeypatch, registry, "accept", str(file), "--reason", "x")
    assert (done.exit_code, "was shipped" in done.output) == (0, True)
    broken = source(STATEMENT)
    broken["fields"] = broken["fields"][1:]
    file.write_text(json.dumps(broken), encoding="utf-8")
    assert run(monkeypatch, registry, "accept", str(file), "--reason", "x", "--json").return_value == 1
    assert run(monkeypatch, registry, "register", str(file)).return_value == 1
    assert (written, set(registry.ids(STATEMENT))) == ([], {fingerprint(source(STATEMENT))})
    assert fingerprint(swapped(source(STATEMENT))) != fingerprint(source(STATEMENT))
