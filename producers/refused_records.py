"""What of a department's records is refused and still is, as its receipts tell; and the rows of a file that these are."""

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
"""Outcomes that say of a record, refused or not before, that it is held, or that a version of it is that counts for more."""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record that is refused: its place in the department's topic, what it is (None where it could not be read), why."""

    partition: int
    offset: int
    record_id: str | None
    version: int | None
    findings: Sequence[Mapping[str, Any]]
    discarded: bool
    """A person decided that it stays out."""


def refused_in(receipts: Iterable[Mapping[str, Any]]) -> list[RefusedRecord]:
    """Return what these receipts, in their order, leave refused: of one place, what was said last holds.

    Receipts may come more than once: a record that was let through is not refused because its first receipt comes again
    behind the others, as long as all of them do.
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
                # A decision says only that it was decided; why it was refused stands in what came before.
                findings = [*(before.findings if before and discarded else ()), *told["findings"]]
                held[place] = RefusedRecord(*place, told["record_id"], told["version"], findings, discarded)
    return list(held.values())


def rows_of(found: Import, refused: Iterable[RefusedRecord]) -> tuple[list[RowError], int]:
    """Return the errors, by line, of the file's rows that are refused, and how many refused records are none of its rows.

    Rows are known by record id and version; one that stands in the file twice is told at its first line.
    """
    lines = {(row.record_id, row.version): row.line for row in found.outgoing}
    own = {refusal.refusal_id for _, refusal in found.refusals}
    errors: defaultdict[int, dict[RowError, None]] = defaultdict(dict)
    elsewhere = 0
    for one in refused:
        if one.partition == PARTITION and one.offset in own:
            continue  # the file's own errors say more
        line = lines.get((one.record_id or "", one.version or 0))
        if line is None:
            elsewhere += 1
            continue
        for finding in one.findings:
            field = finding["field"]
            column = found.columns.headers.get(field, field) if field else ""
            errors[line][RowError(line, column, "", finding["code"], finding["message"])] = None
    return [error for _, told in sorted(errors.items()) for error in told], elsewhere
