"""`xinliu heartbeat` as a service on a real broker: it beats, waits, says nothing late, and ends when it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.deadline import wait_until
from schemas.contracts.codec import decode, unframe
from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection
from tests import warm
from tests.offline import log_of
from tests.workers import environment

if TYPE_CHECKING:
    from deploy.local.stack import Stack


@contextmanager
def beating(connection: Connection, folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run the command; whatever still runs at the end is ended."""
    told = folder / "told.jsonl"
    with told.open("wb") as out:
        process = warm.Popen(
            [sys.executable, "-m", "xinliu", "heartbeat", *words, "--json"],
            env=environment(connection),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, told
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def beats(told: Path) -> list[dict[str, Any]]:
    """Return what it has told so far."""
    return [json.loads(line) for line in told.read_text().splitlines() if line.startswith("{")]


def markers(connection: Connection, topic: str) -> list[tuple[int, float, float]]:
    """Return every marker of a topic: partition, when the broker received it, up to when it vouches; in seconds."""
    found = []
    with Registry(connection.registry) as registry:
        for message in log_of(connection, topic):
            schema_id, body = unframe(message.value())
            as_of = decode(registry.writer(schema_id).parsed, body)["as_of"]
            found.append((message.partition(), message.timestamp()[1] / 1000, as_of.timestamp()))
    return found


def test_it_beats_in_every_partition_until_it_is_told_to_end(stack: Connection, tmp_path: Path) -> None:
    with beating(stack, tmp_path, "--department", "fire", "--every", "1") as (process, told):
        assert wait_until(lambda: len(beats(told)) >= 3, seconds=30), told.read_text()
        process.terminate()
        assert process.wait(20) == 0, told.read_text()
    said = beats(told)
    assert all(beat["failure"] is None and beat["markers"] == 2 for beat in said)
    times = [datetime.fromisoformat(beat["as_of"]).timestamp() for beat in said]
    assert all(later - earlier >= 0.9 for earlier, later in pairwise(times))
    written = markers(stack, "records.fire")
    assert {partition for partition, *_ in written} == {0, 1}
    assert len(written) == 2 * len(said)


def test_once_is_one_beat(stack: Connection, tmp_path: Path) -> None:
    with beating(stack, tmp_path, "--department", "civil-defence", "--once", "--behind", "60") as (process, told):
        assert process.wait(30) == 0, told.read_text()
    (partition, received, as_of), *_ = written = markers(stack, "records.civil-defence")
    assert (len(written), partition in (0, 1)) == (2, True)
    assert 59 < received - as_of < 75


def test_a_department_that_does_not_exist_ends_it_at_once(stack: Connection, tmp_path: Path) -> None:
    with beating(stack, tmp_path, "--department", "nobody") as (process, told):
        assert process.wait(30) == 2
    assert "there is no department 'nobody'" in told.read_text()


def test_a_broker_that_was_away_hears_nothing_of_the_time_it_was_away(
    local_stack: Stack, stack: Connection, tmp_path: Path
) -> None:
    with beating(stack, tmp_path, "--department", "landscaping", "--every", "1") as (process, told):
        assert wait_until(lambda: len(beats(told)) >= 2, seconds=30), told.read_text()
        local_stack.kill("kafka")
        try:
            assert wait_until(lambda: any(beat["failure"] for beat in beats(told)), seconds=60), told.read_text()
            failed = len(beats(told))
            assert wait_until(lambda: len(beats(told)) > failed, seconds=60), "it goes on trying"
        finally:
            local_stack.start("kafka")
        before = len(beats(told))
        assert wait_until(lambda: sum(beat["failure"] is None for beat in beats(told)[before:]) >= 3, seconds=90), (
            told.read_text()
        )
        process.terminate()
        assert process.wait(20) == 0, told.read_text()
    late = [(received - as_of) for _, received, as_of in markers(stack, "records.landscaping")]
    assert max(late) < 8, "a marker waits 5 s for the broker, and is never sent later"
