"""`xinliu cases`: objections, corrections, updates and repairs (异议, 更正, 更新, 修复), across provinces."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.calendar.clock import time_text
from schemas.calendar.periods import china_day
from schemas.cases.fold import KINDS, OUTCOMES, STATES, CaseEvent
from schemas.cases.terms import STEPS
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.console.typed_text import code_typed, department_typed

if TYPE_CHECKING:
    from streams.cases.desk import Desk, Seen

__all__ = ["mount"]

cases = typer.Typer(
    help="异议, 更正, 更新, 修复: opened where the entity is registered, answered by whoever made the record.",
    no_args_is_help=True,
)

_ACKNOWLEDGED = {
    "ACKNOWLEDGED": "[green]已落实[/green]", "OPEN": "待落实, 期限", "OVERDUE": "[bold red]逾期未落实[/bold red], 期限",
}  # fmt: skip

CaseId = Annotated[str, typer.Argument(help="Id of a case, as `list` names it.", metavar="CASE")]
Reason = Annotated[str, typer.Option(help="Why, or what is asked for; kept for good, and told to the other provinces.")]
SomeReason = Annotated[str, typer.Option("--reason", help="A remark, kept with it.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]


def _desk(ctx: typer.Context) -> Desk:
    from streams.cases.desk import Desk

    return Desk(ctx.obj())


def _said(desk: Desk, event: CaseEvent, *, dry_run: bool, as_json: bool) -> None:
    if not dry_run:
        desk.write(event)
    if as_json:
        print(json.dumps({"event": asdict(event), "dry_run": dry_run}, ensure_ascii=False, default=str))
        return
    _, name = KINDS[event.kind]
    print(f"{event.case_id}: {name} ({event.kind})" + (" (dry run: nothing was written)" if dry_run else ""))


@cases.command("open")
def _open(
    ctx: typer.Context,
    record: Annotated[str, typer.Argument(help="Id of the record, as `xinliu show USCC --json` has it.")],
    procedure: Annotated[
        str, typer.Option(help="objection (异议), correction (更正), update (更新) or repair (修复).")
    ],
    reason: Reason,
    province: Annotated[str | None, typer.Option(help="Whose record, where several have one of that id.")] = None,
    department: Annotated[str | None, typer.Option(help="Which department's.", callback=department_typed)] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """收到: open a case about a record of an entity that is registered in this province."""
    with _desk(ctx) as desk:
        event = desk.opening(record, procedure.upper(), reason, province=province, department=department)
        _said(desk, event, dry_run=dry_run, as_json=as_json)


def _plainly(kind: str, about: str, *, needs_reason: bool) -> None:
    """Make the command that writes an event of one kind."""

    def with_reason(
        ctx: typer.Context, case: CaseId, reason: Reason, dry_run: DryRun = False, as_json: Json = False
    ) -> None:
        with _desk(ctx) as desk:
            _said(desk, desk.next_event(case, kind, reason), dry_run=dry_run, as_json=as_json)

    def without(
        ctx: typer.Context, case: CaseId, reason: SomeReason = "", dry_run: DryRun = False, as_json: Json = False
    ) -> None:
        with _desk(ctx) as desk:
            _said(desk, desk.next_event(case, kind, reason), dry_run=dry_run, as_json=as_json)

    cases.command(_VERBS[kind], help=about)(with_reason if needs_reason else without)


_VERBS = {
    "ACCEPTED": "accept", "DECLINED": "decline", "FORWARDED": "forward", "CANCELLED": "cancel", "NOTED": "note",
}  # fmt: skip

_plainly(
    "ACCEPTED",
    "受理: the leading province takes the case on; the terms of mark and forwarding begin.",
    needs_reason=False,
)
_plainly("DECLINED", "不予受理: the leading province does not take it on; that ends it.", needs_reason=True)
_plainly(
    "FORWARDED",
    "转办: to the province and department that made the record; the term of the answer begins.",
    needs_reason=False,
)
_plainly("CANCELLED", "申请人撤回: the applicant takes it back; that ends it.", needs_reason=True)
_plainly("NOTED", "说明: a remark of either side, which changes nothing.", needs_reason=True)


@cases.command("extend")
def _extend(
    ctx: typer.Context,
    case: CaseId,
    days: Annotated[int, typer.Option(help="Working days more.", min=1)],
    reason: Reason,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """延期: the province of the record needs more working days for its answer."""
    with _desk(ctx) as desk:
        _said(desk, desk.next_event(case, "EXTENDED", reason, working_days=days), dry_run=dry_run, as_json=as_json)


@cases.command("answer")
def _answer(
    ctx: typer.Context,
    case: CaseId,
    outcome: Annotated[
        str, typer.Option(help="upheld (维持), corrected (更正), revoked (撤销), repaired (修复) or removed (移出).")
    ],
    reason: Reason,
    version: Annotated[
        int | None, typer.Option(help="Version of the statement that came of it; by default the record's newest.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """答复: the province of the record answers, by a statement that its department has published (`xinliu change`)."""
    with _desk(ctx) as desk:
        event = desk.answer(case, outcome.upper(), reason, version=version)
        _said(desk, event, dry_run=dry_run, as_json=as_json)


@cases.command("close")
def _close(
    ctx: typer.Context, case: CaseId, reason: SomeReason = "", dry_run: DryRun = False, as_json: Json = False
) -> None:
    """办结: the leading province closes the case, once the statement that answers it has arrived."""
    with _desk(ctx) as desk:
        _said(desk, desk.closing(case, reason), dry_run=dry_run, as_json=as_json)


@cases.command("list")
def _list(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only those whose next step is this province's.")] = False,
    late: Annotated[bool, typer.Option("--late", help="Only those with a step whose term is over.")] = False,
    entity: Annotated[str | None, typer.Option(help="统一社会信用代码 of an entity.", callback=code_typed)] = None,
    record: Annotated[str | None, typer.Option(help="Id of a record.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are looked at, the newest first.")] = 1_000,
    wide: Wide = False,
    as_json: Json = False,
) -> int:
    """List open cases, the one due first at the top. Exit code 1 if one of them is late."""
    with _desk(ctx) as desk:
        own = desk.province
        found = [
            one
            for one in desk.seen(ended=every, limit=limit)
            if entity in (None, one.case.opened.uscc)
            and record in (None, one.case.opened.record_id)
            and (not mine or (one.next_step is not None and one.next_step.province == own))
            and (not late or one.late)
        ]
    if as_json:
        print(json.dumps({"cases": [_plain(one) for one in found]}, ensure_ascii=False, default=str))
    else:
        _table(found, wide=wide)
    return 1 if any(one.late for one in found) else 0


@cases.command("show")
def _show(ctx: typer.Context, case: CaseId, as_json: Json = False) -> None:
    """Show a case: its events, its steps with their terms, and the record as stored here."""
    with _desk(ctx) as desk:
        one = desk.named(case)
        acknowledged = desk.acknowledged(one)
    if as_json:
        plain = _plain(one) | {
            "acknowledged": acknowledged,
            "events": [asdict(event) for event in one.case.events],
            "void": [{"why": void.why, **asdict(void.event)} for void in one.case.void],
        }
        print(json.dumps(plain, ensure_ascii=False, default=str))
    else:
        _details(one, acknowledged)


def _plain(one: Seen) -> dict[str, Any]:
    of, answer, today = one.case.opened, one.case.answer, china_day(datetime.now(UTC))
    return {
        "case": one.case.case_id,
        "state": one.case.state,
        "procedure": of.procedure,
        "lead": one.case.lead,
        "uscc": of.uscc,
        "record_id": of.record_id,
        "record_province": of.record_province,
        "department": of.department,
        "opened_at": of.at.isoformat(),
        "outcome": answer.outcome if answer else None,
        "answer_version": answer.version if answer else None,
        "arrived_at": one.standing.get("arrived_at"),
        "marked_at": one.standing.get("marked_at"),
        "led_rightly": one.standing.get("led_rightly"),
        "late": one.late,
        "steps": [{**asdict(step), "late": step.late_by(today)} for step in one.steps],
    }


def _table(found: list[Seen], *, wide: bool) -> None:
    console = Console()
    if not found:
        console.print("no such cases")
        return
    rows = []
    for one in found:
        of, step = one.case.opened, one.next_step
        rows.append(
            (
                one.case.case_id,
                STATES[one.case.state],
                one.case.procedure.name_zh,
                escape(of.uscc),
                escape(f"{of.record_province} {of.department}"),
                f"{STEPS[step.step]} ({step.province})" if step else "—",
                _due(step.due, step.late_by(china_day(datetime.now(UTC)))) if step else "—",
            )
        )
    titles = ("case", "state", "procedure", "entity", "record of", "next", "due")
    print_table(console, titles, rows, least=("record of", "procedure"), text=("next", "due"), wide=wide)


def _due(due: date | None, late: bool) -> str:
    if due is None:
        return "[yellow]无法计算[/yellow]"
    return f"[bold red]{due} 逾期[/bold red]" if late else str(due)


def _details(one: Seen, acknowledged: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    case, of, held = one.case, one.case.opened, one.standing
    console.print(
        f"[bold]{case.case_id}[/bold]  {case.procedure.name_zh}  [bold]{STATES[case.state]}[/bold]  主办 {case.lead}"
    )
    console.print(escape(f"  entity {of.uscc}  record {of.record_id} of {of.record_province} {of.department}"))
    if held.get("led_rightly") is False:
        console.print(f"  [bold red]登记地为 {held['registered_in']}, 不应由 {case.lead} 主办: 本案不予办理[/bold red]")
    if held.get("record_status"):
        mark = f"  异议标注 {held['disputed_since']} 起" if held["disputed_since"] else ""
        console.print(f"  held here: {held['record_status']} version {held['held_version']}{mark}")
    today = china_day(datetime.now(UTC))
    for step in one.steps:
        done = f"[green]完成 {time_text(step.done_at)}[/green]" if step.done_at else "[yellow]待办[/yellow]"
        why = f"  {escape(step.trouble)}" if step.trouble else ""
        console.print(f"  {STEPS[step.step]}  {step.province}  期限 {_due(step.due, step.late_by(today))}  {done}{why}")
    if case.answer is not None:
        name, _ = OUTCOMES[case.answer.outcome or ""]
        arrived = f"已到达 {time_text(held['arrived_at'])}" if held.get("arrived_at") else "[yellow]未到达[/yellow]"
        console.print(f"  答复 [bold]{name}[/bold]: version {case.answer.version}, {arrived}")
    for duty in acknowledged:
        when = time_text(duty["acknowledged_at"] or duty["due_at"])
        console.print(f"  外省落实 {duty['province']}: {_ACKNOWLEDGED[duty['state']]} {when}")
    for event in case.events:
        more = f" {STEPS[event.step]} 期限 {event.due}" if event.step in STEPS else ""
        days = f" {event.working_days} 个工作日" if event.working_days else ""
        text = (
            f"  {time_text(event.at)}  {KINDS[event.kind][1]}{more}{days}  {event.province}  {event.by}  {event.reason}"
        )
        console.print(escape(text))
    for void in case.void:
        console.print(
            escape(f"  不计: {void.event.kind} {void.event.province} {time_text(void.event.at)}: {void.why}"),
            style="dim",
        )


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(cases, name="cases")
