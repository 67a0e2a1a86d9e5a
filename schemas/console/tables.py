"""Tables on a terminal: as many columns as fit, none cut off; --wide shows all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from schemas.console.terminal import Console

__all__ = ["Wide", "print_table"]

Wide = Annotated[bool, typer.Option("--wide", help="Every column of the table, however wide the terminal is.")]

_GAP = 3
"""Width between two columns: a blank, a line, a blank."""
_READABLE = 16
"""Minimum width of a text column, which breaks between words; less is unreadable."""


def print_table(
    console: Console,
    titles: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    least: Sequence[str] = (),
    text: Sequence[str] = (),
    right: Sequence[str] = (),
    wide: bool = False,
    title: str | None = None,
    styles: Sequence[str | None] = (),
) -> None:
    """Print a table, in the console's markup, without cutting anything off.

    `least` names the columns that are dropped one after the other while the table is too wide, with a note below it;
    `text` those with sentences, which may break. If that is not enough, all columns break, and none is cut. `wide`
    drops none, and lets lines be as long as they are. `right` names columns of numbers, `styles` are of rows.
    """
    parsed = [[cell if isinstance(cell, Text) else Text.from_markup(cell) for cell in row] for row in rows]
    needed = {name: max([cell_len(name), *(_width(row[place]) for row in parsed)]) for place, name in enumerate(titles)}
    most = {name: min(width, _READABLE) if name in text else width for name, width in needed.items()}
    shown = list(titles)
    # Empty columns go first.
    for name in () if wide else sorted(least, key=lambda name: needed[name] > cell_len(name)):
        if _total(most[one] for one in shown) <= console.width:
            break
        shown.remove(name)
    fits = wide or _total(most[one] for one in shown) <= console.width
    table = Table(show_edge=False, pad_edge=False, title=title, title_justify="left")
    for name in shown:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=fits and name not in text,
            min_width=needed[name] if wide else None,
        )
    places = [place for place, name in enumerate(titles) if name in shown]
    for number, row in enumerate(parsed):
        table.add_row(*(row[place] for place in places), style=styles[number] if styles else None)
    before = console.width
    if wide:
        console.width = max(before, _total(needed.values()))
    console.print(table, crop=False)
    console.width = before
    if len(shown) < len(titles):
        left_out = ", ".join(name for name in titles if name not in shown)
        console.print(
            f"left out: {left_out} (--wide shows them)", style="dim", markup=False, highlight=False, soft_wrap=True
        )


def _width(cell: Text) -> int:
    return max((cell_len(line) for line in cell.plain.splitlines()), default=0)


def _total(widths: Iterable[int]) -> int:
    known = list(widths)
    return sum(known) + _GAP * (len(known) - 1)
