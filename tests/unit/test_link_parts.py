"""Where a link begins, how far it is, and what it makes of schema ids; without any server."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.links.clusters import OriginPlace, PartitionRange, Start, starts
from consumers.links.events import GAP, HELD, WENT_ON, link_events
from consumers.links.progress import LinkProgress
from consumers.links.schema_ids import Translation, Untranslatable
from schemas.contracts.codec import frame, unframe
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import UsageError
from schemas.operations.event import Operation

PLACE = ("exchange.beijing", 0)
OWN = PartitionRange("own", 10, 90)
FAR = PartitionRange("far", 0, 40)


def begin(
    own: PartitionRange = OWN,
    far: PartitionRange = FAR,
    last: int | None = 41,
    topic_id: str = "own",
) -> Start:
    """Return where a link begins whose last record on the far side has this origin."""
    told = {} if last is None else {PLACE: (OriginPlace(PLACE[0], topic_id, 0, last), 5.0)}
    return starts({PLACE: own}, {PLACE: far}, told)[PLACE]


def test_it_goes_on_behind_the_last_record() -> None:
    assert begin() == Start(42, as_of=5.0)
    assert begin(last=89).offset == 90, "it has everything"


def test_what_the_own_log_no_longer_holds_is_a_gap() -> None:
    assert begin(last=7) == Start(10, 5.0, gap=(8, 10))
    assert begin(last=9) == Start(10, 5.0), "the next one is the first that is held"
    empty = PartitionRange("far", 3, 3)
    assert begin(far=empty, last=None) == Start(10, gap=(0, 10)), "it never had anything"
    assert begin(PartitionRange("own", 0, 90), far=empty, last=None) == Start(0)


def test_another_topic_is_pushed_from_its_beginning() -> None:
    start = begin(PartitionRange("own", 0, 9), topic_id="before")
    assert (start.offset, start.gap) == (0, None)
    assert "was made anew" in (start.renewed or "")


def test_what_cannot_be_right_is_not_gone_on_with() -> None:
    assert "lost its end" in (begin(last=95).lost or "")
    assert "no link wrote any" in (begin(last=None).lost or "")
    with pytest.raises(UsageError, match="other partitions"):
        starts({PLACE: OWN}, {}, {})


def test_a_marker_behind_the_last_message_is_no_lag() -> None:
    progress = LinkProgress()
    progress.begins(PLACE, 10, 15, as_of=time() - 60)
    assert progress.lag() == (5, pytest.approx(60, abs=1))
    progress.handed(PLACE, 14)
    progress.read_to(PLACE, 15)
    assert progress.lag()[0] == 5, "read is not confirmed"
    progress.confirmed(PLACE, 13, time() - 50)
    assert progress.lag() == (0, 0.0)
    progress.ends(PLACE, 17)
    messages, seconds = progress.lag()
    assert (messages, seconds) == (2, pytest.approx(0, abs=1)), "it had everything a moment ago"
    assert progress.next_of(PLACE) == 14


@given(st.lists(st.sampled_from(["hand", "confirm", "read", "grow"]), max_size=40))
def test_lag_is_never_negative_and_nothing_unconfirmed_is_no_lag(steps: list[str]) -> None:
    progress = LinkProgress()
    progress.begins(PLACE, 0, 0, None)
    end = handed = confirmed = 0
    for step in steps:
        match step:
            case "grow":
                end += 2  # a message and its marker
                progress.ends(PLACE, end)
            case "hand" if handed < end:
                handed = end - 1
                progress.handed(PLACE, handed)
            case "confirm" if handed > confirmed:
                confirmed = handed
                progress.confirmed(PLACE, handed - 1, time())
            case "read" if handed == end - 1:
                progress.read_to(PLACE, end)
        messages, seconds = progress.lag()
        assert messages >= 0
        assert seconds >= 0
        if confirmed < end - 1:
            assert messages > 0


def registries() -> tuple[MemoryRegistry, MemoryRegistry]:
    """Return two registries in memory that issue different ids."""
    own, far = MemoryRegistry(), MemoryRegistry()
    for number in range(3):
        far.add({"type": "record", "name": f"other.Kind{number}", "fields": []})
    return own, far


def test_only_the_five_bytes_before_a_body_are_rewritten() -> None:
    own, far = registries()
    schema_id = own.register("xinliu.Statement")
    far.register("xinliu.Statement")
    translation = Translation(own, far, names=("own registry", "peer registry"))
    value = translation.of(frame(schema_id, b"body"))
    assert value is not None
    far_id, body = unframe(value)
    assert body == b"body"
    assert far_id != schema_id
    assert far.writer(far_id).fingerprint == own.writer(schema_id).fingerprint
    assert translation.of(frame(schema_id, b"other")) == frame(far_id, b"other")
    assert far.ids("xinliu.Statement") == {far.writer(far_id).fingerprint: far_id}, "nothing was registered"


def test_what_has_no_header_is_left_as_it_is_and_an_unknown_id_is_not_guessed() -> None:
    translation = Translation(*registries(), names=("own registry", "peer registry"))
    assert translation.of(None) is None
    assert translation.of(b"") == b""
    assert translation.of(b"\x01\x02\x03\x04\x05rest") == b"\x01\x02\x03\x04\x05rest"
    with pytest.raises(Untranslatable, match="4711"):
        translation.of(frame(4711, b"body"))


def test_a_version_that_the_peer_does_not_have_is_told_and_not_registered_there() -> None:
    own, far = registries()
    far.add({"type": "record", "name": "x.Y", "fields": [{"name": "a", "type": "long"}]})
    ours = own.add({"type": "record", "name": "x.Y", "fields": [{"name": "a", "type": "string"}]})
    with pytest.raises(Untranslatable, match=r"there is no x\.Y with the fingerprint"):
        Translation(own, far, names=("own registry", "peer registry")).of(frame(ours, b""))


def test_events_of_a_link_say_what_is_not_over() -> None:
    def told(kind: str, partition: int) -> Operation:
        detail = {"peer": "tianjin", "topic": PLACE[0], "partition": partition, "offset": 7}
        return Operation(kind, None, datetime(2026, 11, 25, tzinfo=UTC), "link@test", "why", detail)

    other = Operation("INTAKE_STOPPED", "tax", datetime(2026, 11, 25, tzinfo=UTC), "intake@test", "why", {})
    found = link_events([told(HELD, 1), other, told(GAP, 2), told(HELD, 3), told(WENT_ON, 1)])
    assert {(place[2], one.kind) for place, one in found.items()} == {(2, GAP), (3, HELD)}
