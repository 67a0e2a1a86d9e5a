"""Codec of Confluent's wire format and single records: 0x00, the schema id as 4 bytes big-endian, the Avro body."""

from __future__ import annotations

import io
import struct
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import fastavro
from fastavro.validation import ValidationError, validate

from schemas.contracts.avro import parsed
from schemas.errors import Rejected

__all__ = ["HEADER", "NotDecodable", "decode", "encode", "encode_own", "frame", "unframe", "varint"]

HEADER = 5
"""Bytes before the Avro body."""

_PREFIX = struct.Struct(">bI")


class NotDecodable(Rejected):
    """Bytes that are not the expected message; `code` is the code of the rule in `xinliu rules`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def encode(name: str, value: dict[str, Any]) -> bytes:
    """Return the Avro body of a record of our contracts.

    Raises Rejected if the value does not fit the schema: nothing is coerced, no unknown field is dropped. Times must
    have a zone and are cut to the millisecond.
    """
    schema = parsed(name)
    try:
        validate(value, schema, strict=False, raise_errors=True)
        out = io.BytesIO()
        _strict(schema, value, name)
        fastavro.schemaless_writer(out, schema, value, strict_allow_default=True)
    except ValidationError as error:
        # fastavro's own text quotes the value: names of persons must not reach a log.
        raise Rejected(f"this is no {name}: {'; '.join(map(_fault, error.errors))}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise Rejected(f"this is no {name}: {error}") from error
    return out.getvalue()


def encode_own(name: str, value: dict[str, Any]) -> bytes:
    """Return the Avro body of a record made by this code, without any check: a tenth of the work."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed(name), value)
    return out.getvalue()


def frame(schema_id: int, body: bytes) -> bytes:
    """Return the message: header and body."""
    return _PREFIX.pack(0, schema_id) + body


def unframe(value: bytes) -> tuple[int, bytes]:
    """Return schema id and body of a message. Raises NotDecodable (NOT_AVRO) if it has no header."""
    if len(value) < HEADER or value[0] != 0:
        raise NotDecodable(
            "NOT_AVRO", f"the message begins with {value[:HEADER].hex() or 'nothing'}, not with 00 and a schema id"
        )
    return _PREFIX.unpack_from(value)[1], value[HEADER:]


def decode(writer_schema: Any, body: bytes, reader_schema: Any = None) -> dict[str, Any]:
    """Return the record in a body, resolved to the reader's schema if there is one.

    Raises NotDecodable: DAMAGED if it cannot be read, TRAILING_BYTES if bytes are left over.
    """
    source = io.BytesIO(body)
    try:
        value = fastavro.schemaless_reader(source, writer_schema, reader_schema)
    except Exception as error:  # fastavro lets any error of its parsing escape, from EOF to Overflow
        raise NotDecodable("DAMAGED", f"{type(error).__name__}: {error}"[:200]) from error
    left = len(body) - source.tell()
    if left:
        raise NotDecodable("TRAILING_BYTES", f"{left} bytes follow the record")
    assert isinstance(value, dict)
    return value


def varint(number: int) -> bytes:
    """Return a length as Avro writes a non-negative long: zigzag, then 7 bits per byte, lowest first."""
    zigzag, out = number << 1, bytearray()
    while zigzag & ~0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def _fault(fault: Any) -> str:
    wanted = (
        fault.schema if isinstance(fault.schema, str | list) else fault.schema.get("logicalType", fault.schema["type"])
    )
    return f"{fault.field or 'the record'} must be {wanted}, not {type(fault.datum).__name__}"


def _strict(schema: Any, value: Any, path: str) -> None:
    """Reject values that fastavro would coerce: times of day in a date, times without a zone, decimals too long."""
    if isinstance(schema, list):
        if value is not None:
            for branch in schema:
                if branch != "null":
                    _strict(branch, value, path)
        return
    if not isinstance(schema, dict):
        return
    if schema["type"] == "record":
        for field in schema["fields"]:
            if field["name"] in value:
                _strict(field["type"], value[field["name"]], f"{path}.{field['name']}")
    elif schema["type"] == "array":
        for item in value:
            _strict(schema["items"], item, f"{path}[]")
    else:
        _strict_logical(schema, value, path)


def _strict_logical(schema: Any, value: Any, path: str) -> None:
    logical = schema.get("logicalType")
    if logical == "date" and type(value) is not date:
        raise ValueError(f"{path} must be a date, not {type(value).__name__}")
    if logical == "timestamp-millis" and (not isinstance(value, datetime) or value.tzinfo is None):
        raise ValueError(f"{path} must be a time that knows its zone, not {type(value).__name__}")
    if logical == "decimal":
        if not isinstance(value, Decimal) or not value.is_finite():
            raise ValueError(f"{path} must be a finite Decimal, not {type(value).__name__}")
        if abs(value.scaleb(schema["scale"])) >= 10 ** schema["precision"]:
            raise ValueError(f"{path} has more than {schema['precision']} digits with {schema['scale']} decimal places")
