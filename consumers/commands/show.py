"""`xinliu show`: one entity's credit view, for a person or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from consumers.commands.printing.common import STYLE, print_cases, print_listing, print_penalty, question_text, text_of
from consumers.commands.printing.entity import heading
from consumers.commands.printing.mutual import print_mutual
from consumers.report.credit_view import CreditView, read
from consumers.report.mutual import MutualView, ServedElsewhere, read_mutual
from consumers.report.open_cases import OpenCase, open_cases
from consumers.report.token import Moment
from schemas.calendar.clock import TIME_HELP, read_time, time_text
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import code_typed
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["mount", "show"]

_SOURCE_STYLE = {"正常": "green", "迟": "yellow", "中断": "bold magenta"}


class _Days(TypedDict):
    window_from: date | None
    window_to: date | None
    on: date | None
    moment: Moment | None


class Edition(StrEnum):
    """The report's edition."""

    own = "own"
    mutual = "mutual"


def show(
    ctx: typer.Context,
    uscc: Annotated[str, typer.Argument(help="统一社会信用代码 of the entity.", callback=code_typed)],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help=f"What was known then: {TIME_HELP}"),
    ] = None,
    on: Annotated[
        datetime | None,
        typer.Option("--on", formats=["%Y-%m-%d"], help="What was in force on this day, by the records' own dates."),
    ] = None,
    edition: Annotated[
        Edition | None,
        typer.Option(
            help="own: this province's records (北京版). mutual: 互认版, province by domain, where the entity is registered.",
            show_default="own, or the token's",
        ),
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
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole view as JSON.")] = False,
) -> None:
    """Show an entity: 有 / 无 / 待核 / 未归集 for each domain, the records in force, and how fresh each source is.

    --edition mutual: by province, too. Exit code 1 if another province serves it; the output names that province.
    """
    connect: Callable[[], Connection] = ctx.obj
    connection = connect()
    database = (connection.reader_database or connection.database).get_secret_value()
    if on and (window_from or window_to):
        raise UsageError(
            "--on asks what was in force on one day, --from and --to for a report's window: give one of them"
        )
    if token and (on or window_from or window_to or as_of):
        raise UsageError("the token says what was asked for: leave out --as-of, --on, --from and --to")
    moment = Moment.from_token(token) if token else None
    days: _Days = {
        "window_from": _day("--from", window_from),
        "window_to": _day("--to", window_to),
        "on": _day("--on", on),
        "moment": moment,
    }
    if edition is Edition.mutual or (edition is None and moment is not None and moment.mutual is not None):
        if as_of:
            raise UsageError(
                "--as-of cannot be told of a 互认版: what the other provinces vouched for then is not kept here; the token of a"
                " reading gives that reading again, and --edition own what this province knew"
            )
        if sources:
            raise UsageError("--sources lists this province's own departments: leave it out, or use --edition own")
        _show_mutual(database, uscc, days, as_json=as_json)
        return
    view = read(database, uscc, as_of=read_time(as_of, "--as-of"), **days)
    then = (view.moment.known_until or view.moment.read_at) if as_of or token else None
    cases = open_cases(database, [row["record_id"] for row in (*view.penalties, *view.listings)], until=then)
    if as_json:
        told = {"edition": "own"} | _plain(view) | {"cases": [asdict(one) for one in cases]}
        print(json.dumps(told, ensure_ascii=False, indent=2, default=text_of))
    else:
        _print(view, cases, sources=sources, wide=wide)


def _show_mutual(database: str, uscc: str, days: _Days, *, as_json: bool) -> None:
    try:
        view = read_mutual(database, uscc, **days)
    except ServedElsewhere as elsewhere:
        if as_json:
            told = {"edition": "mutual", "uscc": uscc, "served_by": elsewhere.province, "since": elsewhere.since}
            told |= {"province_source": elsewhere.source, "message": str(elsewhere)}
            print(json.dumps(told, ensure_ascii=False, indent=2, default=text_of))
        raise
    then = view.moment.read_at if days["moment"] else None
    cases = open_cases(database, [row["record_id"] for row in (*view.penalties, *view.listings)], until=then)
    if as_json:
        shown = {"edition": "mutual"} | _plain(view) | {"cases": [asdict(one) for one in cases]}
        print(json.dumps(shown, ensure_ascii=False, indent=2, default=text_of))
    else:
        print_mutual(Console(), view, cases)


def _day(option: str, value: datetime | None) -> date | None:
    if value is None:
        return None
    # As in the rule DATE_RANGE: no record has a day outside.
    if not 1900 <= value.year <= 2999:
        raise UsageError(f"{option} {value.date()} is no day of a record: 1900 to 2999")
    return value.date()


def _plain(view: CreditView | MutualView) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(view).items() if key != "moment"}
    return plain | {
        "token": view.moment.to_token(),
        "generation": view.moment.generation,
        "read_at": view.moment.read_at,
        "known_until": view.moment.known_until,
    }


def _print(view: CreditView, cases: Sequence[OpenCase], *, sources: bool, wide: bool) -> None:
    console = Console()
    for line in heading(view.uscc, view.registered):
        console.print(line, highlight=False)
    console.print(question_text(view), highlight=False)
    if view.erased:
        console.print(f"[yellow]{view.erased} 条当时有效的记录此后被撤销,内容已删除[/yellow]")
    _domains(console, view, wide=wide)
    _sources(console, view, every=sources, wide=wide)
    for penalty in view.penalties:
        print_penalty(console, penalty)
        print_cases(console, penalty, cases)
    for listing in view.listings:
        print_listing(console, listing)
        print_cases(console, listing, cases)
    console.print(f"\n[dim]token {view.moment.to_token()}[/dim]", soft_wrap=True, highlight=False)


def _domains(console: Console, view: CreditView, *, wide: bool) -> None:
    rows = []
    quiet: dict[str, list[str]] = {}
    for line in view.domains:
        if line.state in ("无", "未归集"):
            quiet.setdefault(line.state, []).append(line.name_zh)
            continue
        rows.append(
            (
                line.display_label,
                f"[{STYLE[line.state]}]{line.state}[/]",
                str(line.penalties or ""),
                str(line.listings or ""),
                str(line.pending or ""),
                time_text(line.data_as_of),
            )
        )
    if rows:
        titles = ("领域", "结果", "处罚", "名单", "待核", "数据截至")
        print_table(console, titles, rows, text=("领域",), right=("处罚", "名单"), wide=wide)
    for state, names in quiet.items():
        oldest = [line.data_as_of for line in view.domains if line.state == state and line.data_as_of]
        until = f"(数据截至最早 {time_text(min(oldest))})" if state == "无" and oldest else ""
        console.print(f"[{STYLE[state]}]{state}[/]  {len(names)} 个领域{until}: {'、'.join(names)}", highlight=False)


def _sources(console: Console, view: CreditView, *, every: bool, wide: bool) -> None:
    """Print the sources that are late; with `every`, each source."""
    if every:
        names = {line.domain: line.name_zh for line in view.domains}
        rows = []
        for one in view.domain_sources:
            if one.domain in names:
                state = f"[{_SOURCE_STYLE[one.state]}]{one.state}[/]"
                rows.append((names[one.domain], one.name_zh, time_text(one.data_as_of), state, time_text(one.since)))
        titles = ("领域", "来源部门", "数据截至", "状态", "自")
        print_table(console, titles, rows, least=("自",), text=("领域", "来源部门"), wide=wide)
        return
    named = {one.department: one for one in view.domain_sources if one.state != "正常"}
    for state in ("迟", "中断"):
        heard = [one for one in named.values() if one.state == state and one.since is not None]
        for one in sorted(heard, key=lambda source: source.since or view.moment.read_at):
            console.print(
                f"[{_SOURCE_STYLE[state]}]{state}[/]  {one.name_zh}: 自 {time_text(one.since)}, 数据截至 {time_text(one.data_as_of)}",
                highlight=False,
            )
    never = sum(one.since is None for one in named.values())
    if never:
        console.print(f"[{_SOURCE_STYLE['中断']}]中断[/]  {never} 个来源从未报送(--sources 列出)", highlight=False)


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(show)
