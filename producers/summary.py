"""What `xinliu publish` tells a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from producers.importing.headers import KIND_NAMES
from producers.importing.values import REPAIRS
from schemas.hints import hint

__all__ = ["print_summary"]

_SHOWN = 20


def print_summary(outcome: dict[str, Any]) -> None:
    """Print the outcome of a file: figures, the first errors, remarks, warnings."""
    console = Console()
    for file in outcome["files"]:
        form = " ".join(part for part in (file["format"], file["encoding"]) if part)
        console.print(
            f"[bold]{escape(file['file'])}[/bold]  {form}, {KIND_NAMES[file['kind']]}, {file['rows']} rows",
            highlight=False,
        )
    for warning in outcome["warnings"]:
        console.print(f"[yellow]{escape(warning)}[/yellow]", highlight=False)
    if outcome["repairs"]:
        _print_repairs(console, outcome["repairs"])
    if outcome["errors"]:
        _print_findings(console, outcome["errors"], "refused")
    if outcome["remarks"]:
        _print_findings(console, outcome["remarks"], "accepted, with a remark")
    console.print(_figures(outcome), highlight=False)
    for line in _readers_see(outcome):
        console.print(escape(hint(line)), highlight=False)
    if outcome["rejects_file"]:
        console.print(f"refused rows with their reasons: {escape(outcome['rejects_file'])}", highlight=False)
    if outcome["repairs_file"]:
        console.print(f"cells that were mended: {escape(outcome['repairs_file'])}", highlight=False)


def _figures(outcome: dict[str, Any]) -> str:
    refused = outcome["refused"] + outcome["refused_by_intake"]
    parts = [f"[red]{refused} refused[/red]" if refused else "0 refused"]
    if outcome["dry_run"]:
        parts.insert(0, f"dry run: {outcome['statements']} would be sent")
    else:
        parts.insert(0, f"[green]{outcome['sent']} sent[/green]")
    for name, text in (
        ("duplicates_in_file", "rows were exact duplicates"),
        ("older", "older than what is held"),
        ("flagged", "accepted with a remark"),
    ):
        if outcome[name]:
            parts.append(f"{outcome[name]} {text}")
    if outcome["visible"]:
        parts.append(f"[green]everything visible[/green] after {outcome['waited_seconds']:.2f} s")
    return ", ".join(parts)


def _readers_see(outcome: dict[str, Any]) -> Iterator[str]:
    """Yield what readers are told of the refused rows, and how that ends."""
    if not outcome["refusals"]:
        return
    seen = []
    if outcome["pending_entities"]:
        seen.append(f"待核 for {outcome['pending_entities']} entities")
    if outcome["holding_rows"]:
        held = outcome["holding_rows"]
        seen.append(f"数据截至 held back by {held} rows that may be about anybody")
    yield f"readers {'would see' if outcome['dry_run'] else 'see'}: {', '.join(seen)}"
    yield (
        "  until the rows are mended and published (--rejects FILE writes them; mended, publish that file), or decided to stay"
        f" out: xinliu refused list --department {outcome['department']}"
    )


def _print_repairs(console: Console, repairs: list[dict[str, Any]]) -> None:
    table = Table(
        title=f"mended: {sum(row['count'] for row in repairs)} times",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for name in ("times", "column", "what", "first, on line", "was", "read as"):
        table.add_column(name, justify="right" if name in ("times", "first, on line") else "left", overflow="fold")
    for row in repairs[:_SHOWN]:
        what = f"{REPAIRS[row['code']]} [dim]{row['code']}[/dim]"
        cells = (escape(row[name]) for name in ("found", "made"))
        table.add_row(str(row["count"]), escape(row["column"]), what, _first(row), *cells)
    console.print(table)
    if len(repairs) > _SHOWN:
        console.print(f"… and {len(repairs) - _SHOWN} more (--repairs FILE or --json has them all)", highlight=False)


def _first(repair: dict[str, Any]) -> str:
    return escape(f"{repair['file']}:{repair['first_line']}" if repair.get("file") else str(repair["first_line"]))


def _where(finding: dict[str, Any]) -> str:
    line = f"{finding['sheet']}!{finding['line']}" if finding.get("sheet") else str(finding["line"])
    return f"{finding['file']}:{line}" if finding.get("file") else line


def _print_findings(console: Console, findings: list[dict[str, Any]], title: str) -> None:
    table = Table(
        title=f"{title}: {len({_where(one) for one in findings})} rows",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for name in ("line", "column", "value", "reason"):
        table.add_column(name, justify="right" if name == "line" else "left", overflow="fold")
    for finding in findings[:_SHOWN]:
        reason = f"{finding['reason']} [dim]{finding['code']}[/dim]"
        table.add_row(escape(_where(finding)), escape(finding["column"]), escape(finding["value"]), reason)
    console.print(table)
    if len(findings) > _SHOWN:
        console.print(f"… and {len(findings) - _SHOWN} more (--rejects FILE or --json has them all)", highlight=False)
