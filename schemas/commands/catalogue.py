"""Command `xinliu catalogue`: the catalogue's data, with dates and sources."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from schemas.calendar.periods import china_day
from schemas.calendar.workdays import Workdays
from schemas.calendar.workdays import deadline as find_deadline
from schemas.catalogue import Catalogue, load
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError

__all__ = ["mount"]

catalogue_app = typer.Typer(
    help="Provinces, domains, lists, departments and codes: data with dates and sources.", no_args_is_help=True
)

Folder = Annotated[Path | None, typer.Option("--path", help="Folder of the CSV files; the shipped ones by default.")]
_SHORT = {
    "effective_from": "from",
    "effective_to": "to",
    "illustrative": "assumed",
    "name_zh": "name",
    "partitions": "parts",
}
_LONG = ("instrument", "identified_by", "early_exit", "natural_persons", "source")
TIME = {
    "levels": "levels", "periods": "list_periods", "windows": "windows", "visibility": "visibility",
    "holidays": "holidays", "deadlines": "deadlines",
    "exchange-limits": "exchange_limits",
}  # fmt: skip
SUBJECTS = (
    "provinces",
    "domains",
    "departments",
    "authorities",
    "lists",
    "mutual",
    "codes",
    "kinds",
    "competences",
    "uscc-exceptions",
    "heartbeats",
    "silences",
    *TIME,
)


@catalogue_app.command()
def check(path: Folder = None) -> None:
    """Check whether the files can be used; every bad line is named with its reason. Exit code 2 if one is bad.

    From November on it warns if the calendar of the next year is still missing.
    """
    found = load(path)
    calendar = Workdays(found.time.holidays)
    counted = [
        f"{len(found.domains(date.today()))} domains today",
        f"{len(found.department_rows)} departments",
        f"{len(found.lists)} lists",
        f"working days {calendar.first.year} to {calendar.last.year}",
    ]
    print(f"the catalogue is good: {', '.join(counted)}; version {found.version}")
    today = china_day(datetime.now(UTC))
    if today.month >= 11 and calendar.last.year <= today.year:
        print(f"holidays.csv ends with {calendar.last.year}: add {today.year + 1} (docs/time.md)", file=sys.stderr)


@catalogue_app.command()
def show(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(SUBJECTS)}.")],
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only what is in force on this day.")
    ] = None,
    path: Folder = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show one part of the catalogue, with the source of every row; what is assumed is marked."""
    if what not in SUBJECTS:
        raise UsageError(f"there is no {what!r} in the catalogue: choose one of {', '.join(SUBJECTS)}")
    rows = [row for row in _rows(load(path), what) if on is None or _holds(row, on.date())]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1, default=str))
        return
    # Sources and the long texts of the lists are only in --json: a terminal is narrow.
    names = [name for name in rows[0] if name not in _LONG] if rows else []
    titles = [_SHORT.get(name, name) for name in names]
    cells = [
        [
            escape(
                ", ".join(row[name])
                if isinstance(row[name], list | tuple)
                else ""
                if row[name] is None
                else str(row[name])
            )
            for name in names
        ]
        for row in rows
    ]
    styles = ["dim" if row.get("illustrative") == "yes" else None for row in rows]
    # The keys come first and matter most, the dates come last.
    least, title = titles[:2:-1], f"{what}: {len(rows)}"
    print_table(Console(), titles, cells, least=least, text=titles[1:], wide=wide, title=title, styles=styles)


def _rows(found: Catalogue, what: str) -> list[dict[str, Any]]:
    if what == "authorities":
        return [
            {"province": province, "department": key, "uscc": uscc, "name_zh": name}
            for (province, key), authorities in found.authorities.items()
            for uscc, name in authorities
        ]
    models: dict[str, Any] = {
        "provinces": found.provinces.values(),
        "domains": found.domain_rows,
        "departments": found.department_rows,
        "lists": found.lists.values(),
        "mutual": found.mutual,
        "codes": found.code_rows,
        "kinds": found.entity_kinds.values(),
        "heartbeats": found.heartbeats,
        "silences": found.silences,
        "competences": found.competences,
        "uscc-exceptions": found.uscc_exceptions,
        **{name: getattr(found.time, rows) for name, rows in TIME.items()},
    }
    # The keys first, the dates and sources last, in reading order.
    dated = ("effective_from", "effective_to", "illustrative", "source")
    plain = [row.model_dump() for row in models[what]]
    return [{**{k: v for k, v in row.items() if k not in dated}, **{k: row[k] for k in dated}} for row in plain]


def _holds(row: dict[str, Any], on: date) -> bool:
    return "effective_from" not in row or (row["effective_from"] <= on and (row["effective_to"] or date.max) >= on)


@catalogue_app.command()
def workdays(
    start: Annotated[
        datetime, typer.Argument(metavar="FROM", formats=["%Y-%m-%d"], help="Day that the term counts from.")
    ],
    days: Annotated[int | None, typer.Argument(metavar="N", help="Working days of the term.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="A term of deadlines.csv in place of N: report-penalty, objection-mark…")
    ] = None,
    province: Annotated[str, typer.Option(help="Whose deadline.")] = "beijing",
    path: Folder = None,
    as_json: Json = False,
) -> None:
    """Say on which day a term in working days (工作日) ends, and which days do not count, and why."""
    found, first = load(path), start.date()
    if (days is None) == (deadline is None):
        raise UsageError("give the number of working days, or --deadline: one of them")
    term = None
    if deadline is not None:
        found.province(province)
        term = find_deadline(found.time.deadlines, deadline, province, first)
        days = term.working_days
    assert days is not None
    calendar = Workdays(found.time.holidays)
    end = calendar.add(first, days)
    skipped = calendar.skipped(first, end)
    assumed = any(row.illustrative == "yes" for row in (*found.time.holidays, *([term] if term else [])))
    if as_json:
        plain = {
            "from": first,
            "working_days": days,
            "ends": end,
            "skipped": [{"day": one.day, "why": one.why} for one in skipped],
            "deadline": term.model_dump() if term else None,
            "illustrative": "yes" if assumed else "no",
        }
        print(json.dumps(plain, ensure_ascii=False, indent=1, default=str))
        return
    if term:
        print(f"{term.name_zh}: {term.counts_from}, {term.working_days} 个工作日 ({term.source})")
    print(f"{end} ({calendar.on(end).why}): {first} 之后第 {days} 个工作日")
    for one in skipped:
        print(f"  {one.day}  {one.why}  不计")
    if assumed:
        print(hint("  所用数据含假定内容 (illustrative): xinliu catalogue show holidays --json"), file=sys.stderr)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command `xinliu`."""
    app.add_typer(catalogue_app, name="catalogue")
