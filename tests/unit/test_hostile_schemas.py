"""Schemas that somebody else registered under our names: each of these once stopped a reader, or could have."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pytest

from schemas.contracts.avro import source
from schemas.contracts.codec import NotDecodable, frame
from schemas.contracts.columns import Batch, decode_batch
from schemas.contracts.evolution import check, house_rules
from schemas.contracts.flat_frame import physical
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.contracts.registry import writer_schema
from tests.fuzz.choices import Consumed
from tests.fuzz.hostile import Writers
from tests.fuzz.properties import Recorder, examined, records_of, stage_of
from tests.statements import penalty

STATEMENT, MARKER = "xinliu.Statement", "xinliu.Marker"
NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"], "default": None}]}


def field_of(schema: Any, *names: str) -> dict[str, Any]:
    """Return a field by its path."""
    for name in names:
        schema = schema["type"] if "fields" not in schema else schema
        schema = schema[1] if isinstance(schema, list) else schema
        schema = next(field for field in schema["fields"] if field["name"] == name)
    return schema  # type: ignore[no-any-return]


def with_field(name: str, kind: Any) -> Any:
    """Return a contract with one more field at its end."""
    schema = source(name)
    schema["fields"].append({"name": "extra", "type": kind})
    return schema


def read(schema: Any, body: bytes) -> Batch:
    """Read a body of a schema that is registered unchecked."""
    registry = MemoryRegistry()
    return decode_batch(
        registry, [frame(registry.add_text(json.dumps(schema)), body)], named=[None], expected={STATEMENT, MARKER}
    )


@pytest.mark.parametrize("name", [STATEMENT, MARKER])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(["null", NODE], id="a record that holds itself"),
        pytest.param({"type": "array", "items": "null"}, id="items of no bytes"),
        pytest.param(
            {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}, id="items of no fields"
        ),
        pytest.param({"type": "map", "values": "null"}, id="a map"),
        pytest.param({"type": "fixed", "name": "F", "size": 2**40}, id="a fixed of a terabyte"),
        pytest.param({"type": "fixed", "name": "F", "size": 0}, id="a fixed of nothing"),
        pytest.param("null", id="nothing but null"),
        pytest.param(["null"], id="a union of null"),
    ],
)
def test_no_body_of_such_a_schema_is_touched(name: str, kind: Any) -> None:
    # 100 kB down a recursion, or 2^62 items: reading them at all would end the process.
    for body in (b"\0" * 3 + b"\2" * 100_000, b"\0\0\0" + b"\x80" * 8 + b"\x40"):
        (bad,) = read(with_field(name, kind), body).undecodable
        assert bad.code == "UNEXPECTED_RECORD"


def test_a_marker_whose_own_record_holds_itself_does_not_end_the_process() -> None:
    (bad,) = read(with_field(MARKER, ["null", MARKER]), (b"\0\0\0\2") * 50_000).undecodable
    assert bad.code == "UNEXPECTED_RECORD"
    assert "no type of Avro" in bad.message


def test_a_marker_of_another_meaning_is_no_marker() -> None:
    schema = source(MARKER)
    field_of(schema, "as_of")["type"] = "long"  # read as a number, it cannot be compared with a time
    (bad,) = read(schema, b"\0\0\0").undecodable
    assert bad.code == "UNEXPECTED_RECORD"


@pytest.mark.parametrize("size", [2, 3000])
def test_more_fields_than_a_schema_can_need(size: int) -> None:
    schema = source(STATEMENT)
    schema["fields"] += [{"name": f"n{n}", "type": "boolean"} for n in range(size)]
    assert [broken.code for broken in house_rules(schema)] == (["TOO_MANY_FIELDS"] if size > 1000 else [])


def test_a_field_twice_is_named_by_the_check_before_it_is_registered() -> None:
    schema = source(STATEMENT)
    subject = field_of(schema, "subject")["type"]
    subject["fields"].append(dict(subject["fields"][0]))
    assert "FIELD_TWICE" in {broken.code for broken in check(schema, {})}


@pytest.mark.parametrize(
    "text",
    [
        "", "no JSON", "7", "{}", '{"type": "record"}', '{"type": "record", "name": [], "fields": []}',
        '{"type": "record", "name": "xinliu.Statement", "fields": [{}], "__fastavro_parsed__": true}',
        json.dumps({**source(STATEMENT), "doc": "\0"}), json.dumps({**source(STATEMENT), "doc": "\ud800"}),
        json.dumps({**source(STATEMENT), "doc": "x" * (1 << 19)}), "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_schema_is_unknown(text: str) -> None:
    with pytest.raises(NotDecodable, match="no Avro schema") as error:
        writer_schema(5, text)
    assert error.value.code == "UNKNOWN_SCHEMA"


def _promoted(change: Callable[[Any], None]) -> tuple[Any, bytes, bytes]:
    schema = source(STATEMENT)
    change(schema)
    value = _physical(penalty("升"))
    bodies = []
    for odd in (False, True):
        value["penalty"]["facts"] = b"\xff\xfe" if odd else "事".encode()
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(physical(schema)), value)
        bodies.append(out.getvalue())
    return schema, bodies[0], bodies[1]


def _physical(value: Any) -> Any:
    from tests.fuzz.hostile import _physical

    return _physical(value)


def test_bytes_where_we_have_a_string_are_read_as_avro_promotes_them() -> None:
    def as_bytes(schema: Any) -> None:
        field_of(schema, "penalty", "facts")["type"] = "bytes"

    schema, good, odd = _promoted(as_bytes)
    assert read(schema, good).statements["penalty_facts"].to_list() == ["事"]
    (bad,) = read(schema, odd).undecodable
    assert (bad.code, bad.message) == ("DAMAGED", "facts is no UTF-8")


def test_what_a_refused_statement_says_of_itself_can_be_kept() -> None:
    # PostgreSQL keeps no U+0000 and indexes no long text: such an entry would have stopped the view, not the department.
    writers = Writers(Consumed(b""))
    from schemas.contracts.codec import encode

    values = []
    for uscc in ("9111\0000M00000000W", "9" * 100_000, "91110000M00000000W\n"):
        statement = penalty("长")
        statement["subject"]["uscc"] = uscc
        values.append(frame(writers.statement, encode(STATEMENT, {**statement, "domain": uscc, "record_id": uscc})))
    recorder, runs = Recorder(), [records_of("records.tax", values)]
    stage = stage_of(writers.registry, recorder)
    stage(runs)
    stage.tick()
    assert len(recorder.quarantined) == 3
    examined(runs, recorder, writers)
