"""Every reason against a changed schema has its code, its place and its direction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from schemas.commands.schemas import mount
from schemas.contracts.avro import CONTRACTS, source
from schemas.contracts.evolution import check
from schemas.errors import UsageError

STATEMENT = "xinliu.Statement"
Change = Callable[[Any], object]


def _record(*fields: Any, name: str = "R") -> Any:
    return {"type": "record", "name": name, "namespace": "n", "fields": list(fields)}


def _field(schema: Any, **rest: Any) -> Any:
    return {"name": "f", "type": schema, **rest}


def _decimal(precision: int, scale: int) -> Any:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


DATE = {"type": "int", "logicalType": "date"}
OTHER = {"name": "o", "type": "string"}


@pytest.mark.parametrize(
    ("old", "new", "code", "path"),
    [
        (_record(), _record(OTHER), "FIELD_ADDED", "n.R.o"),
        (_record(OTHER), _record(), "FIELD_REMOVED", "n.R.o"),
        (_record(_field("string")), _record(_field("long")), "TYPE_CHANGED", "n.R.f"),
        (_record(_field("int")), _record(_field("long")), "TYPE_CHANGED", "n.R.f"),
        (_record(_field(["null", "int"])), _record(_field(["null", "string"])), "TYPE_CHANGED", "n.R.f"),
        (_record(), _record(name="S"), "RECORD_RENAMED", "n.S"),
        (_record(_field(_record(name="A"))), _record(_field(_record(name="B"))), "RECORD_RENAMED", "n.R.f"),
        (_record(_field(_decimal(18, 6))), _record(_field(_decimal(18, 2))), "DECIMAL_CHANGED", "n.R.f"),
        (_record(_field(_decimal(18, 6))), _record(_field(_decimal(20, 6))), "DECIMAL_CHANGED", "n.R.f"),
        (_record(_field("int")), _record(_field(DATE)), "MEANING_CHANGED", "n.R.f"),
        (_record(_field(["null", "string"])), _record(_field("string")), "NULL_REFUSED", "n.R.f"),
        (_record(_field("string")), _record(_field(["null", "string"])), "NULL_REFUSED", "n.R.f"),
        (
            _record(_field({"type": "fixed", "name": "F", "size": 8})),
            _record(_field({"type": "fixed", "name": "F", "size": 9})),
            "SIZE_CHANGED",
            "n.R.f",
        ),
        (
            _record(_field({"type": "enum", "name": "E", "symbols": ["A"]})),
            _record(_field({"type": "enum", "name": "E", "symbols": ["A", "B"]})),
            "SYMBOL_LOST",
            "n.R.f",
        ),
        (
            _record(_field({"type": "array", "items": _record(_field("string"), name="I")})),
            _record(_field({"type": "array", "items": _record(_field("long"), name="I")})),
            "TYPE_CHANGED",
            "n.R.f[].f",
        ),
    ],
)
def test_a_change_that_breaks_is_named(old: Any, new: Any, code: str, path: str) -> None:
    found = check(new, {3: old})
    assert (code, path, 3) in {(b.code, b.path, b.version) for b in found}
    assert all(b.message for b in found)


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        (_record(_field(["null", _record(name="A"), _record(name="B")])), "UNION"),
        (_record(_field([_record(name="A"), _record(name="B")])), "UNION"),
        (_record(_field({"type": "map", "values": "string"})), "MAP"),
        (_record(_field({"type": "enum", "name": "E", "symbols": ["A"]})), "ENUM"),
        (_record(_field({"type": "array", "items": {"type": "map", "values": "long"}})), "MAP"),
        (_record(_field(["string", "null"])), "NULL_NOT_FIRST"),
        (_record(_field(["null", "string"], default="")), "DEFAULT_TYPE"),
        (_record(_field("string", default=None)), "DEFAULT_TYPE"),
        (_record(_field("long", default=True)), "DEFAULT_TYPE"),
        (_record(_field("long", default="1")), "DEFAULT_TYPE"),
        (_record(_field("boolean", default=0)), "DEFAULT_TYPE"),
        (_record(_field({"type": "array", "items": "long"}, default={})), "DEFAULT_TYPE"),
    ],
)
def test_what_no_schema_of_ours_may_hold_is_named_without_a_version(schema: Any, code: str) -> None:
    assert (code, None) in {(b.code, b.version) for b in check(schema, {})}


def test_an_array_is_refused_only_where_columns_are_read() -> None:
    rows = _field({"type": "array", "items": "string"}, default=[])
    statement = {"type": "record", "name": STATEMENT, "fields": [rows]}
    assert [b.code for b in check(statement, {})] == ["ARRAY"]
    assert check(_record(rows), {}) == []


@pytest.mark.parametrize(
    "added",
    [
        _field("string", default=""),
        _field(["null", "string"], default=None),
        _field(["null", _record(OTHER, name="Licence")], default=None),
        _field("boolean", default=False),
        _field("double", default=1),
        _field({"type": "array", "items": "string"}, default=[]),
    ],
)
def test_a_field_with_a_default_comes_and_goes(added: Any) -> None:
    assert check(_record(OTHER, added), {1: _record(OTHER)}) == []
    assert check(_record(OTHER), {1: _record(OTHER, added)}) == []


def test_fields_may_change_places() -> None:
    assert check(_record(OTHER, _field("long")), {1: _record(_field("long"), OTHER)}) == []


def test_every_version_counts() -> None:
    with_default = _record(_field("string", default=""))
    found = check(with_default, {1: _record(), 2: _record(_field("long")), 3: with_default})
    assert {(b.version, b.code) for b in found} == {(2, "TYPE_CHANGED")}


def test_the_direction_is_told() -> None:
    (added,) = check(_record(OTHER), {4: _record()})
    assert added.message.startswith("the new schema cannot read what version 4 wrote")
    (removed,) = check(_record(), {4: _record(OTHER)})
    assert removed.message.startswith("readers of version 4 cannot read what the new schema writes")


@pytest.mark.parametrize("name", CONTRACTS)
def test_our_contracts_are_without_fault(name: str) -> None:
    assert check(source(name), {1: source(name)}) == []


def _told(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    mount(app)
    app.callback()(lambda: None)
    outcome = CliRunner().invoke(app, ["schemas", *words], standalone_mode=False)
    if outcome.exception is not None:
        raise outcome.exception
    return outcome.return_value, outcome.stdout


def test_a_renamed_record_is_checked_by_its_contracts_name(tmp_path: Path) -> None:
    earlier = source("xinliu.Marker")
    earlier["name"] = "Heartbeat"
    path = tmp_path / "Heartbeat.avsc"
    path.write_text(json.dumps(earlier), encoding="utf-8")
    code, out = _told("check", "--against", str(path), "--name", "xinliu.Marker", "--json")
    assert code == 1
    assert {b["code"] for b in json.loads(out)["breakages"]} == {"RECORD_RENAMED"}
    with pytest.raises(UsageError, match=r"xinliu\.Heartbeat, which is none of ours"):
        _told("check", "--against", str(path))


def test_a_table_for_persons_names_field_and_reason(tmp_path: Path) -> None:
    earlier = source("xinliu.Marker")
    earlier["fields"] = earlier["fields"][:-1]
    path = tmp_path / "Marker.avsc"
    path.write_text(json.dumps(earlier), encoding="utf-8")
    code, out = _told("check", "--against", str(path))
    assert code == 1
    assert source("xinliu.Marker")["fields"][-1]["name"] in out
    assert "no default" in " ".join(out.split())


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "string"}'])
def test_what_is_no_schema_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.avsc"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"name an \.avsc file"):
        _told("check", "--against", str(path))
