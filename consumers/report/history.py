"""An entity's records as they stood at an earlier moment, folded again from history."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro
import psycopg

from consumers.report.periods import Timed
from consumers.report.token import Moment
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.exchange.topics import WITHDRAWN
from schemas.records.registration import KIND

__all__ = ["PastRecords", "records_at"]

Row = dict[str, Any]

_QUERY = """
SELECT h.*
FROM report.history h
WHERE h.record_id IN (SELECT record_id FROM report.record_entity WHERE uscc = %(uscc)s)
  AND h.accepted_offset < (%(positions)s::bigint[])[h.accepted_partition + 1]
  AND (%(until)s::timestamptz IS NULL OR h.known_at <= %(until)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRecords:
    """Records of that moment, in the shape of the views of `report`, with their periods.

    Name and kind are those of the record that was stated last; our own records come before those of other provinces.
    """

    name: str | None
    kind: str | None
    penalties: tuple[Row, ...]
    listings: tuple[Row, ...]
    registrations: tuple[Row, ...]
    erased: int


def records_at(
    connection: psycopg.Connection[Row], uscc: str, moment: Moment, timed: Timed, *, of: str | None = None
) -> PastRecords:
    """Fold history up to the moment: each record of this entity at its highest rank.

    Penalties, list entries and the count of erased ones are those of the province `of`, if one is named; registrations,
    name and kind are of all provinces.
    """
    rows = connection.execute(
        _QUERY,
        {"uscc": uscc, "positions": list(moment.positions["accepted"]), "until": moment.known_until},
    ).fetchall()
    about = [row for row in _highest(rows) if row["uscc"] == uscc]
    told = [(row, _statement(row)) for row in about if row["statement"] is not None]
    readable = [(row, said) for row, said in told if row["status"] == "IN_FORCE"]
    naming = [
        (row, said)
        for row, said in told
        if row["status"] == "IN_FORCE" or (said["kind"] != KIND and row["status"] != WITHDRAWN)
    ]
    own = connection.execute("SELECT province FROM report.installation").fetchone() if naming else None
    newest = max(
        naming,
        key=lambda pair: (
            own is not None
            and pair[0]["province"] == own["province"],  # before another province's, as the view `entity`
            pair[1]["stated_at"],
            pair[0]["digest_hi"],
            pair[0]["digest_lo"],
        ),
        default=None,
    )
    counted = [(row, said) for row, said in readable if of in (None, row["province"])]
    held = [row for row in about if row["status"] == "IN_FORCE" and of in (None, row["province"])]
    penalties = timed.penalties(_penalty(row, said) for row, said in counted if said["penalty"])
    listings = timed.listings(_listing(row, said) for row, said in counted if said["listing"])
    return PastRecords(
        name=newest[1]["subject"]["name"] if newest else None,
        kind=newest[1]["subject"]["kind"] if newest else None,
        penalties=tuple(sorted(penalties, key=lambda row: (-row["decided_on"].toordinal(), str(row["record_id"])))),
        listings=tuple(sorted(listings, key=lambda row: (-row["listed_on"].toordinal(), str(row["record_id"])))),
        registrations=tuple(_registration(row, said) for row, said in readable if said["registration"]),
        erased=len(held) - len(counted),
    )


def _highest(rows: Iterable[Row]) -> Iterable[Row]:
    best: dict[Any, Row] = {}
    for row in rows:
        record = row["record_id"], row["province"], row["department"]
        held = best.get(record)
        if held is None or _rank(row) > _rank(held):
            best[record] = row
    return best.values()


def _rank(row: Row) -> tuple[int, int, int, int]:
    return row["epoch"], row["version"], row["digest_hi"], row["digest_lo"]


@cache
def _writer(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def _statement(row: Row) -> Row:
    return decode(
        _writer(json.dumps(row["schema"], sort_keys=True)), bytes(row["statement"]), parsed("xinliu.Statement")
    )


def _envelope(row: Row, said: Row) -> Row:
    return {
        "record_id": row["record_id"],
        "uscc": row["uscc"],
        "subject_name": said["subject"]["name"],
        "province": said["province"],
        "domain": said["domain"],
        "department": said["department"],
        "authority": said["authority"],
        "version": row["version"],
        "stated_at": said["stated_at"],
        "known_at": row["known_at"],
        "disputed_since": said["disputed_since"],
    }


_PENALTY = (
    "document_number", "violation_type", "facts", "basis", "categories", "content", "fine", "confiscated", "licence",
    "decided_on", "valid_until", "publish_until", "authority_name", "source_unit", "remark",
    "level",
)  # fmt: skip
_LISTING = (
    "list", "entry_id", "grounds", "basis", "authority_name", "listed_on", "valid_until", "removed_on", "removal_reason",
    "remark",
)  # fmt: skip

_REGISTRATION = ("entity_kind", "since", "until", "name_since", "former_names", "authority_name", "remark")


def _penalty(row: Row, said: Row) -> Row:
    return _envelope(row, said) | {name: said["penalty"][name] for name in _PENALTY}


def _listing(row: Row, said: Row) -> Row:
    return _envelope(row, said) | {name: said["listing"][name] for name in _LISTING}


def _registration(row: Row, said: Row) -> Row:
    subject = {"name": said["subject"]["name"], "subject_kind": said["subject"]["kind"]}
    rank = {name: row[name] for name in ("digest_hi", "digest_lo")}
    return _envelope(row, said) | subject | rank | {name: said["registration"][name] for name in _REGISTRATION}
