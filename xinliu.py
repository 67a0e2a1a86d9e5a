"""The command `xinliu`: mounts each room's own commands.

Exit codes: 0 done; 1 done, with refusals or differences that the output names; 2 a mistake a person can mend;
3 a server could not be reached; 4 stopped because going on could lose something.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import XinliuError

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


def _mount() -> None:
    from streams.commands import mount as mount_streams
    from streams.commands import workers
    from streams.province_command import mount as mount_province

    mount_province(workers, _beside)
    if "worker" in sys.argv[1:4]:
        # A worker that was killed must be back soon: the other rooms would take it another second.
        from consumers.links_command import mount_worker

        mount_streams(app)
        mount_worker(app)
        return
    from consumers.commands import mount as mount_consumers
    from deploy.commands import mount as mount_deploy
    from producers.commands import mount as mount_producers
    from schemas.commands import mount as mount_schemas

    for mount in (mount_deploy, mount_schemas, mount_producers, mount_streams, mount_consumers):
        mount(app)


def main() -> None:
    """Run the command; every foreseeable mistake ends in one line on stderr."""
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
        print(f"xinliu: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(outcome if isinstance(outcome, int) else 0)


if __name__ == "__main__":
    main()
