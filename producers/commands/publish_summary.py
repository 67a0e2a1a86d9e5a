"""The summary of `xinliu publish` for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from producers.files.headers.headers import KIND_NAMES
from producers.files.values.values import REPAIRS
from schemas.console.hints import hint
from schemas.console.tables import print_table
from schemas.console.terminal import Console

__all__ = ["print_summary"]

_SHOWN = 20


def print_summary(outcome: dict[str, Any], *, wide: bool = False) -> None:
    """Print the result of a file: figures, the first errors, remarks, warnings; `wide`: tables in full width."""
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
        _print_repairs(console, outcome["repairs"], wide)
    if outcome["errors"]:
        _print_findings(console, outcome["errors"], "refused", wide)
    if outcome["remarks"]:
        _print_findings(console, outcome["remarks"], "accepted, with a remark", wide)
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
    """Yield what readers see of the refused rows, and how that ends."""
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


def _print_repairs(console: Console, repairs: list[dict[str, Any]], wide: bool) -> None:
    rows = [
        (
            str(row["count"]),
            escape(row["column"]),
            f"{REPAIRS[row['code']]} [dim]{row['code']}[/dim]",
            _first(row),
            escape(row["found"]),
            escape(row["made"]),
        )
        for row in repairs[:_SHOWN]
    ]
    titles = ("times", "column", "what", "first, on line", "was", "read as")
    title = f"mended: {sum(row['count'] for row in repairs)} times"
    text, numbers = ("column", "what", "was", "read as"), ("times", "first, on line")
    print_table(console, titles, rows, least=numbers, text=text, right=numbers, wide=wide, title=title)
    if len(repairs) > _SHOWN:
        console.print(f"… and {len(repairs) - _SHOWN} more (--repairs FILE or --json has them all)", highlight=False)


def _first(repair: dict[str, Any]) -> str:
    return escape(f"{repair['file']}:{repair['first_line']}" if repair.get("file") else str(repair["first_line"]))


def _where(finding: dict[str, Any]) -> str:
    line = f"{finding['sheet']}!{finding['line']}" if finding.get("sheet") else str(finding["line"])
    return f"{finding['file']}:{line}" if finding.get("file") else line


def _print_findings(console: Console, findings: list[dict[str, Any]], title: str, wide: bool) -> None:
    rows = [
        (escape(_where(one)), escape(one["column"]), escape(one["value"]), f"{one['reason']} [dim]{one['code']}[/dim]")
        for one in findings[:_SHOWN]
    ]
    titles, text = ("line", "column", "value", "reason"), ("column", "value", "reason")
    title = f"{title}: {len({_where(one) for one in findings})} rows"
    print_table(console, titles, rows, text=text, right=("line",), wide=wide, title=title)
    if len(findings) > _SHOWN:
        console.print(f"… and {len(findings) - _SHOWN} more (--rejects FILE or --json has them all)", highlight=False)
