"""Schemas as another client may register them under our names, where the registry's rules are not those we set."""

from __future__ import annotations

import copy
from typing import Any

from schemas.contracts.avro import source
from tests.fuzz.choices import Choices

__all__ = ["foreign_schema"]

_NODE = {"type": "record", "name": "xinliu.Node", "fields": [{"name": "next", "type": ["null", "xinliu.Node"]}]}
_ROUND = {"type": "record", "name": "xinliu.Round", "fields": [{"name": "again", "type": "xinliu.Round"}]}
_DECIMAL = {"logicalType": "decimal", "precision": 18, "scale": 6}


def _doubling() -> dict[str, Any]:
    """A record of 2^24 fields in a few lines: each level names the one before twice."""
    inner: Any = {"type": "record", "name": "xinliu.L0", "fields": [{"name": "a", "type": "null"}]}
    for level in range(1, 25):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"xinliu.L{level - 1}"}]
        inner = {"type": "record", "name": f"xinliu.L{level}", "fields": fields}
    return inner


_TYPES: tuple[Any, ...] = (
    "null", "boolean", "int", "long", "float", "double", "bytes", "string", ["null", "string"], ["string", "null"],
    ["null", "null"], ["null"], [], ["null", "int", "string"], {"type": "string"}, {"type": {"type": "string"}},
    {"type": ["null", "string"]}, {"type": "array", "items": "null"}, {"type": "array", "items": "string"},
    {"type": {"type": "array", "items": "long"}}, {"type": "map", "values": "null"}, {"type": "enum", "name": "E", "symbols": ["A"]},
    {"type": "fixed", "name": "xinliu.F", "size": 4}, {"type": "fixed", "name": "xinliu.F", "size": 2**40},
    {"type": "fixed", "name": "xinliu.Guard", "size": 8}, {"type": "fixed", "name": "xinliu.F", "size": 0},
    {"type": "record", "name": "xinliu.Guarded", "fields": []}, {"type": "record", "name": "xinliu.Empty", "fields": []},
    "xinliu.Subject", "xinliu.Statement", "Subject", "xinliu.Nowhere", _NODE, ["null", _NODE], _ROUND, _doubling(),
    {"type": "long", "logicalType": "timestamp-millis"}, {"type": "int", "logicalType": "timestamp-millis"},
    {"type": "int", "logicalType": "date"}, {"type": "string", **_DECIMAL}, {"type": "bytes", **_DECIMAL},
    {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}, {"type": "string", "logicalType": "uuid"},
    {"type": "fixed", "name": "xinliu.D", "size": 8, **_DECIMAL}, {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "int", "logicalType": "time-millis"}, {"type": "error", "name": "xinliu.Er", "fields": []}, None, 7, {},
    {"type": "record", "name": "xinliu.NoFields"}, {"type": "record", "fields": []}, {"type": "array"}, {"type": 5},
)  # fmt: skip


def _type(choose: Choices) -> Any:
    return copy.deepcopy(choose.pick(_TYPES))  # it may be changed further


def _records(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [record for branch in schema for record in _records(branch)]
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        return []
    fields = [field for field in schema["fields"] if isinstance(field, dict) and {"name", "type"} <= field.keys()]
    return (
        [schema, *(record for field in fields for record in _records(field["type"]))]
        if fields == schema["fields"]
        else []
    )


def _add(choose: Choices, record: dict[str, Any]) -> None:
    field = {
        "name": choose.pick(("extra", "row", "guard", "value", "uscc", "a b", "", "\0")),
        "type": _type(choose),
    }
    if choose.rarely(3):
        field["default"] = choose.pick((None, "", 0, [], "\0", "\ud800", 2**70))
    record["fields"].insert(choose.integer(0, len(record["fields"])), field)


def _retype(choose: Choices, record: dict[str, Any]) -> None:
    if record["fields"]:
        choose.pick(record["fields"])["type"] = _type(choose)


def _widen(choose: Choices, record: dict[str, Any]) -> None:
    # Promotions are what Avro's resolution allows: readers must take them, or say that they do not.
    wider = {"string": "bytes", "long": "int"}
    for field in record["fields"]:
        if isinstance(field["type"], str) and choose.rarely(3):
            field["type"] = wider.get(field["type"], field["type"])


def _wrap(choose: Choices, record: dict[str, Any]) -> None:
    if record["fields"]:
        field = choose.pick(record["fields"])
        field["type"] = {"type": field["type"]}


def _drop(choose: Choices, record: dict[str, Any]) -> None:
    if record["fields"]:
        record["fields"].pop(choose.integer(0, len(record["fields"]) - 1))


def _twice(choose: Choices, record: dict[str, Any]) -> None:
    if record["fields"]:
        record["fields"].append(copy.deepcopy(choose.pick(record["fields"])))


def _annotate(choose: Choices, record: dict[str, Any]) -> None:
    key = choose.pick(
        ("doc", "aliases", "namespace", "__fastavro_parsed__", "__named_schemas", "name", "order", "fields")
    )
    record[key] = choose.pick((True, "\0", "\ud800", ["x"], "int", {}, None, 5, "xinliu.Subject"))


def _many(choose: Choices, record: dict[str, Any]) -> None:
    record["fields"].extend({"name": f"n{n}", "type": "null"} for n in range(choose.pick((50, 3000))))


_CHANGES = (_add, _retype, _widen, _wrap, _drop, _twice, _annotate, _many)


def foreign_schema(choose: Choices) -> Any:
    """Return one of our contracts as somebody else may have changed it; it need not be an Avro schema at all."""
    schema: Any = source(choose.pick(("xinliu.Statement", "xinliu.Statement", "xinliu.Marker")))
    for _ in range(choose.integer(1, 3)):
        records = _records(schema)
        if not records:
            break
        choose.pick(_CHANGES)(choose, choose.pick(records))
    return schema if not choose.rarely(30) else choose.pick((_type(choose), [schema], "xinliu.Statement"))
