"""Rows to statements: reads every cell and keeps every error of every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from producers.errors import RowError
from producers.files.headers.headers import MOVES, Columns
from producers.files.headers.states import status_words, text_speaks
from producers.files.rows.cells import Mending, reader_of, shown
from producers.files.rows.parties import Parties, Unpaired, parted
from producers.files.rows.repairs import MendedCell, Repairs
from producers.files.table import Cell, FileLine, Line, Table
from producers.files.values import values
from schemas.catalogue import Catalogue, Department
from schemas.contracts.flat_frame import FLAT
from schemas.errors import UsageError
from schemas.records.identity import record_id, registration_id
from schemas.records.registration import DOMAIN

__all__ = ["Parsed", "located", "parse"]

_BODIES = ("PENALTY", "LISTING", "REGISTRATION")
_MOST_PARTIES, _MOST_COPIED = 1 << 20, 1 << 28
"""Limits: parties in rows that name several, and characters copied for them."""


def located(error: RowError) -> dict[str, Any]:
    """Return an error as --json prints it: with sheet and file if several are read."""
    line, place = error.line, dict[str, Any]()
    if isinstance(line, FileLine):
        place["file"], line = line.file, line.line
    place |= {"line": line.row, "sheet": line.sheet} if isinstance(line, Line) else {"line": line}
    return place | {"column": error.column, "value": error.value, "code": error.code, "reason": error.reason}


@dataclass(slots=True)
class Parsed:
    """All rows as statements (FLAT; `row` is the position in `lines`), and the errors of rows not read completely.

    An unreadable cell is null in the frame, so that the rules find all other errors of its row.
    """

    frame: pl.DataFrame
    lines: list[int]
    errors: list[RowError] = field(default_factory=list)
    remarks: list[RowError] = field(default_factory=list)
    """Warnings on readable cells, for a person to check."""
    repairs: Repairs = field(default_factory=Repairs)


def parse(
    table: Table,
    columns: Columns,
    department: Department,
    catalogue: Catalogue,
    *,
    stated_at: datetime | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Parsed:
    """Read every row. `stated_at` is the version of rows that have none of their own.

    Raises UsageError if rows have no version and `stated_at` is not given, or if the domain is missing and the
    department has several.
    """
    if "version" not in columns.headers and "updated_at" not in columns.headers and stated_at is None:
        raise UsageError(
            "the file has neither 版本号 nor 更新时间, so nothing says which state of a record is newer: give"
            " --stated-at 2026-11-23T10:00 (when this state was true), the same whenever this same file is published"
        )
    if "domain" not in columns.headers and len(department.domains) != 1 and columns.kind != "REGISTRATION":
        raise UsageError(
            f"{department.name_zh} answers for several domains: add a column 领域 ({', '.join(department.domains)})"
        )
    row_reader = _Rows(columns, table, department, catalogue, stated_at)
    collected: dict[str, list[Any]] = {name: [] for name in FLAT.names()}
    lines: list[int] = []
    errors: list[RowError] = []
    for count, (line, cells) in enumerate(table.rows):
        if count % 2_000 == 0:
            progress(count)
        for statement, found in row_reader.read(line, cells):
            errors.extend(found)
            statement["row"] = len(lines)
            for name, column in collected.items():
                column.append(statement.get(name))
            lines.append(line)
    return Parsed(
        pl.DataFrame(collected, schema=FLAT), lines, errors, row_reader.remarks, Repairs(tuple(row_reader.mended))
    )


class _Rows:
    """Reads the rows of one file."""

    def __init__(
        self, columns: Columns, table: Table, department: Department, catalogue: Catalogue, stated_at: datetime | None
    ) -> None:
        self._columns, self._department, self._stated_at = columns, department, stated_at
        self._parties = self._copied = 0
        self.mended: list[Mending] = []
        self.remarks: list[RowError] = []
        self._readers = {name: reader_of(name, columns, table, self.mended) for name in columns.headers}
        self._places = {name: reader.place for name, reader in self._readers.items()}
        self._merged = set(table.merged)
        domains = {row.name_zh: row.key for row in catalogue.domains()}
        lists = {row.name_zh: key for key, row in catalogue.lists.items()}
        self._words = {
            "domain": domains,
            "listing_list": lists,
            "status": status_words(
                columns.headers.get("status", ""), {name: code for code, name in catalogue.codes("status").items()}
            ),
            "reason": {name: code for code, name in catalogue.codes("reason").items()},
            "penalty_level": {name: code for code, name in catalogue.codes("level").items()},
        }

    def read(self, line: int, cells: tuple[Cell, ...]) -> list[tuple[dict[str, Any], list[RowError]]]:
        """Return the flat statement of each party of a row, with its errors."""
        try:
            parties = None if self._columns.kind == "REGISTRATION" else parted(cells, self._places)
        except Unpaired as refused:
            said, errors = self._read(line, cells)
            column = self._columns.headers[refused.field]
            others = [error for error in errors if error.column != column and error.code != "NO_IDENTITY"]
            cell = cells[self._places[refused.field]]
            return [(said, [self._error(line, refused.field, cell, refused.code, str(refused)), *others])]
        if parties is None:
            return [self._read(line, cells)]
        return self._several(line, cells, parties)

    def _within_bounds(self, cells: tuple[Cell, ...], parties: Parties) -> None:
        # A row's common text is copied for each of its parties: a small file could ask for terabytes.
        self._parties += len(parties.rows)
        self._copied += len(parties.rows) * sum(len(cell) for cell in cells if isinstance(cell, str))
        if self._parties > _MOST_PARTIES or self._copied > _MOST_COPIED:
            raise UsageError("the rows name more parties than one file can hold: publish them in several files")

    def _several(
        self, line: int, cells: tuple[Cell, ...], parties: Parties
    ) -> list[tuple[dict[str, Any], list[RowError]]]:
        self._within_bounds(cells, parties)
        begin = len(self.mended)
        read = [self._read(line, party) for party in parties.rows]
        # Common cells are read, mended and refused once for each party, but reported once.
        self.mended[begin:] = dict.fromkeys(self.mended[begin:])
        told: set[RowError] = set()
        for _, errors in read:
            errors[:] = [error for error in errors if error not in told]
            told.update(errors)
        names = shown(cells[self._places["uscc"]])
        made = MendedCell(self._columns.headers["uscc"], names, f"{len(read)} 条记录", ("PARTIES_SPLIT",))
        self.mended.append((line, made))
        for name in parties.shared:
            cell = cells[self._places[name]]
            self.remarks.append(
                self._error(
                    line, name, cell, "AMOUNT_SHARED", f"{len(read)} 个当事人各记此金额; 如为合计, 请每个当事人一行"
                )
            )
        return read

    def _read(self, line: int, cells: tuple[Cell, ...]) -> tuple[dict[str, Any], list[RowError]]:
        said: dict[str, Any] = {}
        errors: list[RowError] = []
        for name, reader in self._readers.items():
            cell = cells[reader.place]
            if self._merged and (line, reader.place) in self._merged:
                self.mended.append((line, MendedCell(reader.header, "", shown(cell), ("MERGED_CELL",))))
            try:
                said[name] = reader(line, cell)
            except values.CellRefused as refused:
                errors.append(self._error(line, name, cell, refused.code, str(refused)))
        for name, words in self._words.items():
            if isinstance(said.get(name), str):
                said[name] = words.get(said[name], said[name])
        unread = self._readers.keys() - said.keys()
        errors.extend(self._moves(line, said))
        errors.extend(self._remarked(line, said))
        self._complete(said)
        if said["version"] is None and not unread & {"version", "updated_at"}:
            name = "version" if "version" in self._readers else "updated_at"
            errors.append(self._error(line, name, None, "VERSION_MISSING", "此行没有版本号或更新时间"))
        if said["status"] == "IN_FORCE":
            # For the rules a null date is absent: a mandatory one must be missed here.
            for name in _REQUIRED_DATES[said["kind"]]:
                if said.get(name) is None and not unread & {name, MOVES.get(name)}:
                    errors.append(self._error(line, name, None, "REQUIRED", "必填项为空"))
        if said["record_id"] is None and not errors:
            number = {"PENALTY": "penalty_document_number", "LISTING": "listing_entry_id"}.get(said["kind"], "uscc")
            errors.append(
                self._error(line, number, None, "NO_IDENTITY", "没有文号、名单或主体代码, 无法确定是哪条记录")
            )
        return said, errors

    def _remarked(self, line: int, said: dict[str, Any]) -> Iterator[RowError]:
        if any(said.get(name) for name in _SAYS_ITSELF):
            return
        for name in sorted(_REMARKS & said.keys()):
            if (text := said[name]) and text not in _NO_STATE and text_speaks(text):
                reason = "备注说此行不再有效 (或有异议), 状态却是有效; 请在列中说明 (状态、移出日期或异议标注日期), 或改写备注"
                yield self._error(line, name, text, "STATE_IN_REMARK", reason)

    def _moves(self, line: int, said: dict[str, Any]) -> Iterator[RowError]:
        # An entity that moved in is registered here since then, whenever it was founded. It cannot have left for two
        # reasons on two days.
        since, until = MOVES["registration_since"], MOVES["registration_until"]
        said["registration_since"] = said.pop(since, None) or said.get("registration_since")
        moved, ended = said.pop(until, None), said.get("registration_until")
        said["registration_until"] = moved or ended
        if moved and ended and moved != ended:
            yield self._error(line, until, moved, "TWO_DATES", "迁出日期与注销日期不同, 不知以何者为准")

    def _complete(self, said: dict[str, Any]) -> None:
        department, kind = self._department, self._columns.kind
        said["kind"] = kind
        said["province"], said["department"] = department.province, department.key
        said["domain"] = said.get("domain") or (DOMAIN if kind == "REGISTRATION" else department.domains[0])
        said["status"] = said.get("status") or "IN_FORCE"
        if kind == "LISTING":
            said["listing_list"] = said.get("listing_list") or (
                department.lists[0] if len(department.lists) == 1 else None
            )
        for name in ("uscc", "subject_name", "authority"):
            said[name] = said.get(name) or ""
        # Lists have no kind; the code has it (GB 32100-2015: registrar 9, type 2).
        said["subject_kind"] = said.get("subject_kind") or (
            "个体工商户" if said["uscc"].startswith("92") else "法人及非法人组织"
        )
        said["record_id"] = self._identity(said)
        said["reason"] = said.get("reason") or _reason(said)
        updated = said.get("updated_at")
        if said.get("version") is None:
            moment = updated or self._stated_at
            said["version"] = round(moment.timestamp() * 1000) if moment else None
        moment = updated or self._stated_at or (_time_of(said["version"]) if said["version"] else None)
        said["stated_at"] = moment.astimezone(UTC) if moment else None
        # Only a record in force has content and a mark (DESIGN: neither a repair nor a revocation has a body).
        in_force = said["status"] == "IN_FORCE"
        for body in _BODIES:
            said[f"has_{body.lower()}"] = in_force and kind == body
        for name in FLAT.names():
            if name.startswith(("penalty_", "listing_", "registration_", "disputed_")) and not in_force:
                said[name] = None
        if in_force:
            for name in _REQUIRED_TEXT[kind]:
                said[name] = said.get(name) or ""

    def _identity(self, said: dict[str, Any]) -> str | None:
        original = said.get("original_record_id")
        if original:
            return str(original)
        number = said.get("original_number") or said.get(
            "penalty_document_number" if said["kind"] == "PENALTY" else "listing_entry_id"
        )
        uscc = said.get("original_uscc") or said["uscc"]
        if said["kind"] == "REGISTRATION":
            return registration_id(said["province"], uscc) if uscc else None
        if not number or not uscc or (said["kind"] == "LISTING" and not said["listing_list"]):
            return None
        return record_id(
            kind=said["kind"],
            province=said["province"],
            domain=said["domain"],
            authority=said["authority"],
            number=number if said["kind"] == "PENALTY" else f"{said['listing_list']}:{number}",
            uscc=uscc,
        )

    def _error(self, line: int, name: str, cell: Cell, code: str, reason: str) -> RowError:
        return RowError(line, self._columns.headers.get(name, name), shown(cell), code, reason)


def _reason(said: dict[str, Any]) -> str:
    if said["status"] in ("REPAIRED", "REVOKED"):
        return str(said["status"])
    if said.get("listing_removed_on"):
        return "REMOVED"
    if any(said.get(name) for name in ("original_record_id", "original_number", "original_uscc")):
        return "CORRECTED"
    return "DISPUTED" if said.get("disputed_since") else "PUBLISHED"


def _time_of(version: int) -> datetime:
    # A plain number gives no time: it counts as stated at the beginning of time, so that file and result
    # stay the same whenever it is published.
    milliseconds = version if 946_684_800_000 <= version < 32_503_680_000_000 else 0
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


_REMARKS = frozenset(("penalty_remark", "listing_remark", "registration_remark"))
_NO_STATE = ("更正", "变更")
_SAYS_ITSELF = (
    "reason", "status", "disputed_since", "listing_removed_on", "registration_until", "original_record_id", "original_number",
    "original_uscc",
)  # fmt: skip
"""Fields by which a row gives its own state, whatever its remark says."""

_REQUIRED_TEXT = {
    "PENALTY": (
        "penalty_document_number", "penalty_violation_type", "penalty_facts", "penalty_basis", "penalty_categories",
        "penalty_content", "penalty_authority_name", "penalty_source_unit", "penalty_source_unit_code",
    ),
    "LISTING": ("listing_list", "listing_entry_id", "listing_grounds", "listing_basis", "listing_authority_name"),
    "REGISTRATION": ("registration_entity_kind", "registration_authority_name"),
}  # fmt: skip
_REQUIRED_DATES = {
    "PENALTY": ("penalty_decided_on", "penalty_valid_until"),
    "LISTING": ("listing_listed_on",),
    "REGISTRATION": ("registration_since",),
}
