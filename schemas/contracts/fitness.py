"""May what was written with this schema be read at all? Asked of a writer's schema before any body is touched.

A schema is as hostile as a body can be: read row by row, one that names itself takes a message of 20 kB down a recursion
that ends the process (measured with fastavro 1.13), and an array whose items take no bytes can have 2^62 of them.
"""

from __future__ import annotations

import json
from functools import lru_cache

from schemas.contracts.avro import source
from schemas.contracts.evolution import house_rules, unreadable

__all__ = ["unfit"]


@lru_cache(maxsize=256)
def unfit(name: str, schema: str) -> str:
    """Return why a reader of our contract `name` must not read bodies of this schema (JSON text); empty where it may."""
    try:
        written = json.loads(schema)
        found = house_rules(written) or unreadable(source(name), written)
    except Exception as error:  # noqa: BLE001  # whoever registered it may have put anything anywhere
        return f"its schema cannot be understood: {type(error).__name__}"
    return f"{found[0].path}: {found[0].message}" if found else ""
