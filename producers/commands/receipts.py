"""`xinliu receipts`: the results of a department's records, as far back as the broker keeps them, and from now on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from producers.commands.options import Ignored, Mapped, Sheets, file_options
from producers.receipts import Receipts
from schemas.calendar.clock import TIME_HELP, read_time, time_text
from schemas.console.terminal import Console
from schemas.console.typed_text import department_typed
from schemas.errors import UsageError
from schemas.files.outputs import Outputs

if TYPE_CHECKING:
    from producers.files.import_file import FileOptions
    from schemas.servers.connection import Connection

__all__ = ["mount", "receipts"]


def receipts(
    ctx: typer.Context,
    department: Annotated[
        str, typer.Option(help="Key of the department, or its name in Chinese.", callback=department_typed)
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option(help=f"Only receipts issued since then: {TIME_HELP}"),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(help="Write what is refused of --file here (.csv, .xlsx), in its own columns, with the reasons."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="The file that was sent, as it was sent.")] = None,
    stated_at: Annotated[
        str | None, typer.Option(help="The --stated-at that the file was published with, if any.")
    ] = None,
    mapped: Mapped = None,
    ignored: Ignored = None,
    sheets: Sheets = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show a department's receipts: watermarks, refused, older or flagged records, and their later results.

    With --rejects and --file: write the rows of that file that are still refused, ready to be mended and published
    again. Exit code 1 if there are any.
    """
    if (rejects is None) != (file is None):
        raise UsageError("--rejects needs --file, the file that was sent, and --file needs --rejects")
    if rejects is not None and follow:
        raise UsageError("--rejects writes what is known now: leave out --follow")
    outputs = ctx.with_resource(Outputs({"--rejects": rejects}, reads=[file]))
    begin = read_time(since, "--since")
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    reader = Receipts(connection.kafka, connection.registry, department, from_beginning=True)
    try:
        held = (receipt for receipt in reader.held() if begin is None or receipt["issued_at"] >= begin)
        if rejects is not None and file is not None:
            stated = read_time(stated_at, "--stated-at")
            options = file_options(mapped, ignored, sheets)
            if _write(held, file, rejects, outputs, connection.province, department, stated, options, as_json):
                raise typer.Exit(1)
            return
        for receipt in held:
            _print(receipt, as_json)
        while follow:
            for receipt in reader.read(1.0):
                _print(receipt, as_json)
    finally:
        reader.close()


def _write(
    held: Iterator[dict[str, Any]],
    file: Path,
    rejects: Path,
    outputs: Outputs,
    province: str,
    department: str,
    stated_at: datetime | None,
    options: FileOptions,
    as_json: bool,
) -> int:
    from producers.files.import_file import import_file
    from producers.files.rows.rejects import write_rejects
    from producers.files.rows.rows import located
    from producers.refused_records import refused_in, rows_of
    from schemas.catalogue import load

    catalogue = load()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        reading = bar.add_task("reading the file", total=None)
        found = import_file(
            file,
            catalogue.department(province, department),
            catalogue,
            stated_at=stated_at,
            options=options,
            progress=lambda n: bar.update(reading, completed=n),
        )
        task = bar.add_task("reading receipts", total=None)
        refused = refused_in(bar.track(held, task_id=task))
    told, elsewhere = rows_of(found, refused)
    errors = sorted([*found.errors, *told], key=lambda error: error.line)
    count = write_rejects(
        outputs.part(rejects), found.table, errors, personal=found.columns.personal, refusals=found.refusal_ids
    )
    outputs.keep()
    outcome = {
        "file": str(file),
        "rows": found.rows,
        "never_sent": len(found.refused_lines),
        "refused_by_intake": len({error.line for error in told}),
        "refused_of_other_files": elsewhere,
        "rejects_file": str(rejects),
        "errors": [located(error) for error in errors],
    }
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False))
        return count
    print(
        f"{file}: {found.rows} rows, {outcome['refused_by_intake']} refused by intake,"
        f" {outcome['never_sent']} refused before they were sent; {count} rows with their reasons: {rejects}"
    )
    if elsewhere:
        print(f"{elsewhere} further records are refused that are no rows of this file, or could not be read")
    return count


def _print(receipt: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(receipt, ensure_ascii=False, default=_text), flush=True)
        return
    issued = time_text(receipt["issued_at"])
    for mark in receipt["watermark"]:
        as_of = time_text(mark["as_of"])
        print(f"{issued}  visible up to {mark['partition']}/{mark['next_offset']}  数据截至 {as_of}", flush=True)
    for exception in receipt["exceptions"]:
        why = "; ".join(f"{finding['message']} [{finding['code']}]" for finding in exception["findings"])
        print(f"{issued}  {exception['outcome']}  {exception['partition']}/{exception['offset']}  {why}", flush=True)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a receipt")


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(receipts)
