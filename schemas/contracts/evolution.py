"""Compatibility of a changed schema: why earlier readers, or bodies of earlier writers, would break.

Follows the schema resolution of the Avro specification, in both directions and against every version (FULL_TRANSITIVE),
and adds checks that resolution lacks: the scale of a decimal, and the needs of columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Breakage", "check", "house_rules", "unreadable", "unwritable"]

_PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""Writer's type → other readers' types that accept it, by the Avro specification."""

_JSON: dict[str, type | tuple[type, ...]] = {
    **{"null": type(None), "boolean": bool, "int": int, "long": int, "float": (int, float), "double": (int, float)},
    **{"string": str, "bytes": str, "fixed": str, "enum": str, "array": list, "map": dict, "record": dict},
}
"""Avro type → JSON type of its default."""
_LOGICAL = ("logicalType", "precision", "scale")
_NO_DEFAULT = "NO_DEFAULT"
_COLUMNAR = "xinliu.Statement"
"""The record that is read as columns."""

_MOST_FIELDS, _LONGEST_FIXED = 1_000, 1_024
"""Limits far above any schema of ours; larger ones only cost their readers time and memory."""


@dataclass(frozen=True, slots=True)
class Breakage:
    """One reason why a schema cannot follow an earlier one."""

    path: str
    """Path of the field, from the record's name on, joined by dots."""
    code: str
    """Kind of reason, for machines: FIELD_ADDED, TYPE_CHANGED, DECIMAL_CHANGED …"""
    message: str
    """The reason, in words."""
    version: int | None = None
    """The earlier version with which it is incompatible; None if the schema itself is at fault."""


def check(new: Any, old: Mapping[int, Any]) -> list[Breakage]:
    """Return every reason against registering `new` after the versions `old`; empty means compatible."""
    found = [*house_rules(new), *unwritable(new)]
    for version, earlier in sorted(old.items()):
        for broken in unreadable(new, earlier):
            message = f"the new schema cannot read what version {version} wrote: {broken.message}"
            code = "FIELD_ADDED" if broken.code == _NO_DEFAULT else broken.code
            found.append(Breakage(broken.path, code, message, version))
        for broken in unreadable(earlier, new):
            message = f"readers of version {version} cannot read what the new schema writes: {broken.message}"
            code = "FIELD_REMOVED" if broken.code == _NO_DEFAULT else broken.code
            found.append(Breakage(broken.path, code, message, version))
    return found


def house_rules(schema: Any) -> list[Breakage]:
    """Return the parts of a schema that cannot be read as columns, or not safely: see _unfit for each."""
    name = _full_name(schema, "") if isinstance(schema, dict) else "schema"
    fields = _count_fields(schema)
    if fields > _MOST_FIELDS:
        return [Breakage(name, "TOO_MANY_FIELDS", f"it has {fields} fields, at most {_MOST_FIELDS} are read")]
    return list(_unfit(schema, name, columnar=name == _COLUMNAR))


def _count_fields(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_count_fields, schema))
    if not isinstance(schema, dict):
        return 0
    fields = schema.get("fields", ())
    return len(fields) + sum(_count_fields(one["type"]) for one in fields) + _count_fields(schema.get("items"))


def unreadable(reader: Any, writer: Any) -> list[Breakage]:
    """Return why `reader` could not read bodies written with `writer`; empty means that it can.

    Stricter than the Avro specification in one point: logical type, precision and scale must be equal, since most
    readers silently accept the bytes of another scale.
    """
    names: dict[str, Any] = {}
    path = _full_name(reader, "") if isinstance(reader, dict) else "schema"
    return list(_differences(reader, writer, path, names, {}, ""))


def _unfit(schema: Any, path: str, *, columnar: bool) -> Iterator[Breakage]:
    if isinstance(schema, list):
        if len(schema) != 2 or "null" not in schema:
            message = "a union may only be null and one type: columns cannot hold another branch, and none can be added"
            yield Breakage(path, "UNION", message)
        for branch in schema:
            yield from _unfit(branch, path, columnar=columnar)
        return
    kind = _kind(schema)
    if kind == "map":
        yield Breakage(path, "MAP", "a map cannot be read as columns: use an array of records")
    elif kind == "enum":
        yield Breakage(path, "ENUM", "an enum cannot grow without breaking readers: use a string and the catalogue")
    elif kind == "array":
        if columnar:
            yield Breakage(path, "ARRAY", f"an array in {_COLUMNAR} has no column to go to: join it into a string")
        if not _takes_bytes(schema["items"]):
            yield Breakage(path, "EMPTY_ITEMS", "items that take no bytes can be without number in a short message")
        yield from _unfit(schema["items"], f"{path}[]", columnar=columnar)
    elif kind == "record":
        yield from _unfit_fields(schema["fields"], path, columnar=columnar)
    elif kind == "fixed" and not 0 < schema["size"] <= _LONGEST_FIXED:
        yield Breakage(path, "FIXED", f"a fixed has 1 to {_LONGEST_FIXED} bytes")
    elif kind not in _JSON:
        # A recursive record is written this way: a short message would then crash its reader by endless recursion.
        yield Breakage(path, "NAMED_TYPE", f"{kind} is no type of Avro; a type is defined where it is used, each time")


def _unfit_fields(fields: Any, path: str, *, columnar: bool) -> Iterator[Breakage]:
    seen: set[str] = set()
    for field in fields:
        inner = f"{path}.{field['name']}"
        if field["name"] in seen:
            yield Breakage(inner, "FIELD_TWICE", "two fields of one record have the same name")
        seen.add(field["name"])
        if field["type"] == "null":
            yield Breakage(inner, "NULL", "a field that is always null has no column to go to")
        yield from _unfit(field["type"], inner, columnar=columnar)


def _takes_bytes(schema: Any) -> bool:
    if isinstance(schema, list):
        return True  # its index
    kind = _kind(schema)
    if kind == "record":
        return any(_takes_bytes(field["type"]) for field in schema["fields"])
    return kind != "null" and (kind != "fixed" or schema["size"] > 0)


def unwritable(schema: Any) -> list[Breakage]:
    """Return the defaults and nullable fields that break the Avro specification.

    A default must be of the field's type, or of a union's first one; so null comes first, and the default of a nullable
    field is null. Writers and readers of other languages would otherwise refuse the schema, or fill in another value.
    """
    path = _full_name(schema, "") if isinstance(schema, dict) else "schema"
    return list(_miswritten(schema, path))


def _miswritten(schema: Any, path: str) -> Iterator[Breakage]:
    if isinstance(schema, list):
        if "null" in schema[1:]:
            yield Breakage(path, "NULL_NOT_FIRST", "null must be the first type of a nullable field, its default null")
        for branch in schema:
            yield from _miswritten(branch, path)
        return
    kind = _kind(schema)
    if kind == "array":
        yield from _miswritten(schema["items"], f"{path}[]")
    elif kind == "record":
        for field in schema["fields"]:
            inner = f"{path}.{field['name']}"
            yield from _miswritten(field["type"], inner)
            if "default" in field and not _is_default(field["default"], field["type"]):
                told = json.dumps(field["default"], ensure_ascii=False)
                expected = _kind(field["type"][0] if isinstance(field["type"], list) else field["type"])
                yield Breakage(inner, "DEFAULT_TYPE", f"its default {told} is no {expected}")


def _is_default(default: Any, schema: Any) -> bool:
    if isinstance(schema, list):
        return _is_default(default, schema[0])
    expected = _JSON.get(_kind(schema), object)
    return isinstance(default, expected) and (expected is bool or not isinstance(default, bool))


def _kind(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    kind = schema["type"] if isinstance(schema, dict) else schema
    return _kind(kind) if isinstance(kind, (dict, list)) else str(kind)


def _full_name(schema: dict[str, Any], namespace: str) -> str:
    name = str(schema.get("name", ""))
    space = schema.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


def _resolved(schema: Any, names: dict[str, Any], namespace: str) -> tuple[Any, str]:
    """Return the definition of a schema, and its namespace; a name defined before stands for its definition."""
    if isinstance(schema, dict):
        if isinstance(schema["type"], (dict, list)):
            return _resolved(schema["type"], names, namespace)
        if "name" not in schema:
            return schema, namespace
        full = _full_name(schema, namespace)
        names[full] = schema
        return schema, full.rpartition(".")[0]
    if isinstance(schema, str):
        known = names.get(schema) or names.get(f"{namespace}.{schema}")
        return known if known is not None else schema, namespace
    return schema, namespace


def _differences(
    reader: Any, writer: Any, path: str, reader_names: dict[str, Any], writer_names: dict[str, Any], namespace: str
) -> Iterator[Breakage]:
    reader, inner = _resolved(reader, reader_names, namespace)
    writer, _ = _resolved(writer, writer_names, namespace)
    again = (reader_names, writer_names, inner)
    if isinstance(writer, list) or isinstance(reader, list):
        yield from _union_differences(reader, writer, path, *again)
        return
    kind, written = _kind(reader), _kind(writer)
    if kind != written:
        if kind not in _PROMOTED.get(written, ()):
            yield Breakage(path, "TYPE_CHANGED", f"its type was {written} when written, the reader expects {kind}")
        return
    meaning = [[one.get(key) for key in _LOGICAL] if isinstance(one, dict) else [None] * 3 for one in (reader, writer)]
    if meaning[0] != meaning[1]:
        both = all(logical == "decimal" for logical, _, _ in meaning)
        yield Breakage(
            path,
            "DECIMAL_CHANGED" if both else "MEANING_CHANGED",
            f"its meaning was {_words(kind, meaning[1])} when written, the reader expects {_words(kind, meaning[0])}",
        )
    if kind == "record":
        yield from _record_differences(reader, writer, path, *again)
    elif kind == "array":
        yield from _differences(reader["items"], writer["items"], f"{path}[]", *again)
    elif kind == "map":
        yield from _differences(reader["values"], writer["values"], f"{path}{{}}", *again)
    elif kind == "fixed" and reader["size"] != writer["size"]:
        yield Breakage(
            path,
            "SIZE_CHANGED",
            f"its size was {writer['size']} bytes when written, the reader expects {reader['size']}",
        )
    elif kind == "enum" and "default" not in reader and (lost := set(writer["symbols"]) - set(reader["symbols"])):
        yield Breakage(path, "SYMBOL_LOST", f"the reader does not know the symbols {', '.join(sorted(lost))}")


def _union_differences(
    reader: Any, writer: Any, path: str, reader_names: dict[str, Any], writer_names: dict[str, Any], namespace: str
) -> Iterator[Breakage]:
    again = (reader_names, writer_names, namespace)
    for branch in writer if isinstance(writer, list) else [writer]:
        if branch == "null":
            if not _takes_null(reader):
                yield Breakage(
                    path, "NULL_REFUSED", "it may be null in what was written, but the reader's field may not"
                )
            continue
        takers = [taker for taker in reader if taker != "null"] if isinstance(reader, list) else [reader]
        tried = [list(_differences(taker, branch, path, *again)) for taker in takers]
        if all(tried):
            yield from min(
                tried, key=len, default=[Breakage(path, "TYPE_CHANGED", "the reader takes nothing but null")]
            )


def _record_differences(
    reader: Any, writer: Any, path: str, reader_names: dict[str, Any], writer_names: dict[str, Any], namespace: str
) -> Iterator[Breakage]:
    ours, theirs = _full_name(reader, namespace), _full_name(writer, namespace)
    if ours != theirs:
        yield Breakage(
            path, "RECORD_RENAMED", f"the record was named {theirs} when written, the reader calls it {ours}"
        )
        return
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        name = field["name"]
        if name in written:
            yield from _differences(
                field["type"], written[name]["type"], f"{path}.{name}", reader_names, writer_names, namespace
            )
        elif "default" not in field:
            yield Breakage(
                f"{path}.{name}", _NO_DEFAULT, "the writer does not write it and the reader has no default for it"
            )


def _takes_null(schema: Any) -> bool:
    return schema == "null" or (isinstance(schema, list) and "null" in schema)


def _words(kind: str, meaning: list[Any]) -> str:
    logical, precision, scale = meaning
    if logical is None:
        return f"a plain {kind}"
    return f"decimal({precision}, {scale or 0})" if logical == "decimal" else str(logical)
