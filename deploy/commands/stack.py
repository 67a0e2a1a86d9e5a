"""Commands on a stack: up, down, status, reset, topics, access, config, migrate, demo, exchange keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from schemas.console.options import Json
from schemas.console.tables import print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError

if TYPE_CHECKING:
    from deploy.local.provinces import Provinces
    from deploy.local.stack import Stack
    from schemas.servers.connection import Connection

__all__ = ["mount"]

ProvinceNames = Annotated[
    str | None,
    typer.Option("--provinces", help="Several at once, comma-separated: beijing,tianjin,hebei,shanxi.", metavar="P,…"),
]


def _stack(ctx: typer.Context, tell: Callable[[str], None] = lambda _: None) -> Stack:
    from deploy.local.stack import Stack
    from deploy.settings import settings

    name = ctx.find_root().params.get("stack") or settings().stack
    return Stack(name, tell=tell)


def _provinces(ctx: typer.Context, text: str, tell: Callable[[str], None] = lambda _: None) -> Provinces:
    from deploy.local.provinces import Provinces, read_names

    return Provinces(read_names(text), ctx.find_root().params.get("stack") or "", tell=tell)


@contextmanager
def _telling(done: str) -> Iterator[Callable[[str], None]]:
    console = Console(stderr=True)
    started = monotonic()
    with console.status("…") as status:

        def tell(what: str) -> None:
            console.log(what, highlight=False) if not console.is_terminal else status.update(what)

        yield tell
    console.print(f"{done} in {monotonic() - started:.1f} s", highlight=False)


def up(
    ctx: typer.Context,
    province: Annotated[
        str | None,
        typer.Option(help="The province whose servers these are.", show_default="the stack's own, or beijing"),
    ] = None,
    provinces: ProvinceNames = None,
    base_port: Annotated[
        int | None, typer.Option(min=1024, max=65_520, help="First of the ten ports of this stack.")
    ] = None,
    secure: Annotated[
        bool,
        typer.Option(
            "--secure", help="On the first start: TLS, passwords and rights for everyone; the stack stays so."
        ),
    ] = False,
    servers_only: Annotated[bool, typer.Option("--servers-only", help="Do not start the workers.")] = False,
    as_json: Json = False,
) -> None:
    """Start real servers on this machine: Kafka, schema registry, PostgreSQL, and the workers. Loopback only.

    With --provinces: a small stack for each, named by it, which share their records with each other.
    """
    from deploy.settings import redacted

    if provinces is not None:
        if province is not None or base_port is not None:
            raise UsageError("--provinces goes with neither --province nor --base-port: each stack has its own")
        with _telling("up") as tell:
            several = _provinces(ctx, provinces, tell)
            connections = several.up(secure=secure, workers=not servers_only)
        if as_json:
            print(_several({name: redacted(connection) for name, connection in connections.items()}))
        else:
            _print_all(several)
        return
    with _telling("up") as tell:
        stack = _stack(ctx, tell)
        connection = stack.up(province=province, base_port=base_port, workers=not servers_only, secure=secure)
    if as_json:
        print(json.dumps({"stack": stack.name, **redacted(connection)}, ensure_ascii=False))
    else:
        _print_status(stack)


def down(ctx: typer.Context, provinces: ProvinceNames = None) -> None:
    """Stop the workers and servers of a stack; data stay."""
    with _telling("down") as tell:
        if provinces is not None:
            _provinces(ctx, provinces, tell).down()
            return
        stack = _stack(ctx, tell)
        if not stack.layout.exists:
            raise UsageError(f"there is no local stack {stack.name!r}")
        stack.down()


def status(ctx: typer.Context, provinces: ProvinceNames = None, as_json: Json = False) -> None:
    """Show what runs; exit code 1 if something does not."""
    if provinces is not None:
        several = _provinces(ctx, provinces)
        running = several.status()
        if as_json:
            print(_several({name: [asdict(server) for server in servers] for name, servers in running.items()}))
        else:
            _print_all(several)
        if not all(server.pid for servers in running.values() for server in servers):
            raise typer.Exit(1)
        return
    stack = _stack(ctx)
    if not stack.layout.exists:
        raise UsageError(f"there is no local stack {stack.name!r}: start one with `xinliu up`")
    found = stack.status()
    if as_json:
        print(json.dumps({"stack": stack.name, "servers": [asdict(server) for server in found]}, ensure_ascii=False))
    else:
        _print_status(stack)
    if not all(server.pid for server in found):
        raise typer.Exit(1)


def reset(
    ctx: typer.Context,
    provinces: ProvinceNames = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop a stack and delete all its data."""
    if provinces is not None:
        found = [stack.name for stack in _provinces(ctx, provinces).stacks.values() if stack.layout.folder.exists()]
        stacks = ", ".join(found)
        if not found:
            raise UsageError(f"there is no local stack of {provinces}")
        if not yes:
            typer.confirm(f"Delete all data of the stacks {stacks}?", abort=True, err=True)
        with _telling("reset") as tell:
            _provinces(ctx, provinces, tell).reset()
        return
    stack = _stack(ctx)
    if not stack.layout.folder.exists():
        raise UsageError(f"there is no local stack {stack.name!r}")
    if not yes:
        typer.confirm(f"Delete all data of the stack {stack.name!r} ({stack.layout.folder})?", abort=True, err=True)
    with _telling("reset") as tell:
        _stack(ctx, tell).reset()


def config(ctx: typer.Context, as_json: Json = False) -> None:
    """Show how the province's servers are reached, without secrets."""
    from deploy.settings import redacted

    connect: Callable[[], Connection] = ctx.obj
    plain = redacted(connect())
    if as_json:
        print(json.dumps(plain, ensure_ascii=False))
        return
    for name, value in plain.items():
        print(f"{name:16} {value}")


def migrate(
    ctx: typer.Context,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Change nothing: name what is not as it was shipped; exit code 1 where something is not."
        ),
    ] = False,
) -> None:
    """Bring the province's database to the newest tables; nothing happens if it is there already."""
    from schemas.store.database import connect as connect_to
    from schemas.store.database import migrate as bring_up_to_date
    from schemas.store.definitions import differences

    connect: Callable[[], Connection] = ctx.obj
    if check:
        with connect_to(connect().acting("admin").database.get_secret_value(), autocommit=True) as owner:
            found = differences(owner)
        for one in found:
            print(one)
        if found:
            raise typer.Exit(1)
        print("everything is as it was shipped")
        return
    bring_up_to_date(connect().acting("admin").database.get_secret_value())
    print("the tables are up to date")


def _print_status(stack: Stack) -> None:
    rows = []
    for server in stack.status():
        state = f"[green]runs[/] (pid {server.pid})" if server.pid else "[red]does not run[/]"
        rows.append((server.name, state, escape(server.address or "")))
    console = Console()
    print_table(console, ("server", "state", "address"), rows, text=("address",), title=f"stack {stack.name}")
    console.print(f"[dim]data and logs: {stack.layout.folder}[/dim]", highlight=False, soft_wrap=True)


def _print_all(several: Provinces) -> None:
    for stack in several.stacks.values():
        _print_status(stack)


def _several(plain: object) -> str:
    return json.dumps({"provinces": plain}, ensure_ascii=False)


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    for command in (up, down, status, reset, config, migrate):
        app.command()(command)
