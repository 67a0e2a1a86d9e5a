"""The choice of the record to change: by its number, by its id, or by a file with its statement or row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from producers.changes.versions import Statement, named
from producers.errors import StatementRejected
from producers.files.import_file import FileOptions, import_file
from producers.statements.encoding import from_json
from schemas.catalogue import Catalogue, Department
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.errors import Rejected, UsageError
from schemas.records.identity import normalise_document_number

__all__ = ["RecordDescription", "choose_record"]

_NUMBERS = {"PENALTY": "document_number", "LISTING": "entry_id"}
_LONG_AGO = datetime.fromtimestamp(1, UTC)
"""The version of rows without one: any change is later."""


@dataclass(frozen=True, slots=True)
class RecordDescription:
    """A person's description of a record."""

    number: str | None = None
    """文号 of a penalty."""
    entry: str | None = None
    """条目编号 of a list entry."""
    uscc: str | None = None
    name: str | None = None
    list_key: str | None = None
    domain: str | None = None
    authority: str | None = None
    record: str | None = None
    kind: str | None = None
    """penalty or listing; needed if only the record's id is given."""


def choose_record(
    department: Department,
    catalogue: Catalogue,
    said: RecordDescription,
    file: Path | None,
    options: FileOptions | None = None,
) -> Statement:
    """Return the statement in the file, the matching row of the file, or, without a file, the record's identity.

    `options` configure the reading of the file. Raises UsageError if nothing matches, or more than one record.
    """
    if said.number and said.entry:
        raise UsageError("--number names a penalty, --entry a list entry: give one of them")
    try:
        if file is None:
            return _identified(department, said)
        if file.suffix.lower() == ".json":
            return _renamed(_statement(file), said)
        return _renamed(_row(file, department, catalogue, said, options), said)
    except StatementRejected as error:
        raise UsageError(str(error)) from error


def _renamed(statement: Statement, said: RecordDescription) -> Statement:
    return {**statement, "record_id": said.record} if said.record else statement


def _identified(department: Department, said: RecordDescription) -> Statement:
    kind = "LISTING" if said.entry else "PENALTY" if said.number else (said.kind or "").upper()
    missing = [
        option
        for option, value in (("--number or --entry", said.number or said.entry or said.record), ("--uscc", said.uscc),
                              ("--name", said.name), ("--kind", kind))
        if not value
    ]  # fmt: skip
    if missing:
        raise UsageError(f"without --from, the record is named by {', '.join(missing)} too")
    return named(
        department,
        kind=kind,
        uscc=(said.uscc or "").strip().upper(),
        name=said.name or "",
        number=said.number or said.entry,
        list_key=said.list_key,
        domain=said.domain,
        authority=said.authority,
        record=said.record,
    )


def _statement(file: Path) -> Statement:
    try:
        return from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except (Rejected, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error


def _row(
    file: Path, department: Department, catalogue: Catalogue, said: RecordDescription, options: FileOptions | None
) -> Statement:
    found = import_file(file, department, catalogue, stated_at=_LONG_AGO, options=options)
    statements = [decode(parsed("xinliu.Statement"), outgoing.body) for outgoing in found.outgoing]
    meant = [statement for statement in statements if _fits(statement, said)]
    # Several versions of one record are one record: the newest counts.
    records = {statement["record_id"]: statement for statement in sorted(meant, key=lambda one: int(one["version"]))}
    if len(records) == 1:
        return next(iter(records.values()))
    if records:
        entities = ", ".join(sorted({one["subject"]["uscc"] for one in records.values()}))
        raise UsageError(f"{len(records)} rows of {file} fit ({entities}): say which with --number, --entry or --uscc")
    refused = f"; {len(found.refused_lines)} rows are refused, see `xinliu publish --dry-run`" if found.errors else ""
    raise UsageError(f"no row of {file} fits{refused}")


def _fits(statement: Mapping[str, Any], said: RecordDescription) -> bool:
    number = said.number or said.entry
    if number is not None:
        held = (statement[statement["kind"].lower()] or {}).get(_NUMBERS[statement["kind"]], "")
        if normalise_document_number(held) != normalise_document_number(number):
            return False
    return said.uscc is None or bool(statement["subject"]["uscc"] == said.uscc.strip().upper())
