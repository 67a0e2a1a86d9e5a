"""`xinliu sample`: invented files to try everything with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from producers.commands.progress import interruptible
from producers.sample.files import write_sample
from producers.sample.publishing import WaveOutcome, publish_wave
from schemas.calendar.clock import CHINA
from schemas.catalogue import load
from schemas.console.options import Json
from schemas.console.tables import print_table
from schemas.console.terminal import Console

if TYPE_CHECKING:
    from schemas.servers.connection import Connection

__all__ = ["mount", "sample"]


def sample(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the files are written, or are.")],
    province: Annotated[str, typer.Option(help="Whose departments.")] = "beijing",
    records: Annotated[int, typer.Option(min=600, help="How many records.")] = 3200,
    seed: Annotated[int, typer.Option(help="The same seed on the same day gives the same files.")] = 1,
    publish: Annotated[
        int | None, typer.Option(min=1, max=2, help="Publish this wave of a sample that is there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write invented files of every department, two waves, good rows and bad ones, and a manifest of what to expect.

    With --publish: publish one wave as its departments would, and compare the result with the manifest.
    """
    if publish is None:
        today = datetime.now(CHINA).date()
        manifest = write_sample(folder, load(), province=province, today=today, records=records, seed=seed)
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        print(
            f"{len(files)} files with {sum(file['rows'] for file in files)} rows in {folder}; what to expect: {manifest}"
        )
        return
    connect: Callable[[], Connection] = ctx.obj
    console = Console(stderr=True)
    vouched = [0, 0]

    def advance(done: int, total: int) -> None:
        vouched[:] = done, total
        bar.update(task, completed=done, total=total)

    def so_far() -> str:
        return (
            f"the files of {vouched[0]} of {vouched[1]} departments are sent and vouched for, and nothing is vouched for"
            " of the others; publish the same wave again"
        )

    with interruptible(so_far), Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"publishing wave {publish}, department by department", total=None)
        outcome = publish_wave(
            connect(),
            folder,
            load(),
            publish,
            progress=advance,
        )
    if as_json:
        print(json.dumps(asdict(outcome), ensure_ascii=False, indent=2))
    else:
        _print(outcome)
    if outcome.unexpected:
        raise typer.Exit(1)


def _print(outcome: WaveOutcome) -> None:
    console = Console()
    if outcome.refusals:
        counted = Counter(refusal["code"] for refusal in outcome.refusals)
        first = {refusal["code"]: refusal for refusal in reversed(outcome.refusals)}
        rows = []
        for code, count in counted.most_common():
            what = first[code]
            example = f"{what['file']} line {what['line']}, {what['column']}: {what['value']}"
            rows.append((str(count), f"{what['reason']} [dim]{code}[/dim]", escape(example)))
        titles, text = ("rows", "reason", "for example"), ("reason", "for example")
        print_table(console, titles, rows, text=text, right=("rows",), title="refused, by reason")
    told = [
        f"{outcome.files} files, {outcome.rows} rows",
        f"[green]{outcome.sent} sent[/green]",
        f"[red]{outcome.refused + outcome.refused_by_intake} refused[/red]",
        f"{outcome.duplicates} exact duplicates",
    ]
    told += [
        f"{count} {word}"
        for count, word in ((outcome.older, "older than held"), (outcome.flagged, "with a remark"))
        if count
    ]
    console.print(", ".join(told), highlight=False)
    if outcome.latency_ms:
        latency = outcome.latency_ms
        console.print(
            f"received by the broker → visible in the view: p50 {latency['p50']} ms, p99 {latency['p99']} ms",
            highlight=False,
        )
    for line in outcome.unexpected:
        console.print(f"[red]not as the manifest says[/red]: {escape(line)}")


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(sample)
