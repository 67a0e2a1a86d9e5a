"""Importing a file: read, hold against the rules, part into what may be published and what is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from producers.importing.headers import Columns, resolve
from producers.importing.parsing import RowError, parse
from producers.importing.reading import Table, read_table
from producers.statements import encoded
from schemas.catalogue import Catalogue, Department
from schemas.errors import UsageError
from schemas.identity import digest
from schemas.rules import validate, validate_origin

__all__ = ["Import", "Outgoing", "import_file"]

_CHINA = ZoneInfo("Asia/Shanghai")
_OTHERS = 5
"""How many of the rows that a row contradicts are named."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A statement that may be published: the line it is from, its subject's code, its Avro body."""

    line: int
    uscc: str
    record_id: str
    version: int
    body: bytes


@dataclass(frozen=True)
class Import:
    """What a file holds: statements that may be published, errors by row, exact duplicates, remarks."""

    table: Table
    columns: Columns
    outgoing: tuple[Outgoing, ...]
    errors: tuple[RowError, ...]
    remarks: tuple[RowError, ...]
    duplicates: int

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return len(self.table.rows) + len(self.table.faults)

    @property
    def refused_lines(self) -> frozenset[int]:
        """The lines that are not published."""
        return frozenset(error.line for error in self.errors)


def import_file(
    path: Path,
    department: Department,
    catalogue: Catalogue,
    *,
    stated_at: datetime | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Import:
    """Read a file and check every row as intake will. Raises UsageError where it cannot be read as a whole."""
    table = read_table(path)
    columns = resolve(table.headers)
    parsed = parse(table, columns, department, catalogue, stated_at=stated_at, progress=progress)
    now = datetime.now(UTC)
    if stated_at is not None and (stated_at - now).total_seconds() > 600:
        raise UsageError(f"--stated-at {stated_at.isoformat()} is more than 10 minutes ahead of the clock")
    found = pl.concat(
        [
            validate(parsed.frame, catalogue, today=now.astimezone(_CHINA).date(), now=now),
            validate_origin(parsed.frame, department),
        ]
    ).sort("row", maintain_order=True)
    errors: list[RowError] = [RowError(fault.line, "", "", fault.code, fault.reason) for fault in table.faults]
    errors += parsed.errors
    remarks: list[RowError] = []
    for row, code, severity, field, value, message in found.rows():
        told = RowError(parsed.lines[row], columns.headers.get(field, field), value or "", code, message)
        (errors if severity == "refuse" else remarks).append(told)
    refused = parsed.spoiled.union(found.filter(pl.col("severity") == "refuse")["row"].to_list())
    good = parsed.frame.filter(~pl.col("row").is_in(list(refused)))
    outgoing, duplicates, conflicts = _distinct(_outgoing(good, parsed.lines), columns)
    return Import(
        table,
        columns,
        outgoing,
        tuple(sorted([*errors, *conflicts], key=lambda error: error.line)),
        tuple(remarks),
        duplicates,
    )


def _outgoing(frame: pl.DataFrame, lines: list[int]) -> Iterator[Outgoing]:
    for statement in frame.iter_rows(named=True):
        yield Outgoing(
            lines[statement["row"]], statement["uscc"], statement["record_id"], statement["version"], encoded(statement)
        )


def _distinct(statements: Iterator[Outgoing], columns: Columns) -> tuple[tuple[Outgoing, ...], int, list[RowError]]:
    """Send an exact duplicate once; refuse rows that say different things of one record and version."""
    kept: dict[tuple[str, int], tuple[Outgoing, tuple[int, int]]] = {}
    lines: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    clashing: set[tuple[str, int]] = set()
    for statement in statements:
        key, content = (statement.record_id, statement.version), digest(statement.body)
        lines[key].append(statement.line)
        if kept.setdefault(key, (statement, content))[1] != content:
            clashing.add(key)
    identifying = ("penalty_document_number", "listing_entry_id", "uscc")
    header = next((columns.headers[name] for name in identifying if name in columns.headers), "")
    errors = [
        RowError(line, header, "", "CONFLICT_IN_FILE", _conflict(line, lines[key]))
        for key in clashing
        for line in lines[key]
    ]
    duplicates = sum(len(lines[key]) - 1 for key in kept if key not in clashing)
    return tuple(statement for key, (statement, _) in kept.items() if key not in clashing), duplicates, errors


def _conflict(line: int, lines: list[int]) -> str:
    others = [str(other) for other in lines[: _OTHERS + 1] if other != line][:_OTHERS]
    more = " 等" if len(lines) - 1 > len(others) else ""
    return f"与第 {', '.join(others)}{more} 行是同一记录同一版本, 内容不同"
