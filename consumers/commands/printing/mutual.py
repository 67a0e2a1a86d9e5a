"""The 互认版 in a terminal: the entity, a matrix of provinces and domains, the basis of each part, the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.table import Table

from consumers.commands.printing.common import STYLE, print_cases, print_listing, print_penalty, question_text
from consumers.commands.printing.entity import heading
from consumers.report.mutual import MutualState, MutualView
from consumers.report.open_cases import OpenCase
from schemas.calendar.clock import time_text
from schemas.console.terminal import Console

__all__ = ["print_mutual"]

_WHY = {
    "SOURCE": "来源中断或从未报送",
    "UNKNOWN": "尚未收到该省市的完整检查点",
    "DIFFERS": "本地所存与该省市所共享核对不一致",
    "SILENT": "链路中断超过时限",
    "NOT_SHARED": "今日不在互认领域内",
    "UNAWARE": "该省市可能尚未获知新的登记",
}


def print_mutual(console: Console, view: MutualView, cases: Sequence[OpenCase] = ()) -> None:
    """Print the whole answer, with the open cases about its records; fits 80 columns."""
    for line in heading(view.uscc, view.registered):
        console.print(line, highlight=False)
    parts = [(name, list(cells)) for name, cells in groupby(view.states, key=lambda cell: cell.province_zh)]
    names = {cell.province: cell.province_zh for cell in view.states}
    served = names.get(view.served_by, view.served_by)
    console.print(f"[bold]互认版[/bold]  由{served}提供;各省市对其部分负责", highlight=False)
    console.print(question_text(view), highlight=False)
    if view.erased:
        console.print(f"[yellow]{view.erased} 条当时有效的记录此后被撤销或不再共享,内容已删除[/yellow]")
    console.print()
    console.print(_matrix(parts))
    console.print()
    for line in _foundations(view, parts, names):
        console.print(line, highlight=False)
    for penalty in view.penalties:
        print_penalty(console, penalty, whose=f"[bold cyan]{names.get(penalty['province'], penalty['province'])}[/]  ")
        print_cases(console, penalty, cases)
    for listing in view.listings:
        print_listing(console, listing, whose=f"[bold cyan]{names.get(listing['province'], listing['province'])}[/]  ")
        print_cases(console, listing, cases)
    console.print(f"\n[dim]token {view.moment.to_token()}[/dim]", soft_wrap=True, highlight=False)


def _matrix(parts: Sequence[tuple[str, Sequence[MutualState]]]) -> Table:
    """Return a row for each domain, a column for each province."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("领域")
    for name, _ in parts:
        table.add_column(name, no_wrap=True, min_width=8)
    for row in zip(*(cells for _, cells in parts), strict=True):
        table.add_row(row[0].display_label, *map(_cell, row))
    return table


def _cell(cell: MutualState) -> str:
    count = {"有": cell.penalties + cell.listings, "待核": cell.pending}.get(cell.state)
    return f"[{STYLE[cell.state]}]{cell.state}[/]" + (f" {count}" if count else "")


def _foundations(
    view: MutualView, parts: Sequence[tuple[str, Sequence[MutualState]]], names: dict[str, str]
) -> Iterator[str]:
    """Yield the basis of each province's part: until when it holds, or why it does not."""
    for name, cells in parts:
        times = [cell.data_as_of for cell in cells if cell.data_as_of is not None and cell.why is None]
        yield f"{name}  数据截至 {time_text(min(times, default=None))}" + (
            f"({len(times)} 个领域中最早)" if times else ""
        )
        whys = defaultdict[str, list[str]](list)
        for cell in cells:
            if cell.why is not None:
                whys[cell.why].append(cell.name_zh)
        for why, domains in whys.items():
            which = "全部领域" if len(domains) == len(cells) else "、".join(domains)
            yield f"        [{STYLE['未归集']}]{_WHY.get(why, why)}[/]: {which}"
    for province, waiting in view.registrations_waiting.items():
        yield f"[yellow]待核    {names.get(province, province)}另有 {waiting} 条登记记录被退回,尚待处理[/yellow]"
    stale = [names.get(province, province) for province, (_, why) in view.registrations_said.items() if why is not None]
    if stale:
        yield f"[yellow]提示    {'、'.join(stale)}的登记数据未齐:是否已迁往该地,以该地为准[/yellow]"
