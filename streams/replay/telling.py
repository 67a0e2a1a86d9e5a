"""Telling differences: as a table for a person, as JSON or CSV for machines, as a page to read, send or keep."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schemas.hints import hint
from streams.replay.differing import Change, Compared, Turn

__all__ = ["tell"]

_COLUMNS = (
    "change", "province", "domain", "department", "record_id", "old_uscc", "new_uscc", "old_status", "new_status",
    "old_version", "new_version", "codes", "field", "old", "new",
)  # fmt: skip
_STYLE = {"有": "bold red", "待核": "yellow", "无": "green", "": ""}


def tell(compared: Compared, turns: Iterable[Turn], changes: Iterable[Change], form: str) -> None:
    """Write to stdout what differs; `form` as the command names it. For JSON and CSV nothing is held in memory."""
    if form == "json":
        _json(compared, turns, changes)
    elif form == "csv":
        _csv(turns, changes)
    elif form == "page":
        from streams.replay.page import page

        sys.stdout.write(page(compared, list(turns), list(changes)))
    else:
        _table(compared, list(turns), list(changes))


def _json(compared: Compared, turns: Iterable[Turn], changes: Iterable[Change]) -> None:
    # Piece by piece: millions of differences need no memory.
    sys.stdout.write(json.dumps(compared.to_json(), ensure_ascii=False)[:-1])
    told: tuple[tuple[str, Iterable[Turn | Change]], ...] = (("entities", turns), ("records", changes))
    for name, rows in told:
        sys.stdout.write(f', "{name}": [')
        for number, row in enumerate(rows):
            sys.stdout.write((", " if number else "") + json.dumps(row.to_json(), ensure_ascii=False))
        sys.stdout.write("]")
    sys.stdout.write("}\n")


def _csv(turns: Iterable[Turn], changes: Iterable[Change]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_COLUMNS)
    for turn in turns:
        if turn.turns or not turn.explained:
            what = "TURNS" if turn.explained else "COUNTS"
            place = (what, turn.province, turn.domain, "", "", turn.uscc, turn.uscc, "", "", "", "", "")
            writer.writerow((*place, "word", turn.was, turn.becomes))
    for one in changes:
        head = (
            one.change, one.province, one.domain, one.department, one.record_id.hex, one.old_uscc, one.new_uscc, one.old_status,
            one.new_status, one.old_version, one.new_version, " ".join(one.codes),
        )  # fmt: skip
        for name, (old, new) in one.fields.items() or {"": ("", "")}.items():
            writer.writerow(
                (*head, name, *(json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for v in (old, new)))
            )


def _table(compared: Compared, turns: list[Turn], changes: list[Change]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{compared.old} → {compared.new}[/bold]  {escape(compared.what)}")
    rows = f"{compared.old_rows:,} and {compared.new_rows:,} rows"
    if compared.buckets:
        rows += f"; {compared.differing} of {compared.buckets:,} buckets differ"
    console.print(rows, style="dim")
    for side, names in (("old", compared.only_old), ("new", compared.only_new)):
        if names:
            console.print(f"only the {side} one has the columns {', '.join(names)}: not compared")
    if compared.later:
        console.print(
            f"{compared.later:,} records differ only because one of them has not folded so far yet: not counted"
        )
    if compared.equal:
        console.print("[green]equal[/green]")
        return
    for (was, becomes), n in compared.turned.items():
        console.print(f"[{_STYLE[was]}]{was}[/] → [{_STYLE[becomes]}]{becomes}[/]  {n:,} of entity and domain")
    if compared.unexplained:
        console.print(
            f"[bold red]{compared.unexplained:,} counts differ although no record does[/bold red]: run the audit"
        )
    _summary(console, compared)
    _turns(console, turns, sum(compared.turned.values()))
    _changes(console, changes, sum(n for *_, n in compared.summary))


def _summary(console: Console, compared: Compared) -> None:
    table = Table("domain", "department", "change", "records", show_edge=False, pad_edge=False)
    for domain, department, change, n in compared.summary:
        table.add_row(escape(domain), escape(department), change, f"{n:,}")
    console.print(table)


def _turns(console: Console, turns: list[Turn], total: int) -> None:
    shown = [turn for turn in turns if turn.turns or not turn.explained]
    if not shown:
        return
    table = Table(
        "entity", "province", "domain", "was", "becomes", "penalties", "listings", show_edge=False, pad_edge=False
    )
    for turn in shown:
        table.add_row(
            turn.uscc, turn.province, turn.domain, f"[{_STYLE[turn.was]}]{turn.was}[/]" if turn.was else "",
            f"[{_STYLE[turn.becomes]}]{turn.becomes}[/]" if turn.becomes else "",
            f"{turn.old_penalties or 0} → {turn.new_penalties or 0}", f"{turn.old_listings or 0} → {turn.new_listings or 0}",
        )  # fmt: skip
    console.print(table)
    if total > len(shown):
        console.print(f"… {total - len(shown):,} more: --limit, or --format json, csv, page")


def _changes(console: Console, changes: list[Change], total: int) -> None:
    if not changes:
        return
    table = Table("record", "of", "entity", "change", "version", "fields", show_edge=False, pad_edge=False)
    for one in changes:
        entity = (
            one.old_uscc
            if one.old_uscc == one.new_uscc or not one.new_uscc
            else f"{one.old_uscc or ''} → {one.new_uscc}"
        )
        status = f" {one.old_status} → {one.new_status}" if one.change == "STATUS" else ""
        why = f" {', '.join(one.codes)}" if one.codes else ""
        table.add_row(
            one.record_id.hex, escape(f"{one.province} {one.department}"), escape(entity or ""), f"{one.change}{status}{why}",
            f"{one.old_version or '—'} → {one.new_version or '—'}", escape(", ".join(one.fields)),
        )  # fmt: skip
    console.print(table)
    if total > len(changes):
        console.print(f"… {total - len(changes):,} more: --limit, or --format json, csv, page")
    console.print(hint("the events behind one: xinliu replay diff … --explain RECORD"), style="dim")
