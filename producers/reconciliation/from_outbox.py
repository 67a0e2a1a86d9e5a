"""Stated records from a department's outbox: the statements that the broker has confirmed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from sqlalchemy import Engine, MetaData, select

from producers.outbox.database import answering, database_url, open_engine
from producers.outbox.tables import REFUSAL, RowState, Tables
from producers.reconciliation.from_files import COLUMNS
from schemas.contracts.columns import decode_statements, digests
from schemas.contracts.registry import WriterSchema
from schemas.errors import UsageError
from schemas.reconciliation.manifest import newest
from schemas.records.refused_row import RowRefusal

__all__ = ["StatementsInOutbox", "from_outbox"]

_ROWS = Tables(MetaData()).rows
_AT_ONCE = 10_000


class StatementsInOutbox:
    """The confirmed statements of a department's outbox, as far back as it keeps them; bodies stay in the database."""

    refused = 0
    """The outbox accepts no statement that the rules refuse."""
    refusals: Sequence[RowRefusal] = ()
    """The relay publishes the refusals."""

    def __init__(self, engine: Engine, records: pl.DataFrame, ids: array[int]) -> None:
        self.records = records
        self._engine, self._ids = engine, ids

    def statement(self, place: int) -> bytes:
        """Return the Avro body of the row at that place."""
        with answering(), self._engine.connect() as connection:
            return bytes(connection.execute(select(_ROWS.c.body).where(_ROWS.c.id == self._ids[place])).scalar_one())

    def where(self, place: int) -> str:
        """Return the row's id."""
        return f"outbox:{self._ids[place]}"


def from_outbox(url: str, department: str, writers: Mapping[str, WriterSchema]) -> StatementsInOutbox:
    """Read an outbox by its database's address; `writers` are the versions of the contract Statement by fingerprint.

    Raises UsageError if the address is invalid or the table is missing, Retryable if the database does not answer.
    """
    engine = open_engine(database_url(url))
    frames, ids = [COLUMNS.to_frame()], array("q")
    with answering():
        for writer_schema, rows in _portions(engine, department):
            if writer_schema not in writers:
                raise UsageError(
                    f"outbox:{rows[0].id} was written with a version of the contract that is not known here (fingerprint"
                    f" {writer_schema[:12]}…): with --publish the registry is asked, otherwise use the code that wrote it"
                )
            frames.append(_decoded(writers[writer_schema], rows, ids))
    return StatementsInOutbox(engine, newest(pl.concat(frames)), ids)


def _portions(engine: Engine, department: str) -> Iterator[tuple[str, list[Any]]]:
    c, last = _ROWS.c, -1
    ours = (
        select(c.id, c.writer_schema, c.body)
        .where(c.department == department, c.state == RowState.SENT, c.version != REFUSAL)
        .order_by(c.id)
    )
    while True:
        # Each portion is a read of its own: no transaction of hours in the department's database.
        with engine.connect() as connection:
            rows = list(connection.execute(ours.where(c.id > last).limit(_AT_ONCE)))
        if not rows:
            return
        last = rows[-1].id
        for writer_schema in sorted({row.writer_schema for row in rows}):
            yield writer_schema, [row for row in rows if row.writer_schema == writer_schema]


def _decoded(writer: WriterSchema, rows: Sequence[Any], ids: array[int]) -> pl.DataFrame:
    bodies = [bytes(row.body) for row in rows]
    decoded = decode_statements(writer, bodies, range(len(bodies)))
    if decoded.undecodable:
        bad = decoded.undecodable[0]
        raise UsageError(f"outbox:{rows[bad.row].id} is no statement ({bad.code}: {bad.message})")
    high, low = digests(bodies)
    first = len(ids)
    ids.extend(row.id for row in rows)
    known = decoded.frame.with_columns(high.alias("digest_hi"), low.alias("digest_lo"), place=pl.col("row") + first)
    return known.select(COLUMNS.names()).cast(COLUMNS)
