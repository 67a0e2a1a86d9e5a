"""The contracts as this version of the code knows them: the Avro schemas in schemas/avro, by full name."""

from __future__ import annotations

import copy
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

__all__ = ["CONTRACTS", "fingerprint", "parsed", "source"]

_AVRO = Path(__file__).parent / "avro"

CONTRACTS = tuple(sorted(f"xinliu.{path.stem}" for path in _AVRO.glob("*.avsc")))
"""Full names of the records that topics carry; each is a subject of the registry (RecordNameStrategy)."""


@cache
def _text(name: str) -> str:
    return (_AVRO / f"{name.removeprefix('xinliu.')}.avsc").read_text(encoding="utf-8")


def source(name: str) -> Any:
    """Return the schema of a record as JSON, docs and all; a fresh copy."""
    return json.loads(_text(name))


@cache
def parsed(name: str) -> Any:
    """Return the schema of a record as fastavro has parsed it; shared, do not change it."""
    return fastavro.parse_schema(source(name))


def fingerprint(schema: Any) -> str:
    """Return the SHA-256, as hexadecimal digits, of a schema's parsing canonical form (Avro specification)."""
    canonical = to_parsing_canonical_form(copy.deepcopy(schema))
    return hashlib.sha256(canonical.encode()).hexdigest()
