"""The commands of this room: up, down, status, reset, topics, access, config, migrate, demo, exchange keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from schemas.errors import UsageError
from schemas.options import Json
from schemas.tables import print_table
from schemas.terminal import Console

if TYPE_CHECKING:
    from deploy.provinces import Provinces
    from deploy.stack import Stack
    from deploy.topics import Change, Topic
    from schemas.cluster import Cluster
    from schemas.connection import Connection

__all__ = ["mount"]

ProvinceNames = Annotated[
    str | None,
    typer.Option("--provinces", help="Several at once, comma-separated: beijing,tianjin,hebei,shanxi.", metavar="P,…"),
]

topics_app = typer.Typer(help="The topics of the province's cluster, as code.", no_args_is_help=True)


def _stack(ctx: typer.Context, tell: Callable[[str], None] = lambda _: None) -> Stack:
    from deploy.settings import settings
    from deploy.stack import Stack

    name = ctx.find_root().params.get("stack") or settings().stack
    return Stack(name, tell=tell)


def _provinces(ctx: typer.Context, text: str, tell: Callable[[str], None] = lambda _: None) -> Provinces:
    from deploy.provinces import Provinces, read_names

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
    """Show what runs; exit code 1 where something does not."""
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
    """Bring the province's database to the newest tables; nothing happens where it is there already."""
    from schemas.definitions import differences
    from schemas.store import connect as connect_to
    from schemas.store import migrate as bring_up_to_date

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


@topics_app.command("plan")
def topics_plan(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what would change; exit code 1 where something would."""
    from deploy import topics

    changes = topics.plan(*_wanted_topics(ctx))
    _print_changes(changes, as_json, "nothing to do")
    if any(change.action != "extra" for change in changes):
        raise typer.Exit(1)


@topics_app.command("apply")
def topics_apply(ctx: typer.Context, as_json: Json = False) -> None:
    """Create, extend and configure; nothing is ever deleted. Exit code 1 where something is impossible."""
    from deploy import topics

    changes = topics.apply(*_wanted_topics(ctx, "admin"))
    _print_changes(changes, as_json, "nothing to do")
    if any(change.action == "impossible" for change in changes):
        raise typer.Exit(1)


def _wanted_topics(ctx: typer.Context, principal: str = "operator") -> tuple[Cluster, tuple[Topic, ...]]:
    from deploy import topics
    from deploy.people import people_here
    from deploy.settings import settings
    from schemas.catalogue import load
    from schemas.operation_topics import asks

    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(principal)
    named = people_here(settings(), ctx.find_root().params.get("stack"))
    own = topics.of_authors(named) if asks(connection.kafka) else ()
    return connection.kafka, (*topics.wanted(load(), connection.province), *own)


def _print_changes(changes: tuple[Change, ...], as_json: bool, nothing: str) -> None:
    if as_json:
        print(json.dumps([asdict(change) for change in changes], ensure_ascii=False))
        return
    if not changes:
        print(nothing)
        return
    rows = [(change.action, change.topic, escape(change.detail)) for change in changes]
    print_table(Console(), ("action", "topic", "detail"), rows, text=("detail",))


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


def mount(app: typer.Typer, only: str | None = None) -> None:
    """Add this room's commands to the command `xinliu`; with `only`, no others than those that begin with it."""
    for command in (up, down, status, reset, config, migrate):
        app.command()(command)
    app.add_typer(topics_app, name="topics")
    if only in (None, "demo"):
        from deploy.demo import demo

        app.command()(demo)
    if only in (None, "demo-four"):
        from deploy.demo_four import demo_four

        app.command()(demo_four)
    if only in (None, "doctor"):
        from deploy.doctor_command import doctor

        app.command()(doctor)
    if only in (None, "access"):
        from deploy.access_commands import access_app

        app.add_typer(access_app, name="access")
    if only in (None, "exchange"):
        from deploy.keys_command import keys_app
        from schemas.groups import EXCHANGE, group

        group(app, "exchange", EXCHANGE).add_typer(keys_app, name="keys")
    if only in (None, "backup", "restore"):
        from deploy.backup_commands import mount as mount_backup

        mount_backup(app)
