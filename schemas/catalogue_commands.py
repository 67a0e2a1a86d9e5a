"""`xinliu catalogue` and `xinliu rules`: what is data, and what is held against it."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.catalogue import Catalogue, load
from schemas.errors import UsageError
from schemas.rules import RULES

__all__ = ["mount"]

catalogue_app = typer.Typer(
    help="Provinces, domains, lists, departments and codes: data with dates and sources.", no_args_is_help=True
)

Folder = Annotated[Path | None, typer.Option("--path", help="Folder of the CSV files; the shipped ones by default.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: JSON on stdout.")]
_SHORT = {
    "effective_from": "from",
    "effective_to": "to",
    "illustrative": "assumed",
    "name_zh": "name",
    "partitions": "parts",
}
_LONG = ("instrument", "identified_by", "early_exit", "natural_persons", "source")
SUBJECTS = ("provinces", "domains", "departments", "authorities", "lists", "mutual", "codes", "kinds")


@catalogue_app.command()
def check(path: Folder = None) -> None:
    """Say whether the files can be used; every bad line is named with its reason. Exit code 2 where one is bad."""
    found = load(path)
    counted = [
        f"{len(found.domains(date.today()))} domains today",
        f"{len(found.department_rows)} departments",
        f"{len(found.lists)} lists",
    ]
    print(f"the catalogue is good: {', '.join(counted)}; version {found.version}")


@catalogue_app.command()
def show(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(SUBJECTS)}.")],
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only what is in force on this day.")
    ] = None,
    path: Folder = None,
    as_json: Json = False,
) -> None:
    """Show one part of the catalogue, with the source of every row; what is assumed is marked."""
    if what not in SUBJECTS:
        raise UsageError(f"there is no {what!r} in the catalogue: choose one of {', '.join(SUBJECTS)}")
    rows = [row for row in _rows(load(path), what) if on is None or _holds(row, on.date())]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1, default=str))
        return
    table = Table(title=f"{what}: {len(rows)}", title_justify="left", show_edge=False, pad_edge=False)
    # Sources and the long texts of the lists are in --json: a terminal is narrow.
    names = [name for name in rows[0] if name not in _LONG] if rows else []
    for place, name in enumerate(names):
        table.add_column(_SHORT.get(name, name), overflow="fold", no_wrap=place == 0)
    for row in rows:
        cells = [
            ", ".join(row[name]) if isinstance(row[name], list | tuple) else str(row[name] or "") for name in names
        ]
        table.add_row(*cells, style="dim" if row.get("illustrative") == "yes" else None)
    Console().print(table)


def _rows(found: Catalogue, what: str) -> list[dict[str, Any]]:
    if what == "authorities":
        return [
            {"department": key, "uscc": uscc, "name_zh": name}
            for key, authorities in found.authorities.items()
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
    }
    # The keys first, the dates and sources last, as a person reads it.
    dated = ("effective_from", "effective_to", "illustrative", "source")
    plain = [row.model_dump() for row in models[what]]
    return [{**{k: v for k, v in row.items() if k not in dated}, **{k: row[k] for k in dated}} for row in plain]


def _holds(row: dict[str, Any], on: date) -> bool:
    return "effective_from" not in row or (row["effective_from"] <= on and (row["effective_to"] or date.max) >= on)


def rules(as_json: Json = False) -> None:
    """List the rules that statements are held against: code, severity, text, source, example."""
    if as_json:
        plain = [
            {
                "code": rule.code,
                "severity": rule.severity,
                "text_zh": rule.text_zh,
                "text_en": rule.text_en,
                "source": rule.source,
                "example": rule.example,
            }
            for rule in RULES
        ]
        print(json.dumps(plain, ensure_ascii=False, indent=1))
        return
    table = Table(show_edge=False, pad_edge=False)
    for name in ("code", "severity", "text", "source", "example"):
        table.add_column(name, overflow="fold", no_wrap=name == "code")
    for rule in RULES:
        table.add_row(rule.code, rule.severity, f"{rule.text_zh}\n[dim]{rule.text_en}[/dim]", rule.source, rule.example)
    Console().print(table)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command `xinliu`."""
    app.add_typer(catalogue_app, name="catalogue")
    app.command()(rules)
