"""Import of a file: read it, check it by the rules, divide it into statements and refused rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from producers.errors import RowError
from producers.files.formats.reader import read_table
from producers.files.headers.headers import Columns, knows_any, must_stand_here, resolve
from producers.files.headers.unknown_columns import ignorable_names, nothing_decides
from producers.files.rows.cells import Mending, shown
from producers.files.rows.outside import without_outsiders
from producers.files.rows.refusals import mended_ids, refusals_of
from producers.files.rows.repairs import MendedCell, Repairs
from producers.files.rows.rows import parse
from producers.files.rows.words import Words
from producers.files.table import Table
from producers.statements.encoding import encoded
from schemas.calendar.clock import time_text
from schemas.catalogue import Catalogue, Department
from schemas.errors import UsageError
from schemas.records.identity import digest
from schemas.records.refused_row import RowRefusal
from schemas.rules import validate_publication

__all__ = ["FileOptions", "Import", "Outgoing", "import_file"]

_MADE_OF = {"version": "updated_at", "stated_at": "updated_at"}
"""Fields that no column may give, and the field from which they are computed."""

_FIRST_ONLY = ("REQUIRED", "VERSION_AHEAD")
"""Of these codes, and of those on a code, only a cell's first error is reported: the others follow from it."""

_OTHERS = 5
"""Maximum number of contradicting rows in a message."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Options for reading a file that does not describe itself: --map, --ignore and --sheet."""

    mapped: Mapping[str, str] = field(default_factory=dict)
    """Meaning of columns: header → known header."""
    ignored: Collection[str] = ()
    """Unknown columns that may be ignored."""
    sheets: Sequence[str] = ()
    """Sheets of a workbook to read; if none is named, all visible ones with a header."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A statement to publish: its line, its subject's code, its Avro body."""

    line: int
    uscc: str
    record_id: str
    version: int
    body: bytes


@dataclass(frozen=True)
class Import:
    """Result of a file: statements to publish, errors by row, exact duplicates, remarks."""

    table: Table
    columns: Columns
    outgoing: tuple[Outgoing, ...]
    errors: tuple[RowError, ...]
    remarks: tuple[RowError, ...]
    duplicates: int
    """Rows that only repeat statements of earlier rows."""
    repairs: Repairs = field(default_factory=Repairs)
    """Repairs in the rows that are not refused."""
    refusals: tuple[tuple[int, RowRefusal], ...] = ()
    """By line: refusals, which readers must be notified of before anybody vouches for this file."""
    mends: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By line: ids of the earlier refusals from which its row comes, in a file of rejects."""

    @property
    def rows(self) -> int:
        """Number of rows of the file."""
        return len(self.table.rows) + len(self.table.faults)

    @property
    def refusal_ids(self) -> dict[int, tuple[int, ...]]:
        """By line: the refusals that a mended row closes, its own and the earlier ones."""
        own: defaultdict[int, list[int]] = defaultdict(list)
        for line, refusal in self.refusals:
            own[line].append(refusal.refusal_id)
        return {line: tuple(dict.fromkeys((*ids, *self.mends.get(line, ())))) for line, ids in own.items()}

    @property
    def mended(self) -> Iterator[tuple[int, str, int]]:
        """Earlier refusals whose row may be published now: id, and the record and version of the mended row."""
        first = {statement.line: statement for statement in reversed(self.outgoing)}
        for line, ids in self.mends.items():
            if statement := first.get(line):
                yield from ((id, statement.record_id, statement.version) for id in ids)

    @property
    def refused_lines(self) -> frozenset[int]:
        """Lines that are not published."""
        return frozenset(error.line for error in self.errors)


def import_file(
    path: Path,
    department: Department,
    catalogue: Catalogue,
    *,
    stated_at: datetime | None = None,
    options: FileOptions | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Import:
    """Read a file and check every row as intake will. Raises UsageError if it cannot be read as a whole."""
    table, columns = _table(path, options or FileOptions())
    parsed = parse(table, columns, department, catalogue, stated_at=stated_at, progress=progress)
    now = datetime.now(UTC)
    if stated_at is not None and (stated_at - now).total_seconds() > 600:
        raise UsageError(f"--stated-at {time_text(stated_at)} is more than 10 minutes ahead of the clock")
    found = validate_publication(parsed.frame, department, catalogue, now=now).sort("row", maintain_order=True)
    errors: list[RowError] = [RowError(fault.line, "", fault.shown, fault.code, fault.reason) for fault in table.faults]
    errors += parsed.errors
    words = Words(catalogue, department)
    unread = {(error.line, error.column) for error in parsed.errors}
    judged: set[tuple[int, str]] = set()
    remarks: list[RowError] = list(parsed.remarks)
    unpaired = {error.line for error in parsed.errors if error.code == "PARTIES_UNPAIRED"}
    for row, code, severity, name, value, text in found.rows():
        line = parsed.lines[row]
        if line in unpaired and name in ("uscc", "subject_name"):
            continue  # several codes in one cell are no code: reported already
        column = columns.headers.get(name) or columns.headers.get(_MADE_OF.get(name, ""), name)
        if (line, column) in unread:
            continue  # it follows from the cell's reported error
        if code in _FIRST_ONLY or code.startswith("USCC_"):
            if (line, column) in judged:
                continue
            judged.add((line, column))
        met = parsed.frame["penalty_categories"][row] if code == "CATEGORY" else value
        shown, message = words.explained(code, met or "", text)
        told = RowError(line, column, shown, code, message)
        (errors if severity == "refuse" else remarks).append(told)
    errors = _once_a_row(errors, "STRUCK_OUT")
    others = {error.line for error in errors if error.code != "NO_IDENTITY"}
    errors = [
        error for error in errors if error.code != "NO_IDENTITY" or error.line not in others
    ]  # it follows from them
    refused = {error.line for error in errors}
    good = parsed.frame.filter(pl.Series([line not in refused for line in parsed.lines], dtype=pl.Boolean))
    outgoing, duplicates, conflicts = _distinct(list(_outgoing(good, parsed.lines)), columns)
    errors = sorted([*errors, *conflicts], key=lambda error: error.line)
    refused.update(conflict.line for conflict in conflicts)
    return Import(
        table,
        columns,
        outgoing,
        tuple(errors),
        tuple(remark for remark in remarks if remark.line not in refused),
        duplicates,
        Repairs((*_told_of(table, columns), *parsed.repairs.without(refused).cells)),
        refusals_of(table, columns, parsed, errors, department, catalogue, now),
        mended_ids(table),
    )


def _once_a_row(errors: Sequence[RowError], code: str) -> list[RowError]:
    """Return the errors without repetitions of this code in a row."""
    told: set[int] = set()
    kept = []
    for error in errors:
        if error.code != code or error.line not in told:
            kept.append(error)
        if error.code == code:
            told.add(error.line)
    return kept


def _table(path: Path, options: FileOptions) -> tuple[Table, Columns]:
    mapped, ignored = options.mapped, options.ignored
    table = read_table(path, options.sheets)
    try:
        must_stand_here(table.headers, (*mapped, *(set(ignored) - {*ignorable_names(path, table)})))
        columns = resolve(table.headers, mapped=mapped, ignored=ignored)
        table = without_outsiders(table, columns)
        nothing_decides(path, table, columns, ignored)
        return table, columns
    except UsageError as error:
        unknown = table.format != "XLSX" and table.remarks and not knows_any(table.headers)
        told = (f"文件中有: {'、'.join(table.headers)[:60]}",) if unknown else ()  # the missing columns follow from it
        raise UsageError(
            f"{path}: " + "; ".join((*table.remarks, *told) if unknown else (str(error), *table.remarks))
        ) from None


def _told_of(table: Table, columns: Columns) -> Iterator[Mending]:
    """Yield how the headers were read, and the rows that do not belong to the table."""
    for header, name in columns.read_as:
        yield table.line, MendedCell(shown(header), shown(header), name, ("HEADER_READ",))
    for passed in table.passed:
        yield passed.line, MendedCell("", shown(passed.text), "", (passed.code,))


def _outgoing(frame: pl.DataFrame, lines: list[int]) -> Iterator[Outgoing]:
    for statement in frame.iter_rows(named=True):
        yield Outgoing(
            lines[statement["row"]], statement["uscc"], statement["record_id"], statement["version"], encoded(statement)
        )


def _distinct(statements: Sequence[Outgoing], columns: Columns) -> tuple[tuple[Outgoing, ...], int, list[RowError]]:
    """Keep one of exact duplicates; refuse whole all rows that contradict each other on one record and version."""
    contents: defaultdict[tuple[str, int], set[tuple[int, int]]] = defaultdict(set)
    lines: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for statement in statements:
        key = statement.record_id, statement.version
        contents[key].add(digest(statement.body))
        lines[key].append(statement.line)
    identifying = ("penalty_document_number", "listing_entry_id", "uscc")
    header = next((columns.headers[name] for name in identifying if name in columns.headers), "")
    errors = [
        RowError(line, header, "", "CONFLICT_IN_FILE", _conflict(line, lines[key]))
        for key, said in contents.items()
        if len(said) > 1
        for line in lines[key]
    ]
    clashing = {error.line for error in errors}
    kept: dict[tuple[str, int], Outgoing] = {}
    for statement in statements:
        if statement.line not in clashing:
            kept.setdefault((statement.record_id, statement.version), statement)
    answered = clashing | {statement.line for statement in kept.values()}
    return tuple(kept.values()), len({statement.line for statement in statements} - answered), errors


def _conflict(line: int, lines: list[int]) -> str:
    others = [str(other) for other in lines[: _OTHERS + 1] if other != line][:_OTHERS]
    more = " 等" if len(lines) - 1 > len(others) else ""
    return f"与第 {', '.join(others)}{more} 行是同一记录同一版本, 内容不同"
