"""Waiting until sent records are visible, and their results meanwhile: for every command that publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from producers.errors import RowError
from producers.files.rows.rows import located
from producers.receipts import Receipts
from schemas.console.terminal import Console
from schemas.errors import Interrupted

__all__ = ["Fate", "await_visible", "interruptible", "progress_bar"]


@dataclass(kw_only=True)
class Fate:
    """The results of sent records; as --json prints them."""

    sent: int = 0
    dry_run: bool = False
    waited_seconds: float | None = None
    visible: bool | None = None
    refused_by_intake: int = 0
    older: int = 0
    flagged: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[dict[str, Any]] = field(default_factory=list)


def await_visible(
    receipts: Receipts,
    markers: Mapping[int, int],
    lines: dict[tuple[int, int], int],
    fate: Fate,
    console: Console,
    timeout: float,
    errors: list[RowError],
) -> None:
    """Return once the watermark is past these offsets (by partition); count the receipts of these lines meanwhile.

    `lines` maps partition and offset of a sent record to its line; a record with a receipt is taken out. Raises
    NotVisibleYet when the time is over.
    """
    began = monotonic()
    with progress_bar(console) as bar:
        task = bar.add_task("waiting until visible", total=len(markers))
        for exceptions, reached in receipts.watch_past(markers, timeout):
            bar.update(task, completed=sum(reached.get(partition, 0) > at for partition, at in markers.items()))
            for exception in exceptions:
                # Taken out, because receipts come at least once.
                line = lines.pop((exception["partition"], exception["offset"]), None)
                if line is not None:
                    _count(exception, line, fate, errors)
    fate.waited_seconds = round(monotonic() - began, 3)
    fate.visible = True


def _count(exception: dict[str, Any], line: int, fate: Fate, errors: list[RowError]) -> None:
    told = [RowError(line, f["field"] or "", "", f["code"], f["message"]) for f in exception["findings"]]
    if exception["outcome"] == "REFUSED":
        fate.refused_by_intake += 1
        errors.extend(told)
        return
    fate.older += exception["outcome"] == "OLDER"
    fate.flagged += exception["outcome"] == "FLAGGED"
    known = {_place(remark) for remark in fate.remarks}
    fate.remarks.extend(remark for remark in map(located, told) if _place(remark) not in known)


def _place(remark: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(remark.get(name) for name in ("file", "sheet", "line", "code"))


@contextmanager
def interruptible(says: Callable[[], str]) -> Iterator[None]:
    """Raise Interrupted on Ctrl-C, with the text of `says`: what was sent, and what is vouched for."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {says()}") from None


def progress_bar(console: Console) -> Progress:
    """Return a progress bar that only a terminal shows."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
