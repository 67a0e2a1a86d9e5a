"""Re-push: shared records published again, marked as mending, for provinces whose set differs or that lost records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from schemas.store.sql_files import sql
from streams.exchange.outgoing.sharing import PORTION

__all__ = ["RepushChoice", "repush"]

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class RepushChoice:
    """Filter of the records that have been shared: a field that is None does not filter, and all others must match."""

    keys: Sequence[tuple[str, str]] | None = None
    """record_id (hexadecimal) and department."""
    domain: str | None = None
    uscc: str | None = None
    partition: int | None = None
    scope: Mapping[str, Any] | None = None
    """A scope in the form of a replay's SQL (streams/replay/plan/planner.py), with `own`, the province."""


def repush(connection: Connection, chosen: RepushChoice, *, dry_run: bool = False) -> int:
    """Queue these records for the other provinces again, within the caller's transaction; return how many there are.

    Each is published as it stands: a shared one with its last statement, a withdrawn one as withdrawn, in its epoch.
    Keys of records that were never shared match nothing. The connection's search_path names the serving generation.
    """
    keys = chosen.keys
    names = {
        "record_ids": None if keys is None else [record_id for record_id, _ in keys],
        "departments": None if keys is None else [department for _, department in keys],
        "domain": chosen.domain,
        "uscc": chosen.uscc,
        "partition": chosen.partition,
        "portion": PORTION,
        "dry_run": dry_run,
    }
    if chosen.scope is not None:
        row = connection.execute(sql("exchange/outgoing/repush_scope"), {**names, **chosen.scope}).fetchone()
    else:
        row = connection.execute(sql("exchange/outgoing/repush"), names).fetchone()
    assert row is not None
    return int(row[0])
