"""Refusals of a file's rows, as readers are notified of them: the entity and domain that each may be about."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from producers.errors import RowError
from producers.files.headers.headers import Columns
from producers.files.rows.rows import Parsed
from producers.files.table import REASON_HEADER, Cell, Table
from schemas.calendar.periods import china_day
from schemas.catalogue import Catalogue, Department
from schemas.records.refused_row import RowRefusal, entities, finding, refusal_id
from schemas.records.registration import DOMAIN

__all__ = ["MOST_REFUSALS", "REFUSAL_NUMBER", "mended_ids", "refusals_of"]

MOST_REFUSALS = 10_000
"""Refused rows of one file that are published one by one; the rest, as a whole, holds back the source's data as of."""

REFUSAL_NUMBER = "退回号"
"""Precedes the ids of a row's refusals in its 退回原因, so that the mended row closes them."""

_NUMBERED = re.compile(f"〔{REFUSAL_NUMBER}((?: [0-9]{{1,18}})+)〕")

_MOST_FINDINGS = 20
_NAMING = ("original_record_id", "original_uscc")
"""Columns that name the record of a row, whatever its own code is."""

_READ = ("row", "uscc", "domain", "record_id", "version", "stated_at")
_RECORD_ID = re.compile(r"[0-9a-f]{32}")


def refusals_of(
    table: Table,
    columns: Columns,
    parsed: Parsed,
    errors: Sequence[RowError],
    department: Department,
    catalogue: Catalogue,
    now: datetime,
) -> tuple[tuple[int, RowRefusal], ...]:
    """Return, by line, a refusal for each entity that a refused row names, and one of nobody if it may name others.

    The same rows give the same refusals, in any file and at any line.
    """
    if not errors:
        return ()
    refused = {error.line for error in errors}
    reasons: defaultdict[int, list[RowError]] = defaultdict(list)
    for error in errors:
        reasons[error.line].append(error)
    cells: dict[int, Sequence[Cell]] = {line: row for line, row in table.rows if line in refused}
    cells |= {fault.line: fault.cells for fault in table.faults if fault.line in refused}
    told: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    mine = pl.Series([line in refused for line in parsed.lines], dtype=pl.Boolean)
    for row in parsed.frame.select(_READ).filter(mine).iter_rows(named=True):
        told[parsed.lines[row["row"]]].append(row)
    rows = _Rows(table, columns, department, catalogue, now, _earliest(parsed.frame, now))
    found = [
        (line, refusal)
        for line in sorted(refused)
        for refusal in rows.refusals(cells.get(line, ()), told[line], reasons[line])
    ]
    unique = {refusal.refusal_id: (line, refusal) for line, refusal in reversed(found)}
    return tuple(_bounded(sorted(unique.values(), key=lambda pair: (pair[0], pair[1].refusal_id))))


def mended_ids(table: Table) -> dict[int, tuple[int, ...]]:
    """Return, by line, the refusals from which the rows of a rejects file come, as its column 退回原因 names them."""
    if REASON_HEADER not in table.headers:
        return {}
    place = table.headers.index(REASON_HEADER)
    rows = [*table.rows, *((fault.line, fault.cells) for fault in table.faults)]
    said = ((line, str(cells[place])) for line, cells in rows if place < len(cells) and cells[place])
    numbers = {line: [int(one) for found in _NUMBERED.findall(text) for one in found.split()] for line, text in said}
    return {line: tuple(dict.fromkeys(ids)) for line, ids in numbers.items() if ids}


def _earliest(frame: pl.DataFrame, now: datetime) -> datetime:
    # A completely unreadable row counts as old as the oldest readable one.
    first = frame["stated_at"].min()
    return min(now, first) if isinstance(first, datetime) else now


def _bounded(found: Sequence[tuple[int, RowRefusal]]) -> Iterator[tuple[int, RowRefusal]]:
    yield from found[:MOST_REFUSALS]
    rest = found[MOST_REFUSALS:]
    if rest:
        line, first = rest[0]
        yield (
            line,
            replace(
                first,
                refusal_id=refusal_id(refusal.refusal_id for _, refusal in rest),
                domain=None,
                uscc=None,
                record_id=None,
                version=None,
                known_since=min((one.known_since for _, one in rest if one.known_since), default=None),
                findings=(finding("TOO_MANY_REFUSED", None, f"此文件另有 {len(rest)} 处退回, 未逐条列出"),),
            ),
        )


class _Rows:
    """Makes the refusals of one file's rows."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        department: Department,
        catalogue: Catalogue,
        now: datetime,
        earliest: datetime,
    ) -> None:
        self._department, self._now, self._earliest = department, now, earliest
        self._exceptions: Collection[str] = catalogue.excepted_codes(china_day(now))
        places = {name: table.headers.index(header) for name, header in columns.headers.items()}
        self._code = places.get("uscc")
        self._naming = [places[name] for name in _NAMING if name in places]
        # Sorted: the order of columns is irrelevant. An unread column may be a person's number, or change daily.
        self._read = [places[name] for name in sorted(places)]
        self._kind = columns.kind

    def refusals(
        self, cells: Sequence[Cell], told: Sequence[Mapping[str, Any]], errors: Iterable[RowError]
    ) -> Iterator[RowRefusal]:
        """Yield the refusals of one row; `told` are its parties as read, none if the row is not one of its table."""
        # dict.fromkeys: each reason once, in the order found.
        reasons = dict.fromkeys((error.code, error.column, error.reason) for error in errors)
        findings = tuple(finding(*reason) for reason in list(reasons)[:_MOST_FINDINGS])
        content = [self._kind, *(cells[place] if place < len(cells) else None for place in self._read)]
        said = self._cell(cells, self._code)
        for row in told or ({},):
            own = row.get("uscc")
            codes, alone = entities(own or said, self._exceptions)
            whole = bool(told) and alone  # if the row is not one of its table, another cell may be the code
            named = any(self._cell(cells, place) not in (None, "") for place in self._naming)
            known = self._identity(row) if (alone and len(codes) == 1) or named else (None, None)
            for code in (*codes, *(() if whole else (None,))):
                yield RowRefusal(
                    refusal_id=refusal_id((*content, own, code, *known)),
                    domain=self._domain(row.get("domain")),
                    uscc=code,
                    record_id=known[0],
                    version=known[1],
                    known_since=self._since(row.get("stated_at")),
                    findings=findings,
                )

    def _cell(self, cells: Sequence[Cell], place: int | None) -> Cell:
        return cells[place] if place is not None and place < len(cells) else None

    def _identity(self, row: Mapping[str, Any]) -> tuple[str | None, int | None]:
        record_id, version = row.get("record_id"), row.get("version")
        if record_id is None or version is None or not _RECORD_ID.fullmatch(record_id):
            return None, None
        return record_id, version

    def _domain(self, domain: str | None) -> str | None:
        return domain if domain in self._department.domains or domain == DOMAIN else None

    def _since(self, stated_at: datetime | None) -> datetime:
        return self._earliest if stated_at is None else min(stated_at.astimezone(UTC), self._now)
