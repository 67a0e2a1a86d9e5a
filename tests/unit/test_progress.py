"""Intake's progress vectors: nothing that was forwarded stays untold, whatever a crash came between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contracts.codec import encode, frame
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import Retryable
from streams.intake.stage import IntakeStage
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.statements import penalty

TOPIC = "records.tax"
_FIRST = datetime(2025, 11, 1, tzinfo=UTC)


@pytest.fixture
def registry() -> MemoryRegistry:
    """A registry that knows our contracts."""
    return MemoryRegistry()


def told(recorder: Recorder) -> dict[tuple[str, int], tuple[int, Any]]:
    """Return what the last vector says of each input partition: next offset, and up to when its source vouches."""
    inputs = recorder.vectors[-1]["inputs"]
    return {(entry["topic"], entry["partition"]): (entry["next_offset"], entry["as_of"]) for entry in inputs}


def statements(registry: MemoryRegistry, count: int) -> list[bytes]:
    """Return good statements of the department."""
    schema_id = registry.register("xinliu.Statement")
    return [frame(schema_id, encode("xinliu.Statement", penalty(f"进{n}", entity=n))) for n in range(count)]


def marker(registry: MemoryRegistry, as_of: datetime) -> bytes:
    """Return a marker of the department."""
    value = {"department": "tax", "marker_id": "0" * 32, "as_of": as_of}
    return frame(registry.register("xinliu.Marker"), encode("xinliu.Marker", value))


def test_what_was_committed_before_a_crash_is_told_without_a_new_message(registry: MemoryRegistry) -> None:
    recorder = Recorder()
    stage = stage_of(registry, recorder)
    stage.resumed({(TOPIC, 0): 17, (TOPIC, 1): 0})
    stage.tick()
    assert told(recorder) == {(TOPIC, 0): (17, None)}, "of a partition that was never read there is nothing to tell"
    stage.tick()
    assert len(recorder.vectors) == 1, "no news"


def test_a_partition_that_is_taken_over_again_never_goes_back(registry: MemoryRegistry) -> None:
    recorder = Recorder()
    stage = stage_of(registry, recorder)
    stage([records_of(TOPIC, statements(registry, 5))])
    stage.resumed({(TOPIC, 0): 3})
    stage.tick()
    assert told(recorder) == {(TOPIC, 0): (5, None)}


def test_a_marker_is_told_before_it_is_acked(registry: MemoryRegistry) -> None:
    recorder = Recorder()
    stage: IntakeStage = stage_of(registry, recorder)
    as_of = datetime(2025, 11, 1, tzinfo=UTC)
    stage.finish(stage.prepare([records_of(TOPIC, [*statements(registry, 2), marker(registry, as_of)])]))
    assert told(recorder) == {(TOPIC, 0): (3, as_of)}, "its commit comes behind `finish`"
    (entry,) = recorder.vectors[-1]["inputs"]
    assert entry["marked_at"] > as_of, "when it was received is told beside that up to which it vouches"


def test_a_vector_that_could_not_be_written_is_still_news(registry: MemoryRegistry) -> None:
    recorder = Recorder()
    stage = stage_of(registry, recorder)
    stage.resumed({(TOPIC, 0): 17})
    writes, recorder.vector = recorder.vector, _away  # type: ignore[method-assign]
    with pytest.raises(Retryable):
        stage.tick()
    recorder.vector = writes  # type: ignore[method-assign]
    stage.tick()
    assert told(recorder) == {(TOPIC, 0): (17, None)}


@given(data=st.data())
def test_markers_in_any_order_any_duplication_any_cut_vouch_for_the_same(data: st.DataObject) -> None:
    days = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    shuffled = data.draw(st.permutations([*days, *data.draw(st.lists(st.sampled_from(days), max_size=4))]))
    registry, recorder = MemoryRegistry(), Recorder()
    values = [marker(registry, _FIRST + timedelta(days=day)) for day in shuffled]
    cut = data.draw(st.integers(1, len(values)))
    stage = stage_of(registry, recorder)
    stage([records_of(TOPIC, values[:cut])])
    if values[cut:]:
        stage([records_of(TOPIC, values[cut:], first=cut)])
    assert told(recorder) == {(TOPIC, 0): (len(values), _FIRST + timedelta(days=max(days)))}
    vouched = [vector["inputs"][0]["as_of"] for vector in recorder.vectors]
    assert vouched == sorted(vouched), "data as of never goes back"


def _away(key: bytes, progress: dict[str, Any]) -> None:
    raise Retryable("Kafka is away", server="kafka")
