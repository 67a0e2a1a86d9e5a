"""`xinliu show`: one entity's credit view, for a person or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from consumers.cases import OpenCase, open_cases
from consumers.heading import heading
from consumers.reading import CreditView, read
from consumers.token import Moment
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.connection import Connection

__all__ = ["show"]

CHINA = ZoneInfo("Asia/Shanghai")

_SOURCE_STYLE = {"正常": "green", "迟": "yellow", "中断": "bold magenta"}
_KINDS = {"PENALTY": "处罚", "LISTING": "名单"}
_ANSWERS = {True: "是", False: "否", None: "该日尚无规则"}
_BASIS = {
    "STATED": "记录所载", "LEVEL_MAXIMUM": "失信程度最长期限", "LEVEL_MINIMUM": "失信程度最短期限", "LIST_PERIOD": "名单规定期限",
    "REMOVED": "已移出", "NO_TERM": "未定期限", "NO_RULE": "该日尚无规则",
}  # fmt: skip
_STYLE = {"有": "bold red", "待核": "yellow", "未归集": "magenta", "无": "green"}


def show(
    ctx: typer.Context,
    uscc: Annotated[str, typer.Argument(help="统一社会信用代码 of the entity.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="What was known then: 2026-11-23T10:00 (China time unless it has a zone)."),
    ] = None,
    on: Annotated[
        datetime | None,
        typer.Option("--on", formats=["%Y-%m-%d"], help="What was in force on this day, by the records' own dates."),
    ] = None,
    token: Annotated[str | None, typer.Option(help="Give the answer again that carried this token.")] = None,
    window_from: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            help="First day of the window; at the earliest, and by default, 5 years back.",
        ),
    ] = None,
    window_to: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of the window; today.")
    ] = None,
    sources: Annotated[bool, typer.Option("--sources", help="How fresh every department of every domain is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole view as JSON.")] = False,
) -> None:
    """Show an entity: 有 / 无 / 待核 / 未归集 for each domain, what is in force, and how fresh each source is."""
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    database = (connection.reader_database or connection.database).get_secret_value()
    if on and (window_from or window_to):
        raise UsageError(
            "--on asks what was in force on one day, --from and --to for a report's window: give one of them"
        )
    if token and (on or window_from or window_to or as_of):
        raise UsageError("the token says what was asked for: leave out --as-of, --on, --from and --to")
    view = read(
        database,
        uscc.strip().upper(),
        window_from=_day("--from", window_from),
        window_to=_day("--to", window_to),
        on=_day("--on", on),
        as_of=_time(as_of) if as_of else None,
        moment=Moment.from_token(token) if token else None,
    )
    then = (view.moment.known_until or view.moment.read_at) if as_of or token else None
    cases = open_cases(database, [row["record_id"] for row in (*view.penalties, *view.listings)], until=then)
    if as_json:
        print(
            json.dumps(
                _plain(view) | {"cases": [asdict(one) for one in cases]}, ensure_ascii=False, indent=2, default=_text
            )
        )
    else:
        _print(view, cases, sources=sources)


def _day(option: str, value: datetime | None) -> date | None:
    if value is None:
        return None
    # As the rule DATE_RANGE has it: no record bears another day.
    if not 1900 <= value.year <= 2999:
        raise UsageError(f"{option} {value.date()} is no day of a record: 1900 to 2999")
    return value.date()


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text!r} is no time: write 2026-11-23T10:00 or 2026-11-23T10:00:00+08:00") from None
    return time if time.tzinfo else time.replace(tzinfo=CHINA)


def _plain(view: CreditView) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(view).items() if key != "moment"}
    return plain | {
        "token": view.moment.to_token(),
        "generation": view.moment.generation,
        "read_at": view.moment.read_at,
        "known_until": view.moment.known_until,
    }


def _text(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in the answer")


def _local(time: datetime | None) -> str:
    return time.astimezone(CHINA).strftime("%Y-%m-%d %H:%M") if time else "—"


def _print(view: CreditView, cases: Sequence[OpenCase], *, sources: bool) -> None:
    console = Console()
    for line in heading(view.uscc, view.registered):
        console.print(line, highlight=False)
    console.print(_asked(view), highlight=False)
    if view.erased:
        console.print(f"[yellow]{view.erased} 条当时有效的记录此后被撤销,内容已删除[/yellow]")
    _domains(console, view)
    _sources(console, view, every=sources)
    for penalty in view.penalties:
        _penalty(console, penalty)
        _cases(console, penalty, cases)
    for listing in view.listings:
        _listing(console, listing)
        _cases(console, listing, cases)
    console.print(f"\n[dim]token {view.moment.to_token()}[/dim]", soft_wrap=True, highlight=False)


def _domains(console: Console, view: CreditView) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for title in ("领域", "结果", "处罚", "名单", "待核", "数据截至"):
        table.add_column(title, justify="right" if title in ("处罚", "名单") else "left")
    quiet: dict[str, list[str]] = {}
    for line in view.domains:
        if line.state in ("无", "未归集"):
            quiet.setdefault(line.state, []).append(line.name_zh)
            continue
        table.add_row(
            line.display_label,
            f"[{_STYLE[line.state]}]{line.state}[/]",
            str(line.penalties or ""),
            str(line.listings or ""),
            str(line.pending or ""),
            _local(line.data_as_of),
        )
    if table.row_count:
        console.print(table)
    for state, names in quiet.items():
        oldest = [line.data_as_of for line in view.domains if line.state == state and line.data_as_of]
        until = f"(数据截至最早 {_local(min(oldest))})" if state == "无" and oldest else ""
        console.print(f"[{_STYLE[state]}]{state}[/]  {len(names)} 个领域{until}: {'、'.join(names)}", highlight=False)


def _asked(view: CreditView) -> str:
    """Return in words what the answer is about: the day or the window with its anchors, and until when it was known."""
    known = f"截至 {_local(view.moment.known_until)} 已知的" if view.moment.known_until else "现知"
    if view.window is None:
        what = f"{view.on} 当日有效(处罚: 决定日期至处罚有效期; 名单: 列入日期至有效期至或移出日期前一日)"
    else:
        first, last = view.window
        rules = view.anchors.items()
        anchors = "; ".join(f"{_KINDS[kind]}: {rule['anchor_zh']}" for kind, rule in rules)
        what = (
            f"涵盖时间范围 {first} 至 {last}({anchors}; 最长 {min(rule['max_months'] for _, rule in rules) // 12} 年)"
        )
    return f"{what}  {known}情况  读取于 {_local(view.moment.read_at)}"


def _period(row: dict[str, Any]) -> str:
    until = row["publish_to"] or "未定期限"
    web, printed = _ANSWERS[row["publishable"]], _ANSWERS[row["reportable"]]
    repair = f"  可申请修复自 {row['repair_from']}" if row["repair_from"] else ""
    return f"  公示期 {row['publish_from']} 至 {until}({_BASIS[row['publish_basis']]})  可公示: {web}  入报告: {printed}{repair}"


def _sources(console: Console, view: CreditView, *, every: bool) -> None:
    """Say which sources are not in time; each one, where every one is asked for."""
    if every:
        names = {line.domain: line.name_zh for line in view.domains}
        table = Table(show_edge=False, pad_edge=False)
        for title in ("领域", "来源部门", "数据截至", "状态", "自"):
            table.add_column(title)
        for one in view.domain_sources:
            if one.domain in names:
                state = f"[{_SOURCE_STYLE[one.state]}]{one.state}[/]"
                table.add_row(names[one.domain], one.name_zh, _local(one.data_as_of), state, _local(one.since))
        console.print(table)
        return
    named = {one.department: one for one in view.domain_sources if one.state != "正常"}
    for state in ("迟", "中断"):
        heard = [one for one in named.values() if one.state == state and one.since is not None]
        for one in sorted(heard, key=lambda source: source.since or view.moment.read_at):
            console.print(
                f"[{_SOURCE_STYLE[state]}]{state}[/]  {one.name_zh}: 自 {_local(one.since)}, 数据截至 {_local(one.data_as_of)}",
                highlight=False,
            )
    never = sum(one.since is None for one in named.values())
    if never:
        console.print(f"[{_SOURCE_STYLE['中断']}]中断[/]  {never} 个来源从未报送(--sources 列出)", highlight=False)


def _penalty(console: Console, row: dict[str, Any]) -> None:
    console.print(
        f"\n[bold]行政处罚[/bold] {row['document_number']}  {row['decided_on']}  {row['authority_name']}{_mark(row)}",
        highlight=False,
    )
    money = f"  罚款 {row['fine'].normalize():f} 万元" if row["fine"] is not None else ""
    console.print(f"  {row['categories']}{money}  {row['content']}", highlight=False)
    console.print(f"  [dim]{row['violation_type']}: {row['facts']}[/dim]", highlight=False)
    console.print(f"  失信程度 {row['level'] or '未标明'}{_period(row)}", highlight=False)


def _listing(console: Console, row: dict[str, Any]) -> None:
    removed = f"  已移出 {row['removed_on']}({row['removal_reason']})" if row["removed_on"] else ""
    console.print(
        f"\n[bold]严重失信主体名单[/bold] {row['list']} {row['entry_id']}  列入 {row['listed_on']}  {row['authority_name']}{removed}{_mark(row)}",
        highlight=False,
    )
    console.print(f"  [dim]{row['grounds']}[/dim]", highlight=False)
    console.print(f"{_period(row)}", highlight=False)


def _cases(console: Console, row: dict[str, Any], cases: Sequence[OpenCase]) -> None:
    for one in cases:
        if one.key == (row["record_id"], row["province"], row["department"]):
            console.print(f"  [yellow]{one.shown()}[/yellow]", highlight=False)


def _mark(row: dict[str, Any]) -> str:
    return f"  [yellow]异议标注 {row['disputed_since']} 起[/yellow]" if row["disputed_since"] else ""
