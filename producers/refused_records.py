"""Refused records of a department, computed from its receipts, and the rows of a file that belong to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from producers.errors import RowError
from producers.files.import_file import Import
from schemas.records.refused_row import PARTITION

__all__ = ["RefusedRecord", "refused_in", "rows_of"]

_TAKEN = frozenset({"ACCEPTED", "SUPERSEDED", "FLAGGED", "OLDER", "DUPLICATE"})
"""Outcomes after which a record is no longer refused: it is stored, or a version of it that takes precedence is."""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A refused record: its place in the department's topic, its id and version (None if unreadable), the findings."""

    partition: int
    offset: int
    record_id: str | None
    version: int | None
    findings: Sequence[Mapping[str, Any]]
    discarded: bool
    """A person decided that it stays out."""


def refused_in(receipts: Iterable[Mapping[str, Any]]) -> list[RefusedRecord]:
    """Return the records that are still refused after these receipts, in order: the last outcome of a place counts.

    Receipts may come more than once. A record that was let through does not become refused because its first receipt
    is repeated behind the others, as long as all of them are repeated.
    """
    held: dict[tuple[int, int], RefusedRecord] = {}
    for receipt in receipts:
        for told in receipt["exceptions"]:
            place = (told["partition"], told["offset"])
            if told["outcome"] in _TAKEN:
                held.pop(place, None)
            elif told["outcome"] in ("REFUSED", "DISCARDED"):
                discarded = told["outcome"] == "DISCARDED"
                before = held.get(place)
                # A decision carries no findings of the refusal; these stand in the earlier receipt.
                findings = [*(before.findings if before and discarded else ()), *told["findings"]]
                held[place] = RefusedRecord(*place, told["record_id"], told["version"], findings, discarded)
    return list(held.values())


def rows_of(found: Import, refused: Iterable[RefusedRecord]) -> tuple[list[RowError], int]:
    """Return the errors of the file's refused rows, by line, and the number of refused records that are no row of it.

    A row is identified by record id and version; one that is in the file twice is reported at its first line.
    """
    lines = {(row.record_id, row.version): row.line for row in found.outgoing}
    own = {refusal.refusal_id for _, refusal in found.refusals}
    errors: defaultdict[int, dict[RowError, None]] = defaultdict(dict)
    elsewhere = 0
    for one in refused:
        if one.partition == PARTITION and one.offset in own:
            continue  # the file's own errors are more precise
        line = lines.get((one.record_id or "", one.version or 0))
        if line is None:
            elsewhere += 1
            continue
        for finding in one.findings:
            field = finding["field"]
            column = found.columns.headers.get(field, field) if field else ""
            errors[line][RowError(line, column, "", finding["code"], finding["message"])] = None
    return [error for _, told in sorted(errors.items()) for error in told], elsewhere
