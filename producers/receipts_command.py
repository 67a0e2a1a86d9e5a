"""`xinliu receipts`: what became of a department's records, as far back as the broker keeps it, and from now on."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producers.receipts import Receipts

if TYPE_CHECKING:
    from schemas.connection import Connection

__all__ = ["receipts"]


def receipts(
    ctx: typer.Context,
    department: Annotated[str, typer.Option(help="Key of the department.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show a department's receipts: watermarks, and what was refused, older or flagged."""
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(f"department-{department}")
    reader = Receipts(connection.kafka, connection.registry, department, from_beginning=True)
    try:
        for receipt in reader.held():
            _print(receipt, as_json)
        while follow:
            for receipt in reader.read(1.0):
                _print(receipt, as_json)
    finally:
        reader.close()


def _print(receipt: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(receipt, ensure_ascii=False, default=_text), flush=True)
        return
    issued = receipt["issued_at"].astimezone().strftime("%Y-%m-%d %H:%M:%S")
    for mark in receipt["watermark"]:
        as_of = mark["as_of"].astimezone().strftime("%Y-%m-%d %H:%M") if mark["as_of"] else "—"
        print(f"{issued}  visible up to {mark['partition']}/{mark['next_offset']}  数据截至 {as_of}", flush=True)
    for exception in receipt["exceptions"]:
        why = "; ".join(f"{finding['message']} [{finding['code']}]" for finding in exception["findings"])
        print(f"{issued}  {exception['outcome']}  {exception['partition']}/{exception['offset']}  {why}", flush=True)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a receipt")
