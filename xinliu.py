"""The command `xinliu`: one table of what a command line may begin with; a module is loaded once its command is asked
for.

Exit codes: 0 done; 1 done, with refusals or differences that the output names; 2 a mistake a person can mend;
3 a server could not be reached; 4 stopped because going on could lose something.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from schemas.console.hints import hint, hints_for
from schemas.errors import XinliuError
from schemas.texts.harmless import guard

if TYPE_CHECKING:
    from schemas.servers.connection import Connection
    from streams.monitoring.endpoint import Shown
    from streams.runtime.service import Thread

COMMANDS: Mapping[str, Sequence[str]] = {
    "demo": ("deploy.commands.demo",),
    "demo-four": ("deploy.commands.demo_four",),
    **dict.fromkeys(("up", "down", "status", "reset", "config", "migrate"), ("deploy.commands.stack",)),
    "sample": ("producers.commands.sample",),
    "publish": ("producers.commands.publish",),
    "change": ("producers.commands.change",),
    "mark": ("producers.commands.mark",),
    "heartbeat": ("producers.commands.heartbeat",),
    "receipts": ("producers.commands.receipts",),
    "refused": ("producers.commands.refused",),
    "reconcile": ("producers.commands.reconcile", "consumers.commands.reconcile"),
    "outbox": ("producers.commands.outbox",),
    "show": ("consumers.commands.show",),
    "quality": ("consumers.commands.quality",),
    "rules": ("schemas.commands.rules",),
    "catalogue": ("schemas.commands.catalogue",),
    "schemas": ("schemas.commands.schemas",),
    "quarantine": ("streams.commands.quarantine",),
    "cases": ("streams.commands.cases",),
    "replay": (
        "streams.commands.replay.plan",
        "streams.commands.replay.approve",
        "streams.commands.replay.rebuild",
        "streams.commands.replay.diff",
        "streams.commands.replay.correct",
        "streams.commands.replay.generations",
        "streams.commands.redrive",
        "streams.commands.steward",
    ),
    "approve": ("streams.commands.approve",),
    "audit": ("streams.commands.audit",),
    "intake": ("streams.commands.intake",),
    "positions": ("streams.commands.positions",),
    "exchange": (
        "consumers.commands.exchange",
        "consumers.commands.differences",
        "consumers.commands.links",
        "streams.commands.exchange_contested",
        "streams.commands.exchange_repush",
        "deploy.commands.keys",
    ),
    "worker": ("streams.commands.worker", "streams.commands.steward", "consumers.commands.links"),
    "topics": ("deploy.commands.topics",),
    "access": ("deploy.commands.access",),
    "doctor": ("deploy.commands.doctor",),
    "backup": ("deploy.commands.backup",),
    "restore": ("deploy.commands.backup",),
}
"""First word of a command line → the modules whose `mount` adds what it begins; in the order in which `--help` lists them."""


@cache
def _command(word: str) -> Any:
    part = typer.Typer()
    for module in COMMANDS[word]:
        import_module(module).mount(part)
    if word == "worker":
        from streams.commands.worker_province import mount

        mount(part, _links)
    return get_group(part).commands[word]


class _Commands(TyperGroup):
    """The group `xinliu`. A command is loaded when it is looked up: to import all of them takes two seconds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.commands: Any = dict.fromkeys(COMMANDS)  # the names; `get_command` has the commands

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command that begins with this word; None if none does."""
        return _command(cmd_name) if cmd_name in COMMANDS else None


app = typer.Typer(
    cls=_Commands,
    name="xinliu",
    help="信流: every administrative penalty and list change, from the department that made it to the credit view.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _choose_stack(
    ctx: typer.Context,
    stack: Annotated[
        str | None,
        typer.Option("--stack", help="Name of the local stack.", envvar="XINLIU_STACK", show_default="default"),
    ] = None,
) -> None:
    from deploy.settings import settings
    from schemas.catalogue import choose

    given = ctx.get_parameter_source("stack")
    hints_for(
        stack if given is not None and given.name == "COMMANDLINE" else None,
        set(COMMANDS),
    )
    folder = settings().catalogue
    if folder is not None:
        choose(folder)

    def connect() -> Connection:
        from deploy.settings import connection  # resolved only by commands that talk to servers

        return connection(stack)

    ctx.obj = connect


def _links(connection: Connection) -> tuple[Sequence[tuple[str, Thread]], Sequence[Shown]]:
    """Return the push links to all peers as threads of one process with intake and view, and their metrics."""
    from consumers.links import Link, LinkMetrics
    from streams.monitoring.endpoint import Plain

    own = connection.acting("link")
    peers = own.exchange.peers if own.exchange is not None else {}
    metrics = LinkMetrics()
    links = [(f"link to {peer}", Link(own, peer, metrics=metrics)) for peer in sorted(peers)]
    return links, [Plain("link", metrics)] if links else []


def main() -> None:
    """Run the command; every foreseeable mistake ends in one line on stderr."""
    guard()
    try:
        outcome = app(standalone_mode=False)
    except typer.TyperException as mistake:
        # Typer carries a click of its own: what the library click calls its exceptions is never raised.
        mistake.show()  # type: ignore[attr-defined]
        sys.exit(mistake.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except XinliuError as error:
        from schemas.identifiers.persons import cover_persons

        print(f"xinliu: {hint(cover_persons(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(outcome if isinstance(outcome, int) else 0)


if __name__ == "__main__":
    main()
