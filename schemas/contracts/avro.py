"""The contracts of this version of the code: the Avro schemas in schemas/avro, by full name.

The fingerprint identifies a schema: schema ids are local to a registry, and a writer there can give an id another
meaning. fingerprints.csv lists the fingerprints of every version that was ever shipped.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

__all__ = [
    "CONTRACTS",
    "SCHEMA",
    "SHIPPED",
    "Headers",
    "fingerprint",
    "named_by",
    "own_fingerprint",
    "parsed",
    "schema_header",
    "source",
]

Headers = Iterable[tuple[str, bytes | None]]

SCHEMA = "xinliu-schema"
"""Header of a message: the fingerprint of its writer's schema, as hexadecimal digits."""

_AVRO = Path(__file__).parents[1] / "avro"

CONTRACTS = tuple(sorted(f"xinliu.{path.stem}" for path in _AVRO.glob("*.avsc")))
"""Full names of the records that topics carry; each is a subject of the registry (RecordNameStrategy)."""

with (Path(__file__).parent / "fingerprints.csv").open(encoding="utf-8", newline="") as _file:
    SHIPPED = frozenset(row["fingerprint"] for row in csv.DictReader(_file))
"""Fingerprints of all contract versions that were ever shipped: a message without the header has one of them."""


@cache
def _text(name: str) -> str:
    return (_AVRO / f"{name.removeprefix('xinliu.')}.avsc").read_text(encoding="utf-8")


def source(name: str) -> Any:
    """Return the schema of a record as JSON, with its docs; a new copy."""
    return json.loads(_text(name))


@cache
def parsed(name: str) -> Any:
    """Return the schema of a record as fastavro parses it; shared, do not change it."""
    return fastavro.parse_schema(source(name))


def fingerprint(schema: Any) -> str:
    """Return the SHA-256, as hexadecimal digits, of a schema's parsing canonical form (Avro specification)."""
    canonical = to_parsing_canonical_form(copy.deepcopy(schema))
    return hashlib.sha256(canonical.encode()).hexdigest()


@cache
def own_fingerprint(name: str) -> str:
    """Return the fingerprint of a record of our contracts, in this version of the code."""
    return fingerprint(source(name))


def schema_header(name: str) -> tuple[str, bytes]:
    """Return the header SCHEMA for messages of this record, in this version of our contracts."""
    return SCHEMA, own_fingerprint(name).encode()


def named_by(headers: Headers | None) -> bytes | None:
    """Return the fingerprint that a message names, from its first header SCHEMA; None if an older writer names none."""
    for name, value in headers or ():
        if name == SCHEMA:
            return value
    return None
