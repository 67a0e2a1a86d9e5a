"""Single records: the wire format, strict encoding, and decoding that leaves nothing over."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contracts.avro import parsed
from schemas.contracts.codec import NotDecodable, decode, encode, frame, unframe
from schemas.errors import Rejected

MARKER: dict[str, Any] = {"department": "d", "marker_id": "m", "as_of": datetime(2025, 1, 2, tzinfo=UTC)}


def penalty_statement(**changes: Any) -> dict[str, Any]:
    """A statement of a penalty, with changes in its body."""
    texts = ("document_number", "violation_type", "facts", "basis", "categories", "content", "authority_name")
    body = dict.fromkeys((*texts, "source_unit", "source_unit_code"), "甲")
    days = {"decided_on": date(2025, 1, 2), "valid_until": date(2028, 1, 2)}
    keys = ("record_id", "kind", "status", "reason", "province", "domain", "department", "authority")
    subject = {"uscc": "2" * 18, "name": "丁", "kind": "法人"}
    times = {"version": 1, "stated_at": datetime(2025, 1, 3, tzinfo=UTC)}
    return dict.fromkeys(keys, "乙") | times | {"subject": subject, "penalty": body | days | changes}


@given(st.integers(0, 2**32 - 1), st.binary())
def test_a_frame_comes_apart_as_it_was_put_together(schema_id: int, body: bytes) -> None:
    assert unframe(frame(schema_id, body)) == (schema_id, body)


def test_the_header_is_confluents() -> None:
    assert frame(258, b"x") == b"\x00\x00\x00\x01\x02x"


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0", b"\x01\0\0\0\x01body", b'{"a": 1}'])
def test_what_has_no_header_is_refused(value: bytes) -> None:
    with pytest.raises(NotDecodable) as refused:
        unframe(value)
    assert refused.value.code == "NOT_AVRO"


def test_a_record_is_read_as_written() -> None:
    assert decode(parsed("xinliu.Marker"), encode("xinliu.Marker", MARKER)) == MARKER


@pytest.mark.parametrize(
    "changes",
    [
        {"department": 1},
        {"department": None},
        {"department": b"d"},
        {"as_of": "2025-01-02"},
        {"as_of": 1.5},
        {"as_of": datetime(2025, 1, 2)},
        {"unknown": "x"},
    ],
)
def test_nothing_is_coerced_or_dropped(changes: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        encode("xinliu.Marker", MARKER | changes)


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(Rejected):
        encode("xinliu.Marker", {"department": "d", "marker_id": "m"})


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(body: bytes) -> None:
    try:
        value = decode(parsed("xinliu.Progress"), body)
    except NotDecodable as refused:
        assert refused.code in ("DAMAGED", "TRAILING_BYTES")
    else:
        assert set(value) == {"written_at", "inputs"}


def test_what_is_left_over_is_refused() -> None:
    with pytest.raises(NotDecodable) as refused:
        decode(parsed("xinliu.Marker"), encode("xinliu.Marker", MARKER) + b"\0")
    assert refused.value.code == "TRAILING_BYTES"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fine", Decimal("0.0000001")),
        ("fine", Decimal(10) ** 12),
        ("fine", Decimal("NaN")),
        ("fine", 1.5),
        ("fine", b"\1"),
        ("decided_on", datetime(2025, 1, 2, tzinfo=UTC)),
        ("decided_on", "2025-01-02"),
        ("facts", "\ud800"),
    ],
)
def test_a_penalty_is_not_bent_to_fit(field: str, value: Any) -> None:
    with pytest.raises(Rejected):
        encode("xinliu.Statement", penalty_statement(**{field: value}))


def test_a_penalty_that_fits_is_read_as_written() -> None:
    told = penalty_statement(fine=Decimal("999999999999.999999"))
    read = decode(parsed("xinliu.Statement"), encode("xinliu.Statement", told))
    assert read["penalty"]["fine"] == Decimal("999999999999.999999")
    assert read["penalty"]["decided_on"] == date(2025, 1, 2)
