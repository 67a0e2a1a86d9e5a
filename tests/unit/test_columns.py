"""Batches as columns: the same as fastavro row by row, and damage never reaches a neighbour."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import decode, encode, frame, unframe
from schemas.contracts.columns import decode_batch, decode_statements, digests
from schemas.contracts.flat_frame import FLAT, STATEMENT_SHAPE, physical
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.contracts.registry import WriterSchema
from schemas.records.identity import digest
from tests.examples import examples

STATEMENT = "xinliu.Statement"


def _writer(name: str, schema_id: int) -> WriterSchema:
    return WriterSchema(schema_id, name, fingerprint(source(name)), source(name), parsed(name))


WRITER = _writer(STATEMENT, 1)
PLAIN = fastavro.parse_schema(physical(source(STATEMENT)))


def _registry() -> tuple[MemoryRegistry, dict[str, int]]:
    """A registry with four contracts, and Statement once more under another id: the same but for a new field."""
    registry = MemoryRegistry()
    ids = {name: registry.register(name) for name in (STATEMENT, "xinliu.Marker", "xinliu.Receipt")}
    wider = source(STATEMENT)
    wider["fields"].insert(0, {"name": "channel", "type": "string", "default": "FILE"})
    ids["wider"] = registry.add(wider)
    return registry, ids


def _values(avro: Any) -> st.SearchStrategy[Any]:
    if isinstance(avro, list):
        return st.none() | _values(avro[1])
    if isinstance(avro, dict) and avro["type"] == "record":
        return st.fixed_dictionaries({field["name"]: _values(field["type"]) for field in avro["fields"]})
    logical = avro.get("logicalType") if isinstance(avro, dict) else None
    if logical == "decimal":
        return st.integers(-(10**18) + 1, 10**18 - 1).map(lambda unscaled: Decimal(unscaled).scaleb(-6))
    if logical == "date":
        return st.dates()
    if logical == "timestamp-millis":
        times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
        return times.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
    return {"string": st.text(max_size=80), "long": st.integers(-(2**63), 2**63 - 1)}[avro]


STATEMENTS = _values(source(STATEMENT))


def _flat(row: int, value: dict[str, Any]) -> dict[str, Any]:
    """What FLAT must hold, made field by field from what fastavro reads."""
    subject = {"uscc": "uscc", "subject_name": "name", "subject_kind": "kind"}
    flat: dict[str, Any] = {"row": row}
    for name in FLAT.names():
        outer, _, inner = name.partition("_")
        if name in subject:
            flat[name] = value["subject"][subject[name]]
        elif outer == "has":
            flat[name] = value[inner] is not None
        elif outer in ("penalty", "listing", "registration"):
            flat[name] = value[outer][inner] if value[outer] else None
        elif name != "row":
            flat[name] = value[name]
    return flat


def _statement(**changes: Any) -> dict[str, Any]:
    """A statement in physical values; `changes` reach into the envelope or the penalty."""
    texts = ("document_number", "violation_type", "facts", "basis", "categories", "content", "authority_name")
    penalty: dict[str, Any] = dict.fromkeys((*texts, "source_unit", "source_unit_code"), "京市监罚〔2025〕1号")
    penalty |= {"decided_on": 20089, "valid_until": 21000, "fine": b"\x01"}
    value: dict[str, Any] = dict.fromkeys(("kind", "status", "reason", "province", "domain", "department"), "丙")
    value |= {"record_id": "0" * 32, "version": 1, "authority": "甲", "stated_at": 0, "penalty": penalty}
    value["subject"] = {"uscc": "2" * 18, "name": "丁", "kind": "法人"}
    for name, change in changes.items():
        (value if name in value else penalty)[name] = change
    return value


def _body(**changes: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PLAIN, _statement(**changes))
    return out.getvalue()


GOOD = _body()
AT_PENALTY = GOOD.index(b"\x02\x00\x00\x00\x00\x00\x00")  # its union index, then six null fields


def _varint(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


def _with_index(index: int) -> bytes:
    return GOOD[:AT_PENALTY] + bytes([index]) + GOOD[AT_PENALTY + 1 :]


def _with_length(length: int) -> bytes:
    return _varint(length) + GOOD[1:]


@examples(60)
@given(st.lists(STATEMENTS, max_size=6))
def test_columns_are_what_fastavro_reads_row_by_row(values: list[dict[str, Any]]) -> None:
    bodies = [encode(STATEMENT, value) for value in values]
    decoded = decode_statements(WRITER, bodies, range(len(bodies)))
    assert decoded.undecodable == ()
    assert decoded.frame.schema == FLAT
    expected = [_flat(row, decode(parsed(STATEMENT), body)) for row, body in enumerate(bodies)]
    assert decoded.frame.to_dicts() == expected


@examples(80)
@given(st.data())
def test_corruption_harms_no_neighbour(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 80))
    bodies = [_body(version=row) for row in range(count)]
    hit = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=4))
    for row in hit:
        cut = data.draw(st.integers(0, len(bodies[row])))
        noise = data.draw(st.binary(max_size=12))
        kept = data.draw(st.integers(cut, len(bodies[row])))
        bodies[row] = bodies[row][:cut] + noise + bodies[row][kept:]
    decoded = decode_statements(WRITER, bodies, range(count))
    lost = {undecodable.row for undecodable in decoded.undecodable}
    assert lost <= hit
    assert lost.isdisjoint(decoded.frame["row"])
    assert lost | set(decoded.frame["row"]) == set(range(count))
    whole = decoded.frame.filter(~pl.col("row").is_in(list(hit)))
    assert whole["version"].to_list() == whole["row"].to_list()
    for row in hit - lost:  # still a statement, then: the one that every reader reads
        physically = decode(PLAIN, bodies[row])
        assert physically["version"] == decoded.frame.filter(row=row)["version"].item()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "DAMAGED", id="empty body"),
        pytest.param(GOOD[:-1], "DAMAGED", id="cut off"),
        pytest.param(GOOD + b"\0", "TRAILING_BYTES", id="one byte more"),
        pytest.param(GOOD + GOOD, "TRAILING_BYTES", id="two in one"),
        pytest.param(GOOD.replace("丁".encode(), b"\xe4\xb8\xff"), "DAMAGED", id="not UTF-8"),
        pytest.param(_with_index(1), "DAMAGED", id="union index -1"),
        pytest.param(_with_index(3), "DAMAGED", id="union index -2"),
        pytest.param(_with_index(4), "DAMAGED", id="union index 2"),
        pytest.param(GOOD[:AT_PENALTY] + b"\x82\0" + GOOD[AT_PENALTY + 1 :], "DAMAGED", id="overlong union index"),
        pytest.param(_with_length(-5), "DAMAGED", id="negative length"),
        pytest.param(_with_length(2**38), "DAMAGED", id="length of 256 GiB"),
        pytest.param(_with_length(2**63 - 1), "DAMAGED", id="largest length"),
        pytest.param(b"\xff" * 11 + GOOD[1:], "DAMAGED", id="number of 11 bytes"),
        pytest.param(b"\xff" * 300, "DAMAGED", id="number without end"),
        pytest.param(_body(fine=(10**18).to_bytes(8, "big")), "DECIMAL_OVERFLOW", id="19 digits in 8 bytes"),
        pytest.param(_body(fine=(-(10**18)).to_bytes(8, "big", signed=True)), "DECIMAL_OVERFLOW", id="-19 digits"),
        pytest.param(_body(fine=b"\x01" + b"\0" * 8), "DECIMAL_OVERFLOW", id="decimal of 9 bytes"),
        pytest.param(_body(fine=b"\x01" + b"\0" * 16), "DECIMAL_OVERFLOW", id="decimal of 17 bytes"),
        pytest.param(_body(decided_on=2_932_897), "DATE_RANGE", id="year 10000"),
        pytest.param(_body(decided_on=-719_163), "DATE_RANGE", id="year 0"),
        pytest.param(_body(decided_on=-(2**31)), "DATE_RANGE", id="first day of 32 bits"),
        pytest.param(GOOD.replace(_varint(20089), _varint(2**33 + 5)), "DATE_RANGE", id="day of 34 bits"),
        pytest.param(_body(stated_at=2**63 - 1), "DATE_RANGE", id="last millisecond"),
        pytest.param(_body(stated_at=-(2**63)), "DATE_RANGE", id="first millisecond"),
    ],
)
@pytest.mark.parametrize("count", [3, 200])
def test_damage_is_named_and_stays_alone(body: bytes, code: str, count: int) -> None:
    bodies = [_body(version=row) for row in range(count)]
    bodies[1] = body
    decoded = decode_statements(WRITER, bodies, range(10, 10 + count))
    assert [(u.row, u.code) for u in decoded.undecodable] == [(11, code)]
    assert decoded.frame["row"].to_list() == [10, *range(12, 10 + count)]
    assert decoded.frame["version"].to_list() == [0, *range(2, count)]


@pytest.mark.parametrize(
    ("body", "column", "value"),
    [
        (_body(facts="a\0b"), "penalty_facts", "a\0b"),
        (_body(decided_on=2_932_896), "penalty_decided_on", date(9999, 12, 31)),
        (_body(decided_on=-719_162), "penalty_decided_on", date(1, 1, 1)),
        (_body(fine=(10**18 - 1).to_bytes(8, "big")), "penalty_fine", Decimal("999999999999.999999")),
        (_body(fine=b"\0" * 20 + b"\x05"), "penalty_fine", Decimal("0.000005")),
        (_body(fine=b"\xff"), "penalty_fine", Decimal("-0.000001")),
    ],
)
def test_what_is_odd_but_whole_is_read(body: bytes, column: str, value: Any) -> None:
    decoded = decode_statements(WRITER, [GOOD, body], [0, 1])
    assert decoded.undecodable == ()
    assert decoded.frame[column][1] == value


def test_two_truncated_bodies_in_a_row_are_both_named() -> None:
    decoded = decode_statements(WRITER, [GOOD, GOOD[:-7], GOOD[5:], GOOD], range(4))
    assert [u.row for u in decoded.undecodable] == [1, 2]
    assert decoded.frame["row"].to_list() == [0, 3]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_stops_the_process_is_heard(monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]) -> None:
    def stopped(_: io.BytesIO) -> pl.DataFrame:
        raise stop

    monkeypatch.setattr(pl, "read_avro", stopped)
    with pytest.raises(stop):
        decode_statements(WRITER, [GOOD], [0])


def _shifted(read: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    return lambda block: read(block).with_columns(pl.col("guard").reverse() + b"x")


def test_nothing_is_taken_whose_guard_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl, "read_avro", _shifted(pl.read_avro))
    decoded = decode_statements(WRITER, [GOOD, GOOD], [0, 1])
    assert decoded.frame.is_empty()
    assert [u.row for u in decoded.undecodable] == [0, 1]


def test_a_mixed_batch_is_taken_apart() -> None:
    registry, ids = _registry()
    plain, wider, told = ids[STATEMENT], ids["wider"], ids["xinliu.Marker"]
    marker = encode("xinliu.Marker", {"department": "d", "marker_id": "m", "as_of": datetime(2025, 1, 1, tzinfo=UTC)})
    values = [
        frame(wider, b"\x06API" + GOOD), None, frame(plain, GOOD), frame(told, marker), b"{}", b"", frame(9, GOOD),
        frame(ids["xinliu.Receipt"], b""), frame(plain, GOOD + b"x"), frame(plain, _body(facts="长" * 400)),
        frame(told, marker[:-3]), frame(wider, b"\x06API" + GOOD), frame(wider, GOOD),
    ]  # fmt: skip
    batch = decode_batch(
        registry, values, named=[None] * len(values), expected={STATEMENT, "xinliu.Marker"}, max_bytes=1000
    )
    assert batch.statements["row"].to_list() == [0, 2, 11]
    assert batch.statements.schema == STATEMENT_SHAPE.schema
    assert batch.statements.drop("row").unique().height == 1
    assert [(row, name, value["marker_id"]) for row, name, value in batch.others] == [(3, "xinliu.Marker", "m")]
    assert {u.row: u.code for u in batch.undecodable} == {
        1: "EMPTY_VALUE", 4: "NOT_AVRO", 5: "EMPTY_VALUE", 6: "UNKNOWN_SCHEMA", 7: "UNEXPECTED_RECORD",
        8: "TRAILING_BYTES", 9: "TOO_LARGE", 10: "DAMAGED", 12: "DAMAGED",
    }  # fmt: skip


@examples(60)
@given(st.lists(st.binary(max_size=40) | st.sampled_from((GOOD, GOOD[:-9], GOOD[9:])), max_size=70), st.data())
def test_any_batch_of_any_bytes_is_answered_row_by_row(bodies: list[bytes], data: st.DataObject) -> None:
    registry, ids = _registry()
    known = st.sampled_from((*ids.values(), 77))
    values = [frame(data.draw(known), body) if data.draw(st.booleans()) else body for body in bodies]
    batch = decode_batch(registry, values, named=[None] * len(values), expected={STATEMENT})
    answered = sorted([*batch.statements["row"], *(u.row for u in batch.undecodable)])
    assert answered == list(range(len(values)))
    for row in batch.statements["row"]:
        schema_id, body = unframe(values[row])
        assert decode_statements(registry.writer(schema_id), [body], [row]).frame.equals(
            batch.statements.filter(row=row)
        )


def test_a_value_of_two_megabytes_is_read_and_one_of_them_cut_is_named() -> None:
    long = "长" * 700_000
    body = _body(facts=long)
    decoded = decode_statements(WRITER, [GOOD, body, body[: 1 << 20], GOOD], range(4))
    assert [(u.row, u.code) for u in decoded.undecodable] == [(2, "DAMAGED")]
    assert decoded.frame["row"].to_list() == [0, 1, 3]
    assert decoded.frame["penalty_facts"][1] == long


@examples(60)
@given(st.data())
def test_swapped_ends_of_two_neighbours_stay_theirs(data: st.DataObject) -> None:
    count = data.draw(st.integers(4, 60))
    bodies = [_body(version=row, facts="事" * (row % 7)) for row in range(count)]
    first = data.draw(st.integers(0, count - 2))
    cut = data.draw(st.integers(0, min(len(bodies[first]), len(bodies[first + 1]))))
    bodies[first : first + 2] = (
        bodies[first][:cut] + bodies[first + 1][cut:],
        bodies[first + 1][:cut] + bodies[first][cut:],
    )
    decoded = decode_statements(WRITER, bodies, range(count))
    others = decoded.frame.filter(~pl.col("row").is_in([first, first + 1]))
    assert others["version"].to_list() == [row for row in range(count) if row not in (first, first + 1)]
    assert {u.row for u in decoded.undecodable} <= {first, first + 1}


@examples(80)
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, len(GOOD) * 8 - 1)), min_size=1, max_size=5))
def test_flipped_bits_are_read_as_fastavro_reads_them_or_named(flips: list[tuple[int, int]]) -> None:
    bodies = [bytearray(GOOD) for _ in range(40)]
    for row, bit in flips:
        bodies[row][bit // 8] ^= 1 << bit % 8
    whole = [bytes(body) for body in bodies]
    decoded = decode_statements(WRITER, whole, range(40))
    assert {u.row for u in decoded.undecodable} <= {row for row, _ in flips}
    for flat in decoded.frame.to_dicts():
        assert flat == _flat(flat["row"], decode(parsed(STATEMENT), whole[flat["row"]]))


def test_digests_are_those_of_single_bodies() -> None:
    high, low = digests([GOOD, b"", b"x"])
    assert list(zip(high, low, strict=True)) == [digest(body) for body in (GOOD, b"", b"x")]
    assert [half.dtype for half in (high, low)] == [pl.Int64()] * 2


def test_numpy_is_there_before_two_threads_can_ask_polars_for_it() -> None:
    """polars' stand-in for numpy breaks if two threads use it first at the same moment, and so would stop a worker."""
    script = """
import polars, sys
from polars import _dependencies
assert "ndarray" not in _dependencies.numpy.__dict__, "polars was imported first"
import schemas.contracts.columns
sys.exit("ndarray" not in _dependencies.numpy.__dict__)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
