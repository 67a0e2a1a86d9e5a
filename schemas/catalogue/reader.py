"""Reader of the catalogue's CSV files, which collects their faults line by line."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from schemas.catalogue.rows import Row
from schemas.errors import UsageError
from schemas.identifiers.persons import showable

__all__ = ["CatalogueError", "Files"]

R = TypeVar("R", bound=Row)


class CatalogueError(UsageError):
    """Unusable files of the catalogue; the message has a line for every bad row: file, line, reason."""

    def __init__(self, problems: Collection[str]) -> None:
        super().__init__("the catalogue is not good:\n  " + "\n  ".join(problems))
        self.problems = tuple(problems)


@dataclass
class Files:
    """The files of one folder and their collected faults."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    _content: list[bytes] = field(default_factory=list)

    @property
    def version(self) -> str:
        return hashlib.sha256(b"\0".join(self._content)).hexdigest()[:16]

    def read(self, name: str, model: type[R]) -> list[tuple[int, R]]:
        """Return the good rows of a file with their line numbers."""
        try:
            raw = (self.folder / name).read_bytes()
        except OSError as error:
            self.problems.append(f"{name}: {error.strerror}")
            return []
        self._content.append(raw)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            self.problems.append(f"{name} line {line}: not UTF-8; save the file as “CSV UTF-8”")
            return []
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        return self._rows(name, model, reader)

    def _rows(self, name: str, model: type[R], reader: Iterable[list[str]]) -> list[tuple[int, R]]:
        lines = iter(reader)
        header = next(lines, [])
        wanted = set(model.model_fields)
        if set(header) != wanted:
            missing, extra = sorted(wanted - set(header)), sorted(set(header) - wanted)
            self.problems.append(f"{name} line 1: columns missing: {missing or 'none'}, not known: {extra or 'none'}")
            return []
        rows: list[tuple[int, R]] = []
        try:
            for cells in lines:
                number = reader.line_num  # type: ignore[attr-defined]
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    self.problems.append(f"{name} line {number}: {len(cells)} cells, {len(header)} are wanted")
                    continue
                try:
                    row = model.model_validate(dict(zip(header, cells, strict=True)))
                except ValidationError as error:
                    self.problems.extend(_reasons(name, number, error))
                    continue
                if row.effective_to is not None and row.effective_to < row.effective_from:
                    self.problems.append(
                        f"{name} line {number}: ends ({row.effective_to}) before it begins ({row.effective_from})"
                    )
                rows.append((number, row))
        except csv.Error as error:
            self.problems.append(f"{name} line {reader.line_num}: {error}")  # type: ignore[attr-defined]
        return rows

    def unique(self, name: str, rows: Iterable[tuple[int, R]], key: Callable[[R], Hashable]) -> None:
        """Report two rows of one key that apply on the same day."""
        seen: defaultdict[Hashable, list[tuple[int, R]]] = defaultdict(list)
        for number, row in rows:
            for other_number, other in seen[key(row)]:
                if row.effective_from <= (other.effective_to or date.max) and other.effective_from <= (
                    row.effective_to or date.max
                ):
                    self.problems.append(f"{name} line {number}: {key(row)!r} holds already by line {other_number}")
            seen[key(row)].append((number, row))

    def refer(
        self,
        name: str,
        rows: Iterable[tuple[int, R]],
        keys: Callable[[R], Iterable[str]],
        known: Collection[str],
        what: str,
        where: str,
    ) -> None:
        """Report rows that name a key missing in its file."""
        for number, row in rows:
            self.problems.extend(
                f"{name} line {number}: {what} {key!r} is not in {where}" for key in keys(row) if key not in known
            )


def _reasons(name: str, number: int, error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        cell = ".".join(str(part) for part in problem["loc"][:1])
        reason = problem["msg"].removeprefix("Value error, ")
        yield f"{name} line {number}: {cell}: {reason} (found {showable(str(problem['input']))[:60]!r})"
