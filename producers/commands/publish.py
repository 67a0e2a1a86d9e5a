"""`xinliu publish`: publishes a department's files and reports the result of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID

from producers.commands.inputs import named_files
from producers.commands.options import Ignored, Mapped, Sheets, file_options
from producers.commands.output_files import made, output_files
from producers.commands.progress import Fate, await_visible, interruptible, progress_bar
from producers.commands.publish_summary import print_summary
from producers.errors import RowError
from producers.files.import_file import FileOptions, Import, import_file
from producers.files.rows.rejects import write_rejects
from producers.files.rows.rows import located
from producers.files.table import REASON_HEADER, FileLine
from producers.publisher import Publisher, PublisherConfig
from producers.receipts import Receipts
from schemas.calendar.clock import TIME_HELP, read_time
from schemas.catalogue import Catalogue, Department, load
from schemas.console.options import Json
from schemas.console.tables import Wide
from schemas.console.terminal import Console
from schemas.console.typed_text import department_typed
from schemas.errors import Retryable, UsageError
from schemas.files.outputs import Outputs
from schemas.records.refused_row import entry_name
from schemas.texts.visible import visible

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["mount", "publish"]


@dataclass(kw_only=True)
class PublishOutcome(Fate):
    """The result of one file or several; as --json prints it."""

    file: str
    """The file; for several, the words of the command line."""
    department: str
    kind: str
    """The kind of all files; empty if they differ; format and encoding likewise."""
    format: str
    encoding: str
    rows: int
    refused: int
    duplicates_in_file: int
    files: list[dict[str, Any]] = field(default_factory=list)
    """Each file: file, kind, format, encoding, rows, refused, duplicates_in_file, statements."""
    data_as_of: str | None = None
    warnings: list[str] = field(default_factory=list)
    rejects_file: str | None = None
    statements: int = 0
    """Statements of the good rows: a row that names several parties gives several."""
    repairs: list[dict[str, Any]] = field(default_factory=list)
    """By column and code of the repair: how many cells were mended, and the first of them."""
    repairs_file: str | None = None
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """Refusals of rows as readers see them: line, entry, entity (null: it cannot be read) and domain."""
    pending_entities: int = 0
    """Number of entities that readers see as 待核."""
    holding_rows: int = 0
    """Rows that may be about any entity: data as of stays where it is while one of them is open."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One of the files, and how its lines are shown: with the file's name if there are several."""

    path: Path
    found: Import
    place: int
    alone: bool

    def line(self, line: int) -> int:
        return line if self.alone else FileLine(self.place, str(self.path), line)

    def lines(self, errors: Iterable[RowError]) -> list[RowError]:
        return [replace(error, line=self.line(error.line)) for error in errors]


def publish(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="CSV, XLSX, XLSM or JSON Lines; headers are CF_ codes or Chinese names. Several files, folders and patterns"
            " ('x*.csv') are one run with one marker at its end.",
        ),
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
        Path | None,
        typer.Option(
            help="Write refused rows here (.csv, .xlsx), in their own columns, with the reasons; of several files into this folder."
        ),
    ] = None,
    repairs: Annotated[
        Path | None,
        typer.Option(
            help="Write every cell that was mended here (.csv): what it was, and what was read; of several files into this folder."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when every row is visible in the view or refused.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that --wait waits at most.", min=1)] = 120.0,
    stated_at: Annotated[
        str | None,
        typer.Option(help=f"When this state was true; needed where rows have no 版本号 or 更新时间. {TIME_HELP}"),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help=f"数据截至: up to when everything has been published; by default the start of this run. {TIME_HELP}"
        ),
    ] = None,
    no_marker: Annotated[
        bool, typer.Option("--no-marker", help="Do not vouch for completeness: more files of this source follow.")
    ] = False,
    sheets: Sheets = None,
    mapped: Mapped = None,
    ignored: Ignored = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Publish files of penalties, list entries or registrations. The same file twice changes nothing.

    Nothing of any file is sent if one of them cannot be read. Exit codes: 0 all rows accepted, 1 some refused, 2 the
    command or a file cannot be used, 3 servers did not answer or --wait ran out of time, 130 Ctrl-C.
    """
    started = datetime.now(UTC)
    if wait and no_marker:
        raise UsageError("--wait waits for the marker that --no-marker leaves out: choose one")
    paths = named_files(files)
    refused = output_files("--rejects", rejects, paths, workbooks=True)
    mended = output_files("--repairs", repairs, paths, workbooks=False)
    ctx.with_resource(made({"--rejects": rejects, "--repairs": repairs}, [*refused.values(), *mended.values()]))
    wanted: dict[str, Path | None] = {
        option if len(paths) == 1 else f"{option} (of {path})": place
        for option, places in (("--rejects", refused), ("--repairs", mended))
        for path, place in places.items()
    }
    outputs = ctx.with_resource(Outputs(wanted, reads=paths))
    stated, marked = read_time(stated_at, "--stated-at"), read_time(as_of, "--as-of")
    options = file_options(mapped, ignored, sheets)
    connect: Callable[[], Connection] = ctx.obj
    connection = None if dry_run else connect().acting(f"department-{department}")
    where = province or (connection.province if connection else "beijing")
    if connection is not None and where != connection.province:
        raise UsageError(f"these servers are {connection.province}'s, not {where}'s: choose another --stack")
    catalogue = load()
    chosen = catalogue.department(where, department)
    console = Console(stderr=True)
    sources = _read(paths, chosen, catalogue, stated, options, console)
    outcome = _outcome(", ".join(files), department, sources)
    outcome.dry_run = dry_run
    for source in sources:
        if source.path in mended:
            source.found.repairs.write(outputs.part(mended[source.path]))
    errors = [error for source in sources for error in source.lines(source.found.errors)]
    # Before anything is sent: if a file cannot be written, the command must change nothing.
    _write_rejects(outputs, refused, sources, errors)
    unfinished: Retryable | None = None
    if connection is not None:
        try:
            _send(connection, sources, outcome, console, marked or started, wait, no_marker, timeout, errors)
        except Retryable as error:
            unfinished = error  # the known results of rows are reported all the same
    if dry_run or outcome.sent == outcome.statements:
        _write_rejects(outputs, refused, sources, errors)
        outputs.keep()
        outcome.rejects_file, outcome.repairs_file = (str(path) if path else None for path in (rejects, repairs))
    elif rejects or repairs:
        outcome.warnings.append("not every row is confirmed, so no file was written: publish the same file again")
    outcome.errors = [located(error) for error in sorted(errors, key=lambda error: error.line)]
    if as_json:
        print(json.dumps(asdict(outcome), ensure_ascii=False, indent=2))
    else:
        print_summary(asdict(outcome), wide=wide)
    if unfinished is not None:
        raise unfinished
    if errors:
        raise typer.Exit(1)


def _read(
    paths: Sequence[Path],
    department: Department,
    catalogue: Catalogue,
    stated_at: datetime | None,
    options: FileOptions,
    console: Console,
) -> list[_Source]:
    sources = []
    with interruptible(lambda: "nothing was sent"), progress_bar(console) as bar:
        for place, path in enumerate(paths):
            progress = partial(_advance, bar, bar.add_task(f"reading {path.name}", total=None))
            found = import_file(path, department, catalogue, stated_at=stated_at, options=options, progress=progress)
            sources.append(_Source(path, found, place, alone=len(paths) == 1))
    return sources


def _advance(bar: Progress, task: TaskID, rows: int) -> None:
    bar.update(task, completed=rows)


def _warnings(source: _Source) -> Iterator[str]:
    columns = source.found.columns
    yield from source.found.table.remarks
    if columns.personal:
        yield f"not read, on purpose (identity documents): {', '.join(columns.personal)}"
    for headers, why in ((columns.unknown, "not known and not read"), (columns.ignored, "not read, as --ignore says")):
        names = [visible(header) or "(no header)" for header in headers if header != REASON_HEADER]
        if names:
            yield f"columns {why}: {', '.join(names)}"


def _outcome(named: str, department: str, sources: Sequence[_Source]) -> PublishOutcome:
    files = [
        {
            "file": str(source.path),
            "kind": source.found.columns.kind,
            "format": source.found.table.format,
            "encoding": source.found.table.encoding,
            "rows": source.found.rows,
            "refused": len(source.found.refused_lines),
            "duplicates_in_file": source.found.duplicates,
            "statements": len(source.found.outgoing),
        }
        for source in sources
    ]
    alike: dict[str, Any] = {
        name: files[0][name] if len({str(file[name]) for file in files}) == 1 else ""
        for name in ("kind", "format", "encoding")
    }
    summed: dict[str, Any] = {
        name: sum(file[name] for file in files) for name in ("rows", "refused", "duplicates_in_file", "statements")
    }
    refusals = [(source, line, refusal) for source in sources for line, refusal in source.found.refusals]
    return PublishOutcome(
        file=named,
        department=department,
        **alike,
        **summed,
        files=files,
        remarks=[located(one) for source in sources for one in source.lines(source.found.remarks)],
        warnings=[
            warning if source.alone else f"{source.path}: {warning}"
            for source in sources
            for warning in _warnings(source)
        ],
        repairs=[
            repair if source.alone else {"file": str(source.path), **repair}
            for source in sources
            for repair in source.found.repairs.counted()
        ],
        refusals=[
            {
                **({} if source.alone else {"file": str(source.path)}),
                "line": line,
                "entry": entry_name(department, refusal.refusal_id),
                "uscc": refusal.uscc,
                "domain": refusal.domain,
            }
            for source, line, refusal in refusals
        ],
        pending_entities=len({refusal.uscc for _, _, refusal in refusals if refusal.uscc}),
        holding_rows=len({source.line(line) for source, line, refusal in refusals if refusal.uscc is None}),
    )


def _write_rejects(
    outputs: Outputs, places: Mapping[Path, Path], sources: Sequence[_Source], errors: Sequence[RowError]
) -> None:
    for source in sources:
        if source.path in places:
            found = source.found
            own = [
                replace(error, line=error.line.line) if isinstance(error.line, FileLine) else error
                for error in errors
                if not isinstance(error.line, FileLine) or error.line.file == str(source.path)
            ]
            part = outputs.part(places[source.path])
            write_rejects(part, found.table, own, personal=found.columns.personal, refusals=found.refusal_ids)


def _send(
    connection: Connection,
    sources: Sequence[_Source],
    outcome: PublishOutcome,
    console: Console,
    as_of: datetime,
    wait: bool,
    no_marker: bool,
    timeout: float,
    errors: list[RowError],
) -> None:
    config = PublisherConfig(connection.kafka, connection.registry, outcome.department)
    receipts = Receipts(connection.kafka, connection.registry, outcome.department) if wait else None
    publisher = Publisher(config, track=wait)
    outgoing = [statement for source in sources for statement in source.found.outgoing]
    try:
        with interruptible(lambda: _so_far(publisher, outcome)):
            with publisher, progress_bar(console) as bar:
                publisher.partitions()  # a missing server or topic is reported at once, not after all records time out
                # Before everything else: however this run ends, nobody can vouch while an unpublished row is unknown to
                # readers.
                for source in sources:
                    for _, refusal in source.found.refusals:
                        publisher.refuse(refusal)
                publisher.flush()
                for statement in bar.track(outgoing, description="publishing"):
                    publisher.publish_encoded(statement.uscc, statement.body)
                publisher.flush()
                outcome.sent = publisher.published
                for source in sources:
                    for mended in source.found.mended:
                        publisher.mended(*mended)
                if no_marker:
                    return
                markers = publisher.mark(as_of)
                outcome.data_as_of = as_of.isoformat()
            if receipts is not None:
                await_visible(receipts, markers, _lines(publisher, sources), outcome, console, timeout, errors)
    finally:
        if receipts is not None:
            receipts.close()


def _so_far(publisher: Publisher, outcome: PublishOutcome) -> str:
    """Return the state that Ctrl-C leaves behind."""
    if outcome.data_as_of is not None:
        return f"all {outcome.sent:,} are sent and vouched for; they become visible without this command"
    what = "the same file" if len(outcome.files) == 1 else "the same files"
    return (
        f"{publisher.confirmed:,} of {outcome.statements:,} sent and confirmed, nothing is vouched for;"
        f" publish {what} again"
    )


def _lines(publisher: Publisher, sources: Sequence[_Source]) -> dict[tuple[int, int], int]:
    partitions, offsets = publisher.offsets
    lines = (source.line(statement.line) for source in sources for statement in source.found.outgoing)
    return dict(zip(zip(partitions, offsets, strict=True), lines, strict=True))


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(publish)
