"""Safety check of a writer's schema, before any body is read with it.

A schema can be as hostile as a body: read row by row, a recursive one drives a message of 20 kB into a recursion that
ends the process (measured with fastavro 1.13), and an array whose items take no bytes can have 2^62 of them.
"""

from __future__ import annotations

import json
from functools import lru_cache

from schemas.contracts.avro import source
from schemas.contracts.evolution import house_rules, unreadable

__all__ = ["unfit"]


@lru_cache(maxsize=256)
def unfit(name: str, schema: str) -> str:
    """Return why a reader of our contract `name` must not read bodies of this schema (JSON text); empty if it may."""
    try:
        written = json.loads(schema)
        found = house_rules(written) or unreadable(source(name), written)
    except Exception as error:  # noqa: BLE001  # a hostile schema may contain anything
        return f"its schema cannot be understood: {type(error).__name__}"
    return f"{found[0].path}: {found[0].message}" if found else ""
