"""The explanation of a difference: all events of a record in both generations, and the current rules' findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
from psycopg import sql as compose
from psycopg.rows import dict_row

from schemas.calendar.periods import china_day
from schemas.catalogue import Catalogue
from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import WriterSchema, writer_schema
from schemas.errors import UsageError
from schemas.records.identity import digest_hex
from schemas.rules import validate, validate_origin
from schemas.store.generations import Generation
from schemas.store.sql_files import sql
from streams.integrity.expected_rows import decoded
from streams.projection.fold import RANK

__all__ = ["Explained", "RecordEvent", "explained"]

Connection = psycopg.Connection[Any]

_KEPT_APART = {"row", "record_id", "version", "has_penalty", "has_listing", "has_registration"}


@dataclass(slots=True)
class RecordEvent:
    """One statement of a record in the generations."""

    epoch: int
    version: int
    digest: str
    status: str
    reason: str | None
    uscc: str
    known_at: datetime
    received_at: datetime | None
    partition: int
    offset: int
    """Its offset in `accepted`; -1: this province itself took the record out."""
    held_by: list[str] = field(default_factory=list)
    """Generations with the statement in history."""
    stands_in: list[str] = field(default_factory=list)
    """Generations in which it is the record's current statement."""
    refused_by: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Generations that did not fold it because the rules refused it then, with the findings."""
    rules: list[dict[str, Any]] | None = None
    """Findings by which the current rules refuse it; None: not validated (erased, another province's)."""
    let_through: bool = False
    """A person has let it through against the rules."""
    erased: bool = False
    fields: dict[str, list[Any]] = field(default_factory=dict)
    """Fields that differ from the statement before: name to both values."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A record of one department with its events, the lowest rank first."""

    record_id: UUID
    province: str
    department: str
    events: Sequence[RecordEvent]

    @property
    def differs(self) -> bool:
        """Whether the record differs between the generations."""
        return any(len(event.stands_in) == 1 for event in self.events)


def explained(
    connection: Connection, old: Generation, new: Generation, record: str, catalogue: Catalogue, *, own: str
) -> list[Explained]:
    """Return a record's events in both generations. Raises UsageError if it is no id, or unknown to both."""
    try:
        record_id = UUID(record)
    except ValueError:
        raise UsageError(f"{record!r} is no id of a record: 32 hexadecimal digits, as `diff` has them") from None
    known: dict[tuple[str, str], dict[tuple[int, ...], RecordEvent]] = {}
    spoken: dict[tuple[str, str], dict[tuple[int, ...], dict[str, Any]]] = {}
    for generation in (old, new):
        writers = _writers(connection, generation.schema)
        rows = _ask(connection, "history", generation.schema, {"record": record_id})
        said = _decoded(rows, writers)
        for place, row in enumerate(rows):
            key, rank = (row["province"], row["department"]), tuple(row[name] for name in RANK)
            event = known.setdefault(key, {}).setdefault(rank, _event(row))
            event.held_by.append(generation.schema)
            event.erased = event.erased or row["statement"] is None
            if row["stands"]:
                event.stands_in.append(generation.schema)
            if place in said:
                spoken.setdefault(key, {})[rank] = said[place]
    if not known:
        raise UsageError(f"neither {old.schema} nor {new.schema} has ever held {record_id.hex}")
    _refusals(connection, (old, new), record_id, known)
    found = []
    for (province, department), events in sorted(known.items()):
        told = spoken.get((province, department), {})
        _fields(events, told)
        if province == own:
            _judge(events, told, catalogue, own, department)
        found.append(Explained(record_id, province, department, [event for _, event in sorted(events.items())]))
    return found


def _ask(connection: Connection, name: str, schema: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = compose.SQL(sql(f"replay/diff/{name}")).format(schema=compose.Identifier(schema))
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(text, values).fetchall()


def _writers(connection: Connection, schema: str) -> dict[int, WriterSchema]:
    text = compose.SQL("SELECT writer, schema::text FROM {}.writer_schema").format(compose.Identifier(schema))
    found = {}
    for number, written in connection.execute(text):
        try:
            found[int(number)] = writer_schema(number, written)
        except NotDecodable:
            continue  # statements of this writer schema are shown without content
    return found


def _decoded(rows: Sequence[Mapping[str, Any]], writers: Mapping[int, WriterSchema]) -> dict[int, dict[str, Any]]:
    whole = [(place, row["writer"], row["statement"]) for place, row in enumerate(rows) if row["statement"] is not None]
    schema = {"row": pl.UInt32(), "writer": pl.Int16(), "statement": pl.Binary()}
    frame = decoded(pl.DataFrame(whole, schema=schema, orient="row"), writers)
    return {row["row"]: row for row in frame.rows(named=True)}


def _event(row: Mapping[str, Any]) -> RecordEvent:
    return RecordEvent(
        row["epoch"], row["version"], digest_hex(row["digest_hi"], row["digest_lo"]), row["status"], row["reason"], row["uscc"],
        row["known_at"], row["received_at"], row["accepted_partition"], row["accepted_offset"],
    )  # fmt: skip


def _fields(events: Mapping[tuple[int, ...], RecordEvent], told: Mapping[tuple[int, ...], Mapping[str, Any]]) -> None:
    before: Mapping[str, Any] = {}
    for rank, event in sorted(events.items()):
        says = told.get(rank)
        if says is None:
            continue
        event.fields = {
            name: [before.get(name), value]
            for name, value in says.items()
            if name not in _KEPT_APART and value != before.get(name)
        }
        before = says


def _judge(
    events: Mapping[tuple[int, ...], RecordEvent],
    told: Mapping[tuple[int, ...], Mapping[str, Any]],
    catalogue: Catalogue,
    own: str,
    department: str,
) -> None:
    who = next((one for one in catalogue.departments(own) if one.key == department), None)
    for rank, says in told.items():
        event = events[rank]
        at = event.received_at or event.known_at
        frame = _frame(says)
        # As of its own receipt: no rule that depends on the clock refuses the past.
        found = [validate(frame, catalogue, today=china_day(at), now=at)]
        if who is not None:
            found.append(validate_origin(frame, who))
        refusing = pl.concat(found).filter(pl.col("severity") == "refuse")
        event.rules = refusing.select("code", "field", "message_zh").rename({"message_zh": "message"}).to_dicts()


def _frame(says: Mapping[str, Any]) -> pl.DataFrame:
    from schemas.contracts.columns import FLAT

    return pl.DataFrame([{**says, "row": 0}], schema=FLAT, orient="row")


def _refusals(
    connection: Connection,
    both: Sequence[Generation],
    record_id: UUID,
    known: Mapping[tuple[str, str], Mapping[tuple[int, ...], RecordEvent]],
) -> None:
    values = {"record": record_id, "hex": record_id.hex}
    for generation in both:
        for row in _ask(connection, "refused_of", generation.schema, values):
            for (_, department), events in known.items():
                if department == row["department"]:
                    event = events.get((0, row["version"], row["digest_hi"], row["digest_lo"]))
                    if event is not None:
                        event.refused_by[generation.schema] = row["findings"]
        for row in _ask(connection, "let_through", generation.schema, values):
            for (_, department), events in known.items():
                for event in events.values():
                    if department == row["department"] and event.version == row["version"]:
                        event.let_through = True
