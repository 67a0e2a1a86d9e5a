"""Events for the benchmarks: many different statements of one department, some repeated, some with a new version."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import fastavro

from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import frame
from schemas.identifiers.uscc import generate

__all__ = ["DEPARTMENT", "Event", "events", "statement"]

DEPARTMENT = "tax"
ENTITIES = 50_000
"""Number of entities of the records."""

_AGAIN = 20
"""Every 20th event repeats an earlier one, every other 20th is a new version of one: 10 % in all."""
_BEFORE = 7
"""Distance in events to the earlier one."""


_AUTHORITIES = load().department("beijing", DEPARTMENT).authorities
_code = lru_cache(maxsize=None)(generate)


@dataclass(frozen=True, slots=True)
class Event:
    """One message: its key (the USCC), and its value with header."""

    key: bytes
    value: bytes


def statement(number: int, *, version: int = 0) -> dict[str, Any]:
    """Return one of many different statements: every fourth a list entry, the others penalties."""
    authority, authority_name = _AUTHORITIES[number % len(_AUTHORITIES)]
    shared: dict[str, Any] = {
        # As scattered as real ones: an index that only grows at its end would flatter all contenders.
        "record_id": hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest(),
        "version": 1_700_000_000_000 + version,
        "status": "IN_FORCE",
        "reason": "CORRECTED" if version else "PUBLISHED",
        "subject": {
            "uscc": _code(number % ENTITIES),
            "name": f"北京第{number % ENTITIES}商贸有限公司",
            "kind": "法人及非法人组织",
        },
        "province": "beijing",
        "domain": "tax",
        "department": DEPARTMENT,
        "authority": authority,
        "stated_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number % 86_400 + version),
    }
    day = date(2025, 1, 1) + timedelta(days=number % 365)
    if number % 4 == 0:
        listing = {
            "list": "TAX",
            "entry_id": f"L{number}",
            "grounds": f"逃避追缴欠税, 案卷第{number}号",
            "basis": "《重大税收违法失信主体信息公布管理办法》第六条",
            "authority_name": authority_name,
            "listed_on": day,
        }
        return shared | {"kind": "LISTING", "listing": listing}
    penalty = {
        "document_number": f"京税罚〔2025〕{number}号",
        "violation_type": "未按规定期限办理纳税申报",
        "facts": f"当事人未在规定期限内申报当期税款, 案卷第{number}号, 经责令限期改正后仍未改正",
        "basis": "《中华人民共和国税收征收管理法》第六十二条",
        "categories": "罚款",
        "content": "处以罚款",
        "fine": Decimal(number % 900 + 1 + version).scaleb(-2),
        "decided_on": day,
        "valid_until": day + timedelta(days=1096),
        "authority_name": authority_name,
        "source_unit": authority_name,
        "source_unit_code": authority,
    }
    return shared | {"kind": "PENALTY", "penalty": penalty}


def events(schema_id: int, count: int, *, first: int = 0) -> Iterator[Event]:
    """Yield `count` events; the same arguments give the same events. `first` counts records, for several portions."""
    schema = parsed("xinliu.Statement")
    out = io.BytesIO()
    for place in range(first, first + count):
        number, version = place, 0
        if place % _AGAIN == _AGAIN // 2:
            number = place - _BEFORE
        elif place % _AGAIN == _AGAIN - 1:
            number, version = place - _BEFORE, 1
        value = statement(number, version=version)
        out.seek(0)
        out.truncate()
        fastavro.schemaless_writer(out, schema, value)
        yield Event(value["subject"]["uscc"].encode(), frame(schema_id, out.getvalue()))
