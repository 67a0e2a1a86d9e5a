"""The example of docs/outbox.md, run as it stands; and the relay that tells it."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest
from sqlalchemy import Engine

from schemas.contracts.codec import unframe
from schemas.servers.connection import Connection
from tests.offline import ends_of, log_of
from tests.outboxes import Database, MemoryTopic, statement_of
from tests.relays import RelayProcess, outbox_command, status_of

ROOT = Path(__file__).parents[2]


def example(folder: Path) -> Engine:
    """Run the Python of the page, block by block as one program, and return its engine."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "outbox.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(blocks) == 3
    program = folder / "example.py"
    program.write_text("\n\n".join(blocks), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        engine: Engine = runpy.run_path(str(program))["engine"]
    finally:
        os.chdir(before)
    engine.dispose()
    return engine


@pytest.fixture
def tax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """What the example leaves in its database."""
    engine = example(tmp_path)
    monkeypatch.chdir(tmp_path)  # its address names a file of the folder
    return Database(engine, "xinliu_outbox")


def test_the_example_tells_what_it_commits(tax: Database) -> None:
    topic = MemoryTopic()
    tax.relay(topic).drain()
    told = [statement_of(body) for body in topic.bodies]
    assert [(one["version"], one["reason"]) for one in told] == [(1, "PUBLISHED"), (2, "CORRECTED")]
    assert {one["penalty"]["document_number"] for one in told} == {"京税罚〔2026〕1号"}, (
        "what is rolled back is not told"
    )
    tax.close()


def test_a_relay_that_is_killed_tells_the_example_all_the_same(
    stack: Connection, tax: Database, tmp_path: Path
) -> None:
    since = ends_of(stack, "records.tax")
    for options in (("--batch", "1", "--mark-every", "0"), ("--batch", "1")):
        relay = RelayProcess(stack, tax, tmp_path, *options)
        relay.says("outbox.begins")
        relay.kill()
    outbox_command(stack, tax, "relay", "--once", "--lease", "1")
    messages = log_of(stack, "records.tax", since)
    bodies = [unframe(message.value())[1] for message in messages if message.key() is not None]
    assert {statement_of(body)["version"] for body in bodies} == {1, 2}
    assert len(set(bodies)) == 2
    assert any(message.key() is None for message in messages), "and it has vouched"
    told = status_of(stack, tax)
    assert (told["waiting"], told["failed"]) == (0, 0)
    assert told["data_as_of"] is not None
    assert "数据截至" in outbox_command(stack, tax, "status")
    tax.close()
