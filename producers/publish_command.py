"""`xinliu publish`: a department's file, from the rows to what became of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from producers.columns import Ignored, Mapped, mapping
from producers.importing.importing import Import, import_file
from producers.importing.parsing import RowError, located
from producers.importing.refusals import REASON_HEADER
from producers.importing.rejects import write_rejects
from producers.importing.values import CellRefused, as_time
from producers.publisher import Publisher, PublisherConfig
from producers.receipts import Receipts
from producers.summary import print_summary
from producers.waiting import Fate, await_visible, progress_bar
from schemas.catalogue import load
from schemas.errors import Retryable, UsageError
from schemas.options import Json
from schemas.outputs import Outputs
from schemas.refusal import entry_name
from schemas.typed_text import department_typed
from schemas.visible import visible

if TYPE_CHECKING:
    from schemas.connection import Connection

__all__ = ["publish"]


@dataclass(kw_only=True)
class Outcome(Fate):
    """What became of a file; as --json prints it."""

    file: str
    department: str
    kind: str
    format: str
    encoding: str
    rows: int
    refused: int
    duplicates_in_file: int
    data_as_of: str | None = None
    warnings: list[str] = field(default_factory=list)
    rejects_file: str | None = None
    statements: int = 0
    """What the good rows are: a row that names several parties is several."""
    repairs: list[dict[str, Any]] = field(default_factory=list)
    """By column and code of the repair: how many cells were mended, and the first of them."""
    repairs_file: str | None = None
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """What readers are told of the refused rows: line, entry, entity (null: it cannot be read) and domain."""
    pending_entities: int = 0
    """Entities of which readers see 待核."""
    holding_rows: int = 0
    """Rows that may be about anybody: data as of stands still while any of them is open."""


def publish(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="CSV, XLSX, XLSM or JSON Lines; headers are CF_ codes or Chinese names.")
    ],
    department: Annotated[
        str,
        typer.Option(
            help="Key of the department, or its name in Chinese: `xinliu catalogue show departments`.",
            callback=department_typed,
        ),
    ],
    province: Annotated[
        str | None, typer.Option(help="Province of the department; that of the servers by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row, send nothing; needs no servers.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(help="Write refused rows here (.csv, .xlsx), in their own columns, with the reasons.")
    ] = None,
    repairs: Annotated[
        Path | None, typer.Option(help="Write every cell that was mended here (.csv): what it was, and what was read.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when every row is visible in the view or refused.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that --wait waits at most.", min=1)] = 120.0,
    stated_at: Annotated[
        str | None, typer.Option(help="When this state was true; needed where rows have no 版本号 or 更新时间.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="数据截至: up to when everything has been published; by default the start of this run."),
    ] = None,
    no_marker: Annotated[
        bool, typer.Option("--no-marker", help="Do not vouch for completeness: more files of this source follow.")
    ] = False,
    sheet: Annotated[
        list[str] | None,
        typer.Option(
            help="Read only this sheet of a workbook (again for more); by default all visible ones with a header."
        ),
    ] = None,
    mapped: Mapped = None,
    ignored: Ignored = None,
    as_json: Json = False,
) -> None:
    """Publish a file of penalties, list entries or registrations. The same file twice changes nothing.

    Exit codes: 0 all rows accepted, 1 some refused, 2 the command or file cannot be used, 3 servers did not answer or
    --wait ran out of time.
    """
    started = datetime.now(UTC)
    if wait and no_marker:
        raise UsageError("--wait waits for the marker that --no-marker leaves out: choose one")
    outputs = ctx.with_resource(Outputs({"--rejects": rejects, "--repairs": repairs}, reads=[file]))
    connect: Callable[[], Connection] = ctx.obj
    connection = None if dry_run else connect().acting(f"department-{department}")
    where = province or (connection.province if connection else "beijing")
    if connection is not None and where != connection.province:
        raise UsageError(f"these servers are {connection.province}'s, not {where}'s: choose another --stack")
    catalogue = load()
    chosen = catalogue.department(where, department)
    console = Console(stderr=True)
    with progress_bar(console) as bar:
        task = bar.add_task("reading", total=None)
        found = import_file(
            file,
            chosen,
            catalogue,
            stated_at=_time(stated_at, "--stated-at"),
            mapped=mapping(mapped),
            ignored=ignored or (),
            progress=lambda n: bar.update(task, completed=n),
            sheets=sheet or (),
        )
    outcome = _outcome(file, department, found)
    outcome.dry_run = dry_run
    if repairs is not None:
        found.repairs.write(outputs.part(repairs))
    errors = list(found.errors)
    # Before anything is sent: a file that cannot be written is a mistake that must change nothing.
    _write_rejects(outputs, rejects, found, errors)
    unfinished: Retryable | None = None
    if connection is not None:
        try:
            _send(
                connection,
                found,
                outcome,
                console,
                _time(as_of, "--as-of") or started,
                wait,
                no_marker,
                timeout,
                errors,
            )
        except Retryable as error:
            unfinished = error  # what is known of the rows is told all the same
    if dry_run or outcome.sent == outcome.statements:
        _write_rejects(outputs, rejects, found, errors)
        outputs.keep()
        outcome.rejects_file, outcome.repairs_file = (str(path) if path else None for path in (rejects, repairs))
    elif rejects or repairs:
        outcome.warnings.append("not every row is confirmed, so no file was written: publish the same file again")
    outcome.errors = [located(error) for error in sorted(errors, key=lambda error: error.line)]
    if as_json:
        print(json.dumps(asdict(outcome), ensure_ascii=False, indent=2))
    else:
        print_summary(asdict(outcome))
    if unfinished is not None:
        raise unfinished
    if errors:
        raise typer.Exit(1)


def _outcome(file: Path, department: str, found: Import) -> Outcome:
    warnings = []
    if found.columns.personal:
        warnings.append(f"not read, on purpose (identity documents): {', '.join(found.columns.personal)}")
    for headers, why in (
        (found.columns.unknown, "not known and not read"),
        (found.columns.ignored, "not read, as --ignore says"),
    ):
        names = [visible(header) or "(no header)" for header in headers if header != REASON_HEADER]
        if names:
            warnings.append(f"columns {why}: {', '.join(names)}")
    return Outcome(
        file=str(file),
        department=department,
        kind=found.columns.kind,
        format=found.table.format,
        encoding=found.table.encoding,
        rows=found.rows,
        refused=len(found.refused_lines),
        duplicates_in_file=found.duplicates,
        remarks=[located(remark) for remark in found.remarks],
        warnings=[*found.table.remarks, *warnings],
        statements=len(found.outgoing),
        repairs=found.repairs.counted(),
        refusals=[
            {
                "line": line,
                "entry": entry_name(department, refusal.refusal_id),
                "uscc": refusal.uscc,
                "domain": refusal.domain,
            }
            for line, refusal in found.refusals
        ],
        pending_entities=len({refusal.uscc for _, refusal in found.refusals if refusal.uscc}),
        holding_rows=len({line for line, refusal in found.refusals if refusal.uscc is None}),
    )


def _write_rejects(outputs: Outputs, rejects: Path | None, found: Import, errors: list[RowError]) -> None:
    if rejects is not None:
        write_rejects(
            outputs.part(rejects), found.table, errors, personal=found.columns.personal, refusals=found.refusal_ids
        )


def _send(
    connection: Connection,
    found: Import,
    outcome: Outcome,
    console: Console,
    as_of: datetime,
    wait: bool,
    no_marker: bool,
    timeout: float,
    errors: list[RowError],
) -> None:
    config = PublisherConfig(connection.kafka, connection.registry, outcome.department)
    receipts = Receipts(connection.kafka, connection.registry, outcome.department) if wait else None
    try:
        with Publisher(config, track=wait) as publisher, progress_bar(console) as bar:
            publisher.partitions()  # no server, no topic: said at once, not after every record has timed out
            # First of all: whatever ends this run, nobody can vouch for what was not said without its being known.
            for _, refusal in found.refusals:
                publisher.refuse(refusal)
            publisher.flush()
            for statement in bar.track(found.outgoing, description="publishing"):
                publisher.publish_encoded(statement.uscc, statement.body)
            publisher.flush()
            outcome.sent = publisher.published
            for mended in found.mended:
                publisher.mended(*mended)
            if no_marker:
                return
            markers = publisher.mark(as_of)
            outcome.data_as_of = as_of.isoformat()
        if receipts is not None:
            await_visible(receipts, markers, _lines(publisher, found), outcome, console, timeout, errors)
    finally:
        if receipts is not None:
            receipts.close()


def _lines(publisher: Publisher, found: Import) -> dict[tuple[int, int], int]:
    partitions, offsets = publisher.offsets
    return {
        place: statement.line
        for place, statement in zip(zip(partitions, offsets, strict=True), found.outgoing, strict=True)
    }


def _time(text: str | None, option: str) -> datetime | None:
    try:
        return as_time(text)
    except CellRefused:
        raise UsageError(
            f"{option} {text!r} is no time: write 2026-11-23T10:00 (China time unless it has a zone)"
        ) from None
