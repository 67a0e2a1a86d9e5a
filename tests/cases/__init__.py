"""Files as departments really send them, and what becomes of each: `python -m tests.cases [FOLDER]` prints the table.

tests/data/cases/<group>/ holds files, and tables of expectations beside them (expected*.csv, one row a file or a way to
publish it): before (how it once was judged, and what happened), right (what is right), options (of `xinliu publish`),
exit (code), sent (statements), refused (rows), errors, remarks and repairs (their codes), told (what warnings or the
message must say; several are separated by |).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from typer.testing import CliRunner

from producers.commands.publish import publish
from schemas.errors import XinliuError

__all__ = ["CASES", "Case", "Outcome", "cases", "outcome"]

CASES = Path(__file__).parents[1] / "data" / "cases"


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and what is expected of publishing it."""

    group: str
    file: str
    before: str
    right: str
    options: tuple[str, ...]
    expected: Outcome
    told: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((f"{self.group}/{self.file}", *self.options))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: exit code, statements, refused rows, and codes; `text` is what is told of it as a whole."""

    exit: int
    sent: int = 0
    refused: int = 0
    errors: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        if self.exit == 2:
            return f"refused as a whole: {self.text}" if self.text else "refused as a whole"
        parts = [f"{self.sent} sent", f"{self.refused} refused"]
        parts += [" ".join(codes) for codes in (self.errors, self.remarks, self.repairs) if codes]
        return ", ".join(parts) + (f"; {self.text}" if self.text else "")


def cases() -> Iterator[Case]:
    """Yield every expectation, by group and file."""
    for table in sorted(CASES.glob("*/expected*.csv")):
        with table.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                expected = Outcome(
                    int(row["exit"]),
                    int(row["sent"] or 0),
                    int(row["refused"] or 0),
                    *(tuple(sorted(row[name].split())) for name in ("errors", "remarks", "repairs")),
                )
                told = tuple(filter(None, row["told"].split("|")))
                options = tuple(row["options"].split())
                yield Case(table.parent.name, row["file"], row["before"], row["right"], options, expected, told)


def outcome(case: Case, folder: Path = CASES) -> Outcome:
    """Publish the file of a case, in this folder of groups, as a dry run of Beijing's tax department."""
    app = typer.Typer()
    app.command()(publish)
    path = folder / case.group / case.file
    result = CliRunner().invoke(app, [str(path), "--department", "tax", "--dry-run", "--json", *case.options])
    if isinstance(result.exception, XinliuError):
        return Outcome(result.exception.exit_code, text=str(result.exception).removeprefix(f"{path}").lstrip(": "))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    told = json.loads(result.stdout)
    errors, remarks, repairs = (
        tuple(sorted({one["code"] for one in told[name]})) for name in ("errors", "remarks", "repairs")
    )
    text = "; ".join([*told["warnings"], *(f"{one['line']} {one['value']} {one['reason']}" for one in told["errors"])])
    return Outcome(result.exit_code, told["statements"], told["refused"], errors, remarks, repairs, text)
