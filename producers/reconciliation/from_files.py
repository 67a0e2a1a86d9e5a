"""Stated records from a department's files: the newest statement of every record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from producers.files.import_file import FileOptions, import_file
from schemas.catalogue import Catalogue, Department
from schemas.contracts.avro import source
from schemas.contracts.columns import decode_statements, digests
from schemas.contracts.registry import writer_schema
from schemas.reconciliation.manifest import LINES, newest
from schemas.records.refused_row import RowRefusal

__all__ = ["COLUMNS", "StatedRecords", "StatementsInFiles", "from_files"]

COLUMNS = pl.Schema({**LINES, "domain": pl.String(), "kind": pl.String(), "uscc": pl.String(), "place": pl.UInt32()})
"""LINES, the record's domain, kind and entity, and the place by which its statement is found."""

_WRITER = writer_schema(0, json.dumps(source("xinliu.Statement")))


class StatedRecords(Protocol):
    """The records a department believes it has published, from its files or its outbox."""

    @property
    def records(self) -> pl.DataFrame:
        """The newest statement of each record: COLUMNS and `period`."""
        ...

    @property
    def refused(self) -> int:
        """Number of rows that the rules refuse: they cannot have been published."""
        ...

    @property
    def refusals(self) -> Sequence[RowRefusal]:
        """Refusals of those rows, to notify readers."""
        ...

    def statement(self, place: int) -> bytes:
        """Return the Avro body of the statement at that place."""
        ...

    def where(self, place: int) -> str:
        """Return the place in a person's words."""
        ...


@dataclass(frozen=True)
class StatementsInFiles:
    """Records of a department's files, as `xinliu publish` would send them."""

    records: pl.DataFrame
    bodies: Sequence[bytes]
    lines: Sequence[str]
    refused: int
    """Rows that the rules refuse, and that can therefore not have been published."""
    refusals: Sequence[RowRefusal] = ()

    def statement(self, place: int) -> bytes:
        """Return the Avro body of the row at that place."""
        return self.bodies[place]

    def where(self, place: int) -> str:
        """Return file and line."""
        return self.lines[place]


def from_files(
    paths: Sequence[Path],
    department: Department,
    catalogue: Catalogue,
    *,
    stated_at: datetime | None = None,
    options: FileOptions | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> StatementsInFiles:
    """Read files as `xinliu publish` does: the same row gives the same bytes, and so the same digest.

    Raises UsageError if a file cannot be read as a whole.
    """
    bodies: list[bytes] = []
    lines: list[str] = []
    refused, refusals = 0, dict[int, RowRefusal]()
    for path in paths:
        found = import_file(path, department, catalogue, stated_at=stated_at, options=options, progress=progress)
        refused += len(found.refused_lines)
        refusals |= {refusal.refusal_id: refusal for _, refusal in found.refusals}
        bodies.extend(statement.body for statement in found.outgoing)
        lines.extend(f"{path.name}:{statement.line}" for statement in found.outgoing)
    return StatementsInFiles(newest(_decoded(bodies)), bodies, lines, refused, list(refusals.values()))


def _decoded(bodies: Sequence[bytes]) -> pl.DataFrame:
    frame = decode_statements(_WRITER, bodies, range(len(bodies))).frame
    high, low = digests(bodies)
    known = frame.with_columns(high.alias("digest_hi"), low.alias("digest_lo"), place=pl.col("row"))
    return known.select(COLUMNS.names())
