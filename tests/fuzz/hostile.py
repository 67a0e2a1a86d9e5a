"""Hostile messages: statements as good writers, careless writers and attackers put them on a topic."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from schemas.contracts.avro import source
from schemas.contracts.codec import encode, frame
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.records.refused_row import DISCARDED, MENDED, MOST, REFUSED, RowRefusal, finding
from tests.fuzz.choices import Choices
from tests.fuzz.schemas_of_others import foreign_schema
from tests.statements import listing, penalty, registration, state

__all__ = ["DEPARTMENTS", "Writers", "message", "mutated", "refused_row"]

STATEMENT, REFUSED_ROW = "xinliu.Statement", "xinliu.RefusedRow"
DEPARTMENTS = ("tax", "finance")

_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    63,
    64,
    -65,
    18,
    719_162,
    -719_163,
    2_932_896,
    2_932_897,
    2**31 - 1,
    2**31,
    -(2**31),
    2**33 + 5,
)
_LARGE = (2**53, 253_402_300_800_000, 2**62, 2**63 - 1, -(2**63), 1_700_000_000_000)
_TEXTS = (
    b"", b"\0", b"a\0b", b"\xff", b"\xe4\xb8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b" ", "　".encode(),
    "京".encode() * 30, "𠮷".encode(), "\ufeff\u202e".encode(), b"\r\n\",;|\\x00", b"A" * 3000, "自然人".encode(),
    b"362322198709086409", b"91110000M00000000W", b"PENALTY", b"LISTING", b"IN_FORCE", b"REVOKED", b"REPAIRED",
    "e\u0301".encode() * 40, b"\x7f\x01\x1b[2J", b"=1+1", b"null", b"9" * 400, b"REGISTRATION",
    b"registration", "甲|2020-02-30;|;||".encode(),
)  # fmt: skip


def varint(number: int, padding: int = 0) -> bytes:
    """Return Avro's long; with padding, written with so many bytes more than it needs."""
    zigzag, out = (number << 1) ^ (number >> 63), bytearray()
    zigzag &= 2**64 - 1
    while zigzag & ~0x7F or padding:
        if not zigzag & ~0x7F:
            padding -= 1
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


@cache
def _good() -> tuple[dict[str, Any], ...]:
    first = [penalty(f"敌〔2025〕{n}号", entity=n, key=DEPARTMENTS[n % 2]) for n in range(6)]
    lists = [listing(f"单-{n}", entity=n) for n in range(3)]
    gone = [state(first[0], "REVOKED", version=2), state(first[1], "REPAIRED", version=3)]
    registry = registration(former_names="甲|2020-05-31;乙|2022-01-09", name_since=date(2022, 1, 10), key="tax")
    return (*first, *lists, *gone, registry)


def _physical(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _physical(inner) for name, inner in value.items()}
    if isinstance(value, Decimal):
        unscaled = int(value.scaleb(6))
        return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value if not hasattr(value, "toordinal") else value.toordinal() - 719_163


@cache
def _good_physical() -> tuple[dict[str, Any], ...]:
    return tuple(_physical(value) for value in _good())


@cache
def _ours() -> tuple[MemoryRegistry, dict[int, Any]]:
    """Return a registry of what we register, and by id the schemas to write with: Statement, Marker, a wider Statement, RefusedRow."""
    registry = MemoryRegistry()
    statement, marker, _ = (registry.register(name) for name in (STATEMENT, "xinliu.Marker", "xinliu.Receipt"))
    wider = source(STATEMENT)
    wider["fields"].insert(0, {"name": "channel", "type": "string", "default": "FILE"})
    schemas = {statement: source(STATEMENT), marker: source("xinliu.Marker"), registry.add(wider): wider}
    return registry, {**schemas, registry.register(REFUSED_ROW): source(REFUSED_ROW)}


class Writers:
    """The schemas of a registry and how to write with each: ours, a wider one of ours, and what others registered."""

    def __init__(self, choose: Choices) -> None:
        registry, schemas = _ours()
        self.registry, self._schemas = registry.copy(), schemas.copy()
        self.statement, self.marker, _, self.refused_row = schemas
        self.foreign: dict[int, str] = {}
        for _ in range(choose.integer(0, 2)):
            schema = foreign_schema(choose)
            schema_id = self.registry.add_text(json.dumps(schema))
            self._schemas[schema_id] = schema
            self.foreign[schema_id] = json.dumps(schema)
        self.ids = (*self._schemas, 77, 2**32 - 1)

    def body(self, choose: Choices, schema_id: int) -> bytes:
        """Return a body of that schema: now and then with a hostile value in it."""
        value: Any = choose.pick(_good_physical())
        if schema_id == self.marker:
            value = {"department": choose.pick(DEPARTMENTS), "marker_id": "0" * 32, "as_of": 1_763_000_000_000}
        if schema_id == self.refused_row:
            value = _physical(refused_row(choose))
        # Chosen once, since most values of most messages are as they should be.
        one_in = choose.pick((10_000, 60, 15))
        written = _Written(choose, one_in)
        # Where the schema is none, what was written up to there is as good as any.
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            written.value(self._schemas.get(schema_id, "string"), value, 0)
        return bytes(written.out)


class _Written:
    """Writes a value by a schema, valid or not; what the value does not have is made up."""

    def __init__(self, choose: Choices, one_in: int) -> None:
        self._choose, self._one_in = choose, one_in
        self._until_hostile = self._stretch()
        self._names: dict[str, Any] = {}
        self._steps = 0
        self.out = bytearray()

    def value(self, schema: Any, value: Any, depth: int) -> None:
        self._steps += 1
        if depth > 40 or self._steps > 2_000:
            return
        if isinstance(schema, list):
            self._union(schema, value, depth)
            return
        kind = schema.get("type") if isinstance(schema, dict) else schema
        if isinstance(kind, (dict, list)):
            self.value(kind, value, depth + 1)
            return
        if isinstance(schema, dict) and "name" in schema:
            self._names[str(schema["name"])] = schema
        if kind == "record":
            for field in schema["fields"]:
                held = value.get(field["name"]) if isinstance(value, dict) else None
                self.value(field["type"], held, depth + 1)
        elif kind in ("array", "map"):
            self._array(schema, depth)
        elif isinstance(kind, str) and kind in self._names and not isinstance(schema, dict):
            self.value(self._names[kind], value, depth + 1)
        else:
            self._plain(kind, schema, value)

    def _hostile(self) -> bool:
        """Tell whether it is time for something hostile: once in so many times."""
        self._until_hostile -= 1
        if self._until_hostile:
            return False
        self._until_hostile = self._stretch()
        return True

    def _stretch(self) -> int:
        # One choice for many values: most are as they should be. The simplest, 0, has no end.
        return self._choose.integer(0, 2 * self._one_in - 1)

    def _union(self, schema: list[Any], value: Any, depth: int) -> None:
        if self._hostile():
            self.out += varint(self._choose.pick((-1, -2, 2, 3, 2**31, 0, 1)), self._choose.integer(0, 2))
            return
        if value is None and "null" in schema and (depth > 6 or not self._choose.rarely(6)):
            self.out += varint(schema.index("null"))
            return
        branch = next((place for place, one in enumerate(schema) if one != "null"), 0)
        self.out += varint(branch)
        if schema:
            self.value(schema[branch], value, depth + 1)

    def _array(self, schema: Any, depth: int) -> None:
        if self._choose.rarely(3):
            self.out += varint(self._choose.pick((2**20, 2**40, 2**62, -1, -5))) + varint(self._choose.integer(0, 9))
            return
        count = self._choose.integer(0, 3)
        if count:
            self.out += varint(count)
            for _ in range(count):
                if schema["type"] == "map":
                    self._bytes(b"k")
                self.value(schema.get("items", schema.get("values", "null")), None, depth + 1)
        self.out += varint(0)

    def _plain(self, kind: Any, schema: Any, value: Any) -> None:
        hostile = value is None or self._hostile()
        if kind in ("int", "long", "enum"):
            if hostile or not isinstance(value, int):
                value = self._choose.pick((*_NUMBERS, *_LARGE))
            self.out += varint(value, self._choose.integer(1, 3) if hostile and self._choose.rarely(4) else 0)
        elif kind in ("string", "bytes"):
            known = value.encode() if isinstance(value, str) else value
            self._bytes(self._odd_bytes() if hostile or not isinstance(known, bytes) else known, hostile)
        elif kind == "fixed":
            self.out += b"f" * min(int(schema.get("size", 1)), 4096)
        elif kind == "boolean":
            self.out += bytes([self._choose.pick((0, 1, 2, 255))])
        elif kind in ("float", "double"):
            self.out += struct.pack("<f" if kind == "float" else "<d", self._choose.pick((0.0, float("nan"), -1e30)))

    def _odd_bytes(self) -> bytes:
        if self._choose.rarely(2):
            return self._choose.pick(_TEXTS)
        return self._choose.raw(24)

    def _bytes(self, content: bytes, hostile: bool = False) -> None:
        length = len(content)
        if hostile and self._choose.rarely(6):
            length = self._choose.pick((-1, -(2**40), 2**30, 2**38, 2**63 - 1, length + 1, max(0, length - 1)))
        self.out += varint(length, self._choose.integer(1, 9) if hostile and self._choose.rarely(9) else 0) + content


def refused_row(choose: Choices) -> dict[str, Any]:
    """Return a RefusedRow as departments say it: refused, mended or discarded, of an entity or of anybody."""
    told = RowRefusal(
        refusal_id=choose.pick((0, 7, MOST - 1, choose.integer(0, 99), -1, MOST)),
        domain=choose.pick((None, "tax", "no such domain")),
        uscc=choose.pick((None, "91110000M00000000W", "91110000M00000000X", "362322198709086409")),
        record_id=choose.pick((None, "0" * 32, "no record")),
        version=choose.pick((None, 1, 1_763_000_000_000)),
        known_since=choose.pick((None, datetime(2025, 11, 13, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC))),
        findings=tuple(
            finding("DATE_FORM", "CF_JDRQ", text) for text in ("不是日期", "\0", "x" * 9_000)[: choose.integer(0, 3)]
        ),
    ).to_record(choose.pick(DEPARTMENTS), datetime(2025, 11, 13, tzinfo=UTC))
    outcome = choose.pick((REFUSED, REFUSED, MENDED, DISCARDED, "LOST"))
    return {
        **told,
        "outcome": outcome,
        "reason": choose.pick((None, "重复录入", "\0 ")),
        "by": choose.pick((None, "张某")),
    }


def _flip(choose: Choices, data: bytes, _: bytes) -> bytes:
    place = choose.integer(0, max(0, len(data) * 8 - 1))
    return bytes(byte ^ (1 << place % 8) if at == place // 8 else byte for at, byte in enumerate(data))


def _cut(choose: Choices, data: bytes, _: bytes) -> bytes:
    return data[: choose.integer(0, len(data))]


def _splice(choose: Choices, data: bytes, other: bytes) -> bytes:
    return data[: choose.integer(0, len(data))] + other[choose.integer(0, len(other)) :]


def _noise(choose: Choices, data: bytes, _: bytes) -> bytes:
    place = choose.integer(0, len(data))
    return data[:place] + choose.raw(12) + data[choose.integer(place, len(data)) :]


def _longer(choose: Choices, data: bytes, _: bytes) -> bytes:
    return data + choose.raw(8)


_MUTATIONS: tuple[Callable[[Choices, bytes, bytes], bytes], ...] = (_flip, _cut, _splice, _noise, _longer)


def mutated(choose: Choices, data: bytes, other: bytes) -> bytes:
    """Return the bytes damaged; `other` is what a splice takes its end from."""
    return choose.pick(_MUTATIONS)(choose, data, other)


def message(choose: Choices, writers: Writers) -> bytes | None:
    """Return a message: mostly good or nearly good, sometimes anything at all."""
    what = choose.integer(0, 12)
    if what == 12:
        return frame(writers.refused_row, writers.body(choose, writers.refused_row))
    if what <= 3:
        return frame(writers.statement, encode(STATEMENT, copy.deepcopy(choose.pick(_good()))))
    if what == 11:
        return choose.pick((None, b"", b"\0", b"\0\0\0\0", b"{}", choose.raw(40)))
    schema_id = choose.pick(writers.ids)
    body = writers.body(choose, schema_id)
    if what >= 9:
        body = mutated(choose, body, writers.body(choose, writers.statement))
    if what == 10:
        body = choose.raw(1 << 16)
    return frame(schema_id, body)


def marker(department: str, schema_id: int) -> bytes:
    """Return a good marker."""
    value = {"department": department, "marker_id": "0" * 32, "as_of": datetime(2025, 11, 13, tzinfo=UTC)}
    return frame(schema_id, encode("xinliu.Marker", value))
