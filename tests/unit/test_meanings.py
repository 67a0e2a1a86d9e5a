"""What a schema id means to intake: whatever becomes of the registry,
a message is read as it was written, or not at all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contracts.avro import CONTRACTS, SCHEMA, SHIPPED, fingerprint, own_fingerprint, schema_header, source
from schemas.contracts.codec import NotDecodable, encode, frame
from schemas.contracts.evolution import check
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.contracts.registry import Registry, WriterSchema
from schemas.operations.event import Operation
from schemas.operations.log import SCHEMA_ACCEPTED
from streams.intake.schema_ids import SEEN, Meanings, SchemaReading, named_for_keeps
from streams.kafka.headers import ORIGIN, Origin, header
from streams.kafka.records import Fetched, Run
from streams.quarantine.entries import QuarantineEntry
from streams.quarantine.redriver import Redriver
from tests.fuzz.properties import Recorder, stage_of
from tests.registry_between import swapped
from tests.statements import penalty

STATEMENT = "xinliu.Statement"
NOW = datetime(2026, 11, 30, tzinfo=UTC)
SAID = penalty("义1号", entity=7, fine=Decimal("0.5"), confiscated=Decimal(300))
BODY = encode(STATEMENT, SAID)


class Tampered(MemoryRegistry):
    """A registry that somebody else may write to: ids mean what `means` says.
    It asks as a real one does what was shipped."""

    _must_be_shipped = Registry._must_be_shipped

    def __init__(self) -> None:
        super().__init__()
        self.means: dict[int, Any] = {}

    def writer(self, schema_id: int, askers: Callable[[], Collection[str]] = tuple) -> WriterSchema:
        schema = self.means.get(schema_id)
        if schema is None:
            return super().writer(schema_id, askers)
        parsed = fastavro.parse_schema(copy.deepcopy(schema))
        return WriterSchema(schema_id, str(parsed["name"]), fingerprint(schema), schema, parsed)


def record(value: bytes, headers: tuple[tuple[str, bytes], ...] = (), offset: int = 0) -> Fetched:
    return Fetched("records.tax", 0, offset, 1_700_000_000_000, b"k", value, headers)


def examined(registry: MemoryRegistry, meanings: Meanings, *records: Fetched) -> tuple[Recorder, list[str]]:
    """Let an intake that has just started examine these; return what it forwarded, and the codes of what it refused."""
    recorder = Recorder()
    stage = stage_of(registry, recorder, meanings=meanings)
    done = stage.prepare([Run("records.tax", 0, 0, records)])
    stage.finish(done)
    return recorder, [
        found["code"] for verdict in done.verdicts.values() if verdict.refused for found in verdict.findings
    ]


def test_every_contract_of_this_version_was_shipped() -> None:
    assert {own_fingerprint(name) for name in CONTRACTS} <= SHIPPED


def test_a_swapped_schema_is_refused_by_a_new_process_whether_the_message_names_its_schema_or_not() -> None:
    registry, events = Tampered(), list[Operation]()
    schema_id = registry.register(STATEMENT)
    message = frame(schema_id, BODY)
    recorder, codes = examined(registry, Meanings(events.append, "intake@a"), record(message))
    assert (codes, len(recorder.accepted)) == ([], 1)
    assert [(one.kind, one.detail["id"], one.detail["fingerprint"]) for one in events] == [
        (SEEN, schema_id, own_fingerprint(STATEMENT))
    ]
    registry.means[schema_id] = swapped(source(STATEMENT))
    told: list[frozenset[int]] = []
    meanings = Meanings(events.append, "intake@b", changed=told.append)
    for event in events:
        meanings.follow(event)
    named = record(message, (schema_header(STATEMENT),), 1)
    recorder, codes = examined(registry, meanings, record(message), named)
    assert (codes, recorder.accepted) == (["SCHEMA_DIFFERS"] * 2, [])
    assert told == [frozenset({schema_id})], "one alarm"
    kept = [header(headers, SCHEMA) for _, headers in recorder.quarantined]
    assert kept == [None, own_fingerprint(STATEMENT).encode()], "whoever redrives it knows what it named"
    registry.means.clear()
    recorder, codes = examined(registry, meanings, record(message), named)
    assert (codes, len(recorder.accepted), told[-1]) == ([], 2, frozenset())
    assert len(events) == 1, "nothing new was seen"


def test_a_schema_that_nobody_vouches_for_is_read_once_an_operator_does() -> None:
    registry, meanings = Tampered(), Meanings()
    newer = source(STATEMENT)
    newer["fields"].append({"name": "note", "type": ["null", "string"], "default": None, "doc": "下一版"})
    assert check(newer, {1: source(STATEMENT)}) == []
    schema_id = registry.add(newer)
    out = fastavro.schemaless_writer
    message = frame(schema_id, _written(out, newer))
    mark = fingerprint(newer)
    headers = ((SCHEMA, mark.encode()),)
    for headed in ((), headers):
        assert examined(registry, meanings, record(message, headed))[1] == ["SCHEMA_NOT_BELIEVED"]
    meanings.follow(Operation(SCHEMA_ACCEPTED, None, NOW, "operator-li@a", "下一版", {"fingerprint": mark}))
    for headed in ((), headers):
        recorder, codes = examined(registry, meanings, record(message, headed))
        assert codes == []
        ((_, _, value, written),) = recorder.accepted
        assert (value, header(written, SCHEMA)) == (message, mark.encode())


def _written(write: Any, schema: Any) -> bytes:
    import io

    out = io.BytesIO()
    write(out, fastavro.parse_schema(copy.deepcopy(schema)), {**SAID, "note": None})
    return out.getvalue()


def test_what_one_department_names_is_no_alarm_and_no_cost_to_others() -> None:
    registry, told = Tampered(), list[frozenset[int]]()
    schema_id = registry.register(STATEMENT)
    meanings = Meanings(changed=told.append)
    lies = [record(frame(schema_id, BODY), ((SCHEMA, b"%064x" % number),), number) for number in range(50)]
    recorder, codes = examined(
        registry, meanings, *lies, record(frame(schema_id, BODY), (schema_header(STATEMENT),), 50)
    )
    assert (set(codes), len(codes), len(recorder.accepted), told) == ({"SCHEMA_DIFFERS"}, 50, 1, [])
    assert len(meanings._read) == 1, "nothing is kept of what was named in vain"


@pytest.mark.parametrize("named", [b"", b"110101199003074514", b"\xff" * 64, b"A" * 64, b"x" * 1_000_000])
def test_of_a_header_that_is_no_fingerprint_nothing_is_kept_but_that_it_was_none(named: bytes) -> None:
    assert named_for_keeps(record(b"", ((SCHEMA, named),))) == [(SCHEMA, b"")]


def test_two_workers_that_see_an_id_differently_both_refuse_it_once_they_have_heard_of_each_other() -> None:
    events = list[Operation]()
    registry = Tampered()
    schema_id = registry.register(STATEMENT)
    one, other = (
        Meanings(events.append, "a"),
        Meanings(events.append, "b", shipped={fingerprint(swapped(source(STATEMENT)))}),
    )
    SchemaReading(registry, one).believed(schema_id, None)
    registry.means[schema_id] = swapped(source(STATEMENT))
    SchemaReading(registry, other).believed(schema_id, None)
    for event in events:
        one.follow(event)
        other.follow(event)
    for meanings in (one, other):
        with pytest.raises(NotDecodable, match="it meant"):
            SchemaReading(registry, meanings).believed(schema_id, None)
    registry.means.clear()
    assert SchemaReading(registry, one).believed(schema_id, None).name == STATEMENT


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_reader_of_any_contract_takes_a_schema_that_is_not_what_the_message_names_or_was_shipped(name: str) -> None:
    registry = Tampered()
    schema_id = registry.register(name)
    assert (
        registry.believed(schema_id).name == registry.believed(schema_id, own_fingerprint(name).encode()).name == name
    )
    registry.means[schema_id] = {**source(name), "fields": source(name)["fields"][::-1]}
    for named, code in ((None, "SCHEMA_NOT_BELIEVED"), (own_fingerprint(name).encode(), "SCHEMA_DIFFERS")):
        with pytest.raises(NotDecodable) as refused:
            registry.believed(schema_id, named)
        assert refused.value.code == code
    other = next(one for one in CONTRACTS if one != name)
    registry.means[schema_id] = source(other)
    with pytest.raises(NotDecodable):
        registry.read(name, frame(schema_id, b""), None)


def _places(schema: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every record's fields in a schema."""
    found = []
    if isinstance(schema, dict):
        if isinstance(schema.get("fields"), list):
            found.append((*path, "fields"))
        for key, value in schema.items():
            found += _places(value, (*path, key))
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            found += _places(value, (*path, number))
    return found


@st.composite
def meanings_given(draw: st.DrawFn) -> Any:
    """Return another schema for the id: what somebody might put there, mostly so that the bytes can still be read."""
    if draw(st.booleans()):
        return draw(st.sampled_from([source(name) for name in CONTRACTS]))
    schema = source(STATEMENT)
    for _ in range(draw(st.integers(1, 3))):
        fields: Any = schema
        for step in draw(st.sampled_from(_places(schema))):
            fields = fields[step]
        one, other = draw(st.integers(0, len(fields) - 1)), draw(st.integers(0, len(fields) - 1))
        what = draw(st.sampled_from(("swap", "names", "rename", "default", "alias", "drop", "doc")))
        if what == "swap":
            fields[one], fields[other] = fields[other], fields[one]
        elif what == "names":
            fields[one]["name"], fields[other]["name"] = fields[other]["name"], fields[one]["name"]
        elif what == "rename":
            fields[one]["name"] += "_"
        elif what == "default":
            fields[one]["default"] = None
        elif what == "alias":
            fields[one] = {**fields[one], "name": f"n{one}", "aliases": [fields[one]["name"]]}
        elif what == "drop" and len(fields) > 1:
            del fields[one]
        else:
            fields[one]["doc"] = "同义"
    return schema


@settings(max_examples=60, deadline=None)
@given(schema=meanings_given(), headed=st.booleans(), first_seen=st.booleans())
def test_whatever_an_id_is_made_to_mean_a_statement_is_read_as_it_was_written_or_refused(
    schema: Any, headed: bool, first_seen: bool
) -> None:
    registry, events = Tampered(), list[Operation]()
    schema_id = registry.register(STATEMENT)
    message = record(frame(schema_id, BODY), (schema_header(STATEMENT),) if headed else ())
    if first_seen:
        examined(registry, Meanings(events.append), message)
    try:
        fastavro.parse_schema(copy.deepcopy(schema))
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):  # no registry would hold it
        return
    registry.means[schema_id] = schema
    meanings = Meanings(events.append)
    for event in list(events):
        meanings.follow(event)
    recorder, codes = examined(registry, meanings, message)
    same = fingerprint(schema) == own_fingerprint(STATEMENT)
    assert (len(recorder.accepted), bool(codes)) == ((1, False) if same else (0, True)), codes
    if recorder.accepted:
        ((_, _, value, headers),) = recorder.accepted
        assert (value, header(headers, SCHEMA)) == (message.value, own_fingerprint(STATEMENT).encode())
        assert header(headers, ORIGIN) is not None


def test_what_was_refused_is_accepted_by_a_redrive_once_the_registry_is_what_it_was() -> None:
    registry, meanings = Tampered(), Meanings()
    schema_id = registry.register(STATEMENT)
    examined(registry, meanings, record(frame(schema_id, BODY), (), 0))
    registry.means[schema_id] = swapped(source(STATEMENT))
    named = record(frame(schema_id, BODY), (schema_header(STATEMENT),), 1)
    recorder, _ = examined(registry, meanings, named, record(frame(schema_id, BODY), (), 2))
    kept = [
        SimpleNamespace(value=lambda v=value: v, headers=lambda h=headers: h) for value, headers in recorder.quarantined
    ]
    entries = [QuarantineEntry(Origin.from_bytes(dict(one.headers())[ORIGIN]), (0, at)) for at, one in enumerate(kept)]
    event = Operation(
        "QUARANTINE_REDRIVE", "tax", NOW, "operator-li@a", "复原", {"entries": [entry.to_detail() for entry in entries]}
    )
    stored: Any = SimpleNamespace(read=lambda places: {place: kept[place[2]] for place in places})
    for mended, outcome in ((False, "REFUSED"), (True, "ACCEPTED")):
        if mended:
            registry.means.clear()
        later = Recorder()
        redriver = Redriver(stage_of(registry, later, meanings=meanings), stored, later, {"records.tax": "id"})
        assert redriver.carry_out(event) == {outcome: 2}
        assert len(later.accepted) == (2 if mended else 0)
