"""The report of differences: as a table for a person, as JSON or CSV for machines, as a page to read, send or keep."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable

from rich.markup import escape

from schemas.console.hints import hint
from schemas.console.tables import print_table
from schemas.console.terminal import Console
from schemas.texts.spreadsheets import cell_written
from streams.replay.diff.differences import Compared, RecordChange, StateChange

__all__ = ["tell"]

_COLUMNS = (
    "change", "province", "domain", "department", "record_id", "old_uscc", "new_uscc", "old_status", "new_status",
    "old_version", "new_version", "codes", "field", "old", "new",
)  # fmt: skip
_STYLE = {"有": "bold red", "待核": "yellow", "无": "green", "": ""}


def tell(
    compared: Compared, turns: Iterable[StateChange], changes: Iterable[RecordChange], form: str, *, wide: bool = False
) -> None:
    """Write the differences to stdout; `form` as in the command, `wide` with every column of a table.

    JSON and CSV are streamed, row by row.
    """
    if form == "json":
        _json(compared, turns, changes)
    elif form == "csv":
        _csv(turns, changes)
    elif form == "page":
        from streams.replay.diff.page import page

        sys.stdout.write(page(compared, list(turns), list(changes)))
    else:
        _table(compared, list(turns), list(changes), wide=wide)


def _json(compared: Compared, turns: Iterable[StateChange], changes: Iterable[RecordChange]) -> None:
    # Streamed: millions of differences need no memory.
    sys.stdout.write(json.dumps(compared.to_json(), ensure_ascii=False)[:-1])
    told: tuple[tuple[str, Iterable[StateChange | RecordChange]], ...] = (("entities", turns), ("records", changes))
    for name, rows in told:
        sys.stdout.write(f', "{name}": [')
        for number, row in enumerate(rows):
            sys.stdout.write((", " if number else "") + json.dumps(row.to_json(), ensure_ascii=False))
        sys.stdout.write("]")
    sys.stdout.write("}\n")


def _csv(turns: Iterable[StateChange], changes: Iterable[RecordChange]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_COLUMNS)
    for turn in turns:
        if turn.turns or not turn.explained:
            what = "TURNS" if turn.explained else "COUNTS"
            place = (what, turn.province, turn.domain, "", "", turn.uscc, turn.uscc, "", "", "", "", "")
            writer.writerow(map(cell_written, (*place, "word", turn.was, turn.becomes)))
    for one in changes:
        head = (
            one.change, one.province, one.domain, one.department, one.record_id.hex, one.old_uscc, one.new_uscc, one.old_status,
            one.new_status, one.old_version, one.new_version, " ".join(one.codes),
        )  # fmt: skip
        for name, (old, new) in one.fields.items() or {"": ("", "")}.items():
            told = (json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for v in (old, new))
            writer.writerow(map(cell_written, (*head, name, *told)))


def _table(compared: Compared, turns: list[StateChange], changes: list[RecordChange], *, wide: bool) -> None:
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
    _summary(console, compared, wide)
    _turns(console, turns, sum(compared.turned.values()), wide)
    _changes(console, changes, sum(n for *_, n in compared.summary), wide)


def _summary(console: Console, compared: Compared, wide: bool) -> None:
    rows = [
        (escape(domain), escape(department), change, f"{n:,}") for domain, department, change, n in compared.summary
    ]
    print_table(console, ("domain", "department", "change", "records"), rows, right=("records",), wide=wide)


def _turns(console: Console, turns: list[StateChange], total: int, wide: bool) -> None:
    shown = [turn for turn in turns if turn.turns or not turn.explained]
    if not shown:
        return
    rows = [
        (
            turn.uscc, turn.province, turn.domain, f"[{_STYLE[turn.was]}]{turn.was}[/]" if turn.was else "",
            f"[{_STYLE[turn.becomes]}]{turn.becomes}[/]" if turn.becomes else "",
            f"{turn.old_penalties or 0} → {turn.new_penalties or 0}", f"{turn.old_listings or 0} → {turn.new_listings or 0}",
        )
        for turn in shown
    ]  # fmt: skip
    titles = ("entity", "province", "domain", "was", "becomes", "penalties", "listings")
    print_table(console, titles, rows, least=("listings", "penalties"), wide=wide)
    if total > len(shown):
        console.print(f"… {total - len(shown):,} more: --limit, or --format json, csv, page")


def _changes(console: Console, changes: list[RecordChange], total: int, wide: bool) -> None:
    if not changes:
        return
    rows = []
    for one in changes:
        entity = (
            one.old_uscc
            if one.old_uscc == one.new_uscc or not one.new_uscc
            else f"{one.old_uscc or ''} → {one.new_uscc}"
        )
        status = f" {one.old_status} → {one.new_status}" if one.change == "STATUS" else ""
        why = f" {', '.join(one.codes)}" if one.codes else ""
        rows.append(
            (
                one.record_id.hex, escape(f"{one.province} {one.department}"), escape(entity or ""),
                f"{one.change}{status}{why}", f"{one.old_version or '—'} → {one.new_version or '—'}",
                escape(", ".join(one.fields)),
            )
        )  # fmt: skip
    titles = ("record", "of", "entity", "change", "version", "fields")
    print_table(console, titles, rows, least=("version", "fields", "of"), text=("change", "fields"), wide=wide)
    if total > len(changes):
        console.print(f"… {total - len(changes):,} more: --limit, or --format json, csv, page")
    console.print(hint("the events behind one: xinliu replay diff … --explain RECORD"), style="dim")
