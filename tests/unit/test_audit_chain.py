"""The chain alone, without servers: whatever is done to the table is found, and nothing is found where nothing was done."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contracts.codec import encode, frame
from schemas.operations.log import RECORD
from streams.audit.chain import BEGINNING, HEAD, UNREADABLE, AuditEntry, AuditEvent, beginning_of, event_of, unreadable
from streams.audit.log import OperationMessage
from streams.audit.verification import AuditHead, AuditVerdict, verify
from tests.fuzz.choices import Consumed
from tests.fuzz.hostile import Writers

TOPIC_ID = "topic-of-today"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
COUNT, EVERY = 24, 7


def event(number: int) -> AuditEvent:
    """Return an event as the audit keeps it."""
    detail = json.dumps({"n": number}, separators=(",", ":"))
    at = f"2026-11-23T00:00:{number:02}.000000Z"
    return AuditEvent(
        TOPIC_ID,
        number * 2,
        f"{number:032x}",
        "NOTE",
        None,
        "zhang@desk",
        at,
        "因为",
        detail,
        None,
        None,
        f"{number:064x}",
    )


def log_and_table(count: int = COUNT) -> tuple[list[OperationMessage], list[AuditEntry]]:
    """Return a topic in which a head stands every few events, and the table that follows from it."""
    messages: list[OperationMessage] = []
    rows: list[AuditEntry] = []
    for number in range(count):
        told = event(number)
        if number % EVERY == EVERY - 1:
            anchor = {"sequence": rows[-1].sequence, "hash": rows[-1].hash, "offset": rows[-1].event.offset}
            told = replace(told, kind=HEAD, detail=json.dumps(anchor))
        messages.append(OperationMessage(told, unreadable(TOPIC_ID, told.offset, NOW, b"")))
        rows.append(AuditEntry.following(number + 1, rows[-1].hash if rows else BEGINNING, told))
    return messages, rows


def rechained(rows: list[AuditEntry]) -> list[AuditEntry]:
    """Return the same events with a chain that holds in itself."""
    found: list[AuditEntry] = []
    for row in rows:
        found.append(AuditEntry.following(len(found) + 1, found[-1].hash if found else BEGINNING, row.event))
    return found


def verdict(rows: list[AuditEntry], messages: list[OperationMessage], *, first: int = 0) -> AuditVerdict:
    """Verify these."""
    return verify(rows, messages, topic_id=TOPIC_ID, first=first)


def test_what_is_whole_is_whole_and_what_waits_is_no_finding() -> None:
    messages, rows = log_and_table()
    whole = verdict(rows, messages)
    assert (whole.findings, whole.heads, whole.anchored, whole.waiting) == ([], 3, 20, 0)
    short = verdict(rows[:22], messages)
    assert (short.findings, short.waiting) == ([], 2), "no head says that the table ever had these"
    assert verdict([], []).findings == []


_FIELDS = st.sampled_from([name for name in AuditEvent.__slots__ if name not in ("topic_id", "offset")])


@given(at=st.integers(0, COUNT - 1), name=_FIELDS, chained=st.booleans())
def test_a_changed_field_is_named(at: int, name: str, chained: bool) -> None:
    messages, rows = log_and_table()
    rows[at] = replace(rows[at], event=replace(rows[at].event, **{name: "another"}))  # type: ignore[arg-type]
    (found, *_) = verdict(rechained(rows) if chained else rows, messages).findings
    assert (found.what, found.sequence) == ("CHANGED", at + 1)
    assert name in found.text


@given(at=st.integers(0, COUNT - 1), chained=st.booleans(), name=st.sampled_from(["hash", "previous"]))
def test_a_changed_hash_is_named(at: int, chained: bool, name: str) -> None:
    messages, rows = log_and_table()
    rows[at] = replace(rows[at], **{name: "f" * 64})  # type: ignore[arg-type]
    (found, *_) = verdict(rows, messages).findings
    assert (found.what, found.sequence) == ("CHANGED", at + 1)


@given(at=st.integers(0, COUNT - 5), count=st.integers(1, 3), chained=st.booleans())
def test_removed_entries_are_named(at: int, count: int, chained: bool) -> None:
    messages, rows = log_and_table()
    del rows[at : at + count]
    (found, *_) = verdict(rechained(rows) if chained else rows, messages).findings
    assert (found.what, found.sequence) == ("REMOVED", at + 1)


@given(at=st.integers(0, COUNT), offset=st.sampled_from([1, 5, 999]))
def test_an_inserted_entry_is_named(at: int, offset: int) -> None:
    messages, rows = log_and_table()
    rows.insert(at, replace(rows[0], event=replace(event(3), offset=offset)))
    (found, *_) = verdict(rechained(rows), messages).findings
    assert (found.what, found.sequence) == ("INSERTED", at + 1)


@given(first=st.integers(0, COUNT - 2), by=st.integers(1, 5), chained=st.booleans())
def test_entries_that_changed_places_are_named(first: int, by: int, chained: bool) -> None:
    messages, rows = log_and_table()
    second = min(COUNT - 1, first + by)
    one, other = rows[first], rows[second]
    rows[first], rows[second] = replace(other, sequence=one.sequence), replace(one, sequence=other.sequence)
    (found, *_) = verdict(rechained(rows) if chained else rows, messages).findings
    assert (found.what, found.sequence) == ("REORDERED", first + 1)


@given(kept=st.integers(0, 19))
def test_a_tail_that_was_anchored_and_is_cut_is_missing(kept: int) -> None:
    messages, rows = log_and_table()
    (found, *_) = verdict(rows[:kept], messages).findings
    assert (found.what, found.sequence) == ("MISSING", kept + 1)


@given(cut=st.integers(1, 20), at=st.integers(0, 19))
def test_of_what_the_topic_no_longer_holds_the_chain_and_the_heads_still_tell(cut: int, at: int) -> None:
    messages, rows = log_and_table()
    left = messages[cut:]
    (gone,) = verdict(rows, left, first=cut * 2).findings
    assert (gone.what, gone.text.split()[0]) == ("EVIDENCE_GONE", str(cut))
    if at < cut:
        rows[at] = replace(rows[at], event=replace(rows[at].event, by="nobody@desk"))
        assert [one.what for one in verdict(rows, left, first=cut * 2).findings][1:] == ["CHANGED"]
        chained = rechained(rows)
        assert [one.what for one in verdict(chained, left, first=cut * 2).findings][1:] == ["HEAD_DIFFERS"]


def test_a_head_that_nobody_wrote_is_named() -> None:
    messages, rows = log_and_table(10)
    forged = replace(event(10), kind=HEAD, by="mallory@desk", detail=json.dumps({"sequence": 2, "hash": "f" * 64}))
    messages.append(OperationMessage(forged, forged))
    rows.append(AuditEntry.following(11, rows[-1].hash, forged))
    (found,) = verdict(rows, messages).findings
    assert (found.what, found.sequence) == ("HEAD_DIFFERS", 2)
    assert "mallory@desk" in found.text


def test_a_topic_that_was_made_anew_is_said_and_the_rest_held_against_it() -> None:
    messages, rows = log_and_table(10)
    old = [AuditEntry.following(n + 1, BEGINNING, replace(event(n), topic_id="of yesterday")) for n in range(1)]
    both = rechained([*old, *rows])
    plain = [message for message in messages if message.event.kind != HEAD]
    both = rechained([row for row in both if row.event.kind != HEAD])
    assert [one.what for one in verdict(both, plain).findings] == ["EVIDENCE_GONE"]


@pytest.fixture(scope="module")
def writers() -> Writers:
    """A registry in memory."""
    return Writers(Consumed(b""))


@given(value=st.binary(max_size=60))
def test_any_bytes_at_all_have_an_entry(writers: Writers, value: bytes) -> None:
    told = event_of(TOPIC_ID, 7, NOW, value, writers.registry)
    assert told.kind == UNREADABLE
    assert told == unreadable(TOPIC_ID, 7, NOW, value)


@pytest.mark.parametrize("detail", ["[" * 100_000, '{"n": NaN}', "[]", "no json", '{"n": 1e999}'])
def test_a_detail_that_is_no_json_object_is_unreadable(writers: Writers, detail: str) -> None:
    schema_id = writers.registry.register(RECORD)
    body = {"id": "1", "kind": "NOTE", "department": None, "at": NOW, "by": "x", "reason": "", "detail": detail}
    told = event_of(TOPIC_ID, 7, NOW, frame(schema_id, encode(RECORD, body)), writers.registry)
    assert told.kind == UNREADABLE


def test_what_postgresql_cannot_hold_is_kept_as_it_can(writers: Writers) -> None:
    schema_id = writers.registry.register(RECORD)
    detail = '{"b": "\\ud800", "a": "\\u0000", "before": {"n": 1}}'
    body = {"id": "1", "kind": "NOTE", "department": None, "at": NOW, "by": "x\0y", "reason": "", "detail": detail}
    told = event_of(TOPIC_ID, 7, NOW, frame(schema_id, encode(RECORD, body)), writers.registry)
    assert (told.by, told.before) == ("x\ufffdy", '{"n":1}')
    assert told.detail == '{"a":"\\u0000","b":"\\ud800","before":{"n":1}}'


def test_each_topic_has_a_chain_of_its_own_and_the_broker_says_whose(writers: Writers) -> None:
    messages, rows = log_and_table()
    topic = "operations.zhang"
    own: list[AuditEntry] = []
    for row in rows:
        own.append(AuditEntry.following(row.sequence, own[-1].hash if own else beginning_of(topic), row.event, topic))
    heads = [AuditHead(own[4].sequence, own[4].hash, 900, "view@m")]
    told = verify(own, messages, topic_id=TOPIC_ID, first=0, topic=topic, anchors=heads)
    assert (told.findings, told.heads, told.anchored) == ([], 1, 5), "heads in its own messages are nobody's"
    for foreign in (rows, [replace(row, topic=topic) for row in rows]):
        (found, *_) = verify(foreign, messages, topic_id=TOPIC_ID, first=0, topic=topic, anchors=[]).findings
        assert (found.what, found.sequence, found.topic) == ("CHANGED", 1, topic)
    (found,) = verify(own[:3], messages, topic_id=TOPIC_ID, first=0, topic=topic, anchors=heads).findings
    assert (found.what, found.sequence) == ("MISSING", 4)
    schema_id = writers.registry.register(RECORD)
    body = {"id": "1", "kind": "NOTE", "department": None, "at": NOW, "by": "li@x", "reason": "", "detail": "{}"}
    value = frame(schema_id, encode(RECORD, body))
    assert event_of(TOPIC_ID, 7, NOW, value, writers.registry, topic=topic).by == "operator-zhang@x"
    assert event_of(TOPIC_ID, 7, NOW, value, writers.registry).by == "li@x"
