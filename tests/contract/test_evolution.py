"""A contract that evolves: old and new readers, row by row and in columns; and what must not be done to it."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
import typer
from typer.testing import CliRunner

from schemas.commands.schemas import mount
from schemas.contracts.avro import CONTRACTS, fingerprint, source
from schemas.contracts.codec import decode
from schemas.contracts.columns import decode_statements
from schemas.contracts.evolution import check
from schemas.contracts.flat_frame import FLAT, Shape
from schemas.contracts.registry import WriterSchema

STATEMENT = "xinliu.Statement"


def evolved() -> Any:
    """Statement with a field in the envelope, one in a body, and a body of a new kind."""
    schema = source(STATEMENT)
    schema["fields"].insert(3, {"name": "channel", "type": "string", "default": "FILE"})
    body = next(field for field in schema["fields"] if field["name"] == "penalty")["type"][1]
    body["fields"].append({"name": "appeal", "type": ["null", "string"], "default": None})
    body["fields"].append({"name": "severity", "type": "string", "default": "普通"})
    licence = {"type": "record", "name": "Licence", "fields": [{"name": "number", "type": "string"}]}
    schema["fields"].append({"name": "licence", "default": None, "type": ["null", licence]})
    return schema


def writer(schema: Any) -> WriterSchema:
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    return WriterSchema(1, parsed["name"], fingerprint(schema), schema, parsed)


def statement(**changes: Any) -> dict[str, Any]:
    penalty = dict.fromkeys(("violation_type", "facts", "basis", "categories", "content", "authority_name"), "甲")
    penalty |= {"document_number": "京〔2025〕1号", "source_unit": "乙", "source_unit_code": "1" * 18}
    body: dict[str, Any] = penalty | {
        "fine": Decimal("1.5"),
        "decided_on": date(2025, 1, 2),
        "valid_until": date(2028, 1, 2),
    }
    envelope = dict.fromkeys(("province", "domain", "department", "authority", "reason"), "丙")
    subject = {"uscc": "2" * 18, "name": "丁", "kind": "法人及非法人组织"}
    times = {"version": 7, "stated_at": datetime(2025, 1, 3, tzinfo=UTC)}
    return envelope | times | {
        "record_id": "0" * 32, "kind": "PENALTY", "status": "IN_FORCE", "subject": subject, "penalty": body
    } | changes  # fmt: skip


def written(schema: Any, value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), value)
    return out.getvalue()


def test_the_evolution_is_compatible_both_ways() -> None:
    assert check(evolved(), {1: source(STATEMENT)}) == []


def test_row_by_row_both_ways() -> None:
    old, new = writer(source(STATEMENT)), writer(evolved())
    forward = decode(old.parsed, written(old.schema, statement()), new.parsed)
    assert forward["channel"] == "FILE"
    assert forward["licence"] is None
    assert forward["penalty"]["severity"] == "普通"
    told = statement(channel="API", licence={"number": "L1"})
    assert decode(new.parsed, written(new.schema, told), old.parsed) == decode(
        old.parsed, written(old.schema, statement())
    )


def test_columns_both_ways() -> None:
    old, new = writer(source(STATEMENT)), writer(evolved())
    body = written(new.schema, statement(channel="API", kind="LICENCE", penalty=None, licence={"number": "L1"}))
    penalty = written(new.schema, statement(channel="API"))

    seen_by_old = decode_statements(new, [body, penalty], [3, 9])
    assert not seen_by_old.undecodable
    assert seen_by_old.frame.schema == FLAT
    assert seen_by_old.frame["has_penalty"].to_list() == [False, True]
    plain = decode_statements(old, [written(old.schema, statement())], [9]).frame
    assert seen_by_old.frame.filter(row=9).equals(plain)

    shape = Shape(evolved())
    seen_by_new = decode_statements(
        old, [written(old.schema, statement()), written(old.schema, statement(penalty=None))], [0, 1], shape
    )
    frame = seen_by_new.frame
    assert frame.schema == shape.schema
    assert frame["channel"].to_list() == ["FILE", "FILE"]
    assert frame["penalty_severity"].to_list() == ["普通", None]
    assert frame["has_licence"].to_list() == [False, False]
    own = decode_statements(new, [body, penalty], [0, 1], shape).frame
    assert own["licence_number"].to_list() == ["L1", None]
    assert own["channel"].to_list() == ["API", "API"]


def _field(schema: Any, name: str) -> Any:
    return next(field for field in schema["fields"] if field["name"] == name)


def _remove(schema: Any) -> None:
    schema["fields"].remove(_field(schema, "domain"))


def _add(schema: Any) -> None:
    schema["fields"].append({"name": "channel", "type": "string"})


def _retype(schema: Any) -> None:
    _field(schema, "version")["type"] = "string"


def _widen(schema: Any) -> None:
    _field(_field(schema, "penalty")["type"][1], "decided_on")["type"] = "long"


def _rescale(schema: Any) -> None:
    _field(_field(schema, "penalty")["type"][1], "fine")["type"][1]["scale"] = 2


def _require(schema: Any) -> None:
    _field(_field(schema, "penalty")["type"][1], "remark")["type"] = "string"


def _rename(schema: Any) -> None:
    schema["name"] = "Saying"


def _map(schema: Any) -> None:
    schema["fields"].append({"name": "extra", "type": {"type": "map", "values": "string"}, "default": {}})


def _enum(schema: Any) -> None:
    kind = {"type": "enum", "name": "Channel", "symbols": ["FILE"]}
    schema["fields"].append({"name": "channel", "type": kind, "default": "FILE"})


def _union(schema: Any) -> None:
    _field(schema, "penalty")["type"].append({"type": "record", "name": "Other", "fields": []})


@pytest.mark.parametrize(
    ("change", "path", "word"),
    [
        (_remove, "xinliu.Statement.domain", "no default"),
        (_add, "xinliu.Statement.channel", "no default"),
        (_retype, "xinliu.Statement.version", "type"),
        (_widen, "xinliu.Statement.penalty.decided_on", "type"),
        (_rescale, "xinliu.Statement.penalty.fine", "decimal(18, 2)"),
        (_require, "xinliu.Statement.penalty.remark", "may be null"),
        (_rename, "xinliu.Saying", "named"),
        (_map, "xinliu.Statement.extra", "map"),
        (_enum, "xinliu.Statement.channel", "enum"),
        (_union, "xinliu.Statement.penalty", "union"),
    ],
)
def test_what_must_not_be_done_is_named(change: Callable[[Any], None], path: str, word: str) -> None:
    schema = source(STATEMENT)
    change(schema)
    assert any(b.path == path and word in b.message for b in check(schema, {1: source(STATEMENT)}))


def test_a_writer_whose_decimals_mean_something_else_is_not_read() -> None:
    schema = source(STATEMENT)
    _rescale(schema)
    decoded = decode_statements(writer(schema), [written(schema, statement())], [4])
    assert decoded.frame.is_empty()
    assert [(u.row, u.code) for u in decoded.undecodable] == [(4, "UNEXPECTED_RECORD")]


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_contract_keeps_the_house_rules_and_reads_itself(name: str) -> None:
    assert check(source(name), {1: source(name)}) == []


def test_check_against_a_file_tells_and_fails(tmp_path: Path) -> None:
    earlier = source(STATEMENT)
    _rescale(earlier)
    path = tmp_path / "Statement.avsc"
    path.write_text(json.dumps(earlier), encoding="utf-8")
    app = typer.Typer()
    mount(app)
    app.callback()(lambda: None)
    told = CliRunner().invoke(app, ["schemas", "check", "--against", str(path), "--json"], standalone_mode=False)
    assert told.return_value == 1
    assert {b["path"] for b in json.loads(told.stdout)["breakages"]} == {"xinliu.Statement.penalty.fine"}
