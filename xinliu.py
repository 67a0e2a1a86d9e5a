"""The command `xinliu`: mounts each room's own commands.

Exit codes: 0 done; 1 done, with refusals or differences that the output names; 2 a mistake a person can mend;
3 a server could not be reached; 4 stopped because going on could lose something.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import XinliuError
from schemas.harmless import guard
from schemas.hints import hint, hints_for

if TYPE_CHECKING:
    from schemas.connection import Connection
    from streams.endpoint import Shown
    from streams.threads import Thread

app = typer.Typer(
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
        {one for all in ROOMS.values() for one in all},
    )
    folder = settings().catalogue
    if folder is not None:
        choose(folder)

    def connect() -> Connection:
        from deploy.settings import connection  # resolved only by commands that talk to servers

        return connection(stack)

    ctx.obj = connect


def _beside(connection: Connection) -> tuple[Sequence[tuple[str, Thread]], Sequence[Shown]]:
    """Return what runs beside intake and view in one process, and what it shows: the push links to all peers."""
    from consumers.links import Link, LinkMetrics
    from streams.endpoint import Plain

    own = connection.acting("link")
    peers = own.exchange.peers if own.exchange is not None else {}
    metrics = LinkMetrics()
    links = [(f"link to {peer}", Link(own, peer, metrics=metrics)) for peer in sorted(peers)]
    return links, [Plain("link", metrics)] if links else []


ROOMS: Mapping[str, Sequence[str]] = {
    "deploy": (
        "access", "backup", "config", "demo", "demo-four", "doctor", "down", "exchange", "migrate", "reset", "restore", "status", "topics",
        "up",
    ),
    "schemas": ("catalogue", "rules", "schemas"),
    "producers": ("change", "heartbeat", "mark", "outbox", "publish", "receipts", "reconcile", "refused", "sample"),
    "streams": ("audit", "cases", "exchange", "intake", "positions", "quarantine", "replay", "worker"),
    "consumers": ("exchange", "quality", "reconcile", "show", "worker"),
}  # fmt: skip
"""What each room's commands begin with: to import all rooms takes two seconds, and whoever asks something waits for them."""


def rooms_of(words: Sequence[str]) -> tuple[Sequence[str], str | None]:
    """Return the rooms that a command line needs, and the command it names: all rooms and None where it names none of any."""
    named = [
        word
        for word, before in zip(words, ["", *words], strict=False)
        if not word.startswith("-") and before != "--stack"
    ]
    rooms = [room for room, commands in ROOMS.items() if named and named[0] in commands]
    return (rooms, named[0]) if rooms else (list(ROOMS), None)


def _mount() -> None:
    rooms, command = rooms_of(sys.argv[1:])
    for room in rooms:
        if "worker" in sys.argv[1:4] and room == "consumers":
            # A worker that was killed must be back soon: this room's other commands would take it another half second.
            from consumers.links_command import mount_worker

            mount_worker(app)
        else:
            import_module(f"{room}.commands").mount(app, command)
    if "streams" in rooms:
        from streams.commands import workers
        from streams.province_command import mount as mount_province

        mount_province(workers, _beside)


def main() -> None:
    """Run the command; every foreseeable mistake ends in one line on stderr."""
    guard()
    _mount()
    try:
        outcome = app(standalone_mode=False)
    except typer.TyperException as mistake:
        # Typer carries a click of its own: what the library click calls its exceptions is never raised.
        mistake.show()  # type: ignore[attr-defined]
        sys.exit(mistake.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except XinliuError as error:
        from schemas.persons import cover_persons

        print(f"xinliu: {hint(cover_persons(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(outcome if isinstance(outcome, int) else 0)


if __name__ == "__main__":
    main()
