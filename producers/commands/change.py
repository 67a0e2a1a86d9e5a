"""`xinliu change …`: one change of one record, from the department's side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producers.changes import versions as changes
from producers.changes.record_choice import RecordDescription, choose_record
from producers.changes.versions import Statement
from producers.commands.options import Ignored, Mapped, Sheets, file_options
from producers.commands.progress import Fate, await_visible, interruptible
from producers.errors import RowError, StatementRejected
from producers.files.values.values import CellRefused, read_date
from producers.publisher import Publisher, PublisherConfig
from producers.receipts import Receipts
from producers.statements.encoding import to_json
from producers.statements.examination import check
from schemas.calendar.clock import TIME_HELP, read_time
from schemas.catalogue import Department, load
from schemas.console.options import Json
from schemas.console.terminal import Console
from schemas.console.typed_text import code_typed, department_typed
from schemas.errors import Retryable, UsageError

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["change", "mount"]

change = typer.Typer(
    no_args_is_help=True,
    help="Change one record: 更正, 修复, 撤销, 移出, 恢复列入, 异议标注, 维持. What each does to whom: docs/lifecycle.md.",
)

_Department = Annotated[
    str,
    typer.Option(
        help="Key of the department, or its name in Chinese: `xinliu catalogue show departments`.",
        callback=department_typed,
    ),
]
_From = Annotated[
    Path | None,
    typer.Option(
        "--from", help="The record as it stands: a statement (.json), or your own file (.csv, .xlsx, .jsonl)."
    ),
]
_Content = Annotated[
    Path,
    typer.Option(
        "--from", help="The record as it stands: a statement (.json), or your own file (.csv, .xlsx, .jsonl)."
    ),
]
_Number = Annotated[str | None, typer.Option(help="文号 of the penalty; chooses the row of --from, too.")]
_Entry = Annotated[str | None, typer.Option(help="条目编号 of the list entry; chooses the row of --from, too.")]
_Uscc = Annotated[str | None, typer.Option(help="统一社会信用代码 of the entity.", callback=code_typed)]
_Name = Annotated[str | None, typer.Option(help="Name of the entity.")]
_List = Annotated[str | None, typer.Option("--list", help="Key of the list, where the department keeps several.")]
_Domain = Annotated[str | None, typer.Option(help="Key of the domain, where the department has several.")]
_Authority = Annotated[
    str | None, typer.Option(help="USCC of the authority, where the department has several.", callback=code_typed)
]
_Record = Annotated[
    str | None, typer.Option("--record-id", help="The record's id: needed where number or entity were once corrected.")
]
_Kind = Annotated[str | None, typer.Option(help="penalty or listing, where only --record-id says which record.")]
_Version = Annotated[int | None, typer.Option(help="The new version; by default the time in milliseconds.")]
_StatedAt = Annotated[str | None, typer.Option(help=f"When this became true; now by default. {TIME_HELP}")]
_Province = Annotated[str | None, typer.Option(help="Province of the department; that of the servers by default.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, send nothing; needs no servers.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Return when it is visible in the view or refused.")]
_Timeout = Annotated[float, typer.Option(help="Seconds that --wait waits at most.", min=1)]


@dataclass(kw_only=True)
class ChangeOutcome(Fate):
    """The result of a change, with the new statement; as --json prints it."""

    change: str
    department: str
    record_id: str
    version: int
    statement: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Way:
    """Options of every change: its department, the reading of its file, the publication. Each field is an option."""

    department: _Department
    mapped: Mapped = None
    ignored: Ignored = None
    sheets: Sheets = None
    version: _Version = None
    stated_at: _StatedAt = None
    province: _Province = None
    dry_run: _DryRun = False
    wait: _Wait = False
    timeout: _Timeout = 120.0
    as_json: Json = False


def _changing(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options of _Way beside its own; it takes them as `way`."""
    shared = signature(_Way, eval_str=True).parameters
    own = [one for name, one in signature(command, eval_str=True).parameters.items() if name != "way"]

    def changing(**options: Any) -> None:
        command(way=_Way(**{name: options.pop(name) for name in shared}), **options)

    options = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*own, *shared.values())]
    changing.__name__, changing.__doc__ = command.__name__, command.__doc__
    changing.__annotations__ = {one.name: one.annotation for one in options}
    changing.__signature__ = Signature(options)  # type: ignore[attr-defined]  # what Typer reads
    return changing


@change.command()
@_changing
def correct(
    ctx: typer.Context,
    way: _Way,
    file: Annotated[
        Path, typer.Option("--from", help="The record as it should be: a statement (.json), or your own file with it.")
    ],
    number: _Number = None,
    entry: _Entry = None,
    uscc: _Uscc = None,
    record_id: _Record = None,
    was_number: Annotated[
        str | None, typer.Option(help="文号 or 条目编号 as first published, if that was wrong.")
    ] = None,
    was_uscc: Annotated[
        str | None, typer.Option(help="The entity as first published, if that was wrong.", callback=code_typed)
    ] = None,
) -> None:
    """更正: content, money, document number or entity. The record keeps its id; another entity takes it over at once."""

    def corrected(right: Statement, source: Department, **when: Any) -> Statement:
        body = right.get(right["kind"].lower())
        if right["status"] != "IN_FORCE" or not body:
            raise UsageError(f"{file} states a record without content: a correction says how it should be")
        if was_number or was_uscc:
            first = changes.named(
                source,
                kind=right["kind"],
                uscc=was_uscc or right["subject"]["uscc"],
                name=right["subject"]["name"],
                number=was_number or body.get("document_number") or body.get("entry_id"),
                list_key=body.get("list"),
                domain=right["domain"],
                authority=right["authority"],
                record=record_id,
            )
            right = {**right, "record_id": first["record_id"]}
        return changes.corrected(right, subject=right["subject"], **when, **body)

    _run(ctx, "correct", way, RecordDescription(number, entry, uscc, record=record_id), file, corrected)


def _bare(name: str, make: Callable[..., Statement], doc: str) -> None:
    """Add the command of a change that needs no content."""

    def command(
        ctx: typer.Context,
        way: _Way,
        number: _Number = None,
        entry: _Entry = None,
        uscc: _Uscc = None,
        subject_name: Annotated[str | None, typer.Option("--name", help="Name of the entity.")] = None,
        list_key: _List = None,
        domain: _Domain = None,
        authority: _Authority = None,
        record_id: _Record = None,
        kind: _Kind = None,
        file: _From = None,
    ) -> None:
        said = RecordDescription(number, entry, uscc, subject_name, list_key, domain, authority, record_id, kind)
        _run(ctx, name, way, said, file, lambda held, _, **when: make(held, **when))

    change.command(name, help=doc)(_changing(command))


_bare("repair", changes.repaired, "信用修复: hidden from now on and no longer shared; history keeps it.")
_bare("revoke", changes.revoked, "撤销: as if it had never been; its content is erased everywhere, for good.")


@change.command()
@_changing
def remove(
    ctx: typer.Context,
    way: _Way,
    file: _Content,
    on: Annotated[str, typer.Option(help="移出日期.")],
    why: Annotated[str, typer.Option(help="移出事由: 期满, 提前移出, 撤销 or 更正.")],
    entry: _Entry = None,
    uscc: _Uscc = None,
    record_id: _Record = None,
) -> None:
    """移出: a list entry leaves its list."""
    day = _day(on, "--on")
    _run(
        ctx, "remove", way, RecordDescription(entry=entry, uscc=uscc, record=record_id), file,
        lambda held, _, **when: changes.removed(held, on=day, why=why, **when),
    )  # fmt: skip


@change.command()
@_changing
def relist(
    ctx: typer.Context,
    way: _Way,
    file: _Content,
    entry: _Entry = None,
    uscc: _Uscc = None,
    record_id: _Record = None,
) -> None:
    """恢复列入: a removal that was obtained by fraud is undone; the same entry is in force again."""
    said = RecordDescription(entry=entry, uscc=uscc, record=record_id)
    _run(ctx, "relist", way, said, file, lambda held, _, **when: changes.relisted(held, **when))


@change.command()
@_changing
def dispute(
    ctx: typer.Context,
    way: _Way,
    file: _Content,
    since: Annotated[str | None, typer.Option(help="异议标注日期; today (China) by default.")] = None,
    number: _Number = None,
    entry: _Entry = None,
    uscc: _Uscc = None,
    record_id: _Record = None,
) -> None:
    """异议标注: the record bears the mark of an accepted objection."""
    day = None if since is None else _day(since, "--since")
    said = RecordDescription(number, entry, uscc, record=record_id)
    _run(ctx, "dispute", way, said, file, lambda held, _, **when: changes.disputed(held, since=day, **when))


@change.command()
@_changing
def uphold(
    ctx: typer.Context,
    way: _Way,
    file: _Content,
    number: _Number = None,
    entry: _Entry = None,
    uscc: _Uscc = None,
    record_id: _Record = None,
) -> None:
    """异议核查后维持: the mark is lifted, the record stands. --from states it with its mark (异议标注日期)."""
    said = RecordDescription(number, entry, uscc, record=record_id)
    _run(ctx, "uphold", way, said, file, lambda held, _, **when: changes.upheld(held, **when))


def _run(
    ctx: typer.Context, name: str, way: _Way, said: RecordDescription, file: Path | None, make: Callable[..., Statement]
) -> None:
    connect: Callable[[], Connection] = ctx.obj
    connection = None if way.dry_run else connect().acting(f"department-{way.department}")
    where = way.province or (connection.province if connection else "beijing")
    if connection is not None and where != connection.province:
        raise UsageError(f"these servers are {connection.province}'s, not {where}'s: choose another --stack")
    catalogue = load()
    source = catalogue.department(where, way.department)
    held = choose_record(source, catalogue, said, file, file_options(way.mapped, way.ignored, way.sheets))
    try:
        made = make(held, source, version=way.version, stated_at=read_time(way.stated_at, "--stated-at"))
        errors, remarks = check(made, source, catalogue)
    except StatementRejected as error:
        raise UsageError(str(error)) from error
    outcome = ChangeOutcome(
        change=name,
        department=way.department,
        record_id=made["record_id"],
        version=made["version"],
        statement=json.loads(to_json(made)),
        dry_run=way.dry_run,
        remarks=[asdict(remark) for remark in remarks],
    )
    unfinished: Retryable | None = None
    if connection is not None and not errors:
        try:
            with interruptible(lambda: _so_far(outcome)):
                _send(connection, way, made, outcome, errors)
        except Retryable as error:
            unfinished = error  # the known facts are reported all the same
    outcome.errors = [asdict(error) for error in errors]
    print(json.dumps(asdict(outcome), ensure_ascii=False, indent=2)) if way.as_json else _tell(outcome)
    if unfinished is not None:
        raise unfinished
    if errors:
        raise typer.Exit(1)


def _so_far(outcome: ChangeOutcome) -> str:
    """Return the state that Ctrl-C leaves behind."""
    if outcome.sent:
        return "the change is sent and confirmed; it becomes visible without this command"
    return "the change is not confirmed and may not have been sent; give the same command again, which changes nothing twice"


def _send(
    connection: Connection, way: _Way, statement: Mapping[str, Any], outcome: ChangeOutcome, errors: list[RowError]
) -> None:
    receipts = Receipts(connection.kafka, connection.registry, way.department) if way.wait else None
    try:
        config = PublisherConfig(connection.kafka, connection.registry, way.department)
        with Publisher(config, track=way.wait) as publisher:
            publisher.partitions()  # a missing server or topic is reported at once
            publisher.publish(statement)
            publisher.flush()
            outcome.sent = publisher.published
            (partitions, offsets) = publisher.offsets
        if receipts is not None:
            # It waits for its own record, not for a marker: one change does not vouch for all of a source's data.
            place = partitions[0], offsets[0]
            await_visible(
                receipts, dict([place]), {place: 1}, outcome, Console(stderr=True), way.timeout, errors
            )  # fmt: skip
    finally:
        if receipts is not None:
            receipts.close()


def _tell(outcome: ChangeOutcome) -> None:
    console = Console(highlight=False, markup=False)
    statement = outcome.statement
    console.print(f"{outcome.change}: {statement['subject']['name']} ({statement['subject']['uscc']})")
    console.print(f"record {outcome.record_id}, version {outcome.version}")
    for error in outcome.errors:
        console.print(f"refused: {error['column']} {error['value']} {error['reason']} {error['code']}")
    for remark in outcome.remarks:
        console.print(f"remark: {remark['reason']} {remark['code']}")
    if outcome.dry_run and not outcome.errors:
        console.print("dry run: it would be sent")
    elif outcome.visible and not outcome.errors:
        console.print(f"visible after {outcome.waited_seconds:.2f} s")
    elif outcome.sent and not outcome.errors:
        console.print("sent")


def _day(text: str, option: str) -> date:
    try:
        day = read_date(text).value
    except CellRefused:
        day = None
    if day is None:
        raise UsageError(f"{option} {text!r} is no date: write 2026-11-23")
    return day


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(change, name="change")
